"""Reading vectors out of an answer, believing nothing that can be checked."""

import base64
import binascii
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search_app.embedders.hosted.request import Request, is_html, server_words
from search_app.errors import EmbedderResponseError
from search_app.types import JSON, Vector

_LOG = "the server's log may say why"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What an endpoint answered, in the order of the texts.

    ``vectors[i]`` belongs to text i; None where the answer left it out, and it is to be asked for
    again. ``model`` is the name the server gives, ``tokens`` what it says it counted; "" and None
    where it says nothing.
    """

    vectors: Sequence[Vector | None]
    model: str = ""
    tokens: int | None = None


def unusable(request: Request, problem: str, advice: str = _LOG) -> EmbedderResponseError:
    """Make the error of an answer that cannot be used."""
    return EmbedderResponseError(request.line(f"{problem}; {advice}"))


def payload_of(body: bytes, request: Request) -> dict[str, JSON]:
    """Read the JSON object that a body is.

    Raises:
        EmbedderResponseError: it is empty, a page for people, cut short, or no object.
    """
    address = _address(request)
    if not body.strip():
        raise unusable(request, "the answer is empty", address)
    if is_html(body[:100].decode(errors="replace")):
        raise unusable(request, "the answer is an HTML page, not JSON", address)
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as exc:
        problem = f"the answer of {len(body)} bytes is not JSON, or is cut short"
        raise unusable(request, problem) from exc
    if not isinstance(payload, dict):
        raise unusable(request, f"the answer is a JSON {type(payload).__name__}", address)
    return payload


def list_in(payload: dict[str, JSON], name: str, request: Request) -> Sequence[JSON]:
    """Take the list of that name out of an answer.

    Raises:
        EmbedderResponseError: there is none, or an error was sent as a success.
    """
    items = payload.get(name)
    if isinstance(items, list):
        return items
    if payload.get("error"):
        words = request.shortened(server_words(payload))
        raise unusable(request, f"an error sent as a success: {words}")
    kind = payload.get("object")
    what = f", it is a {request.shortened(kind)}" if isinstance(kind, str) and kind else ""
    raise unusable(request, f"the answer has no list '{name}'{what}", _address(request))


def by_index(items: Sequence[JSON], request: Request) -> list[Vector | None]:
    """Place the vectors of items like ``{"index": 0, "embedding": …}`` by their index.

    Raises:
        EmbedderResponseError: an index that no text has, or twice, or no usable vector.
    """
    count = len(request.texts)
    placed: dict[int, JSON] = {}
    for item in items:
        index = item.get("index") if isinstance(item, dict) else None
        if type(index) is not int or not 0 <= index < count:
            problem = f"a vector has index {index!r} for {count} texts"
            raise unusable(request, problem, _api(request))
        if index in placed:
            raise unusable(request, f"two vectors for {request.text(index)}", _api(request))
        placed[index] = item.get("embedding")
    return [
        read_vector(placed[index], index, request) if index in placed else None
        for index in range(count)
    ]


def in_order(values: Sequence[JSON], request: Request) -> list[Vector | None]:
    """Read vectors that stand in the order of the texts, one for each.

    Raises:
        EmbedderResponseError: too few or too many, since nobody knows then whose they are, or no
            usable vector.
    """
    if len(values) != len(request.texts):
        problem = f"{len(values)} vectors for {len(request.texts)} texts"
        raise unusable(request, problem, _api(request))
    return [read_vector(value, index, request) for index, value in enumerate(values)]


def none_for(request: Request, index: int, count: int) -> EmbedderResponseError:
    """Make the error of a text that got no vector, also when it was asked for again."""
    problem = f"{count} vectors for {len(request.texts)} texts, none for {request.text(index)}"
    return unusable(request, problem, _api(request))


def read_vector(value: JSON, index: int, request: Request) -> Vector:
    """Read one vector, numbers or base64 of little-endian float32.

    Returns:
        (d,) float32, finite and not all zero.

    Raises:
        EmbedderResponseError: it is anything else.
    """
    try:
        vector = _from_base64(value) if isinstance(value, str) else _from_numbers(value)
    except ValueError as exc:
        problem = f"the vector of {request.text(index)} {exc}"
        raise unusable(request, problem, _api(request)) from exc
    if not vector.size:
        raise unusable(request, f"the vector of {request.text(index)} is empty")
    if not np.isfinite(vector).all():
        raise unusable(request, f"the vector of {request.text(index)} holds NaN or infinity")
    if not vector.any():
        raise unusable(request, f"the vector of {request.text(index)} is all zero")
    return vector


def count_of(value: JSON) -> int | None:
    """Read a number of tokens, as some answers write it, 4.0 too; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if value >= 0 else None


def check_lengths(vectors: Sequence[Vector | None], request: Request) -> None:
    """Refuse vectors of several lengths.

    Raises:
        EmbedderResponseError: names the text whose vector differs from the first.
    """
    sizes = {index: vector.size for index, vector in enumerate(vectors) if vector is not None}
    first = next(iter(sizes.values()), 0)
    for index, size in sizes.items():
        if size != first:
            problem = f"{request.text(index)} got {size} dimensions, the first text {first}"
            raise unusable(request, problem)


def _address(request: Request) -> str:
    setting = request.service.address_setting
    return f"check that {setting} is the address of the API" if setting else _LOG


def _api(request: Request) -> str:
    setting = request.service.batch_setting
    advice = f"; with {setting}=1 it may" if setting else ""
    return f"the server does not keep to the API{advice}"


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
