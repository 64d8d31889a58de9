"""What ``ingest add`` shows while it works: a bar on a terminal, plain lines elsewhere."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from ingest.sources import discover
from ingest.types import PageRef, SourceRef
from search_app.console import printable
from search_app.types import Failure


class Display:
    """Shows progress in chunks.

    How many chunks there will be is known only once everything is read, so the total is what the
    part read so far had, scaled up by bytes.
    """

    def __init__(
        self, arguments: Sequence[str], exclude: Sequence[str] = (), *, planned: bool = False
    ) -> None:
        """Start counting the sources in the background; ``planned``: there will be no more."""
        self._all_planned = planned
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("chunks", total=None, rate="")
        self._planned = 0
        self._written = 0
        self._bytes_read = 0
        self._counter = ThreadPoolExecutor(1, thread_name_prefix="count")
        self._closed = threading.Event()
        self._bytes: Future[int | None] = self._counter.submit(
            _total_bytes, arguments, exclude, self._closed
        )
        self._bar.start()

    def close(self) -> None:
        """Take the bar away."""
        self._closed.set()
        self._bar.stop()
        self._counter.shutdown(wait=False, cancel_futures=True)

    def waiting(self) -> None:
        """Say that another run is in the way."""
        self._say("another ingest writes to this collection; waiting for it to end")

    def read(self, *, uri: str, size: int) -> None:  # noqa: ARG002 - part of the protocol
        """Count the bytes of a source that was read."""
        self._bytes_read += size
        self._update()

    def planned(self, chunks: int) -> None:
        """Count chunks that will be embedded."""
        self._planned += chunks
        self._update()

    def written(self, *, embedded: int, reused: int) -> None:
        """Count chunks that are in."""
        self._written += embedded + reused
        self._update()

    def failed(self, failure: Failure) -> None:
        """Print the failure above the bar."""
        self._say(f"failed  {failure.source}: {failure.reason}")

    def warned(self, text: str) -> None:
        """Print the warning above the bar."""
        self._say(f"warning {text}")

    def _say(self, line: str) -> None:
        # Not markup: a file may be called [red].
        self._console.print(printable(line), markup=False)

    def _update(self) -> None:
        task = self._bar.tasks[0]
        rate = f"{task.speed:.1f}/s" if task.speed else ""
        self._bar.update(self._task, completed=self._written, total=self._total(), rate=rate)

    def _total(self) -> int | None:
        if self._all_planned:
            return self._planned
        if not self._bytes.done() or not self._bytes_read:
            return None
        size = self._bytes.result()
        if size is None:
            return None
        share = min(1.0, self._bytes_read / max(1, size))
        return max(self._planned, round(self._planned / share))


def _total_bytes(
    arguments: Sequence[str], exclude: Sequence[str], closed: threading.Event
) -> int | None:
    """Add up the files; None where there are pages, of which nobody knows."""
    total = 0
    for found in discover(arguments, exclude=exclude):
        if closed.is_set():
            break
        if isinstance(found, PageRef):
            return None
        if isinstance(found, SourceRef):
            total += found.size
    return total
