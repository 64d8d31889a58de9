"""The database killed, or its disk full, in the middle of ingests: nothing is lost or doubled."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from search_app.catalog import embedded_server
from search_app.catalog.embedded import EmbeddedPostgres
from search_app.catalog.embedded_place import find_place
from search_app.errors import UnmovedError
from search_app.jobs import JobStatus
from tests.catalog_dump import differences, dump
from tests.conftest import Clone
from tests.test_kill import finish, start
from tests.test_kill_workers import write_many
from tests.test_worker import enqueue, environment, job_of
from tests.worker_process import until, worker

pytestmark = pytest.mark.slow

BALLAST = "ballast"
DISK_MB = 400
LEFT_MB = 2


def own(data: Path) -> dict[str, str]:
    """Give surroundings with an embedded server of its own."""
    return {
        "UNMOVED_DATA_DIR": str(data),
        "UNMOVED_EMBEDDER": "hashing:32",
        "DATABASE_URL": "",
    }


@contextmanager
def server_in(data: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data)
    try:
        yield server
    finally:
        server.destroy()


def kill_server(data: Path) -> None:
    postmaster = embedded_server.find_postmaster(find_place(data))
    assert postmaster is not None
    os.kill(postmaster, signal.SIGKILL)


def added(url: str, job_id: int) -> int:
    """Say how far a job is; nothing, while the server is down."""
    try:
        number: int = job_of(url, job_id).counts.get("documents", {}).get("added", 0)
    except UnmovedError:
        return 0
    return number


def ended(url: str, job_id: int) -> bool:
    try:
        return job_of(url, job_id).ended
    except UnmovedError:
        return False


def test_workers_outlive_a_database_that_is_killed_in_mid_run(clone: Clone, tmp_path: Path) -> None:
    folder, data = tmp_path / "corpus", tmp_path / "data"
    write_many(folder, edition=1)
    with server_in(data) as server:
        url = server.start()
        with worker(own(data)), worker(own(data)):
            job = enqueue(url, "default", folder)
            for more in (0, 1):
                until(lambda least=more: added(url, job.id) > least or ended(url, job.id))
                kill_server(data)
                server.start()
            until(lambda: ended(url, job.id))
        done = job_of(url, job.id)
        assert (done.status, done.reason) == (JobStatus.SUCCEEDED, None)
        undisturbed = clone()
        finish(folder, {**os.environ, **environment(undisturbed, tmp_path / "other")})
        assert differences(dump(url), dump(undisturbed)) == []


def test_an_ingest_whose_database_is_killed_says_so_and_the_next_one_finishes_it(
    clone: Clone, tmp_path: Path
) -> None:
    folder, data = tmp_path / "corpus", tmp_path / "data"
    write_many(folder, edition=1)
    surroundings = {**os.environ, **own(data)}
    with server_in(data) as server:
        url = server.start()
        process = start(folder, surroundings)
        until(lambda: documents(url) > 0)
        kill_server(data)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 2
        said = errors.decode().strip().splitlines()
        assert len(said) == 1
        assert "the database cannot be reached" in said[0]
        server.start()
        finish(folder, surroundings)
        undisturbed = clone()
        finish(folder, {**os.environ, **environment(undisturbed, tmp_path / "other")})
        assert differences(dump(url), dump(undisturbed)) == []


def documents(url: str) -> int:
    found = dump_if_there(url)
    return sum(row["state"] == "indexed" for row in found)


def dump_if_there(url: str) -> list[dict[str, object]]:
    from tests.catalog_dump import connect

    with connect(url) as connection:
        there = connection.execute("SELECT to_regclass('documents') AS name").fetchone()
        if there is None or there["name"] is None:
            return []
        return connection.execute("SELECT state FROM documents").fetchall()


@contextmanager
def small_disk() -> Iterator[Path]:
    """Mount a small file system in memory; skips where that is not allowed."""
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root may mount a small disk")
    # Not in pytest's folder, which the server's own user may not enter.
    at = Path(tempfile.mkdtemp(prefix="unmoved-disk-"))
    at.chmod(0o755)
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", at],
        check=False,
        capture_output=True,
    )
    if made.returncode:
        at.rmdir()
        pytest.skip(f"no small disk can be mounted: {made.stderr.decode().strip()}")
    try:
        yield at
    finally:
        subprocess.run([str(shutil.which("umount")), "-l", at], check=True)
        at.rmdir()


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system in memory")
def test_a_full_disk_stops_an_ingest_and_room_lets_it_go_on(clone: Clone, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    with small_disk() as disk:
        data = disk / "data"
        surroundings = {**os.environ, **own(data)}
        with server_in(data) as server:
            url = server.start()
            few = tmp_path / "few"
            few.mkdir()
            (few / "first.md").write_text("# First\n\nIt fits.", encoding="utf-8")
            finish(few, surroundings)
            write_many(folder, edition=1)
            fill(disk)
            process = start(folder, surroundings)
            _, errors = process.communicate(timeout=120)
            said = errors.decode().strip().splitlines()
            assert process.returncode == 2, said
            assert len(said) == 1, said
            assert any(words in said[0] for words in ("No space left", "cannot be reached")), said
            (disk / BALLAST).unlink()
            server.start()
            finish(folder, surroundings)
            undisturbed = clone()
            other = {**os.environ, **environment(undisturbed, tmp_path / "other")}
            finish(few, other)
            finish(folder, other)
            assert differences(dump(url), dump(undisturbed)) == []


def fill(disk: Path) -> None:
    """Leave next to no room."""
    free = shutil.disk_usage(disk).free
    with (disk / BALLAST).open("wb") as ballast:
        for _ in range(max(0, free // 2**20 - LEFT_MB)):
            ballast.write(bytes(2**20))
