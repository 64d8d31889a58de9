"""The commands of costs: dry runs, budgets, prices and kept vectors, as somebody types them."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import ingest.cli
from search_app import console


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Ended]


@pytest.fixture
def run(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run commands here: each process of its own would take seconds to start."""
    for name, value in {
        "DATABASE_URL": database_url,
        "UNMOVED_DATA_DIR": str(tmp_path / "data"),
        "UNMOVED_EMBEDDER": "hashing:64",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def start(*arguments: str, **settings: str) -> Ended:
        with monkeypatch.context() as changed:
            changed.setattr(sys, "argv", ["ingest", *arguments])
            for name, value in settings.items():
                changed.setenv(name, value)
            code = console.run(ingest.cli.app)
        told = capsys.readouterr()
        return Ended(code, told.out, told.err)

    return start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "texts"
    made.mkdir()
    for name in ("tea", "coffee"):
        (made / f"{name}.md").write_text(f"# {name}\n\nA cup of {name} in the morning.")
    return made


def test_a_dry_run_tells_and_leaves_nothing(run: Run, folder: Path, tmp_path: Path) -> None:
    told = run("add", "--dry-run", str(folder))
    assert told.returncode == 0, told.stderr
    for word in (
        "2 to read in",
        "hashing:64",
        "2 to embed",
        "time       unknown",
        "cost       none",
    ):
        assert word in told.stdout, word
    assert run("status", "--json").stdout.strip() == "[]"
    # Where there is no database yet, none is made.
    nowhere = tmp_path / "nowhere"
    alone = {"DATABASE_URL": "", "UNMOVED_DATA_DIR": str(nowhere)}
    fresh = run("add", "--dry-run", str(folder), "--json", **alone)
    assert fresh.returncode == 0, fresh.stderr
    assert json.loads(fresh.stdout)["documents"] == 2
    assert not nowhere.exists()
    report = json.loads(run("add", str(folder), "--json").stdout)
    assert report["sent"]["tokens"] == json.loads(fresh.stdout)["models"][0]["tokens"]
    for wrong in (["-", "--name", "a.md"], [str(folder), "--enqueue"]):
        refused = run("add", "--dry-run", *wrong)
        assert refused.returncode == 2, wrong
        assert refused.stderr.startswith("error: "), wrong


def test_budgets_are_refused_or_kept(run: Run, folder: Path) -> None:
    priceless = run(
        *("add", str(folder), "--embedder", "openai:nobody", "--budget", "1"),
        UNMOVED_OPENAI_API_KEY="none",
    )
    assert priceless.returncode == 2
    assert "UNMOVED_EMBEDDING_PRICE" in priceless.stderr
    assert priceless.stderr.count("\n") == 1
    assert run("add", str(folder), "--budget", "-1").returncode == 2
    # What runs here costs nothing.
    done = run("add", str(folder), "--budget", "0")
    assert done.returncode == 0, done.stderr
    assert "free" in done.stdout
    listed = run("runs").stdout
    assert "tokens" in listed
    assert "~" in listed
    (shown,) = json.loads(run("runs", "--json").stdout)[:1]
    whole = run("runs", "show", shown["id"]).stdout
    assert "the bundled tokenizer" in whole


def test_prices_are_listed_and_can_be_replaced(run: Run, tmp_path: Path) -> None:
    assert "text-embedding-3-small" in run("prices").stdout
    table = run("prices", "--toml").stdout
    own = tmp_path / "prices.toml"
    own.write_text(table.replace("price = 0.02", "price = 7.5"), encoding="utf-8")
    found = json.loads(run("prices", "--json", UNMOVED_PRICES=str(own)).stdout)
    price = found["prices"]["openai:text-embedding-3-small"]
    assert (price["amount"], price["origin"]) == (7.5, "UNMOVED_PRICES")
    own.write_text("nonsense", encoding="utf-8")
    refused = run("prices", UNMOVED_PRICES=str(own))
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: UNMOVED_PRICES")


def test_kept_vectors_are_shown_and_cleared(run: Run, folder: Path) -> None:
    run("add", str(folder))
    (kept,) = json.loads(run("cache", "show", "--json").stdout)
    assert (kept["vectors"], kept["kind"], kept["bytes"]) == (2, "document", 2 * 64 * 4)
    assert "of at most 1,024 MB" in run("cache", "show").stdout
    assert run("cache", "clear", "--older-than", "1").stdout.startswith("0 document")
    for wrong in (["--model-version", "zz"], ["--run", "zz"], ["--older-than", "-1"]):
        refused = run("cache", "clear", *wrong)
        assert refused.returncode == 2, wrong
        assert refused.stdout == "", wrong
    version = kept["model_version_id"][:8]
    one = run("cache", "clear", "--model-version", version, "--json")
    assert json.loads(one.stdout) == {"cleared": 2}
    assert "no document vectors are kept" in run("cache", "show").stdout
