"""Sending a request until it is answered, or trying again is useless. Once for all providers."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from search_app.embedders.hosted.breaker import Breaker
from search_app.embedders.hosted.clock import Clock, SystemClock
from search_app.embedders.hosted.failure import CallFailedError, problem, translate
from search_app.embedders.hosted.rate import Rate
from search_app.embedders.hosted.request import Request
from search_app.embedders.hosted.traffic import Traffic
from search_app.embedders.hosted.window import Place, Window
from search_app.embedders.payer import payer
from search_app.errors import EmbedderError, EmbedderUnavailableError

log = logging.getLogger(__name__)

LONGEST_BACKOFF_S = 8.0

LONGEST_WAIT_S = 60.0
"""A server that asks to wait longer is reported as unavailable instead of waited for."""

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How hard to try.

    ``timeout_s`` are the seconds that one attempt may take, to its last byte; ``max_retries`` the
    attempts after the first, where an answer may yet come, ``throttle_retries`` those after answers
    that asked for fewer requests; ``retry_wait_s`` the seconds before the first of them, doubled up
    to 8. The server's Retry-After comes first. ``concurrency`` is the most requests under way at
    once; fewer are, where the provider does not bear them. ``requests_per_minute`` and
    ``tokens_per_minute`` are what it was agreed to; None knows no limit.
    """

    timeout_s: float = 60.0
    max_retries: int = 4
    throttle_retries: int = 10
    retry_wait_s: float = 0.5
    concurrency: int = 4
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(kw_only=True)
class _Tries:
    """What one request has been through; ``trial`` where it is to find out about a provider."""

    failures: int = 0
    throttles: int = 0
    trial: bool = False

    @property
    def attempts(self) -> int:
        return self.failures + self.throttles


