"""How far a run is, counted as it goes and kept in the catalog, where pages and programs see it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from ingest.report import Progress
from ingest.sources import discover
from ingest.types import PageRef, SourceRef
from search_app.catalog import runs
from search_app.catalog.engine import transaction
from search_app.errors import CatalogError
from search_app.types import JSON, Failure

EVERY_S = 1.0
"""Seconds between two entries in the catalog."""


@dataclass(kw_only=True)
class Reached:
    """How far a run is. ``sources_found`` is None until all of them are counted."""

    sources_found: int | None = None
    sources_read: int = 0
    chunks_planned: int = 0
    chunks_written: int = 0


class Tally:
    """Counts what a run tells, and passes it on."""

    def __init__(self, progress: Progress) -> None:
        """Pass on to ``progress``."""
        self._progress = progress
        self.reached = Reached()
        self.helped = Reached()
        """How far others are with their parts of the run."""

    def as_json(self) -> dict[str, JSON]:
        """Say how far the run is as a whole, in the shape that the catalog keeps."""
        found, own, others = self.reached.sources_found, self.reached, self.helped
        read = own.sources_read + others.sources_read
        return {
            "sources_found": found,
            # What somebody who died had read is read again.
            "sources_read": read if found is None else min(read, found),
            "chunks_planned": own.chunks_planned + others.chunks_planned,
            "chunks_written": own.chunks_written + others.chunks_written,
        }

    def waiting(self) -> None:
        """Pass it on."""
        self._progress.waiting()

    def read(self, *, uri: str, size: int) -> None:
        """Count a source."""
        self.reached.sources_read += 1
        self._progress.read(uri=uri, size=size)

    def planned(self, chunks: int) -> None:
        """Count chunks to come."""
        self.reached.chunks_planned += chunks
        self._progress.planned(chunks)

    def written(self, *, embedded: int, reused: int) -> None:
        """Count chunks that are in."""
        self.reached.chunks_written += embedded + reused
        self._progress.written(embedded=embedded, reused=reused)

    def failed(self, failure: Failure) -> None:
        """Pass it on."""
        self._progress.failed(failure)

    def warned(self, text: str) -> None:
        """Pass it on."""
        self._progress.warned(text)


@asynccontextmanager
async def kept(engine: AsyncEngine, run_id: UUID, tally: Tally) -> AsyncIterator[None]:
    """Keep in the catalog how far a run is, for as long as it goes on."""
    keeping = asyncio.create_task(_keep(engine, run_id, tally))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await _note(engine, run_id, tally.as_json())


async def _keep(engine: AsyncEngine, run_id: UUID, tally: Tally) -> None:
    noted: Mapping[str, JSON] = asdict(Reached())
    while True:
        await asyncio.sleep(EVERY_S)
        now = tally.as_json()
        if now != noted and await _note(engine, run_id, now):
            noted = now


async def _note(engine: AsyncEngine, run_id: UUID, reached: Mapping[str, JSON]) -> bool:
    try:
        async with transaction(engine) as connection:
            await runs.set_progress(connection, run_id, reached)
    except CatalogError:
        # The run itself meets the same, and says so; this is only a look at it.
        return False
    return True


@asynccontextmanager
async def counting(
    arguments: Sequence[str], exclude: Sequence[str], reached: Reached
) -> AsyncIterator[None]:
    """Count in the background what the arguments name, links and folders followed."""
    stopped = threading.Event()

    def count() -> None:
        found = 0
        for item in discover(arguments, exclude=exclude):
            if stopped.is_set():
                return
            found += isinstance(item, SourceRef | PageRef)
        reached.sources_found = found

    task = asyncio.create_task(asyncio.to_thread(count))
    try:
        yield
    finally:
        stopped.set()
        await asyncio.wait([task])
