"""The fork server and its workers, as seen from the process that wants files parsed."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import psutil

from ingest.parsing.wire import (
    ANSWER,
    LEAVING,
    OUT_OF_MEMORY,
    PART,
    REQUEST,
    TAKEN,
    UNKNOWN_STATUS,
)

_BOOT = """\
import json, os, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path[:] = json.loads(sys.argv[1])
from ingest.parsing.fork_server import main
main(sys.argv[2])
"""
# Threads would make forking unsafe, and each parser has a core of its own as it is.

_LEAVING_S = 10.0
_WATCH_S = 0.25
LIMITS_ENFORCED = sys.platform == "linux"
"""Whether the system holds a worker to its limit; elsewhere we look at it from time to time."""


class LostError(Exception):
    """The worker or the server went down, and the file is not to blame."""


class TooSlowError(Exception):
    """A file took longer than it may."""


class TooLargeError(Exception):
    """A file took more memory than it may."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a worker ended: its wait status, and the most memory it ever had, in bytes."""

    status: int
    peak: int

    def reason(self, memory_mb: int) -> str:
        """Say in a few words what it means for the file it was parsing."""
        if self.status == UNKNOWN_STATUS:
            return "its parser cannot be stopped; is the disk that it lies on there?"
        code = os.waitstatus_to_exitcode(self.status)
        # Parsers written in C and Rust answer a refused allocation by a crash.
        if code == OUT_OF_MEMORY or (code < 0 and self.peak > memory_mb * 1_000_000 // 2):
            return too_large(memory_mb)
        if code == -signal.SIGKILL:
            return "its parser was killed from outside; run again"
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        hint = "; if the file is large, raise UNMOVED_PARSE_MEMORY_MB"
        return f"its parser crashed ({how}){hint if code == -signal.SIGABRT else ''}"


def too_large(memory_mb: int) -> str:
    """Say that a file met the limit of memory."""
    return f"takes more than {memory_mb:,} MB to read; raise UNMOVED_PARSE_MEMORY_MB"


class ForkServer:
    """The process that workers are forked from. Safe to use from several threads."""

    def __init__(self, *, memory_mb: int, modules: Sequence[str]) -> None:
        """Start it; workers may be asked for at once, and wait for its imports."""
        self._memory = memory_mb * 1_000_000
        self._asking = threading.Lock()
        self._answered = False
        self._control, theirs = socket.socketpair()
        with theirs:
            given = {"control": theirs.fileno(), "memory": self._memory, "modules": [*modules]}
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(sys.path), json.dumps(given)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Out of reach of the terminal's Ctrl-C, which is for us to answer.
                start_new_session=True,
            )

    def start(self) -> "Worker":
        """Start a worker.

        Raises:
            LostError: the server is gone or could not be started.
        """
        ours, theirs = Pipe()
        try:
            with theirs:
                pid, _, _ = self._ask(REQUEST.pack(True, 0), [theirs.fileno()])
        except LostError:
            ours.close()
            raise
        return Worker(self, pid, ours, memory=self._memory)

    def end(self, pid: int) -> Ending:
        """End a worker and tell how it ended.

        Raises:
            LostError: the server is gone, and its workers with it.
        """
        _, status, peak = self._ask(REQUEST.pack(False, pid), [])
        return Ending(status=status, peak=peak)

    def close(self) -> None:
        """End the server and all its workers."""
        if not self._answered:
            # It imports still, has no workers, and would not listen.
            self._process.kill()
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(_LEAVING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._asking:
            self._control.close()

    def _ask(self, request: bytes, descriptors: Sequence[int]) -> tuple[int, int, int]:
        with self._asking:
            try:
                socket.send_fds(self._control, [request], descriptors)
                answer = self._control.recv(ANSWER.size, socket.MSG_WAITALL)
            except OSError as exc:
                raise LostError from exc
            if len(answer) < ANSWER.size:
                raise LostError
            self._answered = True
        pid, status, peak = ANSWER.unpack(answer)
        return pid, status, peak


class Worker:
    """A process that parses one file after the other."""

    def __init__(
        self, server: ForkServer, pid: int, connection: Connection, *, memory: int
    ) -> None:
        """Speak with the worker through its connection, which is handed over."""
        self.pid = pid
        self.leaving = False
        self._server = server
        self._connection = connection
        self._memory = memory
        # That of the connection makes a new one for every question.
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)

    def alive(self) -> bool:
        """Say whether an idle worker is there: it has nothing to say, unless it is gone."""
        return not self._poll(0)

    def parse(self, task: bytes, seconds: float) -> Iterator[bytes]:
        """Give it a file, and what it finds as it comes. Only the time spent waiting here counts.

        Raises:
            LostError: it was gone before it got the file.
            EOFError, OSError: it died of the file.
            TooSlowError: it takes more than so many seconds.
            TooLargeError: it takes more memory than it may, where the system does not see to it.
        """
        try:
            self._connection.send_bytes(task)
            self._wait(seconds)
            self._connection.recv_bytes(len(TAKEN))
        except (EOFError, OSError) as exc:
            raise LostError from exc
        left = seconds
        while True:
            began = time.monotonic()
            self._wait(left)
            left -= time.monotonic() - began
            message = self._connection.recv_bytes(self._memory)
            kind = message[:1]
            self.leaving = kind == LEAVING
            yield message[1:]
            if kind != PART:
                return

    def end(self) -> Ending:
        """End it, and tell how it ended.

        Raises:
            LostError: it went down together with the server.
        """
        # The server first: a closed connection would make a worker that is dying end otherwise.
        try:
            return self._server.end(self.pid)
        finally:
            self._connection.close()

    def _poll(self, seconds: float) -> bool:
        return bool(self._readable.poll(max(0.0, seconds) * 1000))

    def _wait(self, seconds: float) -> None:
        if LIMITS_ENFORCED:
            if not self._poll(seconds):
                raise TooSlowError
            return
        deadline = time.monotonic() + seconds
        while not self._poll(min(_WATCH_S, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                raise TooSlowError
            with suppress(psutil.NoSuchProcess):
                if psutil.Process(self.pid).memory_info().rss > self._memory:
                    raise TooLargeError
