"""The commands around documents: what there is, what failed, and what can be done about it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest

BIN = Path(sys.executable).parent


class Run(Protocol):
    """Runs ``ingest`` with arguments, and gives its exit code, output and errors."""

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "a.md").write_text("# Lamp\n\nThe keeper lights the lamp.", encoding="utf-8")
    (folder / "b.md").write_text("# 灯台\n\n灯台守は毎晩あかりをともします。", encoding="utf-8")
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 no")
    return folder


def runner(environment: dict[str, str]) -> Run:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        done = subprocess.run(
            [BIN / "ingest", *map(str, arguments)],
            env={**os.environ, "UNMOVED_EMBEDDER": "hashing:32", "COLUMNS": "200", **environment},
            check=False,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Run:
    return runner({"DATABASE_URL": database_url, "UNMOVED_DATA_DIR": str(tmp_path / "data")})


def in_json(run: Run, *arguments: str | Path) -> Any:
    code, output, errors = run(*arguments, "--json")
    assert code == 0, errors
    return json.loads(output)


@pytest.mark.slow
def test_documents_failures_retry_and_removal(run: Run, folder: Path) -> None:
    code, output, _ = run("add", folder, "--json")
    assert code == 1
    run_id = json.loads(output)["run_id"]

    listed = in_json(run, "documents")
    found = {Path(entry["uri"]).name: entry for entry in listed["documents"]}
    assert listed["total"] == 3
    assert found["a.md"]["state"] == "indexed"
    assert (found["b.md"]["language"], found["b.md"]["chunks"]) == ("ja", 1)
    assert (found["bad.pdf"]["state"], found["bad.pdf"]["document_id"]) == ("failed", None)
    japanese = in_json(run, "documents", "--filter", "language=ja", "--filter", "type=markdown")
    assert [Path(entry["uri"]).name for entry in japanese["documents"]] == ["b.md"]
    either = in_json(run, "documents", "--filter", "language=ja or not type=markdown")
    assert [Path(entry["uri"]).name for entry in either["documents"]] == ["b.md"]
    listed = ("--filter", "language=en,ja", "--filter", "state=indexed", "--filter", "text=b.")
    assert in_json(run, "documents", *listed)["total"] == 1
    assert run("documents", "--filter", "state=")[0] == 2
    page = in_json(run, "documents", "--descending", "--limit", "1", "--offset", "1")
    assert ([Path(e["uri"]).name for e in page["documents"]], page["total"]) == (["b.md"], 3)
    failed = in_json(run, "documents", "--failed")
    assert [Path(entry["uri"]).name for entry in failed["documents"]] == ["bad.pdf"]
    code, output, _ = run("documents", "--limit", "1")
    assert "indexed" in output
    assert "1 of 3 documents" in output
    code, _, errors = run("documents", "--filter", "colour=red")
    assert code == 2
    assert "language" in errors

    now = in_json(run, "failures")
    assert [(Path(entry["source"]).name, entry["collection"]) for entry in now] == [
        ("bad.pdf", "default")
    ]
    assert in_json(run, "failures", "--run", run_id[:8])[0]["source"] == now[0]["source"]
    code, _, errors = run("failures", "--run", "nothing")
    assert (code, "no run 'nothing'" in errors) == (2, True)

    code, output, _ = run("retry", "--json")
    assert (code, json.loads(output)["documents"]["failed"]) == (2, 1)
    (folder / "bad.pdf").unlink()
    code, output, errors = run("rm", folder / "bad.pdf", folder / "a.md")
    assert (code, output) == (0, "removed 1 document, 1 chunk\n"), errors
    assert in_json(run, "failures") == []
    code, output, _ = run("retry")
    assert code == 0
    forced = in_json(run, "add", folder / "b.md", "--force")
    assert (forced["documents"]["unchanged"], forced["chunks"]["embedded"]) == (1, 0)


@pytest.mark.slow
def test_collections_are_renamed_and_deleted(run: Run, folder: Path) -> None:
    assert run("add", folder / "a.md", "--collection", "old")[0] == 0
    assert in_json(run, "collections", "rename", "old", "new name")["name"] == "new name"
    code, _, errors = run("collections", "rm", "new name")
    assert (code, "--yes" in errors) == (2, True)
    code, output, _ = run("collections", "rm", "new name", "--yes")
    assert (code, output) == (
        0,
        "deleted collection new name: 1 document, 1 index\n",
    )
    assert in_json(run, "status") == []
    assert {entry["kind"] for entry in in_json(run, "runs")} == {"ingest"}
    code, _, errors = run("collections", "rm", "new name", "--yes")
    assert (code, "no collection 'new name'" in errors) == (2, True)


@pytest.mark.slow
def test_an_empty_name_is_no_collection(run: Run, folder: Path) -> None:
    for arguments in (["add", folder], ["documents"], ["runs"], ["retry"], ["rm", folder]):
        code, _, errors = run(*arguments, "--collection", "")
        assert code == 2, arguments
        assert "a name is 1 to" in errors
    assert in_json(run, "status") == []


@pytest.mark.slow
def test_looking_makes_no_database(tmp_path: Path) -> None:
    mistyped = tmp_path / "mistyped"
    run = runner({"DATABASE_URL": "", "UNMOVED_DATA_DIR": str(mistyped)})
    commands = (
        ["status"],
        ["runs"],
        ["documents"],
        ["failures"],
        ["retry"],
        ["rm", "a.md"],
        ["collections", "rm", "a", "--yes"],
    )
    for arguments in commands:
        code, _, errors = run(*arguments)
        assert code == 2, arguments
        assert f"there is no database in {mistyped}" in errors
        assert not mistyped.exists()
