"""Vectors in Qdrant: one collection per index, on a server or in the client's local mode.

Qdrant has no transactions. A call that is refused wrote nothing, since everything is checked before
anything is sent; one that ended as unavailable may have written a part of it, and writing it again
completes it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import numpy as np

from search_app.errors import StoreRefusedError
from search_app.filters import Filter
from search_app.stores.base import StoreSize, VectorStore
from search_app.stores.points import (
    check_distinct,
    check_k,
    check_terms,
    check_vector,
    encoded_fields,
    stacked,
)
from search_app.stores.qdrant_collections import (
    MOST_DIMENSIONS,
    Layout,
    QdrantPlan,
    create_collection,
    drop_collection,
    index_order,
    read_layout,
    wait_for_graphs,
)
from search_app.stores.qdrant_connection import QdrantAddress, QdrantConnection
from search_app.stores.qdrant_filters import query_filter
from search_app.stores.qdrant_forms import PRECISIONS, reckoned, vectors_for
from search_app.stores.qdrant_payload import DENSE, ordered_keys
from search_app.stores.qdrant_points import (
    points_after,
    points_by_id,
    remove_points,
    replace_fields,
    vectors_by_id,
    write_points,
)
from search_app.stores.qdrant_queries import DenseQuery, SparseQuery
from search_app.stores.qdrant_search import documents_having, resolve, search
from search_app.types import JSON, Point, Precision, Scored, TermQuery, Vector


class QdrantStore(VectorStore):
    """Keeps each index in a collection of its own; nothing is opened before the first call."""

    name = "qdrant"
    precisions = PRECISIONS

    def __init__(self, address: QdrantAddress, *, plan: QdrantPlan | None = None) -> None:
        self._connection = QdrantConnection(address)
        self._plan = plan or QdrantPlan()
        self._layouts: dict[UUID, Layout] = {}

    async def create(
        self, index_id: UUID, dimensions: int, precision: Precision | None = None
    ) -> None:
        """Make the collection of an index, distance Dot: Cosine would change the vectors' bytes."""
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise StoreRefusedError(
                f"qdrant keeps 1 to {MOST_DIMENSIONS} dimensions, not {dimensions}; "
                "ask the model for fewer"
            )
        self._layouts.pop(index_id, None)
        wanted = precision or PRECISIONS[0]
        self.check_precision(wanted)
        layout = await create_collection(
            self._connection, index_id, vectors_for(dimensions, wanted), self._plan
        )
        if precision not in (None, layout.precision):
            raise StoreRefusedError(
                f"index {index_id} is searched as {layout.precision}, not as {precision}; "
                "drop it first or make a new one"
            )

    async def drop(self, index_id: UUID) -> None:
        """Remove the collection of an index."""
        self._layouts.pop(index_id, None)
        await drop_collection(self._connection, index_id)

    async def upsert(self, index_id: UUID, points: Sequence[Point]) -> None:
        """Write points by chunk id, in as many requests as their size takes."""
        if not points:
            return
        check_distinct(points)
        check_terms(points)
        encoded = [encoded_fields(point.fields) for point in points]
        async with self._open(index_id) as layout:
            matrix = stacked(points, index_id, layout.dimensions)
            await self._index_order(index_id, layout, encoded)
            await write_points(self._connection, layout, points, matrix, encoded)

    async def update_fields(
        self, index_id: UUID, fields: Mapping[UUID, Mapping[str, JSON]]
    ) -> None:
        """Replace filter fields and what is derived from them."""
        encoded = {chunk_id: encoded_fields(value) for chunk_id, value in fields.items()}
        async with self._open(index_id) as layout:
            await self._index_order(index_id, layout, list(encoded.values()))
            await replace_fields(self._connection, layout, encoded)

    async def delete(self, index_id: UUID, chunk_ids: Sequence[UUID]) -> None:
        """Remove the given chunks."""
        async with self._open(index_id) as layout:
            await remove_points(self._connection, layout, chunk_ids)

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
        async with self._open(index_id) as layout:
            check_vector(vector, layout.dimensions)
            query = DenseQuery(vector, vectors=vectors)
            return await search(self._connection, layout, query, k=k, wanted=filter, exact=exact)

    async def search_terms(
        self,
        index_id: UUID,
        query: TermQuery,
        *,
        k: int,
        filter: Filter | None = None,  # noqa: A002 - the port's word
        exact: bool = False,  # noqa: ARG002 - a server's sparse search always is, if told to
    ) -> list[Scored]:
        """Find the k points that score highest by their terms; always exact."""
        check_k(k)
        async with self._open(index_id) as layout:
            if not len(query.ids):
                return []
            asked = SparseQuery(query)
            return await search(self._connection, layout, asked, k=k, wanted=filter, exact=True)

    async def documents_with(
        self,
        index_id: UUID,
        term_ids: Sequence[int],
        *,
        filter: Filter | None = None,  # noqa: A002
    ) -> set[UUID]:
        """Name the documents with a point that passes and has any of the terms."""
        async with self._open(index_id) as layout:
            return await documents_having(self._connection, layout, term_ids, filter)

    async def fetch(self, index_id: UUID, chunk_ids: Sequence[UUID]) -> list[Point]:
        """Get points with their vectors, in id order."""
        async with self._open(index_id) as layout:
            return await points_by_id(self._connection, layout, chunk_ids)

    async def vectors(self, index_id: UUID, chunk_ids: Sequence[UUID]) -> dict[UUID, Vector]:
        """Get the vectors of points alone."""
        async with self._open(index_id) as layout:
            found = await vectors_by_id(self._connection, layout, list(set(chunk_ids)), DENSE)
        return {
            chunk_id: np.array(vector, np.float32)
            for chunk_id, vector in found.items()
            if vector is not None
        }

    async def scan(
        self, index_id: UUID, *, after: UUID | None = None, limit: int = 1000, vectors: bool = False
    ) -> list[Point]:
        """Get the next points in ascending id order."""
        async with self._open(index_id) as layout:
            return await points_after(self._connection, layout, after, limit=limit, vectors=vectors)

    async def count(self, index_id: UUID, filter: Filter | None = None) -> int:  # noqa: A002
        """Count the points that pass the filter."""
        async with self._open(index_id) as layout:
            resolved = await resolve(self._connection, layout, filter)
            async with self._connection.client() as client:
                answer = await client.count(
                    layout.name, count_filter=query_filter(filter, resolved), exact=True
                )
            return answer.count

    async def optimize(self, index_id: UUID) -> None:
        """Wait until Qdrant's own optimizers are done; until then, their part is searched fully."""
        await wait_for_graphs(self._connection, index_id)

    async def size(self, index_id: UUID) -> StoreSize:
        """Work out from numbers what Qdrant does not tell."""
        async with self._open(index_id) as layout:
            return reckoned(await self.count(index_id), layout.dimensions, layout.precision)

    async def ping(self) -> None:
        """Return if Qdrant answers, and takes the key."""
        async with self._connection.client() as client:
            await client.get_collections()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()

    @asynccontextmanager
    async def _open(self, index_id: UUID) -> AsyncIterator[Layout]:
        try:
            if index_id not in self._layouts:
                self._layouts[index_id] = await read_layout(self._connection, index_id)
            yield self._layouts[index_id]
        except StoreRefusedError:
            # The index may have been dropped or made anew elsewhere.
            self._layouts.pop(index_id, None)
            raise

    async def _index_order(self, index_id: UUID, layout: Layout, encoded: Sequence[bytes]) -> None:
        keys = frozenset[str]().union(*(ordered_keys(fields) for fields in set(encoded)))
        if not self._connection.is_local and keys - layout.indexed:
            await index_order(self._connection, layout, keys)
            # Also the keys that found no more room, so that this is not tried at every write.
            self._layouts[index_id] = replace(layout, indexed=layout.indexed | keys)
