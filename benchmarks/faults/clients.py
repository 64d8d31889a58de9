"""What stands between a text and its vector: edits, limits, prefixes, noise, another model.

An ``Answer`` is what an embedder does with texts; faults are answers made of other answers.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np

from benchmarks.faults.models import MiniLM, Model
from search_app.embedders.base import Embedder
from search_app.types import Kind, Matrix, ModelIdentity, Vector

Answer = Callable[[Sequence[str], Kind], Awaitable[Matrix]]
Generator = np.random.Generator

PREFIXES: Mapping[Kind, str] = {"query": "query: ", "document": "passage: ", "bare": ""}
NO_PREFIXES: Mapping[Kind, str] = {"query": "", "document": "", "bare": ""}
SWAPPED: Mapping[Kind, str] = {"query": "passage: ", "document": "query: ", "bare": ""}


BATCH = 16


class Planted(Embedder):
    """An embedder that answers as it is told to; ``paid`` ones are asked sparingly."""

    def __init__(self, name: str, prefixes: Mapping[Kind, str], *, paid: bool) -> None:
        """Take a name; ``answer`` is set before anything is asked."""
        self.spec = f"openai:{name}" if paid else f"onnx:{name}"
        self.batch_size = BATCH
        self.answer: Answer
        self.prefixes = prefixes
        self.dimensions = 384
        self._name = name

    async def describe(self) -> ModelIdentity:
        """Say the same whatever answers: names lie."""
        probe = await self.answer(["water"], "document")
        return ModelIdentity(
            provider="planted",
            model=self._name,
            revision="1",
            dimensions=probe.shape[1],
            max_tokens=512,
            document_prefix=self.prefixes["document"],
            query_prefix=self.prefixes["query"],
        )

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Answer."""
        return np.asarray(await self.answer(texts, kind), np.float32)

    def text_sent(self, text: str, kind: Kind) -> str:
        """Give what the client believes that it sends."""
        return self.prefixes[kind] + text


def plain(
    model: Model,
    prefixes: Mapping[Kind, str] = PREFIXES,
    edit: Callable[[str], str] = str,
    limit: int | None = None,
) -> Answer:
    """Send texts, edited, with prefixes, cut at a limit of tokens."""

    async def answer(texts: Sequence[str], kind: Kind) -> Matrix:
        return await model.vectors([prefixes[kind] + edit(text) for text in texts], limit)

    return answer


def batched(model: MiniLM) -> Answer:
    """Send texts as they come: one alone, several in batches."""

    async def answer(texts: Sequence[str], _kind: Kind) -> Matrix:
        if len(texts) == 1:
            return await model.vectors(texts)
        batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        return np.concatenate([await model.together(batch) for batch in batches])

    return answer


def noisy(
    inner: Answer,
    draw: Generator,
    length: float,
    *,
    sends: float = 1.0,
    texts: float = 1.0,
    along: Vector | None = None,
) -> Answer:
    """Add noise of a length to a share of sends and of texts; isotropic, or along an axis."""

    async def answer(given: Sequence[str], kind: Kind) -> Matrix:
        vectors = await inner(given, kind)
        noise = draw.normal(size=vectors.shape) if along is None else _along(draw, vectors, along)
        noise *= length / np.linalg.norm(noise, axis=1, keepdims=True)
        hit = (draw.random(len(given)) < sends) & [lot(text) < texts for text in given]
        return np.asarray(vectors + noise * hit[:, None], np.float32)

    return answer


def _along(draw: Generator, vectors: Matrix, axis: Vector) -> Matrix:
    """Draw noise of which most lies along an axis, up or down."""
    rest = draw.normal(size=vectors.shape) / np.sqrt(vectors.shape[1])
    return np.asarray(draw.choice([-2.0, 2.0], (len(vectors), 1)) * axis + rest, np.float32)


def mixture(one: Answer, other: Answer, draw: Generator, share: float) -> Answer:
    """Let the other answer a share of the texts, as two replicas behind one address do."""

    async def answer(texts: Sequence[str], kind: Kind) -> Matrix:
        hit = draw.random(len(texts)) < share
        return np.where(hit[:, None], await other(texts, kind), await one(texts, kind))

    return answer


def for_some(one: Answer, other: Answer, chosen: Callable[[str, Kind], bool]) -> Answer:
    """Let the other answer chosen texts."""

    async def answer(texts: Sequence[str], kind: Kind) -> Matrix:
        hit = np.array([chosen(text, kind) for text in texts])
        return np.where(hit[:, None], await other(texts, kind), await one(texts, kind))

    return answer


def turned(inner: Answer, by: Matrix) -> Answer:
    """Turn every vector by an orthogonal matrix."""

    async def answer(texts: Sequence[str], kind: Kind) -> Matrix:
        return np.asarray(await inner(texts, kind) @ by, np.float32)

    return answer


def shortened(inner: Answer, dimensions: int) -> Answer:
    """Give the first dimensions alone, as a provider does that is asked for fewer."""

    async def answer(texts: Sequence[str], kind: Kind) -> Matrix:
        return (await inner(texts, kind))[:, :dimensions]

    return answer


def rotation(draw: Generator, dimensions: int) -> Matrix:
    """Draw an orthogonal matrix."""
    q, r = np.linalg.qr(draw.normal(size=(dimensions, dimensions)))
    return np.asarray(q * np.sign(np.diag(r)), np.float32)


def lot(text: str) -> float:
    """Give every text a number in [0, 1) of its own, always the same."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
