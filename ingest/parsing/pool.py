"""The worker processes that a run holds, and the files under way in them.

Each worker has a connection and a thread of its own, so nothing that becomes of one worker
touches another: there is no lock, queue or pipe that two of them share.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, LifoQueue, SimpleQueue

from ingest.parsing.wire import Task, pack_task, unpack
from ingest.parsing.workers import (
    ForkServer,
    LostError,
    TooLargeError,
    TooSlowError,
    Worker,
    too_large,
)
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import ParsingUnavailableError, SourceError

PRELOADED = (
    "ingest.loaders.html_tree",
    "markdownify",
    "pypdfium2",
    "lxml.etree",
    "kreuzberg",
    "python_calamine",
    "olefile",
)
"""What parsers import at their first use: done once, and shared by all workers."""

AHEAD = 8
"""Files for each worker that a reader hands in before it waits for the first."""
PARTS_AHEAD = 4
"""Messages of one file that wait for the reader; after that its worker waits too."""

_CLOSED_S = 0.2
_ATTEMPTS = 2


class Parsing:
    """A file under way. Iterating, once, waits for the worker and gives what it found."""

    def __init__(self) -> None:
        """Begin with nothing; the pool adds to it."""
        self._parts: SimpleQueue[Sequence[LoadedDocument | SourceError] | None] = SimpleQueue()
        self._room = threading.Semaphore(PARTS_AHEAD)
        self._work: Future[None] | None = None
        self.begun = False

    def __iter__(self) -> Iterator[LoadedDocument | SourceError]:
        """Give what was found.

        Raises:
            CancelledError: the pool was closed (that of concurrent.futures).
            ParsingUnavailableError: no process can be started.
        """
        while (part := self._parts.get()) is not None:
            self._room.release()
            yield from part
        if self._work is not None:
            self._work.result()

    def follow(self, work: Future[None]) -> None:
        """End when the work on it does, however that is."""
        self._work = work
        work.add_done_callback(lambda _: self._parts.put(None))

    def add(self, part: Sequence[LoadedDocument | SourceError], closed: threading.Event) -> None:
        """Hand on what was found; waits while the reader is far behind.

        Raises:
            CancelledError: the pool was closed meanwhile.
        """
        while not self._room.acquire(timeout=_CLOSED_S):
            if closed.is_set():
                raise CancelledError
        self.begun = True
        self._parts.put(part)


class ParserPool:
    """Parses files in worker processes, started once the first file comes.

    A file has so many ``seconds`` (waiting for a worker or for the reader not counted), a worker
    so many ``memory_mb``. A file that takes more, or whose parser crashes, ends in its
    SourceError; the others do not notice. Safe to use from several threads.
    """

    def __init__(
        self,
        *,
        workers: int = 0,
        seconds: float = 120,
        memory_mb: int = 2048,
        modules: Sequence[str] | None = None,
    ) -> None:
        """Plan for so many workers, 0: one for each core.

        ``modules`` are imported before workers are forked, in place of PRELOADED.
        """
        self.workers = workers or _cores()
        self._seconds = seconds
        self._memory_mb = memory_mb
        self._modules = PRELOADED if modules is None else modules
        self._server: ForkServer | None = None
        self._starting = threading.Lock()
        self._idle: LifoQueue[Worker] = LifoQueue()
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="parse")

    @property
    def ahead(self) -> int:
        """How many files to hand in before waiting for the first, so that no worker is idle."""
        return self.workers * AHEAD

    def submit(
        self, ref: SourceRef, options: LoadOptions, *, expected_hash: bytes | None = None
    ) -> Parsing:
        """Hand in a file, as to ``loaders.load``; files are begun in the order they come in."""
        parsing = Parsing()
        task = (ref, options, expected_hash)
        parsing.follow(self._threads.submit(self._parse, task, parsing))
        return parsing

    def close(self) -> None:
        """End all workers at once; what is under way is cancelled."""
        self._closed.set()
        with self._starting:
            server, self._server = self._server, None
        if server is not None:
            server.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        while not self._idle.empty():
            with suppress(LostError):
                self._idle.get_nowait().end()

    def _parse(self, task: Task, parsing: Parsing) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                reason = self._attempt(task, parsing)
            except LostError:
                # By no fault of the file, so it gets another chance, if that changes nothing
                # that was handed on.
                if attempt < _ATTEMPTS and not parsing.begun:
                    continue
                reason = "its parser was killed from outside; run again"
            if reason is not None:
                parsing.add([SourceError(task[0].uri, reason)], self._closed)
            return

    def _attempt(self, task: Task, parsing: Parsing) -> str | None:
        """Parse a file; None, or why it did not come to an end."""
        worker = self._worker()
        try:
            for part in worker.parse(pack_task(task), self._seconds):
                parsing.add(_unpacked(task, part), self._closed)
        except TooSlowError:
            self._end(worker)
            return f"takes longer than {self._seconds:g} s to read; raise UNMOVED_PARSE_SECONDS"
        except TooLargeError:
            self._end(worker)
            return too_large(self._memory_mb)
        except (EOFError, OSError):
            self._check_open()
            return worker.end().reason(self._memory_mb)
        except BaseException:
            self._end(worker)
            raise
        if worker.leaving:
            self._end(worker)
        else:
            self._idle.put(worker)
        return None

    def _worker(self) -> Worker:
        while True:
            try:
                worker = self._idle.get_nowait()
            except Empty:
                return self._start()
            if worker.alive():
                return worker
            self._end(worker)

    def _start(self) -> Worker:
        for _ in range(_ATTEMPTS):
            server = self._running()
            try:
                return server.start()
            except LostError:
                self._forget(server)
        raise ParsingUnavailableError(
            "the processes that read files cannot be started, or end at once; "
            "is there memory left, and may this user start processes?"
        )

    def _running(self) -> ForkServer:
        with self._starting:
            self._check_open()
            if self._server is None:
                self._server = ForkServer(memory_mb=self._memory_mb, modules=self._modules)
            return self._server

    def _forget(self, server: ForkServer) -> None:
        with self._starting:
            if self._server is server:
                self._server = None
        server.close()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise CancelledError

    def _end(self, worker: Worker) -> None:
        # If the server is gone, so is the worker.
        with suppress(LostError):
            worker.end()


def _unpacked(task: Task, part: bytes) -> Sequence[LoadedDocument | SourceError]:
    try:
        return unpack(part)
    except (LookupError, TypeError, ValueError) as exc:
        return [SourceError(task[0].uri, f"its parser gave what is no document: {exc}")]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
