"""The list of known models: it agrees with the adapters, the manual and what probes keep."""

import json
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from ingest import model_table
from ingest.cli import app
from ingest.probes import FOLDER, keep, kept_probes
from search_app.bootstrap import make_embedder
from search_app.config import load_settings
from search_app.embedders.hashing import HashingEmbedder
from search_app.embedders.known import KNOWN, Known, check_dimensions, find
from search_app.errors import ConfigurationError, NotFoundError
from search_app.prices import load_prices
from search_app.probing import probe

DOCS = Path(__file__).parents[1] / "docs"
KEYS = {
    "openai_api_key": "k",
    "google_api_key": "k",
    "cohere_api_key": "k",
    "voyage_api_key": "k",
    "bedrock_region": "us-east-1",
}
NAMED = [known for known in KNOWN if known.provider not in {"onnx", "hashing"}]
MODELS = [known for known in NAMED if known.provider != "sentence-transformers"]


@pytest.mark.parametrize("known", MODELS, ids=[known.spec for known in MODELS])
def test_adapters_declare_what_is_listed(known: Known) -> None:
    embedder = make_embedder(known.spec, load_settings(**KEYS))
    assert embedder.limits.text_tokens == known.text_tokens
    # Google's limit of a request is that of Vertex AI; a key alone leads to the Gemini API.
    if known.provider != "google":
        assert embedder.limits.request_tokens == known.request_tokens
    assert embedder.unit is known.unit
    assert embedder.batch_size <= (known.request_texts or embedder.batch_size)


@pytest.mark.parametrize("known", KNOWN, ids=[known.spec for known in KNOWN])
def test_entries_are_plausible(known: Known) -> None:
    assert find(known.provider, known.model) is known
    assert not known.choices or known.dimensions in known.choices
    for address in (known.source, known.price):
        assert not address or urlsplit(address).scheme == "https"
    hosted = known.text_tokens is not None and known.provider != "bundled"
    assert bool(known.price) is hosted


def test_every_model_with_a_price_is_listed() -> None:
    assert load_prices().table.keys() <= {known.spec for known in KNOWN}


@pytest.mark.parametrize("dimensions", [None, 256, 1024, 1536])
def test_dimensions_that_there_are(dimensions: int | None) -> None:
    check_dimensions("cohere", "embed-v4.0", dimensions)
    check_dimensions("openai", "text-embedding-3-small", dimensions)
    check_dimensions("cohere", "embed-v99", dimensions)


@pytest.mark.parametrize(
    ("provider", "model", "dimensions"),
    [
        ("cohere", "embed-v4.0", 257),
        ("cohere", "embed-english-v3.0", 256),
        ("openai", "text-embedding-3-small", 1537),
        ("google", "gemini-embedding-001", 127),
    ],
)
def test_dimensions_that_there_are_not(provider: str, model: str, dimensions: int) -> None:
    with pytest.raises(ConfigurationError, match="dimensions"):
        check_dimensions(provider, model, dimensions)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_table_in_the_manual_is_what_the_command_prints(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNMOVED_DATA_DIR", str(tmp_path))
    printed = CliRunner().invoke(app, ["models", "table", "--markdown"])
    assert printed.exit_code == 0
    manual = (DOCS / language / "providers.md").read_text(encoding="utf-8")
    assert printed.stdout in manual


async def test_probes_are_kept_and_stand_in_both_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = keep(tmp_path, await probe(HashingEmbedder(16), texts=4))
    second = keep(tmp_path, await probe(HashingEmbedder(16), texts=4))
    assert kept_probes(tmp_path) == [second]
    assert first.at <= second.at
    assert (second.stability, second.dimensions, second.noise) == ("bit-stable", 16, 0.0)
    (tmp_path / FOLDER / "odd.json").write_text("{}", encoding="utf-8")
    assert kept_probes(tmp_path) == [second]
    *_, last = model_table.rows(kept_probes(tmp_path))
    assert last[0] == "hashing:16"
    assert last[7] == f"bit-stable, measured {second.at:%Y-%m-%d}"
    monkeypatch.setenv("UNMOVED_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    runner = CliRunner()
    told = json.loads(runner.invoke(app, ["models", "table", "--json"]).stdout)
    assert len(told) == len(KNOWN) + 1
    assert datetime.fromisoformat(told[-1]["probe"]["at"]) == second.at
    assert all(row["probe"] is None for row in told[:-1])


def test_a_probe_prints_its_line_in_the_list_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNMOVED_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    runner = CliRunner()
    assert isinstance(runner.invoke(app, ["models", "list"]).exception, NotFoundError)
    assert runner.invoke(app, ["models", "probe", "hashing:24", "--texts", "4"]).exit_code == 0
    listed = runner.invoke(app, ["models", "list"])
    assert "hashing:24" in listed.stdout
    assert "bit-stable" in listed.stdout
    (row,) = json.loads(runner.invoke(app, ["models", "list", "--json"]).stdout)
    assert (row["id"], row["spec"], row["probe"]["stability"]) == (None, "hashing:24", "bit-stable")
    assert [path.name for path in tmp_path.iterdir()] == [FOLDER]
