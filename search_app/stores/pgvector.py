"""Vectors and terms in PostgreSQL through pgvector, two tables per index; float32 is canonical."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import DropTable

from search_app.errors import StoreRefusedError
from search_app.filters import Filter
from search_app.stores.base import Mean, Membership, StoreSize, Survey, Taken, VectorStore
from search_app.stores.pgvector_build import build_indexes
from search_app.stores.pgvector_copy import COLUMNS, TERM_COLUMNS, copy_stream, terms_stream
from search_app.stores.pgvector_errors import CollisionError, store_errors
from search_app.stores.pgvector_forms import PRECISIONS, drop_bits_function
from search_app.stores.pgvector_rows import (
    means_by_group,
    number_of_points,
    points_after,
    points_by_id,
    points_surveyed,
    remove,
    replace_fields,
    stream,
    vectors_by_id,
)
from search_app.stores.pgvector_search import Asked, approximate_search, exact_search
from search_app.stores.pgvector_tables import (
    MOST_DIMENSIONS,
    Layout,
    create_tables,
    points_table,
    read_layout,
    size_of,
    terms_table,
)
from search_app.stores.pgvector_terms import (
    CANDIDATES,
    TermSearch,
    best_by_terms,
    documents_by_terms,
)
from search_app.stores.pgvector_transfer import transfer
from search_app.stores.points import (
    check_distinct,
    check_k,
    check_terms,
    check_vector,
    encoded_fields,
)
from search_app.types import JSON, Point, Precision, Scored, TermQuery, Vector

HNSW_FROM = 5_000
"""Points from which an HNSW index pays; below, comparing with all takes a few milliseconds."""

_ATTEMPTS = 10
_PAUSE_S = 0.05
_LAYOUT_S = 5.0
"""How long a layout is believed: another process may finish an HNSW index at any time."""

_Write = Callable[[AsyncConnection, Layout], Awaitable[None]]


class PgvectorStore(VectorStore):
    """Keeps each index in two tables of its own, over an engine (psycopg 3) that it does not own.

    ``candidates`` are how many points an inexact search by terms reads.
    """

    name = "pgvector"
    precisions = PRECISIONS

    def __init__(
        self, engine: AsyncEngine, *, hnsw_from: int = HNSW_FROM, candidates: int = CANDIDATES
    ) -> None:
        self._engine = engine
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._hnsw_from = hnsw_from
        self._candidates = candidates
        self._layouts: dict[UUID, tuple[float, Layout]] = {}

    async def create(
        self, index_id: UUID, dimensions: int, precision: Precision | None = None
    ) -> None:
        """Make the tables of an index, and extension and schema where they are missing."""
        wanted = precision or PRECISIONS[0]
        self.check_precision(wanted)
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise StoreRefusedError(
                f"pgvector keeps 1 to {MOST_DIMENSIONS} dimensions, not {dimensions}; "
                "ask the model for fewer"
            )
        self._layouts.pop(index_id, None)
        with store_errors():
            async with self._engine.begin() as connection:
                await create_tables(connection, index_id, dimensions, wanted)
                layout = await read_layout(connection, index_id)
        if layout.dimensions != dimensions:
            raise StoreRefusedError(
                f"index {index_id} has {layout.dimensions} dimensions, not {dimensions}; "
                "drop it first or make a new one"
            )
        if precision not in (None, layout.precision):
            raise StoreRefusedError(
                f"index {index_id} is searched as {layout.precision}, not as {precision}; "
                "drop it first or make a new one"
            )

    async def drop(self, index_id: UUID) -> None:
        """Remove the tables of an index."""
        self._layouts.pop(index_id, None)
        with store_errors():
            async with self._engine.begin() as connection:
                for table in (points_table(index_id, 1), terms_table(index_id)):
                    await connection.execute(DropTable(table, if_exists=True))
                await drop_bits_function(connection, points_table(index_id, 1))

    async def upsert(self, index_id: UUID, points: Sequence[Point]) -> None:
        """Write points by binary COPY, after deleting those that are there.

        Measured to be quicker than a temporary table and ON CONFLICT, both for new ids and for
        ids that are all replaced.
        """
        if not points:
            return
        check_distinct(points)
        check_terms(points)
        # One order for all writers: better for the primary key, and rarely a deadlock.
        ordered = sorted(points, key=lambda point: point.chunk_id.bytes)
        chunk_ids = [point.chunk_id for point in ordered]
        with_terms = [p for p in ordered if p.terms is not None and len(p.terms.ids)]

        async def write(connection: AsyncConnection, layout: Layout) -> None:
            for table in layout.tables:
                await remove(connection, table, chunk_ids)
            blocks = copy_stream(ordered, index_id, layout.dimensions)
            await stream(connection, layout.table, COLUMNS, blocks)
            if with_terms:
                blocks = terms_stream(with_terms)
                await stream(connection, layout.terms, TERM_COLUMNS, blocks)

        await self._write(index_id, write)

    async def update_fields(
        self, index_id: UUID, fields: Mapping[UUID, Mapping[str, JSON]]
    ) -> None:
        """Replace filter fields, all in one statement."""
        encoded = {
            chunk_id: encoded_fields(fields[chunk_id]).decode()
            for chunk_id in sorted(fields, key=lambda chunk_id: chunk_id.bytes)
        }

        async def write(connection: AsyncConnection, layout: Layout) -> None:
            for table in layout.tables:
                await replace_fields(connection, table, encoded)

        await self._write(index_id, write)

    async def delete(self, index_id: UUID, chunk_ids: Sequence[UUID]) -> None:
        """Remove the given chunks."""

        async def write(connection: AsyncConnection, layout: Layout) -> None:
            for table in layout.tables:
                await remove(connection, table, chunk_ids)

        await self._write(index_id, write)

    async def search(
        self,
        index_id: UUID,
        vector: Vector,
        *,
        k: int,
        filter: Filter | None = None,  # noqa: A002 - the port's word
        exact: bool = False,
        vectors: bool = False,
    ) -> list[Scored]:
        """Find the k nearest points that pass the filter, by HNSW where there is one."""
        check_k(k)
        asked = Asked(vector=vector, k=k, condition=filter, vectors=vectors)
        async with self._open(self._reader, index_id) as (connection, layout):
            check_vector(vector, layout.dimensions)
            if layout.has_hnsw and not exact:
                found = await approximate_search(connection, layout, asked)
                if found is not None:
                    return found
            return await exact_search(connection, layout, asked)

    async def search_terms(
        self,
        index_id: UUID,
        query: TermQuery,
        *,
        k: int,
        filter: Filter | None = None,  # noqa: A002 - the port's word
        exact: bool = False,
    ) -> list[Scored]:
        """Find the k points that pass the filter and score highest by their terms."""
        check_k(k)
        asked = TermSearch(
            query=query, k=k, condition=filter, exact=exact, candidates=self._candidates
        )
        async with self._open(self._reader, index_id) as (connection, layout):
            return await best_by_terms(connection, layout, asked)

    async def documents_with(
        self,
        index_id: UUID,
        term_ids: Sequence[int],
        *,
        filter: Filter | None = None,  # noqa: A002
    ) -> set[UUID]:
        """Name the documents with a point that passes and has any of the terms."""
        async with self._open(self._reader, index_id) as (connection, layout):
            return await documents_by_terms(connection, layout, term_ids, filter)

    async def fetch(self, index_id: UUID, chunk_ids: Sequence[UUID]) -> list[Point]:
        """Get points with their vectors, in id order."""
        async with self._open(self._reader, index_id) as (connection, layout):
            return await points_by_id(connection, layout.table, chunk_ids)

    async def vectors(self, index_id: UUID, chunk_ids: Sequence[UUID]) -> dict[UUID, Vector]:
        """Get the vectors of points alone, at a third of what reading them whole takes."""
        async with self._open(self._reader, index_id) as (connection, layout):
            return await vectors_by_id(connection, layout.table, chunk_ids)

    async def means(self, index_id: UUID, membership: Membership) -> dict[int, Mean]:
        """Have the database work out the means."""
        async with self._open(self._reader, index_id) as (connection, layout):
            return await means_by_group(connection, layout.table, membership)

    async def scan(
        self, index_id: UUID, *, after: UUID | None = None, limit: int = 1000, vectors: bool = False
    ) -> list[Point]:
        """Get the next points in ascending id order."""
        async with self._open(self._reader, index_id) as (connection, layout):
            return await points_after(connection, layout.table, after, limit=limit, vectors=vectors)

    async def survey(
        self, index_id: UUID, *, after: UUID | None = None, limit: int = 1000
    ) -> Survey:
        """Get the next points as columns, at a third of what reading them whole takes."""
        async with self._open(self._reader, index_id) as (connection, layout):
            return await points_surveyed(connection, layout.table, after, limit=limit)

    async def copy(self, taken: Taken, /) -> bool:
        """Copy points inside the database; not from an index of before there were terms."""
        async with self._open(self._reader, taken.source_id) as (reading, _):
            source = await read_layout(reading, taken.source_id)
        copied = False

        async def write(connection: AsyncConnection, layout: Layout) -> None:
            nonlocal copied
            if source.dimensions != layout.dimensions:
                raise StoreRefusedError(
                    f"index {taken.source_id} has {source.dimensions} dimensions, index "
                    f"{taken.index_id} has {layout.dimensions}; vectors of one do not fit the other"
                )
            copied = source.has_terms and layout.has_terms
            if copied:
                await transfer(connection, source, layout, taken)

        await self._write(taken.index_id, write)
        return copied

    async def count(self, index_id: UUID, filter: Filter | None = None) -> int:  # noqa: A002
        """Count the points that pass the filter."""
        async with self._open(self._reader, index_id) as (connection, layout):
            return await number_of_points(connection, layout.table, filter)

    async def optimize(self, index_id: UUID) -> None:
        """Build the HNSW index, once there are enough points, and those for filters and terms."""
        with store_errors():
            await build_indexes(self._engine, index_id, hnsw_from=self._hnsw_from)
        self._layouts.pop(index_id, None)

    async def size(self, index_id: UUID) -> StoreSize:
        """Measure the HNSW index and the table."""
        async with self._open(self._reader, index_id) as (connection, layout):
            return await size_of(connection, layout)

    async def ping(self) -> None:
        """Return if the database answers."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.execute(text("SELECT 1"))

    @asynccontextmanager
    async def _open(
        self, engine: AsyncEngine, index_id: UUID
    ) -> AsyncIterator[tuple[AsyncConnection, Layout]]:
        try:
            with store_errors():
                async with engine.begin() as connection:
                    yield connection, await self._layout(connection, index_id)
        except StoreRefusedError:
            # The index may have been dropped or made anew elsewhere.
            self._layouts.pop(index_id, None)
            raise

    async def _layout(self, connection: AsyncConnection, index_id: UUID) -> Layout:
        read_at, layout = self._layouts.get(index_id, (0.0, None))
        if layout is None or time.monotonic() - read_at > _LAYOUT_S:
            layout = await read_layout(connection, index_id)
            if layout.has_terms:
                # Otherwise a writer that believes it would leave terms behind that are new.
                self._layouts[index_id] = (time.monotonic(), layout)
        return layout

    async def _write(self, index_id: UUID, write: _Write) -> None:
        # Between the DELETE and the COPY of one transaction, another can commit the same new ids,
        # which only the unique key then sees. Whoever lost starts again and replaces them.
        for _ in range(_ATTEMPTS - 1):
            try:
                async with self._open(self._engine, index_id) as (connection, layout):
                    return await write(connection, layout)
            except CollisionError:
                await asyncio.sleep(random.uniform(0, _PAUSE_S))  # noqa: S311 - no secret
        async with self._open(self._engine, index_id) as (connection, layout):
            return await write(connection, layout)
