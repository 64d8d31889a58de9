"""Many texts through one embedder: requests of its size, several under way, answers checked."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from search_app.embedders.base import Embedder
from search_app.errors import EmbedderRefusedError, EmbedderResponseError, SpentUpError
from search_app.types import Kind, Matrix, Vector

UNIT_TOLERANCE = 1e-6
"""How far from 1 the length of a vector may be that is kept as it came."""

GRACE_S = 5.0
"""How long requests under way may go on once another one failed: they are paid for."""

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


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A vector as received, how many texts its request had, and its place in it, from 0."""

    vector: Vector
    batch_size: int
    position: int


@dataclass(kw_only=True)
class Answers:
    """What became of texts, by their place; of those in neither, nothing is known.

    Nothing is sent any more once it is ``stopped``; by whom is no matter. ``spent``: because no
    more may be sent.
    """

    made: dict[int, Answer] = field(default_factory=dict)
    refused: dict[int, EmbedderRefusedError] = field(default_factory=dict)
    stopped: bool = False
    spent: bool = False


async def embed_each(
    embedder: Embedder,
    texts: Sequence[str],
    kind: Kind,
    answers: Answers,
    *,
    gate: asyncio.Semaphore,
    confirm: Callable[[], Awaitable[None]],
) -> None:
    """Embed texts as ``embed_all`` does, but keep whatever comes back, each text for itself.

    A request that is refused is halved until the texts that are refused stand alone; no other text
    is sent again for it. Once no more may be sent, what is under way is waited for, and that is
    all. What failed is raised when the others have answered, or had ``GRACE_S`` to.

    Args:
        embedder: who is asked.
        texts: what to embed.
        kind: what they are.
        answers: takes what comes; it is there also where this raises, or is cancelled.
        gate: lets so many requests be under way, with those of others.
        confirm: asked once when something is refused; raises where everything is.

    Raises:
        EmbedderError: as ``embed_all`` does, or what ``confirm`` raised.
    """
    await _Sending(embedder, texts, kind, answers, gate=gate, confirm=confirm).run()


class _Sending:
    """The requests of one call of ``embed_each``."""

    def __init__(
        self,
        embedder: Embedder,
        texts: Sequence[str],
        kind: Kind,
        answers: Answers,
        *,
        gate: asyncio.Semaphore,
        confirm: Callable[[], Awaitable[None]],
    ) -> None:
        self._embedder = embedder
        self._texts = texts
        self._kind = kind
        self._answers = answers
        self._gate = gate
        self._confirm = confirm
        self._confirming = asyncio.Lock()
        self._confirmed = False
        self._dimensions: int | None = None
        sizes = [len(request) for request in requests_of(embedder, texts, kind)]
        starts = accumulate(sizes, initial=0)
        self._waiting = deque(
            range(start, start + size) for start, size in zip(starts, sizes, strict=False)
        )

    async def run(self) -> None:
        number = min(self._embedder.concurrency, len(self._waiting))
        tasks = [asyncio.create_task(self._send_until_none_waits()) for _ in range(number)]
        if not tasks:
            return
        try:
            done, under_way = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if under_way:
                self._answers.stopped = True
                await asyncio.wait(under_way, timeout=GRACE_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            # Raises what failed first.
            task.result()

    async def _send_until_none_waits(self) -> None:
        while self._waiting:
            async with self._gate:
                if self._answers.stopped:
                    return
                # Another one may have taken it while this one waited.
                if self._waiting:
                    await self._send(self._waiting.popleft())

    async def _send(self, places: range) -> None:
        texts = self._texts[places.start : places.stop]
        try:
            vectors = await self._embedder.embed(texts, self._kind)
        except EmbedderRefusedError as exc:
            await self._confirm_once()
            self._part(places, exc)
        except SpentUpError:
            self._answers.spent = self._answers.stopped = True
        else:
            _check(vectors, self._embedder, places.start, len(places), self._dimensions)
            self._dimensions = vectors.shape[1]
            for position, place in enumerate(places):
                self._answers.made[place] = Answer(
                    vector=vectors[position], batch_size=len(places), position=position
                )

    def _part(self, places: range, refusal: EmbedderRefusedError) -> None:
        """Send the halves of what was refused, or note that it is the one that is."""
        if len(places) == 1:
            self._answers.refused[places.start] = refusal
            return
        half = len(places) // 2
        self._waiting.extendleft((places[half:], places[:half]))

    async def _confirm_once(self) -> None:
        async with self._confirming:
            if not self._confirmed:
                await self._confirm()
                self._confirmed = True


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
