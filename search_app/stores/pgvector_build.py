"""Builds what makes search approximate and filters quick, beside readers and writers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import Index, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateIndex, DropIndex

from search_app.stores.pgvector_forms import make_bits_function
from search_app.stores.pgvector_tables import (
    SCHEMA,
    Layout,
    fields_index,
    hnsw_index,
    read_layout,
    terms_index,
)
from search_app.types import Precision

_POLL_S = 0.2


async def build_indexes(engine: AsyncEngine, index_id: UUID, *, hnsw_from: int) -> None:
    """Build the indexes that are missing or were left incomplete, then gather statistics.

    Waits for transactions that were open at its start, so the caller must not hold one.
    """
    async with _alone(engine, index_id) as connection:
        layout = await read_layout(connection, index_id)
        await _build(connection, fields_index(layout.table))
        if await _wants_hnsw(connection, layout, hnsw_from):
            await _build_hnsw(connection, layout)
        # So that the planner knows what a filter passes.
        await connection.execute(text(f"ANALYZE {layout.table.fullname}"))
        if layout.has_terms:
            await _build_terms(connection, layout)


async def _build_hnsw(connection: AsyncConnection, layout: Layout) -> None:
    if layout.precision is Precision.BINARY and not layout.has_hnsw:
        # What is left of a build that was killed would hold other bits.
        await connection.execute(DropIndex(hnsw_index(layout), if_exists=True))
        await make_bits_function(connection, layout.table)
    await _build(connection, hnsw_index(layout))


async def _build_terms(connection: AsyncConnection, layout: Layout) -> None:
    await _build(connection, fields_index(layout.terms))
    await _build(connection, terms_index(layout))
    # What was written since the last time waits in a list, which every search reads.
    await connection.execute(_CLEAN, {"name": f"{SCHEMA}.{terms_index(layout).name}"})
    await connection.execute(text(f"ANALYZE {layout.terms.fullname}"))


@asynccontextmanager
async def _alone(engine: AsyncEngine, index_id: UUID) -> AsyncIterator[AsyncConnection]:
    lock = {"name": f"unmoved {SCHEMA} {index_id}"}
    async with engine.connect() as connection:
        # An index can only be built CONCURRENTLY outside a transaction.
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            # Asked for again and again, not waited for: a waiting statement holds a snapshot,
            # for whose end the build in the other session would wait in turn.
            while not await connection.scalar(_TRY_LOCK, lock):  # noqa: ASYNC110 - another process has it
                await asyncio.sleep(_POLL_S)
            # A time limit meant for queries would leave a big index half built every time.
            await connection.execute(text("SET statement_timeout = 0"))
            yield connection
        finally:
            # Closed for good, not back to the pool: that ends lock and setting, whatever state
            # the connection is in.
            await connection.invalidate()


_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_CLEAN = text("SELECT gin_clean_pending_list(to_regclass(:name))")
_VALID = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


async def _wants_hnsw(connection: AsyncConnection, layout: Layout, hnsw_from: int) -> bool:
    if layout.dimensions > layout.form.most_dimensions:
        return False
    some = select(layout.table.c.chunk_id).limit(hnsw_from).subquery()
    return await connection.scalar(select(func.count()).select_from(some)) == hnsw_from


async def _build(connection: AsyncConnection, index: Index) -> None:
    valid = await connection.scalar(_VALID, {"name": f"{SCHEMA}.{index.name}"})
    if valid:
        return
    if valid is False:
        # Left by a build that was killed; it slows every write and answers nothing.
        await connection.execute(DropIndex(index))
    await connection.execute(CreateIndex(index))
