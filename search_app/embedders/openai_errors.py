"""What went wrong with an OpenAI-compatible endpoint: one line, no key in it, and what to do."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from pydantic import SecretStr

from search_app.errors import (
    EmbedderError,
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import JSON

EXCERPT = 40
"""Most characters of a text that an error shows."""

LONGEST_WORDS = 300
"""Most characters of a server's own words that an error repeats."""

MASK = "********"

PASSING_STATUSES = frozenset({408, 409, 425, 429})
"""Answers below 500 that a later attempt may turn into a good one."""

MEANINGS: Mapping[str, type[EmbedderError]] = {
    "APIConnectionError": EmbedderUnavailableError,
    "APITimeoutError": EmbedderUnavailableError,
    "ConflictError": EmbedderUnavailableError,
    "InternalServerError": EmbedderUnavailableError,
    "RateLimitError": EmbedderUnavailableError,
    "APIStatusError": EmbedderRefusedError,
    "AuthenticationError": EmbedderRefusedError,
    "BadRequestError": EmbedderRefusedError,
    "NotFoundError": EmbedderRefusedError,
    "OAuthError": EmbedderRefusedError,
    "PermissionDeniedError": EmbedderRefusedError,
    "UnprocessableEntityError": EmbedderRefusedError,
    "APIResponseValidationError": EmbedderResponseError,
    # Raised by other parts of the package, or bases that only a class unknown here would fall back
    # to. Named one by one, so that a test notices a class that a new release brings.
    "APIError": EmbedderRefusedError,
    "ContentFilterFinishReasonError": EmbedderRefusedError,
    "LengthFinishReasonError": EmbedderResponseError,
    "OpenAIError": EmbedderRefusedError,
    "SubjectTokenProviderError": EmbedderRefusedError,
    "WebSocketConnectionClosedError": EmbedderUnavailableError,
    "WebSocketQueueFullError": EmbedderUnavailableError,
    "_AmbiguousModuleClientUsageError": EmbedderRefusedError,
    # Our own deadline for one attempt.
    "TimeoutError": EmbedderUnavailableError,
}
"""What each exception of the openai package is to us, by the name of its class."""

_HINTS: Mapping[int, str] = {
    401: "check UNMOVED_OPENAI_API_KEY",
    403: "check what UNMOVED_OPENAI_API_KEY may use",
    404: "check the model's name, and UNMOVED_OPENAI_BASE_URL, which for most servers ends in /v1",
    405: "check UNMOVED_OPENAI_BASE_URL, which for most servers ends in /v1",
}

_SIZE_STATUSES = frozenset({400, 413, 422})

# As OpenAI, vLLM, llama.cpp, Ollama and text-embeddings-inference word it. "context" alone would
# take in Go's "context deadline exceeded".
_TOO_LONG = (
    *("context length", "context size", "input length", "maximum length", "must have less than"),
    *("too large to process", "too long", "too many tokens"),
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, as far as its errors speak of it: who was asked, and about which texts.

    ``texts`` are the user's, without prefix: what they would recognise.
    """

    spec: str
    host: str
    texts: Sequence[str] = field(repr=False)
    secrets: Sequence[SecretStr] = ()

    def line(self, problem: str) -> str:
        """Say who was asked and what is wrong, on one line, every secret masked."""
        return _one_line(self.masked(f"{self.spec} at {self.host}: {problem}"))

    def masked(self, words: str) -> str:
        """Replace every secret, since some servers repeat the key they were sent."""
        for secret in self.secrets:
            words = words.replace(secret.get_secret_value(), MASK)
        return words

    def text(self, index: int) -> str:
        """Name one text by its place, from 1, and how it begins."""
        # Masked before it is cut: half a key is a key too.
        words = self.masked(self.texts[index])
        excerpt = words[:EXCERPT] + ("…" if len(words) > EXCERPT else "")
        return f"text {index + 1} of {len(self.texts)} ({excerpt!r})"


def translate(exc: Exception, request: Request, *, attempts: int) -> EmbedderError:
    """Turn an exception of the openai package, or our deadline, into ours.

    The exception's own message is masked too, because a traceback prints the cause as well.
    """
    error = meaning(exc)(request.line(_problem(exc, request, attempts)))
    exc.args = tuple(request.masked(str(argument)) for argument in exc.args)
    return error


def meaning(exc: Exception) -> type[EmbedderError]:
    """Find what an exception is to us: by its status where that says more, else by its class."""
    if getattr(exc, "status_code", None) in PASSING_STATUSES:
        return EmbedderUnavailableError
    if getattr(exc, "status_code", 0) >= 500 and _is_too_long(exc):  # noqa: PLR2004 - HTTP's own
        # llama.cpp and older Ollama say so with 500; it will be as long the next time.
        return EmbedderRefusedError
    names = (cls.__name__ for cls in type(exc).__mro__)
    return next(MEANINGS[name] for name in names if name in MEANINGS)


def may_pass(exc: Exception) -> bool:
    """Whether another attempt can end better; a server that says it cannot is believed."""
    return (
        issubclass(meaning(exc), EmbedderUnavailableError)
        and _headers(exc).get("x-should-retry") != "false"
    )


def retry_after_s(exc: Exception) -> float | None:
    """Read how many seconds the server asks to wait; None where it does not say, or nonsense."""
    headers = _headers(exc)
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / per_second
        except ValueError:
            continue
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    return _seconds_until(headers.get("retry-after", ""))


def server_words(body: JSON) -> str:
    """Find the sentence in an error body: OpenAI's form, FastAPI's, vLLM's, Ollama's, or text."""
    if isinstance(body, Mapping):
        for key in ("message", "error", "detail", "msg"):
            if body.get(key):
                return server_words(body[key])
    if isinstance(body, list) and body:
        return server_words(body[0])
    if isinstance(body, str):
        return "an HTML page" if is_html(body) else body
    return json.dumps(body, ensure_ascii=False)


def is_html(body: str) -> bool:
    """Whether a body is a page for people: most often a proxy's, or the wrong address."""
    return body.lstrip()[:15].lower().startswith(("<!doctype html", "<html"))


def shortened(words: str, request: Request) -> str:
    """Cut a server's words to a readable length, after masking: half a key is a key too."""
    words = _one_line(request.masked(words))
    return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}…"


