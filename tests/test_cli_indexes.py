"""A change of model by the commands alone, as the manual walks through it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from search_app import jobs
from search_app.catalog.engine import create_engine
from search_app.jobs import JobStatus
from tests.web_site import run_apart
from tests.worker_process import until, worker

BIN = Path(sys.executable).parent

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "UNMOVED_DATA_DIR": str(tmp_path / "data"),
        "UNMOVED_EMBEDDER": "hashing:64",
        "UNMOVED_QDRANT_URL": f"local:{tmp_path / 'qdrant'}",
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }


def run(environment: dict[str, str], *words: str, program: str = "ingest") -> tuple[int, str, str]:
    done = subprocess.run(
        [BIN / program, *words],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "papers"
    root.mkdir()
    (root / "a.md").write_text("# Lamp\n\nThe keeper lights the lamp.", encoding="utf-8")
    (root / "b.md").write_text("# 灯台\n\n灯台守は毎晩あかりをともします。", encoding="utf-8")
    return root


def test_the_walk_through_of_the_manual(environment: dict[str, str], folder: Path) -> None:
    def ok(*words: str, program: str = "ingest") -> str:
        code, output, errors = run(environment, *words, program=program)
        assert code == 0, errors
        return output

    def refused(*words: str) -> str:
        code, output, errors = run(environment, *words)
        assert (code, output, errors.count("\n")) == (2, "", 1)
        return errors

    assert "no collection 'default'" in refused("reindex", "--embedder", "hashing:32")
    ok("add", str(folder))
    # Where another model or store was asked for, the refusal names what to do instead.
    mixing = refused("add", str(folder), "--embedder", "hashing:32")
    assert "ingest reindex --collection default --embedder hashing:32" in mixing
    moving = refused("add", str(folder), "--store", "qdrant")
    assert "ingest reindex --collection default --store qdrant" in moving
    assert "--queue is for --enqueue" in refused("reindex", "--queue", "big")
    assert "2 embedded · 0 copied · 2 in all" in ok("reindex", "--embedder", "hashing:32")
    listed = json.loads(ok("indexes", "--json"))
    (first, second) = (index["id"] for index in listed)
    assert [index["state"] for index in listed] == ["active", "ready"]
    table = ok("indexes")
    assert first[:8] in table
    assert "2, all" in table
    assert "no index 'zebra'" in refused("activate", "zebra")
    assert f"index {second[:8]} answers" in (told := ok("activate", second[:8]))
    assert f"ingest retire {first[:8]}" in told
    assert "is active already" in ok("activate", second)
    asked = ("search", "lamp", "--json")
    assert json.loads(ok(*asked, program="search-app"))["index_id"] == second
    other = ok(*asked, "--index", first[:8], program="search-app")
    assert json.loads(other)["index_id"] == first
    assert f"index {first[:8]} answers" in ok("rollback")
    assert "is active" in refused("retire", first)
    assert f"retired index {second[:8]}" in ok("retire", second)
    assert "no index to go back to" in refused("rollback")
    assert "is retired" in refused("activate", second)


def test_a_worker_builds_an_index(environment: dict[str, str], folder: Path) -> None:
    assert run(environment, "add", str(folder), "--quiet")[0] == 0
    code, output, errors = run(
        environment, "reindex", "--embedder", "hashing:32", "--enqueue", "--json"
    )
    assert code == 0
    assert "no worker is running" in errors
    job = json.loads(output)

    async def status() -> JobStatus:
        engine = create_engine(environment["DATABASE_URL"])
        try:
            return (await jobs.get(engine, job["id"])).status
        finally:
            await engine.dispose()

    with worker(environment):
        until(lambda: run_apart(status()) is JobStatus.SUCCEEDED)
    code, output, _ = run(environment, "indexes", "--json")
    assert [index["state"] for index in json.loads(output)] == ["active", "ready"]
