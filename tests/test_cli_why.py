"""`search-app explain`, `search-app why` and `ingest compare` as people and scripts run them."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import ingest.cli
from search_app import console
from search_app.cli import app as search_app
from tests.test_cli import folder

__all__ = ["folder"]


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
    apps = {"ingest": ingest.cli.app, "search-app": search_app}

    def start(program: str, *arguments: str, **extra: str) -> Ended:
        with monkeypatch.context() as changed:
            changed.setattr(sys, "argv", [program, *arguments])
            for name, value in extra.items():
                changed.setenv(name, value)
            code = console.run(apps[program])
        told = capsys.readouterr()
        return Ended(code, told.out, told.err)

    return start


def hit(run: Run, query: str) -> dict[str, str]:
    found = run("search-app", "search", query, "--json")
    assert found.returncode == 0, found.stderr
    first: dict[str, str] = json.loads(found.stdout)["hits"][0]
    return first


def test_a_vector_is_explained_and_verified(run: Run, folder: Path) -> None:
    run("ingest", "add", str(folder))
    chunk_id = hit(run, "green tea")["chunk_id"]
    told = run("search-app", "explain", chunk_id, "--verify")
    assert told.returncode == 0, told.stderr
    assert "Green tea is steamed." in told.stdout
    assert "embedded again: cosine 1.000000000" in told.stdout
    found = json.loads(run("search-app", "explain", chunk_id, "--verify", "--json").stdout)
    assert found["sent_as_recorded"] is True
    assert found["verification"]["likeness"] == "equal"
    other = json.loads(
        run("search-app", "explain", chunk_id, "--index", found["index_id"][:8], "--json").stdout
    )
    assert "verification" not in other
    for wrong in (("explain", "nonsense"), ("explain", chunk_id, "--index", "zz")):
        refused = run("search-app", *wrong)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("error: no") or "is no id" in refused.stderr


def test_an_altered_vector_ends_with_1(run: Run, folder: Path) -> None:
    run("ingest", "add", str(folder))
    chunk_id = hit(run, "green tea")["chunk_id"]
    silent = run("search-app", "explain", chunk_id, "--verify", UNMOVED_EMBEDDER="hashing:32")
    assert silent.returncode == 0, "the model of the index is asked, not the one of the settings"
    (folder / "tea.md").write_text("# Tea\n\nBlack tea is rolled.", encoding="utf-8")
    run("ingest", "add", str(folder))
    gone = run("search-app", "explain", chunk_id)
    assert gone.returncode == 2
    assert "its document may have changed" in gone.stderr


def test_why_is_answered(run: Run, folder: Path) -> None:
    run("ingest", "add", str(folder))
    hit(run, "green tea")
    found = run("search-app", "why", "green tea", "tea.md")
    assert found.returncode == 0, found.stderr
    assert "It is found, at rank 1." in found.stdout
    assert "which found it at rank 1" in found.stdout
    removed = run("ingest", "rm", str(folder / "tea.md"))
    assert removed.returncode == 0, removed.stderr
    answer = json.loads(run("search-app", "why", "green tea", "tea.md", "--json").stdout)
    assert [each["cause"] for each in answer["findings"]] == ["removed"]
    assert answer["findings"][0]["evidence"]["rank"] == 1
    assert answer["document"]["state"] == "removed"
    told = run("search-app", "why", "green tea", "tea.md", "--since", "2020-01-31")
    assert "It was removed at " in told.stdout
    for wrong in (["--since", "soon"], ["--mode", "x"], ["--collection", "none"], ["--k", "0"]):
        refused = run("search-app", "why", "green tea", "tea.md", *wrong)
        assert refused.returncode == 2, wrong
        assert refused.stderr.startswith("error: ")


def test_two_indexes_are_compared(run: Run, folder: Path, tmp_path: Path) -> None:
    run("ingest", "add", str(folder))
    built = run("ingest", "reindex", "--embedder", "hashing:16")
    assert built.returncode == 0, built.stderr
    listed = json.loads(run("ingest", "indexes", "--json").stdout)
    first, second = [index["id"][:13] for index in listed]
    empty = run("ingest", "compare", first, second)
    assert empty.returncode == 2
    assert "--queries" in empty.stderr
    hit(run, "green tea")
    logged = run("ingest", "compare", first, second)
    assert logged.returncode == 0, logged.stderr
    assert "1 query of collection default" in logged.stdout
    assert "overlap@10: 1.0000" in logged.stdout
    queries = tmp_path / "queries.txt"
    queries.write_text("green tea\n\n緑茶\n", encoding="utf-8")
    found = json.loads(
        run("ingest", "compare", first, second, "--queries", str(queries), "--json").stdout
    )
    assert (found["queries"], found["k"], found["golden"]) == (2, 10, None)
    assert found["overlap"] == 1
    assert found["moves"]["entered"] == found["moves"]["left"] == 0
    for wrong in (
        ["--queries", "nowhere.txt"],
        ["--golden", "nowhere"],
        ["--collection", "other"],
        ["--mode", "x"],
    ):
        refused = run("ingest", "compare", first, second, *wrong)
        assert refused.returncode == 2, wrong
        assert refused.stderr.startswith("error: ")


def test_a_golden_set_of_feedback_measures_two_indexes(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    run("ingest", "add", str(folder))
    run("ingest", "reindex", "--embedder", "hashing:16")
    first, second = [
        index["id"][:13] for index in json.loads(run("ingest", "indexes", "--json").stdout)
    ]
    golden = tmp_path / "golden"
    golden.mkdir()
    uris = [str(folder / name) for name in ("tea.md", "茶.md")]
    for name, lines in {
        "corpus.jsonl": [json.dumps({"_id": uri, "text": "x"}) for uri in uris],
        "queries.jsonl": [
            json.dumps({"_id": "a", "text": "green tea"}),
            json.dumps({"_id": "b", "text": "緑茶"}),
        ],
        "qrels.tsv": ["query-id\tcorpus-id\tscore", f"a\t{uris[0]}\t1", f"b\t{uris[1]}\t1"],
    }.items():
        (golden / name).write_text("\n".join(lines), encoding="utf-8")
    hit(run, "green tea")
    told = run("ingest", "compare", first, second, "--golden", str(golden))
    assert told.returncode == 0, told.stderr
    assert "2 of 2 documents that answer them" in told.stdout
    assert "nDCG@10: A 1.0000, B 1.0000; difference +0.0000" in told.stdout
    found = json.loads(
        run("ingest", "compare", first, second, "--golden", str(golden), "--json").stdout
    )["golden"]
    assert (found["metric"], found["queries"], found["known"]) == ("nDCG@10", 2, 2)
    assert found["difference"]["p"] == 1


def test_query_vectors_are_shown_and_cleared(run: Run, folder: Path) -> None:
    run("ingest", "add", str(folder))
    assert "no query vectors are kept" in run("search-app", "cache", "show").stdout
    found = json.loads(run("search-app", "search", "green tea", "--json").stdout)
    run("search-app", "search", "black tea")
    (kept,) = json.loads(run("search-app", "cache", "show", "--json").stdout)
    assert (kept["model_version_id"], kept["vectors"]) == (found["model_version_id"], 2)
    assert "2 vectors" in run("search-app", "cache", "show").stdout
    one = run("search-app", "cache", "clear", "--query", "green tea", "--json")
    assert json.loads(one.stdout) == {"cleared": 1}
    late = run("search-app", "cache", "clear", "--since", "2999-01-01")
    assert late.stdout.startswith("0 query vectors")
    for wrong in (["--since", "soon"], ["--model", "zz"]):
        refused = run("search-app", "cache", "clear", *wrong)
        assert refused.returncode == 2, wrong
        assert refused.stdout == ""
    rest = run("search-app", "cache", "clear", "--model", kept["model_version_id"][:8])
    assert rest.stdout.startswith("1 query vectors forgotten")


def test_ties_are_marked(run: Run, folder: Path) -> None:
    (folder / "copy.md").write_text((folder / "tea.md").read_text(encoding="utf-8"))
    run("ingest", "add", str(folder))
    told = run("search-app", "search", "green tea", "--mode", "semantic")
    assert "  1≈ " in told.stdout
    assert "equal scores; their order says nothing" in told.stdout
    found = json.loads(
        run("search-app", "search", "green tea", "--mode", "semantic", "--json").stdout
    )
    assert found["noise"] == 0
    assert [hit["within_noise_of_next"] for hit in found["hits"]][:2] == [True, False]
