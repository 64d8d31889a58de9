"""Reading an answer of an OpenAI-compatible endpoint, believing nothing that can be checked."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search_app.embedders.openai_errors import Request, is_html, server_words, shortened
from search_app.errors import EmbedderResponseError
from search_app.types import JSON, Matrix, Vector

_ADDRESS = "check that UNMOVED_OPENAI_BASE_URL is the address of the API"
_API = "the server does not keep to the API; with UNMOVED_OPENAI_BATCH_SIZE=1 it may"
_LOG = "the server's log may say why"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Vectors (n, d) float32 in the order of the texts, and the model that the server names."""

    vectors: Matrix
    model: str


def read_answer(body: bytes, request: Request) -> Answer:
    """Read the body of a successful answer to a request.

    Vectors are placed by their ``index``, whatever order they come in. Both encodings are read,
    whichever was asked for, because servers ignore ``encoding_format``.

    Raises:
        EmbedderResponseError: not JSON, an error in disguise, a text without its one vector, or a
            vector that is empty, all zero, not finite, or of another length than the others.
    """
    payload = _payload(body, request)
    encoded = _placed(_items(payload, request), request)
    vectors = [_vector(value, index, request) for index, value in enumerate(encoded)]
    for index, vector in enumerate(vectors):
        if vector.size != vectors[0].size:
            raise _unusable(
                request,
                f"{request.text(index)} got {vector.size} dimensions, the first text "
                f"{vectors[0].size}",
                _LOG,
            )
    model = payload.get("model")
    return Answer(vectors=np.stack(vectors), model=model if isinstance(model, str) else "")


def _unusable(request: Request, problem: str, advice: str) -> EmbedderResponseError:
    return EmbedderResponseError(request.line(f"{problem}; {advice}"))


def _payload(body: bytes, request: Request) -> dict[str, JSON]:
    if not body.strip():
        raise _unusable(request, "the answer is empty", _ADDRESS)
    if is_html(body[:100].decode(errors="replace")):
        raise _unusable(request, "the answer is an HTML page, not JSON", _ADDRESS)
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as exc:
        problem = f"the answer of {len(body)} bytes is not JSON, or is cut short"
        raise _unusable(request, problem, _LOG) from exc
    if not isinstance(payload, dict):
        raise _unusable(request, f"the answer is a JSON {type(payload).__name__}", _ADDRESS)
    return payload


def _items(payload: dict[str, JSON], request: Request) -> Sequence[JSON]:
    items = payload.get("data")
    if isinstance(items, list):
        return items
    if payload.get("error"):
        words = shortened(server_words(payload), request)
        raise _unusable(request, f"an error sent as a success: {words}", _LOG)
    raise _unusable(request, "the answer has no list 'data'", _ADDRESS)


def _placed(items: Sequence[JSON], request: Request) -> list[JSON]:
    count = len(request.texts)
    placed: dict[int, JSON] = {}
    for item in items:
        index = item.get("index") if isinstance(item, dict) else None
        if type(index) is not int or not 0 <= index < count:
            raise _unusable(request, f"a vector has index {index!r} for {count} texts", _API)
        if index in placed:
            raise _unusable(request, f"two vectors for {request.text(index)}", _API)
        placed[index] = item.get("embedding")
    for index in range(count):
        if index not in placed:
            problem = f"{len(items)} vectors for {count} texts, none for {request.text(index)}"
            raise _unusable(request, problem, _API)
    return [placed[index] for index in range(count)]


def _vector(value: JSON, index: int, request: Request) -> Vector:
    try:
        vector = _from_base64(value) if isinstance(value, str) else _from_numbers(value)
    except ValueError as exc:
        raise _unusable(request, f"the vector of {request.text(index)} {exc}", _API) from exc
    if not vector.size:
        raise _unusable(request, f"the vector of {request.text(index)} is empty", _LOG)
    if not np.isfinite(vector).all():
        problem = f"the vector of {request.text(index)} holds NaN or infinity"
        raise _unusable(request, problem, _LOG)
    if not vector.any():
        raise _unusable(request, f"the vector of {request.text(index)} is all zero", _LOG)
    return vector


def _from_base64(value: str) -> Vector:
    try:
        octets = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError("is neither numbers nor base64") from exc
    if len(octets) % 4:
        raise ValueError(f"is {len(octets)} bytes of base64, which no float32 vector is")
    return np.frombuffer(octets, dtype="<f4").astype(np.float32)


def _from_numbers(value: JSON) -> Vector:
    if not isinstance(value, list):
        raise ValueError("is missing" if value is None else f"is a {type(value).__name__}")  # noqa: TRY004 - both ways of being no vector are one error to the caller
    for number in value:
        # numpy would turn "0.1", True and None into numbers.
        if type(number) is not float and type(number) is not int:
            raise ValueError(f"holds {type(number).__name__} where a number belongs")
    try:
        # Too large for float32 becomes infinity here, and is refused as such.
        with np.errstate(over="ignore"):
            return np.array(value, dtype=np.float64).astype(np.float32)
    except OverflowError as exc:
        raise ValueError("holds a number that no float can") from exc
