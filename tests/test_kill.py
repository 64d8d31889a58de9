"""SIGKILL at random moments: what the next run finishes equals what was never disturbed."""

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
DOCUMENTS = 600


def write_corpus(folder: Path, *, edition: int) -> None:
    """Write many small documents, some of them records; the second edition differs in places."""
    folder.mkdir(exist_ok=True)
    for number in range(DOCUMENTS):
        changed = edition if number % 7 == 0 else 1
        sections = "\n\n".join(
            f"## Section {part}\n\nPassage {part} of document {number}, edition {changed}: "
            + f"the keeper counted {number * part + changed} ships. " * 30
            for part in range(3)
        )
        (folder / f"{number:04}.md").write_text(f"# Log {number}\n\n{sections}", encoding="utf-8")
    rows = [
        f'{{"id": {n}, "text": "Row {n} of edition {edition if n % 5 == 0 else 1}"}}'
        for n in range(900)
    ]
    (folder / "rows.jsonl").write_text("\n".join(rows[edition * 10 :]), encoding="utf-8")


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
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    killed = 0
    for edition, rounds in ((1, KILLS // 2), (2, KILLS - KILLS // 2)):
        write_corpus(folder, edition=edition)
        duration = finish(folder, environments[0])
        for _ in range(rounds):
            process = start(folder, environments[1])
            try:
                process.wait(timeout=moments.uniform(0.3, duration))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.communicate()
        finish(folder, environments[1])
        assert dump(disturbed) == dump(undisturbed), f"edition {edition}, seed {seed}"
    # Runs speed up as less is left to do, so some moments come too late; most must not.
    assert killed >= KILLS // 4, f"only {killed} of {KILLS} were killed, seed {seed}"
