"""Many texts through one embedder: requests of its size, several under way, answers checked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from search_app.embedders.base import Embedder
from search_app.errors import EmbedderResponseError
from search_app.types import Kind, Matrix

UNIT_TOLERANCE = 1e-6
"""How far from 1 the length of a vector may be that is kept as it came."""

_AROUND = 8


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Vectors as received, in the order of their texts, and how each one travelled.

    ``vectors`` is (n, d) float32. ``batch_sizes[i]`` counts the texts of the request that carried
    text i, ``positions[i]`` is its place in it, from 0.
    """

    vectors: Matrix
    batch_sizes: list[int]
    positions: list[int]


def check_request(texts: Sequence[str], most: int) -> None:
    """Refuse what ``Embedder.embed`` does not take.

    Raises:
        ValueError: no text, more than ``most``, or an empty one.
    """
    if not 1 <= len(texts) <= most:
        raise ValueError(f"{len(texts)} texts; one call takes 1 to {most}")
    if "" in texts:
        raise ValueError(f"text {texts.index('')} of {len(texts)} is empty")


def tokens_of(embedder: Embedder, text: str, kind: Kind) -> int:
    """Count the tokens of a text, or name a number that is rather too large than too small."""
    counted = embedder.count_tokens(text, kind)
    return most_tokens(embedder.text_sent(text, kind)) // 2 if counted is None else counted


def most_tokens(text: str) -> int:
    """Give more tokens than any tokenizer makes of a text: one for each byte, and some around."""
    return len(text.encode(errors="replace")) + _AROUND


async def embed_all(embedder: Embedder, texts: Sequence[str], kind: Kind) -> Embedded:
    """Embed any number of texts, in requests of what ``embedder`` takes in texts and tokens.

    Up to ``embedder.concurrency`` requests are under way at once. The first error cancels the
    others and is raised. No texts give vectors of shape (0, 0), and ask nobody.

    Of a text that an answer left out and that a hosted embedder sent again by itself, the request
    that it was first sent in is named.

    Raises:
        EmbedderError: the embedder failed.
        EmbedderResponseError: an answer has the wrong count, shape or type, other dimensions than
            another answer, or holds NaN or infinity; names the text by its place, from 0.
    """
    requests = requests_of(embedder, texts, kind)
    answers = await _send_all(embedder, requests, kind)
    sizes = [len(request) for request in requests]
    return Embedded(
        vectors=np.concatenate(answers) if answers else np.empty((0, 0), dtype=np.float32),
        batch_sizes=[size for size in sizes for _ in range(size)],
        positions=[place for size in sizes for place in range(size)],
    )


def requests_of(embedder: Embedder, texts: Sequence[str], kind: Kind) -> list[Sequence[str]]:
    """Cut texts into requests; one that alone has more tokens than a request takes goes alone."""
    most = embedder.limits.request_tokens
    size = embedder.batch_size
    full = [texts[start : start + size] for start in range(0, len(texts), size)]
    if most is None:
        return full
    fitting = (
        sum(most_tokens(embedder.text_sent(text, kind)) for text in request) <= most
        for request in full
    )
    if all(fitting):
        # Counting takes its time, and these fit however they are counted.
        return full
    return _cut_by_tokens([(text, tokens_of(embedder, text, kind)) for text in texts], size, most)


def _cut_by_tokens(counted: Sequence[tuple[str, int]], size: int, most: int) -> list[Sequence[str]]:
    requests: list[Sequence[str]] = []
    request: list[str] = []
    total = 0
    for text, tokens in counted:
        if request and (len(request) == size or total + tokens > most):
            requests.append(request)
            request, total = [], 0
        request.append(text)
        total += tokens
    return [*requests, request]


async def _send_all(
    embedder: Embedder, requests: Sequence[Sequence[str]], kind: Kind
) -> list[Matrix]:
    answers: dict[int, Matrix] = {}
    firsts = list(accumulate((len(request) for request in requests), initial=0))
    waiting = iter(enumerate(requests))

    async def send_until_none_waits() -> None:
        for number, request in waiting:
            answer = await embedder.embed(request, kind)
            dimensions = next(iter(answers.values())).shape[1] if answers else None
            _check(answer, embedder, firsts[number], len(request), dimensions)
            answers[number] = answer

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(embedder.concurrency, len(requests))):
                group.create_task(send_until_none_waits())
    except ExceptionGroup as failed:
        first = failed.exceptions[0]
        # What the adapter gave as the cause stays the cause.
        raise first from first.__cause__
    return [answers[number] for number in range(len(requests))]


def _check(
    answer: Matrix, embedder: Embedder, first: int, count: int, dimensions: int | None
) -> None:
    """Refuse an answer that is not ``count`` usable vectors, the first for text ``first``."""
    asked = f"{embedder.spec}: texts {first} to {first + count - 1}"
    match answer:
        case np.ndarray(shape=(vectors, length), dtype=np.float32) if length > 0:
            pass
        case _:
            raise EmbedderResponseError(f"{asked}: the answer is no table of float32 vectors")
    if vectors != count:
        raise EmbedderResponseError(f"{asked}: {vectors} vectors came for {count} texts")
    if dimensions not in (None, length):
        raise EmbedderResponseError(
            f"{asked}: vectors of {length} dimensions, those before had {dimensions}"
        )
    unusable = np.flatnonzero(~np.isfinite(answer).all(axis=1))
    if len(unusable):
        raise EmbedderResponseError(
            f"{embedder.spec}: the vector of text {first + unusable[0]} holds NaN or infinity"
        )


def normalise(vectors: Matrix) -> tuple[Matrix, NDArray[np.float64]]:
    """Bring vectors to length 1; what this returns is what is stored and hashed.

    A row of length 1 within 1e-6 is kept bit for bit: most models already answer so, dividing
    again would only move its last bits, and the function changes nothing that it made itself.
    Other rows are divided in float64 and rounded once to float32.

    Returns:
        (n, d) float32, and the lengths before, (n,) float64.

    Raises:
        EmbedderResponseError: a row is zero, NaN or infinite; names it by its place, from 0.
    """
    exact = vectors.astype(np.float64)
    norms: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", exact, exact))
    unusable = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(unusable):
        place = unusable[0]
        raise EmbedderResponseError(
            f"the vector of text {place} has length {norms[place]}: it has no direction"
        )
    divided = (exact / norms[:, np.newaxis]).astype(np.float32)
    already = np.abs(norms - 1) <= UNIT_TOLERANCE
    return np.where(already[:, np.newaxis], vectors, divided), norms
