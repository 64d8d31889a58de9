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
    DegradedSearchError,
    EmbedderError,
    EmbedderUnavailableError,
    InvalidInputError,
    ModelMismatchError,
    NotFoundError,
    NotPermittedError,
    StoreUnavailableError,
    TooLargeError,
    UnmovedError,
)
from search_app.switching import UnfitIndexError
from search_app.types import JSON
from search_app.web.request_ids import request_id
from search_app.web.translation import gettext_noop

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5


class Kind(Enum):
    """The types of problems: status, name (the end of the type's address), title and hint.

    The title says what happened and the hint what to do about problems of that type, both fit for
    translation; the detail of a problem, which is in English, names the particular case.
    """

    INVALID_INPUT = (
        400,
        "invalid-input",
        gettext_noop("The request needs a change"),
        gettext_noop("Check what was entered, the filters and the address, then try again."),
    )
    UNKNOWN_HOST = (
        400,
        "unknown-host",
        gettext_noop("This host name is not served here"),
        gettext_noop("Open localhost, or name the host in UNMOVED_ALLOWED_HOSTS and restart."),
    )
    NO_KEY = (
        401,
        "no-key",
        gettext_noop("A key is needed here"),
        gettext_noop("Log in, or send a key that works; search-app keys create makes one."),
    )
    MISSING_SCOPE = (
        403,
        "missing-scope",
        gettext_noop("The key does not allow this"),
        gettext_noop("Use a key with the scope that is named, or one for all collections."),
    )
    CROSS_ORIGIN = (
        403,
        "cross-origin",
        gettext_noop("Requests from other sites are refused"),
        gettext_noop("Open the page here directly and repeat what you did."),
    )
    FORM_EXPIRED = (
        403,
        "form-expired",
        gettext_noop("The form is no longer valid"),
        gettext_noop("Go back, reload the page, allow its cookie and send the form again."),
    )
    OUT_OF_REACH = (
        403,
        "out-of-reach",
        gettext_noop("This may not be read from here"),
        gettext_noop("Upload the file, or name its folder in UNMOVED_INGEST_ROOTS and restart."),
    )
    NOT_FOUND = (
        404,
        "not-found",
        gettext_noop("There is no such thing here"),
        gettext_noop("It may have been removed or replaced since the link was made."),
    )
    METHOD = (
        405,
        "method-not-allowed",
        gettext_noop("This address takes other methods"),
        gettext_noop("The description of the API says which ones each address takes."),
    )
    UNFIT_INDEX = (
        409,
        "unfit-index",
        gettext_noop("This index cannot answer searches"),
        gettext_noop("The message says what it lacks, and which command completes it."),
    )
    TOO_LARGE = (
        413,
        "too-large",
        gettext_noop("The request is too large"),
        gettext_noop("Send less at a time."),
    )
    NOT_JSON = (
        415,
        "not-json",
        gettext_noop("The body must be JSON"),
        gettext_noop("Send it with the header Content-Type: application/json."),
    )
    NOT_FILES = (
        415,
        "not-files",
        gettext_noop("The body must hold files"),
        gettext_noop("Send them as multipart/form-data, as a form of a page does."),
    )
    INVALID_BODY = (
        422,
        "invalid-body",
        gettext_noop("The request does not have the expected shape"),
        gettext_noop("Compare its fields with those in the description of the API."),
    )
    TOO_MANY = (
        429,
        "too-many-requests",
        gettext_noop("Too many requests"),
        gettext_noop("Wait for as long as the message says, then try again."),
    )
    INTERNAL = (
        500,
        "internal",
        gettext_noop("Something went wrong here"),
        gettext_noop("Try again; if it stays, look into the server's log for the cause."),
    )
    EMBEDDER_REFUSED = (
        502,
        "embedder-refused",
        gettext_noop("The embedder gave no usable answer"),
        gettext_noop("Check the name of the model, the key and the address of the endpoint."),
    )
    EMBEDDER_UNAVAILABLE = (
        503,
        "embedder-unavailable",
        gettext_noop("The embedder does not answer"),
        gettext_noop("Check that the endpoint is running and reachable, then try again."),
    )
    STORE_UNAVAILABLE = (
        503,
        "store-unavailable",
        gettext_noop("The vector store does not answer"),
        gettext_noop("Check that the vector store is running and reachable, then try again."),
    )
    CATALOG_UNAVAILABLE = (
        503,
        "catalog-unavailable",
        gettext_noop("The database does not answer"),
        gettext_noop("Check that the database is running and reachable, then try again."),
    )
    STOPPING = (
        503,
        "stopping",
        gettext_noop("The server is being stopped"),
        gettext_noop("Ask again in a moment; another one may take its place."),
    )
    # Not 409: nothing is wrong with the request, and a monitor should notice. Without
    # Retry-After, since waiting does not bring the model back.
    MODEL_MISMATCH = (
        503,
        "model-mismatch",
        gettext_noop("Another model answers than the one of the index"),
        gettext_noop(
            "The index was built with another model, so a ranking would mean nothing, and nothing "
            "was searched. Restore the model that the index was made with."
        ),
    )

    def __init__(self, status: int, slug: str, title: str, hint: str) -> None:
        """Name the parts of the value."""
        self.status = status
        self.slug = slug
        self.title = title
        self.hint = hint

    @property
    def address(self) -> str:
        """The type as a problem names it: where the API page explains it."""
        return f"/docs#{self.slug}"


_RETRIED = (
    Kind.EMBEDDER_UNAVAILABLE,
    Kind.STORE_UNAVAILABLE,
    Kind.CATALOG_UNAVAILABLE,
    Kind.STOPPING,
)

_BRANCHES: tuple[tuple[type[UnmovedError], Kind], ...] = (
    (NotFoundError, Kind.NOT_FOUND),
    (NotPermittedError, Kind.MISSING_SCOPE),
    (TooLargeError, Kind.TOO_LARGE),
    (UnfitIndexError, Kind.UNFIT_INDEX),
    (InvalidInputError, Kind.INVALID_INPUT),
    (EmbedderUnavailableError, Kind.EMBEDDER_UNAVAILABLE),
    (DegradedSearchError, Kind.EMBEDDER_UNAVAILABLE),
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
        body: dict[str, JSON] = {
            "type": self.kind.address,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.errors:
            body["errors"] = list(self.errors)
        named = request_id()
        # So that whoever complains can name what the log has lines about.
        return body if named is None else body | {"request_id": named}

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

    def __init__(
        self, kind: Kind, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Take what to tell."""
        super().__init__(detail)
        self.problem = Problem(kind=kind, detail=detail, headers=headers or {})


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
        kind=Kind.INTERNAL,
        detail=gettext_noop("the request could not be answered; the server's log says why"),
    )


def _of_status(error: HTTPException) -> Problem:
    kind = _STATUSES.get(error.status_code, Kind.INVALID_INPUT)
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        kind = Kind.INTERNAL
    details = {
        Kind.NOT_FOUND: gettext_noop("there is nothing at this address"),
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
