"""A real worker, as a process that tells what it does."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE_S = 120
"""Seconds after which something that should have happened counts as never happening."""


class Worker:
    """An ``ingest worker`` process and the events it told so far."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        program = str(Path(sys.executable).with_name("ingest"))
        self.process = subprocess.Popen(
            [program, "worker", "--json", *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._told = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._told:
                self.events.append(json.loads(line))
                self._told.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def wait_for(self, event: str, job: int | None = None, *, times: int = 1) -> dict[str, Any]:
        """Wait until it tells of an event, of that job if one is named."""

        def met() -> list[dict[str, Any]]:
            return [
                told
                for told in self.events
                if told["event"] == event and job in (None, told.get("job"))
            ]

        with self._told:
            reached = self._told.wait_for(lambda: len(met()) >= times, PATIENCE_S)
        assert reached, (event, job, self.events, self.errors)
        return met()[times - 1]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal, and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        return code


@contextmanager
def worker(environment: dict[str, str], *arguments: str) -> Iterator[Worker]:
    """Start a worker that is there for its jobs, and end it."""
    started = Worker(environment, *arguments)
    try:
        started.wait_for("ready")
        yield started
    finally:
        started.stop()


def until(condition: Any) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)
