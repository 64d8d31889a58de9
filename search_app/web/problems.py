"""Failures as HTTP says them: RFC 9457 problem details, one type for each branch of errors.py."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from search_app.errors import (
    CatalogUnavailableError,
    EmbedderError,
    EmbedderUnavailableError,
    InvalidInputError,
    ModelMismatchError,
    NotFoundError,
    StoreUnavailableError,
    UnmovedError,
)
from search_app.types import JSON

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5


class Kind(Enum):
    """The types of problems: status, name (the end of the type's address) and title."""

    INVALID_INPUT = (400, "invalid-input", "The request needs a change")
    UNKNOWN_HOST = (400, "unknown-host", "This host name is not served here")
    CROSS_ORIGIN = (403, "cross-origin", "Requests from other sites are refused")
    FORM_EXPIRED = (403, "form-expired", "The form is no longer valid")
    NOT_FOUND = (404, "not-found", "There is no such thing here")
    METHOD = (405, "method-not-allowed", "This address takes other methods")
    TOO_LARGE = (413, "too-large", "The request is too large")
    NOT_JSON = (415, "not-json", "The body must be JSON")
    INVALID_BODY = (422, "invalid-body", "The request does not have the expected shape")
    INTERNAL = (500, "internal", "Something went wrong here")
    EMBEDDER_REFUSED = (502, "embedder-refused", "The embedder gave no usable answer")
    EMBEDDER_UNAVAILABLE = (503, "embedder-unavailable", "The embedder does not answer")
    STORE_UNAVAILABLE = (503, "store-unavailable", "The vector store does not answer")
    CATALOG_UNAVAILABLE = (503, "catalog-unavailable", "The database does not answer")
    # Not 409: nothing is wrong with the request, and a monitor should notice. Without
    # Retry-After, since waiting does not bring the model back.
    MODEL_MISMATCH = (503, "model-mismatch", "Another model answers than the one of the index")

    def __init__(self, status: int, slug: str, title: str) -> None:
        """Name the parts of the value."""
        self.status = status
        self.slug = slug
        self.title = title

    @property
    def address(self) -> str:
        """The type as a problem names it: where the API page explains it."""
        return f"/docs#{self.slug}"


_RETRIED = (Kind.EMBEDDER_UNAVAILABLE, Kind.STORE_UNAVAILABLE, Kind.CATALOG_UNAVAILABLE)

_BRANCHES: tuple[tuple[type[UnmovedError], Kind], ...] = (
    (NotFoundError, Kind.NOT_FOUND),
    (InvalidInputError, Kind.INVALID_INPUT),
    (EmbedderUnavailableError, Kind.EMBEDDER_UNAVAILABLE),
    (ModelMismatchError, Kind.MODEL_MISMATCH),
    (EmbedderError, Kind.EMBEDDER_REFUSED),
    (StoreUnavailableError, Kind.STORE_UNAVAILABLE),
    (CatalogUnavailableError, Kind.CATALOG_UNAVAILABLE),
)

_STATUSES = {
    403: Kind.CROSS_ORIGIN,
    404: Kind.NOT_FOUND,
    405: Kind.METHOD,
    413: Kind.TOO_LARGE,
    415: Kind.NOT_JSON,
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One failure, ready to be told. ``detail`` is one line fit for a user."""

    kind: Kind
    detail: str
    errors: Sequence[Mapping[str, JSON]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_json(self, instance: str) -> dict[str, JSON]:
        """Give the members of RFC 9457; ``instance`` is the path that was asked for."""
        body = {
            "type": self.kind.address,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "instance": instance,
        }
        return body | {"errors": list(self.errors)} if self.errors else body

    def all_headers(self) -> dict[str, str]:
        """Give the headers of the response; where waiting helps, they say so."""
        retry = {"Retry-After": str(RETRY_AFTER_S)} if self.kind in _RETRIED else {}
        return {**retry, **self.headers}

    def response(self, instance: str) -> Response:
        """Give the problem as ``application/problem+json``."""
        text = json.dumps(self.as_json(instance), ensure_ascii=False)
        # What a client sent may be repeated here, half a surrogate pair included.
        return Response(
            text.encode("utf-8", errors="replace"),
            status_code=self.kind.status,
            headers=self.all_headers(),
            media_type=MEDIA_TYPE,
        )


class ProblemError(Exception):
    """A failure that only HTTP knows: a foreign origin, an expired form."""

    def __init__(self, kind: Kind, detail: str) -> None:
        """Take what to tell."""
        super().__init__(detail)
        self.problem = Problem(kind=kind, detail=detail)


def problem_of(error: Exception) -> Problem:
    """Say what to tell of an error; of those that no user can mend, nothing of the inside."""
    match error:
        case ProblemError():
            return error.problem
        case RequestValidationError():
            return _of_validation(error)
        case HTTPException():
            return _of_status(error)
        case UnmovedError():
            for branch, kind in _BRANCHES:
                if isinstance(error, branch):
                    return Problem(kind=kind, detail=str(error))
    return Problem(
        kind=Kind.INTERNAL, detail="the request could not be answered; the server's log says why"
    )


def _of_status(error: HTTPException) -> Problem:
    kind = _STATUSES.get(error.status_code, Kind.INVALID_INPUT)
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        kind = Kind.INTERNAL
    details = {
        Kind.NOT_FOUND: "there is nothing at this address",
        Kind.METHOD: "this address takes "
        f"{(error.headers or {}).get('Allow', 'another method')} only",
    }
    headers = dict(error.headers or {})
    return Problem(kind=kind, detail=details.get(kind, str(error.detail)), headers=headers)


def _of_validation(error: RequestValidationError) -> Problem:
    found = [_field_error(entry) for entry in error.errors()]
    detail = "; ".join(f"{entry['field']}: {entry['message']}" for entry in found[:5])
    return Problem(kind=Kind.INVALID_BODY, detail=detail, errors=found)


def _field_error(entry: Mapping[str, JSON]) -> dict[str, str]:
    """Word one finding of the validation, without repeating the input: it may be huge or NaN."""
    # The first part says whether it stood in the body or the address.
    where = [str(part) for part in entry["loc"][1:]]
    if entry["type"] == "json_invalid":
        reason = entry.get("ctx", {}).get("error", "")
        return {"field": "body", "message": f"is not JSON: {reason} at character {where[0]}"}
    message = str(entry["msg"])
    return {
        "field": ".".join(where)[:200] or "body",
        "message": message[:1].lower() + message[1:],
    }
