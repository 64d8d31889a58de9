"""``ingest watch`` as a process: what changes goes in, what goes goes out, and nothing ends it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.catalog_dump import connect, differences, dump
from tests.conftest import Clone
from tests.test_worker import environment
from tests.worker_process import PATIENCE_S, until

pytestmark = pytest.mark.slow


class Watcher:
    """An ``ingest watch`` process, the rounds it told of, and its complaints."""

    def __init__(self, surroundings: dict[str, str], *arguments: str) -> None:
        program = str(Path(sys.executable).with_name("ingest"))
        self.process = subprocess.Popen(
            [program, "watch", "--json", "--debounce", "0.2", *arguments],
            env={**os.environ, **surroundings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.rounds: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_rounds, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_rounds(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            if told["event"] == "round":
                self.rounds.append(told)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def counted(self, name: str) -> int:
        return sum(told["documents"][name] for told in self.rounds)

    def until_counted(self, name: str, number: int) -> None:
        until(lambda: self.counted(name) >= number or self.process.poll() is not None)
        assert self.counted(name) == number, (self.rounds, self.errors)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code


@contextmanager
def watcher(surroundings: dict[str, str], *arguments: str) -> Iterator[Watcher]:
    started = Watcher(surroundings, *arguments)
    try:
        yield started
    finally:
        started.stop()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def shown(database_url: str) -> list[str]:
    with connect(database_url) as connection:
        try:
            rows = connection.execute(
                "SELECT uri FROM documents WHERE state = 'indexed' ORDER BY uri"
            ).fetchall()
        except psycopg.Error:
            return []
    return [Path(row["uri"]).name for row in rows]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_collection_is_kept_like_a_folder(
    clone: Clone, tmp_path: Path, how: signal.Signals
) -> None:
    watched, once = clone(), clone()
    folder = tmp_path / "papers"
    write(folder / "a.md", "# A\n\nAlpha.")
    write(folder / "drafts" / "no.md", "# No\n\nLeft out.")
    surroundings = environment(watched, tmp_path)
    with watcher(surroundings, str(folder), "--exclude", "drafts/") as watching:
        watching.until_counted("added", 1)
        write(folder / "b.md", "# B\n\nBeta.")
        write(folder / ".hidden.md", "# H\n\nNot meant.")
        write(folder / "drafts" / "more.md", "# No\n\nLeft out too.")
        watching.until_counted("added", 2)
        write(folder / "a.md", "# A\n\nAlpha anew.")
        watching.until_counted("updated", 1)
        (folder / "b.md").unlink()
        watching.until_counted("removed", 1)
        # A folder that is moved in brings its files, one that is moved out takes them along.
        write(tmp_path / "aside" / "deep" / "c.md", "# C\n\nGamma.")
        (tmp_path / "aside").rename(folder / "aside")
        watching.until_counted("added", 3)
        assert shown(watched) == ["a.md", "c.md"]
        code = watching.stop(how)
    assert code == 130
    assert "".join(watching.errors).strip() == "stopped"
    # In other rounds than at once, and yet the same; an ingest of the folder finds nothing to do.
    program = str(Path(sys.executable).with_name("ingest"))
    command = [program, "add", str(folder), "--exclude", "drafts/", "--json"]
    reports = [
        json.loads(
            subprocess.run(
                command,
                env={**os.environ, **environment(url, tmp_path)},
                check=True,
                capture_output=True,
            ).stdout
        )
        for url in (watched, once)
    ]
    assert reports[0]["documents"]["unchanged"] == reports[1]["documents"]["added"] == 2
    assert differences(dump(watched), dump(once)) == []


def test_a_round_that_fails_is_one_line_and_its_files_go_in_later(
    database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "papers"
    write(folder / "a.md", "# A\n\nAlpha.")
    with watcher(environment(database_url, tmp_path), str(folder)) as watching:
        watching.until_counted("added", 1)
        break_chunks(database_url)
        write(folder / "b.md", "# B\n\nBeta.")
        until(lambda: any("error:" in line for line in watching.errors))
        assert watching.process.poll() is None
        mend_chunks(database_url)
        # Whatever happens next brings in what was missed.
        write(folder / "c.md", "# C\n\nGamma.")
        watching.until_counted("added", 3)
    assert shown(database_url) == ["a.md", "b.md", "c.md"]
    failed = [line for line in watching.errors if "error:" in line]
    assert len(failed) == 1
    assert "broken for a test" in failed[0]


def break_chunks(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'broken for a test'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON chunks EXECUTE FUNCTION refuse()"
        )


def mend_chunks(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("DROP TRIGGER broken ON chunks")


@pytest.mark.parametrize(
    ("path", "said"),
    [("nowhere", "no such file or folder"), ("https://example.org/", "cannot be watched")],
)
def test_what_cannot_be_watched_is_refused_at_once(
    database_url: str, tmp_path: Path, path: str, said: str
) -> None:
    watching = Watcher(environment(database_url, tmp_path), path)
    code = watching.process.wait(PATIENCE_S)
    watching.stop()
    assert code == 2
    assert said in "".join(watching.errors)
