"""The one place that translates what the Qdrant client raises into errors of a store."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import grpc
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from search_app.errors import StoreError, StoreRefusedError, StoreUnavailableError

_KEY = "the key is wrong or has too few rights; set UNMOVED_QDRANT_API_KEY"
_SLOW = "it did not answer in time; try again, or raise UNMOVED_QDRANT_TIMEOUT"
_BUSY = "it has too many requests; try again"
_OTHER = "what answers there is not Qdrant; correct UNMOVED_QDRANT_URL or UNMOVED_QDRANT_GRPC_PORT"


class NoIndexError(StoreRefusedError):
    """There is no collection of that index."""


@contextmanager
def store_errors(place: str) -> Iterator[None]:
    """Turn the client's exceptions into StoreError; ``place`` is the server's address or a folder.

    Raises:
        StoreUnavailableError: it cannot be reached, does not answer in time, or not as Qdrant does.
        StoreRefusedError: it answered no; says why in one line.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as exc:
        # Local mode raises whatever Python raises: no class of its own to tell it by.
        raise translated(exc, place) from exc


def translated(error: Exception, place: str) -> StoreError:
    """Choose the error of ours for one of the client's."""
    kind, reason = _judged(error)
    return kind(f"qdrant: {place}: {reason}")


_Judged = tuple[type[StoreError], str]

_REST: dict[int, _Judged] = {
    HTTPStatus.UNAUTHORIZED: (StoreRefusedError, _KEY),
    HTTPStatus.FORBIDDEN: (StoreRefusedError, _KEY),
    HTTPStatus.REQUEST_TIMEOUT: (StoreUnavailableError, _SLOW),
    HTTPStatus.TOO_MANY_REQUESTS: (StoreUnavailableError, _BUSY),
}
_GRPC: dict[grpc.StatusCode, _Judged] = {
    grpc.StatusCode.UNAUTHENTICATED: (StoreRefusedError, _KEY),
    grpc.StatusCode.PERMISSION_DENIED: (StoreRefusedError, _KEY),
    grpc.StatusCode.DEADLINE_EXCEEDED: (StoreUnavailableError, _SLOW),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (StoreUnavailableError, _BUSY),
    grpc.StatusCode.UNIMPLEMENTED: (StoreUnavailableError, _OTHER),
    grpc.StatusCode.NOT_FOUND: (NoIndexError, "no such index, create it first"),
    grpc.StatusCode.INVALID_ARGUMENT: (StoreRefusedError, "refused"),
    grpc.StatusCode.ALREADY_EXISTS: (StoreRefusedError, "refused"),
    grpc.StatusCode.FAILED_PRECONDITION: (StoreRefusedError, "refused"),
    grpc.StatusCode.OUT_OF_RANGE: (StoreRefusedError, "refused"),
    grpc.StatusCode.UNAVAILABLE: (StoreUnavailableError, "cannot be reached"),
}


def _judged(error: Exception) -> _Judged:
    match error:
        case UnexpectedResponse():
            found = _of_answer(error)
        case ResponseHandlingException():
            found = _of_silence(error.source)
        case ResourceExhaustedResponse():
            found = StoreUnavailableError, _BUSY
        case grpc.RpcError():
            found = _of_call(error)
        case TimeoutError():
            found = StoreUnavailableError, _SLOW
        case AssertionError() | json.JSONDecodeError() | UnicodeDecodeError():
            # An answer that is no JSON, or lacks its result.
            found = StoreUnavailableError, _OTHER
        case ApiException() | QdrantException():
            found = StoreUnavailableError, f"{_OTHER} ({_line(error)})"
        case OSError() | sqlite3.Error():
            found = StoreUnavailableError, f"cannot be used: {_line(error)}"
        case ValueError() if "not found" in str(error):
            found = NoIndexError, f"no such index, create it first: {_line(error)}"
        case _:
            found = StoreRefusedError, f"refused: {_line(error)}"
    return found


def _of_answer(error: UnexpectedResponse) -> _Judged:
    status, reason = error.status_code or 0, _reason(error)
    if status in _REST:
        return _REST[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return StoreUnavailableError, f"answered {status}: {reason or error.reason_phrase}"
    if reason is None:
        return StoreUnavailableError, f"answered {status}: {_OTHER}"
    if status == HTTPStatus.NOT_FOUND:
        return NoIndexError, f"no such index, create it first: {reason}"
    return StoreRefusedError, f"refused: {reason}"


def _of_silence(source: Exception) -> _Judged:
    match source:
        case httpx.TimeoutException():
            return StoreUnavailableError, _SLOW
        case ValueError():
            # An answer that does not parse.
            return StoreUnavailableError, _OTHER
    return StoreUnavailableError, f"cannot be reached: {_line(source)}"


def _of_call(error: Any) -> _Judged:
    code, details = error.code(), _first(error.details() or "")
    kind, reason = _GRPC.get(code, (StoreUnavailableError, f"failed with {code.name}"))
    return kind, reason if reason in (_KEY, _SLOW, _BUSY, _OTHER) else f"{reason}: {details}"


def _reason(error: UnexpectedResponse) -> str | None:
    """Read the reason out of a refusal in Qdrant's form; None where it has another."""
    try:
        return _first(json.loads(error.content)["status"]["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _line(error: Exception) -> str:
    return _first(str(error)) or type(error).__name__


def _first(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else ""