def _problem(exc: Exception, request: Request, attempts: int) -> str:
    status = getattr(exc, "status_code", None)
    if status is None:
        problem = _no_answer(exc)
    else:
        body = getattr(exc, "body", None)
        words = shortened(server_words(body), request) if body else "no reason given"
        problem = "; ".join([f"HTTP {status}: {words}", *_advice(exc, status, request)])
    return problem if attempts == 1 else f"{problem} (tried {attempts} times)"


def _no_answer(exc: Exception) -> str:
    cause = exc.__cause__
    if isinstance(exc, TimeoutError) or type(exc).__name__ == "APITimeoutError":
        return "no answer in time; is the server overloaded?"
    reason = f"{type(cause or exc).__name__}: {cause or exc}".rstrip(": ")
    return f"no answer ({reason}); is it running, and is UNMOVED_OPENAI_BASE_URL right?"


def _advice(exc: Exception, status: int, request: Request) -> list[str]:
    advice = []
    if (seconds := retry_after_s(exc)) is not None:
        advice.append(f"it asks to wait {seconds:g} s")
    if 300 <= status < 400:  # noqa: PLR2004 - the range of HTTP's redirects
        target = _without_secrets(_headers(exc).get("location", ""))
        advice.append(f"it redirects to {target}: set UNMOVED_OPENAI_BASE_URL to where that leads")
    too_long = _is_too_long(exc)
    if status in _SIZE_STATUSES or too_long:
        advice.append(_longest(request))
    if too_long:
        advice.append("UNMOVED_CHUNK_TOKENS makes shorter chunks")
    if status in _HINTS:
        advice.append(_HINTS[status])
    return advice


def _longest(request: Request) -> str:
    index = max(range(len(request.texts)), key=lambda i: len(request.texts[i]))
    return f"the longest is {request.text(index)} with {len(request.texts[index])} characters"


def _is_too_long(exc: Exception) -> bool:
    # Not of a rate limit, which counts tokens too.
    if getattr(exc, "status_code", None) in PASSING_STATUSES:
        return False
    words = server_words(getattr(exc, "body", None)).lower()
    return any(phrase in words for phrase in _TOO_LONG)


def _without_secrets(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return "no address that can be read"
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def _one_line(words: str) -> str:
    # A server's words end up in terminals, where control characters would do things.
    return "".join(c if c.isprintable() else "�" for c in " ".join(words.split()))


def _headers(exc: Exception) -> Mapping[str, str]:
    response = getattr(exc, "response", None)
    return {} if response is None else response.headers


def _seconds_until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(round((aware - datetime.now(UTC)).total_seconds(), 1), 0.0)
