"""``ingest study`` as people and scripts run it: real processes, files, exit codes."""

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

BIN = Path(sys.executable).parent
needs_clustering = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None,
    reason="needs scikit-learn: pip install 'unmoved[study]'",
)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("UNMOVED_")},
        "UNMOVED_DATA_DIR": str(tmp_path / "data"),
        "NO_COLOR": "1",
    }

    def start(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "ingest", "study", *map(str, arguments)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    return start


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    texts = [f"{'harbour ledger ' * (place % 7)}number {place}\n" for place in range(40)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@needs_clustering
def test_a_determinism_study_is_a_table_in_three_forms(run: Run, corpus: Path) -> None:
    done = run(
        *("determinism", "--data", corpus, "--out", "out", "--models", "hashing:64"),
        *("--noise", "0.996406", "--noise", "0.999878@10%", "--repeats", 2),
    )
    assert done.returncode == 0, done.stderr
    assert "40 of 40 texts of corpus.jsonl" in done.stdout
    assert "MB of memory" in done.stdout
    assert "hashing:64: second time" in done.stderr
    out = corpus.parent / "out"
    kept = json.loads((out / "determinism.json").read_text(encoding="utf-8"))
    names = [row["name"] for row in kept["rows"]]
    assert names == ["hashing:64", "noise, every text", "noise, 10 % of the texts"]
    assert [row["published_ari"] for row in kept["rows"]] == [None, 0.7968, 0.9862]
    assert kept["rows"][0]["ari"]["mean"] == 1
    assert 10 < kept["peak_rss_mb"] < 8000
    for name in names:
        assert name in (out / "determinism.md").read_text(encoding="utf-8")
        assert name in (out / "determinism.html").read_text(encoding="utf-8")
    # Nothing of it needs or makes a database.
    assert not (corpus.parent / "data").exists()
    again = run("determinism", "--data", corpus, "--out", "out", "--models", "hashing:64", "--json")
    assert json.loads(again.stdout)["rows"][0]["lowest_cosine"] == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--data", "nowhere", "--out", "o"], "nowhere: no such file or folder"),
        (["--data", "{corpus}", "--out", "{corpus}/o"], "cannot be made"),
        (["--data", "{corpus}", "--out", "o", "--models", "oracle"], "'oracle' is not known"),
        (["--data", "{corpus}", "--out", "o", "--models", "bundled batch=2"], "no size of batches"),
        (["--data", "{corpus}", "--out", "o", "--noise", "1.5"], "between 0 and 1"),
    ],
)
@needs_clustering
def test_studies_that_cannot_be_meant(
    run: Run, corpus: Path, arguments: list[str], reason: str
) -> None:
    given = [each.replace("{corpus}", str(corpus)) for each in arguments]
    assert reason in one_line(run("determinism", *given))


@pytest.fixture
def pair(tmp_path: Path, corpus: Path) -> tuple[Path, Path, Path]:
    drawn = np.random.default_rng(1).standard_normal((40, 8)).astype(np.float32)
    one, other = tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(one, drawn)
    np.save(other, drawn + np.float32(0.01))
    return one, other, corpus


def test_two_sets_are_compared_without_a_model(run: Run, pair: tuple[Path, Path, Path]) -> None:
    one, other, texts = pair
    done = run("compare", one, other, "--texts", texts, "--html", "page.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the same space (median cosine 0.99")
    assert "lists of the 10 nearest: overlap" in done.stdout
    assert "the number of newlines" not in done.stdout, "all texts have one"
    page = (one.parent / "page.html").read_text(encoding="utf-8")
    assert "a.npy and b.npy" in page
    assert "http" not in page
    found = json.loads(run("compare", one, other, "--texts", texts, "--json").stdout)
    assert (found["texts"], found["dimensions"], found["equal"]) == (40, 8, 0)
    assert found["geometry"]["kinship"] == "the same space"
    assert found["strongest"] is None
    assert len(found["sentences"]) == 3


def test_vectors_that_do_not_belong_together(run: Run, pair: tuple[Path, Path, Path]) -> None:
    one, other, texts = pair
    np.save(other, np.load(other)[:, :5])
    told = one_line(run("compare", one, other, "--texts", texts))
    assert "the shapes differ: 40 × 8 and 40 × 5" in told
    other.write_bytes(pickle.dumps([1]))
    assert "is no .npy file of numbers" in one_line(run("compare", one, other, "--texts", texts))
