"""The fake embedder: told apart, near where words are shared, the same bytes everywhere."""

import asyncio
import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import InvalidInputError
from search_app.types import Matrix
from tests.embedder_contract import TEXTS, EmbedderContract

# Of the vectors of TEXTS in 384 dimensions, so that another machine, Python or numpy shows.
DIGEST = "db35c57605e8cad47fe2e3f4e2f774c9ef951a91cb5089d61c717ae9150e9a6d"


async def _embed(*texts: str, dimensions: int = 384) -> Matrix:
    return await HashingEmbedder(dimensions).embed(texts, "document")


class TestHashing(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> HashingEmbedder:
        return HashingEmbedder(384)


async def test_bytes_are_the_same_on_every_machine() -> None:
    vectors = await _embed(*TEXTS)
    assert hashlib.sha256(vectors.tobytes()).hexdigest() == DIGEST


def test_bytes_are_the_same_in_another_process_with_another_hash_seed() -> None:
    code = (
        "import asyncio, sys\n"
        "from search_app.embedders.hashing import HashingEmbedder\n"
        "from tests.embedder_contract import TEXTS\n"
        "vectors = asyncio.run(HashingEmbedder(96).embed(TEXTS, 'query'))\n"
        "sys.stdout.buffer.write(vectors.tobytes())\n"
    )
    answers = [
        subprocess.check_output([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    here = asyncio.run(_embed(*TEXTS, dimensions=96))
    assert answers == [here.tobytes(), here.tobytes()]


async def test_a_vector_does_not_depend_on_its_batch() -> None:
    together = await _embed(*TEXTS)
    alone = np.concatenate([await _embed(text) for text in TEXTS])
    assert together.tobytes() == alone.tobytes()


async def test_shared_words_bring_texts_near() -> None:
    query, near, far = await _embed(
        "how much protein per day", "How much protein do I need?", "the wing stalls at high speed"
    )
    assert query @ near > 0.4
    assert query @ far < 0.2


async def test_shared_characters_bring_japanese_texts_near() -> None:
    query, near, far = await _embed(
        "梅雨", "梅雨の時期が始まることを梅雨入りという", "台風は熱帯低気圧が発達したもの"
    )
    assert query @ near > query @ far + 0.15


@pytest.mark.parametrize("dimensions", [8, 63, 64, 65, 384, 4096])
async def test_any_dimensions_tell_texts_apart_in_unit_vectors(dimensions: int) -> None:
    # Same words and letters but for case, order or a blank: the nearest that texts can be.
    texts = ["a b", "b a", "A b", "a  b", "a b ", " ", "\n", "。", "x", "X", *TEXTS]
    vectors = await _embed(*texts, dimensions=dimensions)
    assert vectors.shape == (len(texts), dimensions)
    assert len({row.tobytes() for row in vectors}) == len(texts)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-6)


@given(st.text(st.characters(), min_size=1))
async def test_every_text_has_a_direction(text: str) -> None:
    for dimensions in (8, 384):
        vector = (await _embed(text, dimensions=dimensions))[0]
        assert abs(float(np.linalg.norm(vector)) - 1) < 1e-6


@pytest.mark.parametrize("given", [7, 4097, 0, -8, "", "big", "38.4", "٣٨٤", "+384", " 384"])
def test_other_dimensions_are_refused_with_what_to_write(given: int | str) -> None:
    with pytest.raises(InvalidInputError, match="hashing:DIM with DIM from 8 to 4096"):
        HashingEmbedder(given)


def test_dimensions_may_come_as_a_user_wrote_them() -> None:
    assert HashingEmbedder("0384").spec == "hashing:384"
