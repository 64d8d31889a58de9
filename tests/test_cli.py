"""The commands as people and scripts run them: real processes, exit codes, shapes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search_app.catalog.migrate import HEAD
from tests.catalog_dump import connect

BIN = Path(sys.executable).parent

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("UNMOVED_")},
        "DATABASE_URL": database_url,
        "UNMOVED_DATA_DIR": str(tmp_path / "data"),
        "UNMOVED_EMBEDDER": "hashing:64",
        "NO_COLOR": "1",
    }


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    def start(program: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / program, *arguments],
            env={**environment, **extra},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    return start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "papers"
    root.mkdir()
    (root / "tea.md").write_text("# Tea\n\nGreen tea is steamed.", encoding="utf-8")
    (root / "茶.md").write_text("# お茶\n\n緑茶は蒸して作ります。", encoding="utf-8")
    return root


def test_add_and_search_in_json(run: Run, folder: Path) -> None:
    added = run("ingest", "add", str(folder), "--json")
    assert added.returncode == 0, added.stderr
    report = json.loads(added.stdout)
    assert report.keys() == {
        "run_id",
        "collection",
        "index_id",
        "model_version_id",
        "documents",
        "chunks",
        "skipped",
        "errors",
        "warnings",
        "seconds",
        "sent",
        "currency",
        "stopped",
    }
    assert report["documents"] == {
        "added": 2,
        "updated": 0,
        "unchanged": 0,
        "removed": 0,
        "failed": 0,
        "skipped": 0,
    }
    assert report["chunks"] == {"embedded": 2, "reused": 0, "removed": 0}
    found = run("search-app", "search", "緑茶", "--json", "--k", "1")
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    hit = result["hits"][0]
    assert hit["document"]["uri"].endswith("茶.md")
    assert hit["rank"] == 1
    assert hit["scores"].keys() == {"dense", "bm25", "fused"}
    assert hit["scores"]["fused"] == hit["score"]
    for name in ("run_id", "model_version_id", "index_id"):
        assert hit[name] == report[name]
    assert (result["index_id"], result["model_version_id"]) == (
        report["index_id"],
        report["model_version_id"],
    )
    assert result["took_ms"] > 0


def test_searches_are_logged_with_what_was_found(run: Run, folder: Path, database_url: str) -> None:
    run("ingest", "add", str(folder), "--quiet")
    result = json.loads(run("search-app", "search", "steamed tea", "--json").stdout)
    run("search-app", "search", "steamed tea", UNMOVED_QUERY_LOG="false")
    with connect(database_url) as connection:
        rows = connection.execute("SELECT * FROM query_log ORDER BY created_at").fetchall()
    assert [row["query"] for row in rows] == ["steamed tea", None]
    assert rows[0]["query_hash"] == rows[1]["query_hash"]
    assert [str(chunk) for chunk in rows[0]["hit_ids"]] == [
        hit["chunk_id"] for hit in result["hits"]
    ]
    assert rows[0]["scores"] == pytest.approx([hit["score"] for hit in result["hits"]])
    assert str(rows[0]["index_id"]) == result["index_id"]


def test_exit_codes_tell_all_some_and_none(run: Run, folder: Path) -> None:
    assert run("ingest", "add", str(folder), "--quiet").returncode == 0
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing of the kind")
    some = run("ingest", "add", str(folder))
    assert some.returncode == 1
    assert "failed  " in some.stderr
    assert "broken.pdf: not a readable PDF" in some.stderr
    none = run("ingest", "add", str(folder / "broken.pdf"))
    assert none.returncode == 2


def test_what_is_nothing_to_read_in_a_folder_is_counted_and_no_failure(
    run: Run, folder: Path
) -> None:
    for name in ("a.png", "b.PNG", "c.bin", "empty.txt", "drafts.md"):
        (folder / name).touch()
    (folder / "blank.txt").write_text(" \n", encoding="utf-8")
    for added, unchanged in ((2, 0), (0, 2)):
        done = run("ingest", "add", str(folder), "--exclude", "drafts*")
        assert done.returncode == 0, done.stderr
        assert f"{added} added · 0 updated · {unchanged} unchanged" in done.stdout
        assert "skipped    5 (2 .png · 2 empty · 1 .bin)" in done.stdout
    report = json.loads(run("ingest", "add", str(folder), "--json").stdout)
    assert report["documents"]["skipped"] == 6
    assert report["skipped"] == {".png": 2, ".bin": 1, "empty": 3}
    named = run("ingest", "add", *(str(folder / name) for name in ("a.png", "empty.txt")))
    assert named.returncode == 2
    assert "unknown type .png" in named.stderr
    assert "empty: nothing to ingest" in named.stderr


REFUSED: list[tuple[list[str], str]] = [
    (["search-app", "search", " "], "the query is empty"),
    (["search-app", "search", "a" * 100_000], "at most 2,000"),
    (["search-app", "search", "x", "--k", "0"], "from 1 to 1000"),
    (["search-app", "search", "x", "--k", "-1"], "from 1 to 1000"),
    (["search-app", "search", "x", "--k", "1000000000"], "from 1 to 1000"),
    (["search-app", "search", "x", "--k", "many"], "valid integer"),
    (["search-app", "search", "x", "--filter", "colour"], "FIELD=VALUE"),
    (["search-app", "search", "x", "--filter", "colour=red"], "language, source, folder"),
    (["search-app", "search", "x", "--collection", "none"], "no collection 'none'"),
    (["search-app", "unknown"], "No such command"),
    (["ingest", "rm", "/no/such/file"], "no source"),
    (["ingest", "add", ".", "--embedder", "openai:"], "openai:MODEL"),
    (["ingest", "add", ".", "--embedder", "oracle"], "NAME_OR_PATH or hashing:DIM"),
    (["ingest", "add", ".", "--store", "paper"], "pgvector"),
    (["ingest", "runs", "--collection", "none"], "no collection 'none'"),
    (["search-app", "migrate", "nonsense"], "cannot be migrated"),
    (["search-app", "serve", "--host", "203.0.113.1"], "cannot listen"),
]


def test_what_cannot_be_meant_is_one_line(run: Run, folder: Path) -> None:
    assert run("ingest", "add", str(folder), "--quiet").returncode == 0
    for arguments, said in REFUSED:
        refused = run(*arguments)
        assert refused.returncode == 2, arguments
        assert refused.stdout == "", arguments
        assert "Traceback" not in refused.stderr, refused.stderr
        assert said in " ".join(refused.stderr.split()), refused.stderr


def test_an_unreachable_database_is_one_line(run: Run) -> None:
    for arguments in (["ingest", "add", "."], ["search-app", "search", "x"]):
        lost = run(*arguments, DATABASE_URL="postgresql://nobody:hunter2@127.0.0.1:1/nothing")
        assert lost.returncode == 2
        assert lost.stderr.count("\n") == 1
        assert "cannot be reached" in lost.stderr
        assert "hunter2" not in lost.stderr


def test_a_database_that_is_not_migrated_is_told_how(run: Run, folder: Path) -> None:
    assert run("search-app", "migrate", "base").returncode == 0
    refused = run("ingest", "add", str(folder))
    assert refused.returncode == 2
    assert "search-app migrate" in refused.stderr
    assert f"to {HEAD}" in run("search-app", "migrate").stdout
    assert run("ingest", "add", str(folder)).returncode == 0


def test_lists_in_json(run: Run, folder: Path) -> None:
    run("ingest", "add", str(folder), "--quiet")

    def listed(*arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(run(*arguments, "--json").stdout)
        return found

    assert listed("ingest", "status")[0]["documents"] == 2
    assert listed("ingest", "runs")[0]["status"] == "succeeded"
    assert listed("ingest", "models")[0]["identity"]["dimensions"] == 64
    shown = {row["variable"]: row for row in listed("search-app", "config")}
    assert shown["DATABASE_URL"]["value"] == "********"
    assert shown["UNMOVED_EMBEDDER"]["origin"] == "environment"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_an_ingest_is_recorded(
    environment: dict[str, str], run: Run, tmp_path: Path, stop: signal.Signals
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(3000):
        (corpus / f"{number}.txt").write_text(f"Document {number}. " * 40, encoding="utf-8")
    process = subprocess.Popen(
        [BIN / "ingest", "add", str(corpus)],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        runs = json.loads(run("ingest", "runs", "--json").stdout)
        if runs and runs[0]["counts"].get("documents", {}).get("added", 0) > 0:
            break
    process.send_signal(stop)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors.decode()
    assert b"Traceback" not in errors
    last = json.loads(run("ingest", "runs", "--json").stdout)[0]
    assert last["status"] == "interrupted"
    report = json.loads(run("ingest", "add", str(corpus), "--json").stdout)
    assert report["documents"]["added"] + report["documents"]["unchanged"] == 3000


def test_the_server_says_where_it_listens_and_stops_when_told(
    environment: dict[str, str], run: Run, folder: Path
) -> None:
    run("ingest", "add", str(folder), "--quiet")
    process = subprocess.Popen(
        [BIN / "search-app", "serve", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        line = process.stdout.readline()
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert line.startswith("Unmoved serves http://127.0.0.1:")


def test_a_document_cannot_write_to_the_terminal(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "escapes"
    folder.mkdir()
    (folder / "red\x1b[31m.txt").write_text("just \x1b[31mred\x1b[0m zebra", encoding="utf-8")
    (folder / "none\x1b[2J.txt").touch()
    added = run("ingest", "add", str(folder))
    found = run("search-app", "search", "zebra")
    assert "zebra" in found.stdout
    assert "\x1b" not in added.stdout + added.stderr + found.stdout + found.stderr


@pytest.mark.parametrize("program", ["ingest", "search-app"])
def test_each_program_says_its_version_and_completes_its_commands(run: Run, program: str) -> None:
    version = run(program, "--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert version.stdout.startswith("unmoved 0.")
    shown = run(
        program,
        **{
            f"_{program.replace('-', '_').upper()}_COMPLETE": "complete_bash",
            "COMP_WORDS": f"{program} ",
            "COMP_CWORD": "1",
        },
    )
    expected = {"add", "doctor", "rm"} if program == "ingest" else {"search", "serve", "config"}
    assert expected <= set(shown.stdout.split())


def test_nothing_is_coloured_where_colours_are_off_or_nobody_looks(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"no PDF")
    for extra in ({}, {"NO_COLOR": "", "FORCE_COLOR": "", "TERM": "xterm-256color"}):
        for command in (
            ("ingest", "add", str(folder), str(tmp_path / "broken.pdf")),
            ("ingest", "doctor"),
            ("search-app", "search", "tea"),
            ("search-app", "search", "tea", "--collection", "none"),
        ):
            done = run(*command, **extra)
            assert "\x1b" not in done.stdout + done.stderr, command


def test_the_doctor_examines_a_healthy_installation(run: Run, folder: Path) -> None:
    run("ingest", "add", str(folder))
    done = run("ingest", "doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert {finding["health"] for finding in json.loads(done.stdout)} == {"good"}
    assert "PostgreSQL" in run("ingest", "doctor").stdout
