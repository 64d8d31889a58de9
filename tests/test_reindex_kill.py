"""SIGKILL of a reindex at random moments, with documents changing in between."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest

from tests.catalog_dump import connect
from tests.conftest import Clone
from tests.index_dump import dump_index

KILLS = 5
DOCUMENTS = 60

WISHES = {"embed": ["--embedder", "hashing:48"], "copy": ["--force"]}

# Many small steps, so that there are many moments to be killed at.
SMALL_STEPS = """
from ingest import copying, filling, writing
copying.COPIED, copying.STRETCHES = 15, 3
writing.SEGMENT, filling.DOCUMENTS = 20, 7
from ingest.cli import main
main()
"""


def write_corpus(folder: Path, *, edition: int) -> None:
    """Write documents of a few passages; every edition changes, adds and leaves out some."""
    folder.mkdir(exist_ok=True)
    for number in range(DOCUMENTS + edition):
        latest = edition if number % 4 == 0 else 0
        sections = "\n\n".join(
            f"## Part {part}\n\nPart {part} of log {number}, edition {latest}: "
            + f"the keeper counted {number * part + latest} ships. " * 25
            for part in range(3)
        )
        (folder / f"{number:04}.md").write_text(f"# Log {number}\n\n{sections}", encoding="utf-8")
    for gone in range(edition):
        (folder / f"{gone * 3:04}.md").unlink(missing_ok=True)


def ingest(environment: dict[str, str], *arguments: str) -> str:
    """Run a command to its end and give what it printed."""
    program = str(Path(sys.executable).with_name("ingest"))
    done = subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def begin(environment: dict[str, str], wishes: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SMALL_STEPS, "reindex", "--quiet", *wishes],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def recorded(database_url: str) -> int:
    """Count the vectors that an index in state building has so far."""
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT count(*) AS n FROM vector_records JOIN indexes ON indexes.id = index_id "
            "WHERE state = 'building'"
        ).fetchall()
    number: int = rows[0]["n"]
    return number


@pytest.mark.slow
@pytest.mark.parametrize("way", list(WISHES))
def test_a_killed_reindex_is_finished_by_the_next(clone: Clone, tmp_path: Path, way: str) -> None:
    folder = tmp_path / "corpus"
    undisturbed, disturbed = clone(), clone()
    quiet, killed = (
        {
            **os.environ,
            "DATABASE_URL": url,
            "UNMOVED_DATA_DIR": str(tmp_path / "data"),
            "UNMOVED_EMBEDDER": "hashing:32",
        }
        for url in (undisturbed, disturbed)
    )
    write_corpus(folder, edition=0)
    ingest(killed, "add", str(folder), "--prune", "--quiet")
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    seen, hits = 0, 0
    for edition in range(1, KILLS + 1):
        process = begin(killed, WISHES[way])
        started = time.monotonic()
        # From when it begins to write, or as soon as it is over.
        while process.poll() is None and recorded(disturbed) <= seen:
            time.sleep(0.02)
            assert time.monotonic() - started < 100, process
        time.sleep(moments.uniform(0, 0.4))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            hits += 1
        process.communicate()
        seen = recorded(disturbed)
        write_corpus(folder, edition=edition)
        ingest(killed, "add", str(folder), "--prune", "--quiet")
        seen = recorded(disturbed)
    final = json.loads(ingest(killed, "reindex", *WISHES[way], "--json")) if hits == KILLS else None
    ingest(quiet, "add", str(folder), "--quiet")
    expected = json.loads(ingest(quiet, "reindex", *WISHES[way], "--json"))
    indexes = json.loads(ingest(killed, "indexes", "--json"))
    built = next(index for index in indexes if index["state"] == "ready")
    assert final is None or built["id"] == final["index_id"]
    assert dump_index(disturbed, UUID(built["id"])) == dump_index(
        undisturbed, UUID(expected["index_id"])
    ), f"seed {seed}"
    # And it answers.
    ingest(killed, "activate", built["id"])
    assert hits >= 2, f"only {hits} of {KILLS} were killed, seed {seed}"
