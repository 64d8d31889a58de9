"""Real workers: several, stopped, killed, cut off from the database, started by the server."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app import jobs
from search_app.catalog import embedded_server
from search_app.catalog.embedded import EmbeddedPostgres
from search_app.catalog.embedded_place import find_place
from search_app.catalog.engine import create_engine
from search_app.jobs import Job, JobStatus
from tests.catalog_dump import connect, dump
from tests.conftest import Clone
from tests.test_kill import finish, write_corpus
from tests.web_site import cloned
from tests.worker_process import PATIENCE_S, Worker, until, worker

pytestmark = pytest.mark.slow

T = TypeVar("T")
Rows = dict[str, list[dict[str, Any]]]
Ask = Callable[[AsyncEngine], Awaitable[T]]


def environment(database_url: str, tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "UNMOVED_DATA_DIR": str(tmp_path / "data"),
        "UNMOVED_EMBEDDER": "hashing:32",
        **more,
    }


def ask(database_url: str, question: Ask[T]) -> T:
    """Ask the queue something over an engine of its own."""

    async def asked() -> T:
        engine = create_engine(database_url)
        try:
            return await question(engine)
        finally:
            await engine.dispose()

    return asyncio.run(asked())


def enqueue(database_url: str, collection: str, *paths: Path, prune: bool = False) -> Job:
    arguments = [str(path) for path in paths]
    return ask(
        database_url,
        lambda engine: jobs.enqueue_ingest(
            engine, collection=collection, arguments=arguments, prune=prune
        ),
    )


def job_of(database_url: str, job_id: int) -> Job:
    return ask(database_url, lambda engine: jobs.get(engine, job_id))


def until_under_way(database_url: str, job_id: int) -> None:
    """Wait until a job has documents in, and is not done."""
    until(lambda: job_of(database_url, job_id).counts.get("documents", {}).get("added", 0) > 0)
    assert job_of(database_url, job_id).status is JobStatus.RUNNING


def runs_of(database_url: str, job_id: int) -> list[str]:
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT status FROM runs WHERE job_id = %s ORDER BY started_at", [job_id]
        ).fetchall()
    return [row["status"] for row in rows]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write enough for a job to be caught in the middle of it."""
    folder = tmp_path_factory.mktemp("enough") / "corpus"
    write_corpus(folder, edition=0)
    for number in range(800):
        name = folder / "more" / f"{number:05}.md"
        name.parent.mkdir(exist_ok=True)
        text = " ".join(f"The keeper of light {number} saw {part} ships." for part in range(40))
        name.write_text(f"# Light {number}\n\n{text}", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def undisturbed(
    postgres_url: str, template: str, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> Rows:
    """Ingest it at once, and give what is there then."""
    with cloned(postgres_url, template) as database_url:
        place = environment(database_url, tmp_path_factory.mktemp("undisturbed"))
        finish(corpus, {**os.environ, **place})
        return dump(database_url)


def write(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(f"# {name}\n\nText of {name}.", encoding="utf-8")
    return folder


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_a_worker_was_stopped_in_the_next_one_finishes(
    clone: Clone, tmp_path: Path, corpus: Path, undisturbed: Rows, how: signal.Signals
) -> None:
    disturbed = clone()
    surroundings = environment(disturbed, tmp_path)
    with worker(surroundings) as first:
        job = enqueue(disturbed, "default", corpus)
        until_under_way(disturbed, job.id)
        code = first.stop(how)
    with connect(disturbed) as connection:
        found = connection.execute("SELECT status FROM procrastinate_jobs").fetchall()
    if how is signal.SIGKILL:
        assert (code, found[0]["status"]) == (-signal.SIGKILL, "doing")
    else:
        assert (code, found[0]["status"]) == (0, "todo")
        assert first.wait_for("interrupted", job.id)
        assert runs_of(disturbed, job.id) == ["interrupted"]
    with worker(surroundings) as second:
        second.wait_for("succeeded", job.id)
        until(lambda: job_of(disturbed, job.id).ended)
    done = job_of(disturbed, job.id)
    assert (done.status, done.reason) == (JobStatus.SUCCEEDED, None)
    assert runs_of(disturbed, job.id) == ["interrupted", "succeeded"]
    assert dump(disturbed) == undisturbed


def test_two_workers_share_the_work_and_no_collection_is_written_twice_at_once(
    database_url: str, tmp_path: Path
) -> None:
    folders = [write(tmp_path / f"f{number}", f"{number}.md") for number in range(4)]
    surroundings = environment(database_url, tmp_path)
    with worker(surroundings, "--concurrency", "2") as one, worker(surroundings) as two:
        asked = [
            enqueue(database_url, collection, folder)
            for collection in ("a", "b", "c")
            for folder in folders
        ]
        until(lambda: all(job_of(database_url, job.id).ended for job in asked))
        done = [job_of(database_url, job.id) for job in asked]
        assert {job.status for job in done} == {JobStatus.SUCCEEDED}
        assert [job.counts["documents"]["added"] for job in done] == [1] * 12
        told = [
            [event["job"] for event in worked.events if event["event"] == "succeeded"]
            for worked in (one, two)
        ]
    assert sorted(told[0] + told[1]) == [job.id for job in asked]
    with connect(database_url) as connection:
        overlapping = connection.execute(
            "SELECT count(*) AS number FROM runs a JOIN runs b ON a.id < b.id "
            "AND a.collection_id = b.collection_id "
            "AND a.started_at < b.finished_at AND b.started_at < a.finished_at"
        ).fetchone()
    assert overlapping == {"number": 0}


def test_a_running_job_can_be_cancelled(clone: Clone, tmp_path: Path, corpus: Path) -> None:
    database_url = clone()
    with worker(environment(database_url, tmp_path)) as working:
        job = enqueue(database_url, "default", corpus)
        until_under_way(database_url, job.id)
        ask(database_url, lambda engine: jobs.cancel(engine, job.id))
        working.wait_for("cancelled", job.id)
        until(lambda: job_of(database_url, job.id).ended)
        assert job_of(database_url, job.id).status is JobStatus.CANCELLED
        assert runs_of(database_url, job.id) == ["interrupted"]
        # The worker lives on, and whoever ingests next finishes what was begun.
        after = enqueue(database_url, "other", write(tmp_path / "small", "a.md"))
        working.wait_for("succeeded", after.id)


def test_a_job_waits_for_an_embedder_that_does_not_answer(
    database_url: str, tmp_path: Path
) -> None:
    away = environment(
        database_url,
        tmp_path,
        UNMOVED_EMBEDDER="openai:any",
        UNMOVED_OPENAI_BASE_URL="http://127.0.0.1:9/v1",
    )
    folder = write(tmp_path / "papers", "a.md")
    with worker(away) as working:
        job = enqueue(database_url, "default", folder)
        told = working.wait_for("postponed", job.id)
        assert "127.0.0.1:9" in told["reason"]
        assert "tried again in 5 s" in told["reason"]
        until(lambda: job_of(database_url, job.id).attempts == 1)
        waiting = job_of(database_url, job.id)
        assert (waiting.status, waiting.reason) == (JobStatus.WAITING, told["reason"])
    with worker(environment(database_url, tmp_path)) as working:
        working.wait_for("succeeded", job.id)
        until(lambda: job_of(database_url, job.id).ended)
    assert job_of(database_url, job.id).reason is None


def test_a_worker_that_waits_outlives_a_crash_of_the_database(tmp_path: Path) -> None:
    surroundings = {
        "UNMOVED_DATA_DIR": str(tmp_path / "data"),
        "UNMOVED_EMBEDDER": "hashing:32",
        "DATABASE_URL": "",
    }
    folder = write(tmp_path / "papers", "a.md", "b.md")
    with worker(surroundings) as working:
        with EmbeddedPostgres(tmp_path / "data") as server:
            url = server.start()
            before = enqueue(url, "default", folder / "a.md")
            working.wait_for("succeeded", before.id)
            postmaster = embedded_server.find_postmaster(find_place(tmp_path / "data"))
            assert postmaster is not None
            os.kill(postmaster, signal.SIGKILL)
            # It brings the server back itself, since it is its client too.
            working.wait_for("ready", times=2)
            server.start()
            after = enqueue(url, "default", folder / "b.md")
            working.wait_for("succeeded", after.id)
            until(lambda: job_of(url, after.id).ended)
            assert job_of(url, after.id).status is JobStatus.SUCCEEDED
        assert working.stop() == 0
    with EmbeddedPostgres(tmp_path / "data") as server:
        server.destroy()


def test_an_attached_worker_ends_with_its_input(database_url: str, tmp_path: Path) -> None:
    with worker(environment(database_url, tmp_path), "--attached") as working:
        assert working.process.stdin is not None
        working.process.stdin.close()
        assert working.process.wait(PATIENCE_S) == 0
    assert not ask(database_url, jobs.worker_alive)


def test_a_worker_without_a_database_says_so_at_once(tmp_path: Path) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    started = Worker(environment(nowhere, tmp_path))
    code = started.process.wait(PATIENCE_S)
    started.stop()
    assert code == 2
    assert "cannot be reached" in "".join(started.errors)


class Server:
    """A ``search-app serve`` process, and the worker beside it."""

    def __init__(self, surroundings: dict[str, str], *arguments: str) -> None:
        program = str(Path(sys.executable).with_name("search-app"))
        self.process = subprocess.Popen(
            [program, "serve", "--port", "0", *arguments],
            env={**os.environ, **surroundings},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.told = [self.process.stdout.readline() for _ in range(2)]

    def workers(self) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            # One that just died is not there any more, or only its name is.
            with suppress(psutil.Error):
                if "worker" in child.cmdline():
                    found.append(child)
        return found

    def stop(self, how: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def test_the_server_starts_a_worker_restarts_it_and_takes_it_along(
    database_url: str, tmp_path: Path
) -> None:
    server = Server(environment(database_url, tmp_path))
    try:
        assert re.search(r"http://127\.0\.0\.1:\d+", server.told[0])
        assert "worker" in server.told[1]
        until(lambda: ask(database_url, jobs.worker_alive))
        job = enqueue(database_url, "default", write(tmp_path / "papers", "a.md"))
        until(lambda: job_of(database_url, job.id).ended)
        (first,) = server.workers()
        first.kill()
        until(lambda: [found.pid for found in server.workers()] not in ([], [first.pid]))
        job = enqueue(database_url, "default", write(tmp_path / "more", "b.md"))
        until(lambda: job_of(database_url, job.id).ended)
        assert job_of(database_url, job.id).status is JobStatus.SUCCEEDED
        (second,) = server.workers()
    finally:
        server.stop(signal.SIGTERM)
    until(lambda: not second.is_running())


def test_a_killed_server_leaves_no_worker(database_url: str, tmp_path: Path) -> None:
    server = Server(environment(database_url, tmp_path))
    try:
        until(lambda: ask(database_url, jobs.worker_alive))
        (beside,) = server.workers()
    finally:
        server.stop(signal.SIGKILL)
    until(lambda: not beside.is_running() or beside.status() == psutil.STATUS_ZOMBIE)


def test_a_server_may_be_without_a_worker(database_url: str, tmp_path: Path) -> None:
    server = Server(environment(database_url, tmp_path), "--no-worker")
    try:
        assert "ingest worker" in server.told[1]
        time.sleep(0.5)
        assert server.workers() == []
    finally:
        assert server.stop(signal.SIGTERM) == 0
