"""What went wrong with one attempt, in the same terms for every provider, and what it means."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from search_app.embedders.hosted.request import Request, server_words
from search_app.errors import EmbedderError, EmbedderRefusedError, EmbedderUnavailableError
from search_app.types import JSON

PASSING_STATUSES = frozenset({408, 409, 425, 429})
"""Answers below 500 that a later attempt may turn into a good one."""

_TOO_MANY = 429
_SERVER_ERROR = 500
_SIZE_STATUSES = frozenset({400, 413, 422})

# As OpenAI, vLLM, llama.cpp, Ollama, LM Studio, text-embeddings-inference, Google, Cohere and
# Bedrock word it. "context" alone would take in Go's "context deadline exceeded".
_TOO_LONG = (
    *("context length", "context size", "context window", "input length", "maximum length"),
    *("must have less than", "too large to process", "too long", "too many tokens"),
    *("maximum input length", "max input tokens", "exceeds the maximum number of tokens"),
    *("input token count", "expected maxlength", "maximum allowed tokens"),
)

# As Azure, OpenAI, Google and Bedrock word it.
_FILTERED = (
    *("content_filter", "content filter", "content management policy", "content policy"),
    *("responsibleaipolicy", "safety filter", "safety settings", "guardrail"),
)

# OpenAI's code for a bill, which waiting does not pay, although it has the status of a rate limit.
# The words beside it are no sign: Google has the same for a limit that passes.
_SPENT = "insufficient_quota"

_RESETS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("ratelimit-remaining", "ratelimit-reset"),
)
_LONGEST_RESET_S = 60.0
"""Such headers say when everything may be sent again; something may be earlier."""

_UNSENT = frozenset(
    {
        *("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"),
        *("ConnectTimeoutError", "EndpointConnectionError", "ProxyConnectionError"),
    }
)
"""What httpx2 and botocore call it where no connection was made."""

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SECONDS = re.compile(r"\d+(?:\.\d+)?")


class CallFailedError(Exception):
    """One attempt that gave no answer; never leaves the adapters.

    ``status`` and ``headers`` (names in lower case) are those of the answer where one came, with
    its ``body`` as JSON or text. Without a status, ``reason`` says why none came, and
    ``timed_out`` that it took too long. ``refused`` says whether it is a no; None leaves that to
    the status. ``advice`` says what to do where the provider's own code tells more than the
    status, whose hint it replaces.
    """

    def __init__(
        self,
        *,
        status: int | None = None,
        body: JSON = None,
        headers: Mapping[str, str] | None = None,
        reason: str = "",
        timed_out: bool = False,
        refused: bool | None = None,
        advice: str = "",
    ) -> None:
        """Keep what an adapter found out."""
        super().__init__(reason or f"HTTP {status}")
        self.status = status
        self.body = body
        self.headers: Mapping[str, str] = headers or {}
        self.reason = reason
        self.timed_out = timed_out
        self.refused = refused
        self.advice = advice

    @property
    def is_too_long(self) -> bool:
        """Whether a text was too long; not so of a rate limit, which counts tokens too."""
        if self.status in PASSING_STATUSES:
            return False
        words = server_words(self.body).lower()
        return any(phrase in words for phrase in _TOO_LONG)

    @property
    def is_filtered(self) -> bool:
        """Whether a filter for content refused it, and not for its length or form."""
        words = str(self.body).lower()
        return self.status in _SIZE_STATUSES | {403} and any(each in words for each in _FILTERED)

    @property
    def is_spent(self) -> bool:
        """Whether what was paid for is used up."""
        return self.status == _TOO_MANY and _SPENT in str(self.body)

    @property
    def is_throttle(self) -> bool:
        """Whether the provider asks for fewer requests."""
        return self.status == _TOO_MANY and not self.is_spent

    @property
    def is_unsent(self) -> bool:
        """Whether nothing was sent, since no connection was made."""
        link = self.__cause__
        while link is not None:
            if type(link).__name__ in _UNSENT:
                return True
            link = link.__cause__
        return False

    @property
    def is_free(self) -> bool:
        """Whether nobody charges for it: an error came back, in time."""
        return self.status is not None or self.meaning is EmbedderRefusedError

    @property
    def meaning(self) -> type[EmbedderError]:
        """What it is to those who use an embedder."""
        if self.is_spent:
            return EmbedderRefusedError
        if self.status in PASSING_STATUSES:
            return EmbedderUnavailableError
        if self.refused is not None:
            return EmbedderRefusedError if self.refused else EmbedderUnavailableError
        if self.status is None:
            return EmbedderUnavailableError
        # llama.cpp and older Ollama say with 500 that a text is too long; it will be the next time.
        passing = self.status >= _SERVER_ERROR and not self.is_too_long
        return EmbedderUnavailableError if passing else EmbedderRefusedError

    @property
    def may_pass(self) -> bool:
        """Whether another attempt can end better; a server that says it cannot is believed."""
        return (
            self.meaning is EmbedderUnavailableError
            and self.headers.get("x-should-retry") != "false"
        )

    @property
    def retry_after_s(self) -> float | None:
        """How many seconds the server asks to wait; None where it does not say, or nonsense."""
        for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
            try:
                seconds = float(self.headers.get(name, "")) / per_second
            except ValueError:
                continue
            return max(seconds, 0.0) if math.isfinite(seconds) else None
        return next(
            (seconds for seconds in self._other_waits() if seconds is not None),
            None,
        )

    def _other_waits(self) -> Iterator[float | None]:
        yield _seconds_until(self.headers.get("retry-after", ""))
        yield _retry_delay(self.body)
        if self.is_throttle:
            resets = [
                _duration(self.headers.get(reset, ""))
                for remaining, reset in _RESETS
                if self.headers.get(remaining, "0") == "0"
            ]
            known = [seconds for seconds in resets if seconds is not None]
            yield min(max(known), _LONGEST_RESET_S) if known else None


def translate(failed: CallFailedError, request: Request, *, attempts: int) -> EmbedderError:
    """Turn the last failure of a request into an error that says what to do."""
    words = problem(failed, request)
    return failed.meaning(
        request.line(words if attempts == 1 else f"{words} (tried {attempts} times)")
    )


def problem(failed: CallFailedError, request: Request) -> str:
    """Say what went wrong and what to do about it."""
    if failed.status is None:
        return _no_answer(failed, request)
    words = request.shortened(server_words(failed.body)) if failed.body else "no reason given"
    return "; ".join([f"HTTP {failed.status}: {words}", *_advice(failed, request)])


def _no_answer(failed: CallFailedError, request: Request) -> str:
    if failed.timed_out:
        return "no answer in time; is the server overloaded?"
    if failed.refused:
        return failed.reason
    setting = request.service.address_setting
    advice = f", and is {setting} right?" if setting else "?"
    return f"no answer ({failed.reason}); is it running{advice}"


def _advice(failed: CallFailedError, request: Request) -> list[str]:
    advice = []
    service, status = request.service, failed.status or 0
    if (seconds := failed.retry_after_s) is not None:
        advice.append(f"it asks to wait {seconds:g} s")
    if 300 <= status < 400:  # noqa: PLR2004 - the range of HTTP's redirects
        target = _without_secrets(failed.headers.get("location", ""))
        setting = service.address_setting
        advice.append(f"it redirects to {target}: set {setting} to where that leads")
    too_long = failed.is_too_long
    if failed.is_filtered:
        advice.append(_filtered(request))
    elif too_long or (status in _SIZE_STATUSES and not failed.advice):
        advice.append(_longest(request))
    if too_long:
        advice.append("UNMOVED_CHUNK_TOKENS makes shorter chunks")
    if failed.is_spent:
        advice.append("what was paid for is used up: look at usage and billing at the provider")
    hint = failed.advice or ("" if failed.is_filtered else service.hints.get(status, ""))
    return [*advice, hint] if hint else advice


def _filtered(request: Request) -> str:
    which = request.text(0) if len(request.texts) == 1 else f"one of {len(request.texts)} texts"
    return (
        f"its content filter refuses {which}: leave that out (--exclude), let the filter pass it "
        "at the provider, or choose another model (UNMOVED_EMBEDDER)"
    )


def _longest(request: Request) -> str:
    index = max(range(len(request.texts)), key=lambda i: len(request.texts[i]))
    return f"the longest is {request.text(index)} with {len(request.texts[index])} characters"


def _without_secrets(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return "no address that can be read"
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def _seconds_until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(round((aware - datetime.now(UTC)).total_seconds(), 1), 0.0)


def _retry_delay(body: JSON) -> float | None:
    """Find what Google says in an error's details: ``{"retryDelay": "32s"}``."""
    if isinstance(body, Mapping):
        delay = body.get("retryDelay")
        if isinstance(delay, str):
            return _duration(delay)
        return next(filter(None, map(_retry_delay, body.values())), None)
    if isinstance(body, list):
        return next(filter(None, map(_retry_delay, body)), None)
    return None


def _duration(text: str) -> float | None:
    """Read a span such as ``6m0s``, ``1.5s``, ``20ms``, or plain seconds."""
    if _SECONDS.fullmatch(text.strip()):
        return float(text)
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds + milliseconds / 1000
