"""Everything that is wrong between the catalog and the store of one index, part by part."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog.auditing import chunks_with_records, unrecorded_after
from search_app.catalog.engine import reading
from search_app.consistency.disagreements import Finding, Kind, judge
from search_app.consistency.walk import walk
from search_app.stores.base import VectorStore
from search_app.types import Index, IndexState

BATCH = 500
"""Chunks looked at together."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one stretch of ids had: how much, and what is wrong with it."""

    records: int
    points: int
    findings: Sequence[Finding]


async def inspect(
    engine: AsyncEngine, index: Index, store: VectorStore, *, writing: bool
) -> AsyncGenerator[Part, None]:
    """Compare all records of an index with all points of its store, in constant memory.

    What seems to differ is looked at once more before it is told: both sides were read at
    different moments. ``writing``: a run is at work in the collection.

    Raises:
        StoreError: the store cannot be reached, which says nothing of what is in it.
        CatalogError: likewise for the catalog.
    """
    async with aclosing(walk(engine, index, store)) as stretches:
        async for stretch in stretches:
            findings = [_twice(chunk_id) for chunk_id in stretch.duplicates]
            for start in range(0, len(stretch.suspects), BATCH):
                suspects = stretch.suspects[start : start + BATCH]
                findings += await _judged(engine, index, store, suspects, writing=writing)
            yield Part(records=stretch.records, points=stretch.points, findings=findings)
    async with aclosing(_incomplete(engine, index)) as pages:
        async for page in pages:
            yield Part(records=0, points=0, findings=page)


def _twice(chunk_id: UUID) -> Finding:
    return Finding(chunk_id=chunk_id, kind=Kind.DUPLICATE, detail="the store has it twice")


async def _judged(
    engine: AsyncEngine,
    index: Index,
    store: VectorStore,
    suspects: Sequence[UUID],
    *,
    writing: bool,
) -> list[Finding]:
    points = {point.chunk_id: point for point in await store.fetch(index.id, suspects)}
    async with reading(engine) as connection:
        known = await chunks_with_records(connection, index.id, suspects)
    judged = (
        judge(index, each, known.get(each), points.get(each), writing=writing) for each in suspects
    )
    return [finding for finding in judged if finding is not None]


async def _incomplete(engine: AsyncEngine, index: Index) -> AsyncGenerator[list[Finding], None]:
    after = None
    building = index.state is IndexState.BUILDING
    kind = Kind.UNFINISHED if building else Kind.INCOMPLETE
    detail = "not in this index yet" if building else "its document is shown, and it has no vector"
    while True:
        async with reading(engine) as connection:
            page = await unrecorded_after(connection, index, after, limit=BATCH)
        if not page:
            return
        yield [Finding(chunk_id=each, kind=kind, detail=detail) for each in page]
        after = page[-1]
