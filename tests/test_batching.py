"""Many texts through one embedder: order, size and number of requests, and refused answers."""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from search_app.embedders.base import Embedder, Limits
from search_app.embedders.batching import embed_all, normalise
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import EmbedderResponseError, EmbedderUnavailableError
from search_app.types import Kind, Matrix, ModelIdentity

Answer = Callable[[Sequence[str], Matrix], Matrix]


class ScriptedEmbedder(Embedder):
    """The hashing embedder, but slow, counted, and with answers that a test may spoil."""

    def __init__(
        self, *, batch_size: int = 4, concurrency: int = 1, answer: Answer | None = None
    ) -> None:
        self._real = HashingEmbedder(16)
        self.spec = "scripted"
        self.batch_size = batch_size
        self.concurrency = concurrency
        self.answer = answer
        self.requests: list[list[str]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.cancelled = 0

    async def describe(self) -> ModelIdentity:
        return await self._real.describe()

    def text_sent(self, text: str, kind: Kind) -> str:
        return self._real.text_sent(text, kind)

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        self.requests.append(list(texts))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            # Earlier requests take longer, so that answers arrive in another order than sent.
            await asyncio.sleep(0.02 / len(self.requests))
            real = await self._real.embed(texts, kind)
            return self.answer(texts, real) if self.answer else real
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1


def _texts(count: int) -> list[str]:
    return [f"text number {number}" for number in range(count)]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_vectors_keep_the_order_of_the_texts(concurrency: int) -> None:
    embedder = ScriptedEmbedder(concurrency=concurrency)
    embedded = await embed_all(embedder, _texts(10), "document")
    alone = [await HashingEmbedder(16).embed([text], "document") for text in _texts(10)]
    assert embedded.vectors.tobytes() == np.concatenate(alone).tobytes()


async def test_each_text_knows_its_request_and_its_place_in_it() -> None:
    embedder = ScriptedEmbedder(batch_size=4, concurrency=2)
    embedded = await embed_all(embedder, _texts(10), "document")
    assert [len(request) for request in embedder.requests] == [4, 4, 2]
    assert embedded.batch_sizes == [4, 4, 4, 4, 4, 4, 4, 4, 2, 2]
    assert embedded.positions == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize(("concurrency", "expected"), [(1, 1), (3, 3), (8, 5)])
async def test_as_many_requests_are_under_way_as_the_embedder_wants(
    concurrency: int, expected: int
) -> None:
    embedder = ScriptedEmbedder(batch_size=2, concurrency=concurrency)
    await embed_all(embedder, _texts(10), "document")
    assert embedder.most_under_way == expected


@pytest.mark.parametrize(
    ("words", "most", "expected"),
    [
        # In bytes they might be too many; counted, they are not.
        ([40, 40, 40, 40], 160, [4]),
        ([40, 40, 40, 40], 159, [3, 1]),
        ([10, 200, 10, 10, 10, 10], 100, [1, 1, 4]),
        ([60, 60, 60], 100, [1, 1, 1]),
    ],
)
async def test_requests_keep_to_the_tokens_that_one_takes(
    words: list[int], most: int, expected: list[int]
) -> None:
    class Counting(ScriptedEmbedder):
        limits = Limits(request_tokens=most)

        def count_tokens(self, text: str, kind: Kind) -> int | None:
            del kind
            return len(text.split())

    embedder = Counting(batch_size=4)
    texts = [" ".join(f"{number}{place}" for place in range(n)) for number, n in enumerate(words)]
    embedded = await embed_all(embedder, texts, "document")
    assert [len(request) for request in embedder.requests] == expected
    alone = [await HashingEmbedder(16).embed([text], "document") for text in texts]
    assert embedded.vectors.tobytes() == np.concatenate(alone).tobytes()
    assert embedded.batch_sizes == [size for size in expected for _ in range(size)]


async def test_tokens_that_nobody_counts_are_thought_too_many_rather_than_too_few() -> None:
    class Uncounted(ScriptedEmbedder):
        limits = Limits(request_tokens=300)

    embedder = Uncounted(batch_size=64)
    texts = [f"{number} 潮汐は月の引力による。" * 5 for number in range(8)]
    await embed_all(embedder, texts, "document")
    for request in embedder.requests:
        assert sum(len(text) for text in request) <= 300


async def test_no_texts_ask_nobody() -> None:
    embedder = ScriptedEmbedder()
    embedded = await embed_all(embedder, [], "document")
    assert embedded.vectors.shape == (0, 0)
    assert embedded.batch_sizes == embedded.positions == []
    assert not embedder.requests


async def test_the_first_error_cancels_the_rest_and_keeps_its_cause() -> None:
    def fail_at_second(texts: Sequence[str], real: Matrix) -> Matrix:
        if "text number 2" in texts:
            raise EmbedderUnavailableError("no answer") from TimeoutError("5 s")
        return real

    embedder = ScriptedEmbedder(batch_size=2, concurrency=2, answer=fail_at_second)
    with pytest.raises(EmbedderUnavailableError, match="no answer") as caught:
        await embed_all(embedder, _texts(40), "document")
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert embedder.under_way == 0
    assert embedder.cancelled == 1
    assert len(embedder.requests) < 5


async def test_cancelling_cancels_every_request() -> None:
    embedder = ScriptedEmbedder(batch_size=1, concurrency=3)
    task = asyncio.create_task(embed_all(embedder, _texts(30), "document"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert embedder.under_way == 0
    assert embedder.cancelled == 3


def _one_too_few(_texts: Sequence[str], real: Matrix) -> Matrix:
    return real[:-1]


def _one_too_many(_texts: Sequence[str], real: Matrix) -> Matrix:
    return np.concatenate([real, real[:1]])


def _double_precision(_texts: Sequence[str], real: Matrix) -> Matrix:
    return real.astype(np.float64)


def _one_row(_texts: Sequence[str], real: Matrix) -> Matrix:
    first: Matrix = real[0]
    return first


def _no_columns(_texts: Sequence[str], real: Matrix) -> Matrix:
    return real[:, :0]


def _shorter_later(texts: Sequence[str], real: Matrix) -> Matrix:
    return real[:, :8] if "text number 6" in texts else real


def _nan_in_the_seventh(texts: Sequence[str], real: Matrix) -> Matrix:
    if "text number 6" in texts:
        real[texts.index("text number 6"), 3] = np.nan
    return real


def _infinity_in_the_seventh(texts: Sequence[str], real: Matrix) -> Matrix:
    if "text number 6" in texts:
        real[texts.index("text number 6"), 3] = -np.inf
    return real


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_one_too_few, "texts 0 to 3: 3 vectors came for 4 texts"),
        (_one_too_many, "texts 0 to 3: 5 vectors came for 4 texts"),
        (_double_precision, "no table of float32 vectors"),
        (_one_row, "no table of float32 vectors"),
        (_no_columns, "no table of float32 vectors"),
        (_shorter_later, "texts 4 to 7: vectors of 8 dimensions, those before had 16"),
        (_nan_in_the_seventh, "the vector of text 6 holds NaN or infinity"),
        (_infinity_in_the_seventh, "the vector of text 6 holds NaN or infinity"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_refused(answer: Answer, message: str) -> None:
    with pytest.raises(EmbedderResponseError, match=message) as caught:
        await embed_all(ScriptedEmbedder(answer=answer), _texts(10), "document")
    assert "text number" not in str(caught.value)


def test_normalise_divides_in_double_precision() -> None:
    vectors = np.array([[3, 4], [1e-30, 0], [1e30, 1e30], [0, -5]], dtype=np.float32)
    unit, norms = normalise(vectors)
    half = np.float32(np.sqrt(0.5))
    expected = np.array([[0.6, 0.8], [1, 0], [half, half], [0, -1]], dtype=np.float32)
    assert unit.tobytes() == expected.tobytes()
    np.testing.assert_allclose(norms, [5, 1e-30, np.sqrt(2) * 1e30, 5], rtol=1e-6)
    assert norms.dtype == np.float64


def test_normalise_keeps_unit_vectors_bit_for_bit() -> None:
    vectors = np.array([[1 + 9e-7, 0], [0.6, 0.8], [1 + 3e-6, 0]], dtype=np.float32)
    unit, _ = normalise(vectors)
    assert unit[:2].tobytes() == vectors[:2].tobytes()
    assert unit[2].tobytes() == np.array([1, 0], dtype=np.float32).tobytes()


@given(
    numpy_strategies.arrays(
        np.float32,
        numpy_strategies.array_shapes(min_dims=2, max_dims=2, max_side=20),
        elements=st.floats(-(2.0**120), 2.0**120, width=32),
    )
)
def test_normalise_changes_nothing_that_it_made(vectors: Matrix) -> None:
    usable = vectors[(vectors != 0).any(axis=1)]
    unit, _ = normalise(usable)
    again, norms = normalise(unit)
    assert again.tobytes() == unit.tobytes()
    assert (np.abs(norms - 1) < 1e-6).all()


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_normalise_refuses_a_vector_without_direction(bad: float) -> None:
    vectors = np.array([[1, 0], [bad, bad], [0, 1]], dtype=np.float32)
    with pytest.raises(EmbedderResponseError, match="vector of text 1 has length"):
        normalise(vectors)


def test_normalise_leaves_its_argument_alone() -> None:
    vectors = np.array([[3, 4]], dtype=np.float32)
    normalise(vectors)
    assert vectors.tolist() == [[3, 4]]
