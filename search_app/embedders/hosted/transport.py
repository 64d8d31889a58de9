"""Sending a request until it is answered, or trying again is useless. Once for all providers."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from search_app.embedders.hosted.failure import CallFailedError, translate
from search_app.embedders.hosted.request import Request

log = logging.getLogger(__name__)

LONGEST_BACKOFF_S = 8.0

LONGEST_WAIT_S = 60.0
"""A server that asks to wait longer is reported as unavailable instead of waited for."""

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How hard to try.

    ``timeout_s`` are the seconds that one attempt may take, to its last byte; ``max_retries`` the
    attempts after the first, where an answer may yet come; ``retry_wait_s`` the seconds before the
    first of them, doubled up to 8. The server's Retry-After comes first. ``concurrency`` is the
    most requests under way at once.
    """

    timeout_s: float = 60.0
    max_retries: int = 4
    retry_wait_s: float = 0.5
    concurrency: int = 4


class Transport:
    """Carries the requests of one embedder."""

    def __init__(self, plan: Plan) -> None:
        """Take the plan; nothing is sent yet."""
        self.plan = plan

    async def send(
        self, request: Request, attempt: Callable[[], Awaitable[Result]], *, tokens: int = 0
    ) -> Result:
        """Attempt a request of ``tokens`` tokens until it is answered or that is useless.

        Args:
            request: what errors speak of.
            attempt: sends it once; raises CallFailedError where no answer came.
            tokens: what it counts towards a limit of tokens, as far as known.

        Raises:
            EmbedderUnavailableError: no answer after the retries.
            EmbedderRefusedError: the provider says no.
            EmbedderError: whatever else ``attempt`` raises passes as it is.
        """
        del tokens
        cause: BaseException
        for number in range(1, self.plan.max_retries + 2):
            try:
                async with asyncio.timeout(self.plan.timeout_s):
                    return await attempt()
            except TimeoutError as exc:
                failed, cause = CallFailedError(timed_out=True), exc
            except CallFailedError as exc:
                failed, cause = exc, exc.__cause__ or exc
            wait_s = self._wait_s(failed, number)
            if wait_s is None:
                # The cause's own message is masked too: a traceback prints it as well.
                cause.args = tuple(request.masked(str(argument)) for argument in cause.args)
                raise translate(failed, request, attempts=number) from cause
            log.info("%s: retry %d in %.1f s", request.spec, number, wait_s)
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt either returned or raised")

    def _wait_s(self, failed: CallFailedError, attempt: int) -> float | None:
        if attempt > self.plan.max_retries or not failed.may_pass:
            return None
        asked_s = failed.retry_after_s
        if asked_s is not None:
            return asked_s if asked_s <= LONGEST_WAIT_S else None
        backoff_s = min(self.plan.retry_wait_s * 2.0 ** (attempt - 1), LONGEST_BACKOFF_S)
        return backoff_s * random.uniform(0.75, 1.0)  # noqa: S311 - spreads retries, hides nothing
