"""The process that workers are forked from, and what a worker does.

It imports the parsers once and has no threads, so that a worker starts in milliseconds, shares
that memory and can safely be forked. The standard library's fork server would leave its socket in
/tmp when its parent is killed, and would run the parent's main module once more in every worker.
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NoReturn

from ingest import language, loaders
from ingest.parsing.wire import (
    ANSWER,
    LAST,
    LEAVING,
    OUT_OF_MEMORY,
    PART,
    REQUEST,
    TAKEN,
    UNKNOWN_STATUS,
    Task,
    pack,
    unpack_task,
)
from ingest.types import LoadedDocument
from search_app.errors import SourceError

GRACE_S = 0.5
"""Seconds that a worker which seems to be ending has to do so by itself."""
STUBBORN_S = 5.0
"""Seconds after which a worker that was killed is left to the system, e.g. on a dead disk."""
PART_SIZE = 1 << 20
"""Characters of text that are sent at once; a single document goes whole."""

_PR_SET_PDEATHSIG = 1
_CRASHED = 70


def main(arguments: str) -> None:
    """Serve until the other end of the control socket is closed, then take the workers along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = json.loads(arguments)
    for module in given["modules"]:
        # Only to be quick: the parser that needs it and has it not says so itself.
        with suppress(ImportError):
            importlib.import_module(module)
    language.detect("what the first text would load")
    # Otherwise the first collection writes to every object and so copies all that is shared.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=given["control"]) as control:
        _serve(control, given["memory"])


def _serve(control: socket.socket, memory: int) -> None:
    workers: set[int] = set()
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, REQUEST.size, 1)
        if len(request) < REQUEST.size:
            for pid in workers:
                _end(pid, grace_s=0)
            return
        start, pid = REQUEST.unpack(request)
        if start:
            worker = _fork(control, descriptors[0], memory)
            workers.add(worker)
            control.sendall(ANSWER.pack(worker, 0, 0))
        else:
            control.sendall(ANSWER.pack(pid, *_end(pid, grace_s=GRACE_S)))
            workers.discard(pid)


def _end(pid: int, *, grace_s: float) -> tuple[int, int]:
    """End a worker and give its wait status and its peak memory in bytes."""
    began = time.monotonic()
    killed = False
    while (waited := time.monotonic() - began) < STUBBORN_S:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return status, _peak(usage)
        if waited >= grace_s and not killed:
            _kill(pid)
            killed = True
        time.sleep(0.001)
    return UNKNOWN_STATUS, 0


def _kill(pid: int) -> None:
    # With all that a parser may have started.
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)


def _peak(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _fork(control: socket.socket, descriptor: int, memory: int) -> int:
    server = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    try:
        os.setpgid(0, 0)
        control.close()
        _die_with(server)
        _limit(memory)
        _silence()
        _work(Connection(descriptor), memory)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BaseException:  # noqa: BLE001 - a worker never comes back into the server's loop
        os._exit(_CRASHED)


def _die_with(server: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(_CRASHED)


def _limit(memory: int) -> None:
    """Limit this process's memory, and let the system take it first when there is none left.

    RLIMIT_DATA counts what a process may write to; RLIMIT_AS would also count libraries and
    address space that allocators and runtimes only reserve, often gigabytes. Where the system does
    not enforce it, the pool watches.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123 - not a path of ours
            score.write("800")


def _silence() -> None:
    # Parsers written in C print what they like, and the terminal is not theirs.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)


def _work(connection: Connection, memory: int) -> NoReturn:
    while True:
        try:
            task = unpack_task(connection.recv_bytes())
        except EOFError:
            os._exit(0)
        connection.send_bytes(TAKEN)
        rest = _send_parts(connection, task)
        if _peak(resource.getrusage(resource.RUSAGE_SELF)) > memory // 2:
            # What is left of it would count against the next file.
            connection.send_bytes(LEAVING + rest)
            os._exit(0)
        connection.send_bytes(LAST + rest)


def _send_parts(connection: Connection, task: Task) -> bytes:
    """Parse a file and send what is found, but for the last part."""
    part: list[LoadedDocument | SourceError] = []
    size = 0
    for found in _parsed(task):
        part.append(found)
        size += len(found.text) if isinstance(found, LoadedDocument) else 0
        if size >= PART_SIZE:
            connection.send_bytes(PART + _packed(task, part))
            part, size = [], 0
    return _packed(task, part)


def _packed(task: Task, part: Sequence[LoadedDocument | SourceError]) -> bytes:
    try:
        return pack(part)
    except (TypeError, ValueError, RecursionError) as exc:
        uri = task[0].uri
        return pack([SourceError(uri, f"its parser gave what cannot be passed on: {exc}")])


def _parsed(task: Task) -> Iterator[LoadedDocument | SourceError]:
    ref, options, expected_hash = task
    try:
        yield from loaders.load(ref, options, expected_hash=expected_hash)
    except (GeneratorExit, MemoryError):
        raise
    except BaseException as exc:  # noqa: BLE001 - sys.exit, panics of Rust: neither may end a worker
        first_line = next(iter(str(exc).splitlines()), "")
        yield SourceError(ref.uri, f"cannot be read: {type(exc).__name__}: {first_line[:200]}")
