"""SIGKILL at random moments: what is finished in the end equals what was never disturbed.

The sources change before every kill, so that whatever an aborted run left of an edition that no
longer exists would show.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.catalog_dump import dump
from tests.conftest import Clone

KILLS = 20
DOCUMENTS = 240
RECORDS = 500


def write_corpus(folder: Path, *, edition: int) -> None:
    """Write many small documents, some of them records; every edition differs in places."""
    folder.mkdir(exist_ok=True)
    for number in range(DOCUMENTS):
        latest = edition if number % 3 == 0 else 0
        sections = "\n\n".join(
            f"## Section {part}\n\nPassage {part} of document {number}, edition {latest}: "
            + f"the keeper counted {number * part + latest} ships. " * 30
            for part in range(3)
        )
        (folder / f"{number:04}.md").write_text(f"# Log {number}\n\n{sections}", encoding="utf-8")
    for gone in range(edition):
        (folder / f"{gone:04}.md").unlink()
    rows = [
        json.dumps({"id": number, "text": f"Row {number} of edition {edition * (number % 2)}"})
        for number in range(edition * 10, RECORDS)
    ]
    (folder / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")


def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    program = str(Path(sys.executable).with_name("ingest"))
    command = [program, "add", str(folder), "--prune", "--quiet"]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(folder: Path, environment: dict[str, str]) -> float:
    started = time.monotonic()
    process = start(folder, environment)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return time.monotonic() - started


@pytest.mark.slow
def test_a_killed_ingest_is_finished_by_the_next(clone: Clone, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    undisturbed, disturbed = clone(), clone()
    environments = [
        {
            **os.environ,
            "DATABASE_URL": url,
            "UNMOVED_DATA_DIR": str(tmp_path / "data"),
            "UNMOVED_EMBEDDER": "hashing:32",
        }
        for url in (undisturbed, disturbed)
    ]
    write_corpus(folder, edition=0)
    duration = finish(folder, environments[1])
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    killed = 0
    for edition in range(1, KILLS + 1):
        write_corpus(folder, edition=edition)
        process = start(folder, environments[1])
        started = time.monotonic()
        try:
            process.wait(timeout=moments.uniform(0.2, 1.0) * duration)
            # Later editions change less than the first brought, and machines have busy hours.
            duration = time.monotonic() - started
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate()
    finish(folder, environments[1])
    finish(folder, environments[0])
    assert dump(disturbed) == dump(undisturbed), f"seed {seed}"
    assert killed >= KILLS // 2, f"only {killed} of {KILLS} were killed, seed {seed}"