class Transport:
    """Carries the requests of one embedder, whoever sends them: its limits hold for all together.

    ``window``, ``breaker`` and ``traffic`` may be looked at.
    """

    def __init__(self, plan: Plan, clock: Clock | None = None) -> None:
        """Take the plan; nothing is sent yet."""
        self.plan = plan
        self.traffic = Traffic()
        self._clock = clock or SystemClock()
        self.window = Window(plan.concurrency)
        self.breaker = Breaker(self._clock)
        self._requests = _rate(plan.requests_per_minute, self._clock)
        self._tokens = _rate(plan.tokens_per_minute, self._clock)
        self._paused_until = self._clock.now()

    async def send(
        self, request: Request, attempt: Callable[[], Awaitable[Result]], *, tokens: int = 0
    ) -> Result:
        """Attempt a request of ``tokens`` tokens until it is answered or that is useless.

        Args:
            request: what errors speak of.
            attempt: sends it once; raises CallFailedError where no answer came.
            tokens: what it counts towards a limit of tokens, as far as known.

        Raises:
            EmbedderUnavailableError: no answer after the retries, or so many before it got none
                that the provider is left alone for a while.
            EmbedderRefusedError: the provider says no.
            EmbedderError: whatever else ``attempt`` raises passes as it is.
            SpentUpError: no more may be sent.
        """
        tries = _Tries()
        while True:
            try:
                return await self._attempt(request, attempt, tokens, tries)
            except CallFailedError as failed:
                wait_s = self._next_wait_s(request, failed, tries)
                if wait_s is None:
                    error = translate(failed, request, attempts=tries.attempts)
                    raise error from _masked(failed.__cause__ or failed, request)
            self.traffic.retries += 1
            log.info("%s: retry %d in %.1f s", request.spec, tries.attempts, wait_s)
            await self._clock.sleep(wait_s)

    def counted(self, tokens: int, *, taken: int) -> None:
        """Note what the provider says that a request came to, where ``taken`` was thought."""
        self.traffic.tokens += tokens
        if self._tokens is not None:
            self._tokens.correct(tokens - taken)

    async def _attempt(
        self,
        request: Request,
        attempt: Callable[[], Awaitable[Result]],
        tokens: int,
        tries: _Tries,
    ) -> Result:
        # Nobody waits for a place at a provider that has fallen silent.
        self._check_breaker(request)
        place = await self.window.enter(again=tries.attempts > 0)
        try:
            await self._wait_for_leave(tokens)
            self._check_breaker(request)
            payer().attempt(request.texts)
            tries.trial = self.breaker.begin()
            self.traffic.requests += 1
            try:
                return await self._watched(place, attempt, tries)
            except CallFailedError as failed:
                if failed.is_unsent:
                    payer().unsent(request.texts)
                elif failed.is_free:
                    payer().declined(request.texts)
                raise
        finally:
            self.window.leave()

    def _check_breaker(self, request: Request) -> None:
        refusal = self.breaker.refusal()
        if refusal is not None:
            raise EmbedderUnavailableError(request.line(refusal))

    async def _watched(
        self, place: Place, attempt: Callable[[], Awaitable[Result]], tries: _Tries
    ) -> Result:
        """Make one attempt, and let window, breaker and counts know what became of it."""
        try:
            result = await self._in_time(attempt)
        except CallFailedError as failed:
            if failed.status is not None:
                self.traffic.responses += 1
            if failed.is_throttle:
                self.traffic.throttles += 1
                self.window.was_too_many(place)
            raise
        except EmbedderError:
            # It answers, if only nonsense.
            self.traffic.responses += 1
            self.breaker.answered()
            raise
        except BaseException:
            if tries.trial:
                self.breaker.given_up()
            raise
        self.traffic.responses += 1
        self.window.went_well(place)
        self.breaker.answered()
        return result

    async def _in_time(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        try:
            async with asyncio.timeout(self.plan.timeout_s):
                return await attempt()
        except TimeoutError as exc:
            raise CallFailedError(timed_out=True) from exc

    async def _wait_for_leave(self, tokens: int) -> None:
        """Wait for the end of a pause, and for what may be sent in a minute."""
        while (left_s := self._paused_until - self._clock.now()) > 0:
            await self._clock.sleep(left_s)
        if self._requests is not None:
            await self._requests.take(1)
        if self._tokens is not None:
            await self._tokens.take(tokens)

    def _next_wait_s(
        self, request: Request, failed: CallFailedError, tries: _Tries
    ) -> float | None:
        """Say how long to wait before the next attempt; None if there is to be none."""
        if failed.is_throttle:
            tries.throttles += 1
            number, most = tries.throttles, self.plan.throttle_retries
        else:
            tries.failures += 1
            number, most = tries.failures, self.plan.max_retries
        again = failed.may_pass and number <= most and (failed.is_throttle or not tries.trial)
        wait_s = self._wait_s(failed, number) if again else None
        if failed.is_throttle or failed.meaning is not EmbedderUnavailableError:
            self.breaker.answered()
        elif wait_s is None or failed.timed_out:
            self.breaker.failed(problem(failed, request), trial=tries.trial)
        asked_s = failed.retry_after_s
        if failed.may_pass and asked_s is not None and asked_s <= LONGEST_WAIT_S:
            # What a provider asks of one request, it asks of all.
            self._paused_until = max(self._paused_until, self._clock.now() + asked_s)
        return wait_s

    def _wait_s(self, failed: CallFailedError, number: int) -> float | None:
        asked_s = failed.retry_after_s
        if asked_s is not None:
            return asked_s if asked_s <= LONGEST_WAIT_S else None
        backoff_s = min(self.plan.retry_wait_s * 2.0 ** (number - 1), LONGEST_BACKOFF_S)
        return backoff_s * random.uniform(0.75, 1.0)  # noqa: S311 - spreads retries, hides nothing


def _rate(per_minute: int | None, clock: Clock) -> Rate | None:
    return None if per_minute is None else Rate(per_minute, clock)


def _masked(cause: BaseException, request: Request) -> BaseException:
    """Mask secrets in the messages of a cause and its causes: a traceback prints them as well."""
    link: BaseException | None = cause
    while link is not None:
        link.args = tuple(
            argument if isinstance(argument, int) else request.masked(str(argument))
            for argument in link.args
        )
        link = link.__cause__ or link.__context__
    return cause
