"""Copying an index into another one of the same store, a stretch of ids at a time.

Every vector is read once, to see that it hashes to what was recorded; the copying itself is the
store's. While one stretch is looked at, the ones before it are copied and recorded.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from ingest.report import Counts, Progress
from ingest.targets import Target
from ingest.turns import Turns
from search_app.bootstrap import Services
from search_app.catalog import filling, runs
from search_app.catalog.engine import transaction
from search_app.catalog.filling import Stretch
from search_app.catalog.locks import WritingLock
from search_app.stores.base import Survey, Taken
from search_app.types import Index

COPIED = 5_000
"""Vectors of one stretch."""

STRETCHES = 6
"""Stretches in one turn: for so long others that want to write wait."""

_AHEAD = 2
"""Stretches that were looked at and are not recorded yet."""


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What is to be copied of a stretch: all, or ``only`` some and not what is ``besides``."""

    stretch: Stretch
    number: int
    only: Sequence[UUID] | None = None
    besides: Sequence[UUID] = ()


class StretchCopier:
    """Copies what an index lacks and another one has, where both cut and weight alike."""

    def __init__(
        self,
        *,
        services: Services,
        run_id: UUID,
        source: Index,
        target: Target,
        counts: Counts,
        turns: Turns,
        progress: Progress,
    ) -> None:
        """Copy for a run that was started, and count there what was copied."""
        self._engine = services.engine
        self._run_id = run_id
        self._source = source
        self._index = target.index
        self._store = target.store
        self._counts = counts
        self._turns = turns
        self._progress = progress
        # Each of the two steps takes the stretches in their order, one at a time.
        self._copying = asyncio.Lock()
        self._recording = asyncio.Lock()
        self._ahead = asyncio.Semaphore(_AHEAD)
        self._able = True

    async def copy_all(self) -> None:
        """Copy until there is no more, or the store turns out to copy nothing by itself."""
        after: UUID | None = None
        at_end = False
        while self._able and not at_end:
            async with self._turns.turn() as lock:
                after, at_end = await self._copy_some(lock, after)

    async def _copy_some(self, lock: WritingLock, after: UUID | None) -> tuple[UUID | None, bool]:
        """Copy some stretches; give where to go on, and whether that was the last."""
        at_end = False
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(STRETCHES):
                    page = await self._store.survey(self._source.id, after=after, limit=COPIED)
                    at_end = not page.chunk_ids
                    if at_end or not self._able:
                        break
                    stretch = Stretch(
                        source=self._source, after=after, last=UUID(bytes=page.chunk_ids[-1])
                    )
                    wanted = await self._look(page, stretch)
                    await self._ahead.acquire()
                    group.create_task(self._take(lock, wanted))
                    after = stretch.last
        except ExceptionGroup as failed:
            # Callers know our errors by their types; the first one stopped the rest.
            raise failed.exceptions[0] from failed
        return after, at_end

    async def _look(self, page: Survey, stretch: Stretch) -> _Wanted:
        """See which vectors are to be copied and are what was recorded."""
        async with transaction(self._engine) as connection:
            digest = await filling.copyable_digest(connection, self._index, stretch)
            if digest == sha256(b"".join(page.digests)).digest():
                return _Wanted(stretch=stretch, number=len(page.chunk_ids))
            recorded = await filling.copyable(connection, self._index, stretch)
        found = {
            UUID(bytes=chunk_id): digest
            for chunk_id, digest in zip(page.chunk_ids, page.digests, strict=True)
        }
        good = [key for key, digest in found.items() if recorded.get(key) == digest]
        besides = found.keys() - set(good)
        return _Wanted(stretch=stretch, number=len(good), only=good, besides=list(besides))

    async def _take(self, lock: WritingLock, wanted: _Wanted) -> None:
        try:
            # In this order: what is recorded must be there.
            if wanted.number and await self._copy(lock, wanted):
                await self._record(wanted)
        finally:
            self._ahead.release()

    async def _copy(self, lock: WritingLock, wanted: _Wanted) -> bool:
        async with self._copying:
            await lock.check()
            copied = await self._store.copy(
                Taken(
                    source_id=self._source.id,
                    index_id=self._index.id,
                    after=wanted.stretch.after,
                    last=wanted.stretch.last,
                    besides=wanted.besides,
                )
            )
        self._able = self._able and copied
        return copied

    async def _record(self, wanted: _Wanted) -> None:
        async with self._recording:
            self._counts.chunks.reused += wanted.number
            async with transaction(self._engine) as connection:
                await filling.copy_records(
                    connection, self._index, wanted.stretch, self._run_id, wanted.only
                )
                await runs.set_counts(connection, self._run_id, self._counts.as_json())
        self._progress.written(embedded=0, reused=wanted.number)
