"""SIGKILL of workers that share an ingest: in the end all is as if nobody had ever died.

``UNMOVED_TEST_KILLS`` says how many rounds there are; without it only a few, to save time.
"""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from search_app.jobs import JobStatus
from tests.catalog_dump import connect, differences, dump
from tests.conftest import Clone
from tests.test_kill import finish, write_corpus
from tests.test_worker import enqueue, environment, job_of
from tests.worker_process import Worker, until

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("UNMOVED_TEST_KILLS", "4"))
WORKERS = 2


def write_many(folder: Path, *, edition: int) -> None:
    """Write enough small files for several parts, of which some change with every edition."""
    write_corpus(folder, edition=edition % 20)
    more = folder / "more"
    more.mkdir(exist_ok=True)
    for number in range(400):
        latest = edition if number % 5 == edition % 5 else 0
        text = " ".join(
            f"Light {number} of edition {latest} saw {part} ships." for part in range(30)
        )
        (more / f"{number:05}.md").write_text(f"# Light {number}\n\n{text}", encoding="utf-8")
    (more / f"{edition:05}.md").unlink()


def be_taken_over_at_once(database_url: str) -> None:
    """Let the dead count as dead without waiting for their silence to last."""
    with connect(database_url) as connection:
        connection.execute(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour' "
            "WHERE last_heartbeat < now() - interval '12 seconds'"
        )


def test_workers_that_are_killed_lose_double_and_mix_nothing(clone: Clone, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    undisturbed, disturbed = clone(), clone()
    surroundings = environment(disturbed, tmp_path)
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    workers = [Worker(surroundings) for _ in range(WORKERS)]
    killed = 0
    try:
        for edition in range(1, ROUNDS + 1):
            write_many(folder, edition=edition)
            job = enqueue(disturbed, "default", folder, prune=True)
            time.sleep(chance.uniform(0.0, 4.0))
            victim = chance.randrange(WORKERS)
            killed += not job_of(disturbed, job.id).ended
            workers[victim].stop(signal.SIGKILL)
            workers[victim] = Worker(surroundings)
            if chance.random() < 0.5:
                # The next one is killed while the others go on with this one's work.
                until(lambda asked=job.id: over(disturbed, asked))
                assert unfinished(disturbed) == [], f"seed {seed}, edition {edition}"
        until(lambda: over(disturbed, job.id))
        # A helper may have died when all was done; another one takes its job over, and ends it.
        until(lambda: nobody_at_work(disturbed))
    finally:
        for each in workers:
            each.stop()
    assert job_of(disturbed, job.id).status is JobStatus.SUCCEEDED
    finish(folder, {**os.environ, **environment(undisturbed, tmp_path)})
    assert differences(dump(disturbed), dump(undisturbed)) == [], f"seed {seed}"
    assert left_over(disturbed) == {"parts": 0, "runs": 0, "jobs": 0}
    assert killed, f"seed {seed}"


def over(database_url: str, job_id: int) -> bool:
    be_taken_over_at_once(database_url)
    return job_of(database_url, job_id).ended


def nobody_at_work(database_url: str) -> bool:
    be_taken_over_at_once(database_url)
    return left_over(database_url)["jobs"] == 0


def unfinished(database_url: str) -> list[dict[str, Any]]:
    """List what is neither in nor gone."""
    with connect(database_url) as connection:
        return connection.execute(
            "SELECT uri, state FROM sources WHERE state <> 'indexed' UNION ALL "
            "SELECT uri, state FROM documents WHERE state <> 'indexed' UNION ALL "
            "SELECT CAST(id AS text), state FROM chunks WHERE state <> 'live'"
        ).fetchall()


def left_over(database_url: str) -> dict[str, int]:
    """Count what nobody needs any more: parts of runs, runs that seem to go on, helpers' jobs."""
    with connect(database_url) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM run_parts) AS parts, "
            "(SELECT count(*) FROM runs WHERE status = 'running') AS runs, "
            "(SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')) AS jobs"
        ).fetchone()
    assert row is not None
    return row
