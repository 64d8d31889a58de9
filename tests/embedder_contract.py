"""What every embedder must do; each embedder's test class inherits these tests."""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from search_app.embedders.base import Embedder
from search_app.embedders.batching import embed_all, normalise
from search_app.types import Kind

NAUGHTY = Path(__file__).parents[2] / "shared/data/naughty/strings.jsonl"
TEXTS = [
    "The wing stalls at a high angle of attack.",
    "梅雨は、東アジアの広範囲においてみられる特有の気象現象である。",
    "Postgres stores rows in pages of eight kilobytes.",
    "寿司は酢飯と魚介類を組み合わせた日本料理である。",
    "Bread rises because yeast makes carbon dioxide.",
    "東京の人口は約一千四百万人である。",
    "A quick brown fox jumps over the lazy dog.",
]
KINDS: tuple[Kind, ...] = ("query", "document")
LONG = (
    "A sentence that says little, again and again. ",
    "同じことを何度も繰り返すだけの文である。",
)


class EmbedderContract(ABC):
    """Inherit as ``class TestX(EmbedderContract)`` and give the ``embedder`` fixture."""

    @pytest.fixture
    @abstractmethod
    def embedder(self) -> AsyncIterator[Embedder] | Embedder:
        """Give an embedder that works, and close it afterwards."""

    @pytest.mark.parametrize("kind", KINDS)
    async def test_one_finite_float32_row_for_each_text(
        self, embedder: Embedder, kind: Kind
    ) -> None:
        texts = TEXTS[: embedder.batch_size]
        vectors = await embedder.embed(texts, kind)
        assert vectors.dtype == np.float32
        assert vectors.ndim == 2
        assert len(vectors) == len(texts)
        assert np.isfinite(vectors).all()

    async def test_rows_keep_the_order_of_the_texts(self, embedder: Embedder) -> None:
        forwards = (await embed_all(embedder, TEXTS, "document")).vectors
        backwards = (await embed_all(embedder, TEXTS[::-1], "document")).vectors
        similarity = normalise(forwards)[0] @ normalise(backwards[::-1])[0].T
        assert similarity.argmax(axis=1).tolist() == list(range(len(TEXTS)))
        assert similarity.diagonal().min() > 0.99

    async def test_different_texts_have_different_vectors(self, embedder: Embedder) -> None:
        vectors = (await embed_all(embedder, TEXTS, "document")).vectors
        assert len({row.tobytes() for row in vectors}) == len(TEXTS)

    async def test_dimensions_are_those_described(self, embedder: Embedder) -> None:
        vectors = await embedder.embed(TEXTS[:1], "query")
        assert vectors.shape == (1, (await embedder.describe()).dimensions)

    async def test_describes_itself_the_same_twice(self, embedder: Embedder) -> None:
        assert await embedder.describe() == await embedder.describe()

    async def test_text_sent_is_the_prefix_and_the_text(self, embedder: Embedder) -> None:
        identity = await embedder.describe()
        for text in TEXTS:
            assert embedder.text_sent(text, "query") == identity.query_prefix + text
            assert embedder.text_sent(text, "document") == identity.document_prefix + text

    async def test_spec_says_how_a_user_names_it(self, embedder: Embedder) -> None:
        assert embedder.spec.partition(":")[0] == (await embedder.describe()).provider

    async def test_no_text_at_all_is_an_error_of_the_caller(self, embedder: Embedder) -> None:
        with pytest.raises(ValueError, match="0 texts"):
            await embedder.embed([], "document")

    async def test_more_texts_than_a_request_takes_is_an_error_of_the_caller(
        self, embedder: Embedder
    ) -> None:
        texts = ["text"] * (embedder.batch_size + 1)
        with pytest.raises(ValueError, match=f"{len(texts)} texts"):
            await embedder.embed(texts, "document")

    async def test_an_empty_text_is_an_error_of_the_caller(self, embedder: Embedder) -> None:
        with pytest.raises(ValueError, match="empty"):
            await embedder.embed([""], "document")

    async def test_a_full_request_is_taken(self, embedder: Embedder) -> None:
        texts = [f"text {number}" for number in range(embedder.batch_size)]
        assert len(await embedder.embed(texts, "document")) == len(texts)

    @pytest.mark.parametrize("sentence", LONG, ids=["english", "japanese"])
    async def test_a_long_text_has_a_vector(self, embedder: Embedder, sentence: str) -> None:
        vectors = await embedder.embed([sentence * 300], "document")
        normalise(vectors)

    async def test_naughty_strings_have_vectors(self, embedder: Embedder) -> None:
        if not NAUGHTY.exists():
            pytest.skip("the list of naughty strings is not here")
        lines = NAUGHTY.read_text(encoding="utf-8").splitlines()
        texts = [text for line in lines if (text := json.loads(line)["text"])]
        embedded = await embed_all(embedder, texts, "document")
        unit, _ = normalise(embedded.vectors)
        assert len(unit) == len(texts)
