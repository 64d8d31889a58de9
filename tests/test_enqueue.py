"""``ingest add --enqueue`` and workers, as processes: queues, waiting, the same document twice."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search_app.jobs import JobStatus
from tests.catalog_dump import connect, differences, dump
from tests.conftest import Clone
from tests.test_kill import finish, start
from tests.test_worker import enqueue, environment, job_of
from tests.worker_process import until, worker

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent


def add(surroundings: dict[str, str], *arguments: str, cwd: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [BIN / "ingest", "add", *arguments],
        env={**os.environ, **surroundings},
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def write(folder: Path, files: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(files):
        text = f"# Note {number}\n\nThe tide of day {number} was high."
        (folder / f"{number:04}.md").write_text(text, encoding="utf-8")
    return folder


def test_what_is_enqueued_waits_for_a_worker_of_its_queue(
    database_url: str, tmp_path: Path
) -> None:
    write(tmp_path / "papers")
    rows = tmp_path / "papers" / "rows.csv"
    rows.write_text("name,story\nAda,She counted.\n", encoding="utf-8")
    surroundings = environment(database_url, tmp_path)
    code, output, errors = add(
        surroundings, "papers", "--enqueue", "--queue", "slow", "--json", "--text-field", "story",
        cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, errors
    assert "no worker is running" in errors
    job = json.loads(output)
    assert (job["status"], job["queue"]) == ("waiting", "slow")
    assert job["arguments"] == [str(tmp_path / "papers")]
    with worker(surroundings) as other:
        done = enqueue(database_url, "another", tmp_path / "papers")
        other.wait_for("succeeded", done.id)
        assert job_of(database_url, job["id"]).status is JobStatus.WAITING
    with worker(surroundings, "--queues", "slow, fast") as mine:
        mine.wait_for("succeeded", job["id"])
    with connect(database_url) as connection:
        found = connection.execute(
            "SELECT chunks.text FROM chunks JOIN documents ON documents.id = document_id "
            "JOIN collections ON collections.id = collection_id "
            "WHERE documents.uri LIKE '%%rows.csv%%' AND collections.name = 'default'"
        ).fetchall()
    # Read as it was said, and not by the worker's own lights.
    assert [row["text"].strip() for row in found] == ["She counted."]


def test_waiting_tells_how_it_went(database_url: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "papers")
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 no")
    surroundings = environment(database_url, tmp_path)
    with worker(surroundings):
        code, output, errors = add(surroundings, "papers", "--enqueue", "--wait", cwd=tmp_path)
        assert (code, "bad.pdf" in errors) == (1, True), errors
        assert "3 added" in output
        code, output, _ = add(
            surroundings, "papers/*.md", "--enqueue", "--wait", "--json", cwd=tmp_path
        )
        assert code == 0
        assert json.loads(output)["counts"]["documents"]["unchanged"] == 3
        code, _, errors = add(surroundings, "nowhere", "--enqueue", "--wait", cwd=tmp_path)
        assert code == 2
        assert "nothing could be read" in errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["papers", "--wait"], "--enqueue"),
        (["papers", "--queue", "slow"], "--enqueue"),
        (["papers", "--enqueue", "--queue", "no such"], "letters, digits"),
        (["papers", "--enqueue", "--password", "x"], "passwords never"),
        (["https://me:pw@example.org/", "--enqueue"], "leave it out"),
    ],
    ids=["wait", "queue", "queue name", "password", "address"],
)
def test_options_that_contradict_each_other_are_refused(
    database_url: str, tmp_path: Path, arguments: list[str], said: str
) -> None:
    write(tmp_path / "papers")
    code, _, errors = add(environment(database_url, tmp_path), *arguments, cwd=tmp_path)
    assert code == 2
    assert said in errors
    with connect(database_url) as connection:
        assert connection.execute("SELECT id FROM procrastinate_jobs").fetchall() == []


def test_the_same_documents_asked_for_by_many_at_once_are_in_once(
    clone: Clone, tmp_path: Path
) -> None:
    """Two workers, three jobs of different wording and two commands, all about one folder."""
    disturbed, undisturbed = clone(), clone()
    folder = write(tmp_path / "papers", files=200)
    surroundings = environment(disturbed, tmp_path)
    with worker(surroundings, "--concurrency", "3"), worker(surroundings, "--concurrency", "3"):
        asked = [
            enqueue(disturbed, "default", folder),
            enqueue(disturbed, "default", folder, folder / "0001.md"),
            enqueue(disturbed, "default", *sorted(folder.iterdir())[:120]),
        ]
        commands = [start(folder, {**os.environ, **surroundings}) for _ in range(2)]
        for command in commands:
            _, errors = command.communicate()
            assert command.returncode == 0, errors.decode()
        until(lambda: all(job_of(disturbed, job.id).ended for job in asked))
    done = [job_of(disturbed, job.id) for job in asked]
    assert {job.status for job in done} == {JobStatus.SUCCEEDED}, done
    finish(folder, {**os.environ, **environment(undisturbed, tmp_path)})
    assert differences(dump(disturbed), dump(undisturbed)) == []
    with connect(disturbed) as connection:
        row: dict[str, Any] | None = connection.execute(
            "SELECT sum(CAST(counts->'documents'->>'added' AS int)) AS added FROM runs "
            "WHERE part_of IS NULL"
        ).fetchone()
    assert row == {"added": 200}
