"""The collections of the Qdrant store: one per index, and what is laid down for each."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from qdrant_client import models

from search_app.errors import StoreRefusedError
from search_app.stores.qdrant_connection import QdrantConnection
from search_app.stores.qdrant_errors import NoIndexError
from search_app.stores.qdrant_forms import HNSW_LINKS, precision_of
from search_app.stores.qdrant_payload import DENSE, ORDER, SLICE, SPARSE, TERMS
from search_app.types import Precision

MOST_DIMENSIONS = 65_536
"""Most that Qdrant takes."""

HNSW_CONSTRUCTION = 100

_MOST_ORDERED = 32
"""Fields whose order gets an index in one collection; each costs memory in every segment."""

_Schema = models.PayloadSchemaType | models.IntegerIndexParams
_INDEXES: Mapping[str, _Schema] = {
    TERMS: models.PayloadSchemaType.KEYWORD,
    # No range: its parts would get further links in every HNSW graph.
    SLICE: models.IntegerIndexParams(
        type=models.IntegerIndexType.INTEGER, lookup=True, range=False
    ),
}

_POLL_S = 0.5
_NUDGES = 10


@dataclass(frozen=True, kw_only=True)
class QdrantPlan:
    """How new collections are spread over a cluster, and when their segments get an HNSW graph.

    ``hnsw_from_kb`` is the size of a segment's vectors in kilobytes; None leaves Qdrant's own.
    """

    shards: int = 1
    replicas: int = 1
    write_consistency: int = 1
    hnsw_from_kb: int | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one index stands in Qdrant; ``indexed`` are the payload keys with an index."""

    name: str
    dimensions: int
    precision: Precision
    indexed: frozenset[str]

    @property
    def halved(self) -> bool:
        """Say whether every point has its dense vector once more, as float16."""
        return self.precision is Precision.FLOAT16


def collection_name(index_id: UUID) -> str:
    """Name the collection of an index."""
    return f"unmoved_{index_id}"


async def read_layout(connection: QdrantConnection, index_id: UUID) -> Layout:
    """Read how an index stands.

    Raises:
        NoIndexError: it was not created.
        StoreRefusedError: what has its name was made by something else.
    """
    name = collection_name(index_id)
    async with connection.client() as client:
        info = await client.get_collection(name)
    vectors = _dense_vectors(name, info.config.params)
    return Layout(
        name=name,
        dimensions=vectors[DENSE].size,
        precision=precision_of(vectors),
        indexed=frozenset(info.payload_schema or {}),
    )


def _dense_vectors(name: str, made: models.CollectionParams) -> Mapping[str, models.VectorParams]:
    """Check that a collection has the vectors that one made here has, and give the dense ones."""
    vectors = made.vectors if isinstance(made.vectors, dict) else {}
    dense = vectors.get(DENSE)
    sparse = (made.sparse_vectors or {}).get(SPARSE)
    if dense is None:
        reason = f"it has no vectors named {DENSE}"
    elif dense.distance is not models.Distance.DOT:
        reason = f"its distance is {dense.distance.value}, not Dot"
    elif sparse is None:
        reason = f"it has no sparse vectors named {SPARSE}"
    elif sparse.modifier is models.Modifier.IDF:
        reason = "it weights terms by frequencies of its own (IDF)"
    else:
        return vectors
    raise StoreRefusedError(f"qdrant: collection {name} was not made here: {reason}; delete it")


async def create_collection(
    connection: QdrantConnection,
    index_id: UUID,
    vectors: Mapping[str, models.VectorParams],
    plan: QdrantPlan,
) -> Layout:
    """Create the collection of an index where it is missing, and its payload indexes.

    Raises:
        StoreRefusedError: there is one of other dimensions.
    """
    layout = await _find_or_create(connection, index_id, vectors, plan)
    dimensions = vectors[DENSE].size
    if layout.dimensions != dimensions:
        raise StoreRefusedError(
            f"index {index_id} has {layout.dimensions} dimensions, not {dimensions}; "
            "drop it first or make a new one"
        )
    if not connection.is_local:
        for key, schema in _INDEXES.items():
            if key not in layout.indexed:
                await _create_index(connection, layout, key, schema)
    return layout


async def _find_or_create(
    connection: QdrantConnection,
    index_id: UUID,
    vectors: Mapping[str, models.VectorParams],
    plan: QdrantPlan,
) -> Layout:
    try:
        return await read_layout(connection, index_id)
    except NoIndexError:
        pass
    try:
        async with connection.client() as client:
            await client.create_collection(
                collection_name(index_id),
                vectors_config=vectors,
                # Without Qdrant's IDF: it counts per shard, and the query's weights carry ours.
                sparse_vectors_config={SPARSE: models.SparseVectorParams()},
                shard_number=plan.shards,
                replication_factor=plan.replicas,
                write_consistency_factor=plan.write_consistency,
                hnsw_config=models.HnswConfigDiff(
                    m=HNSW_LINKS,
                    ef_construct=HNSW_CONSTRUCTION,
                    full_scan_threshold=plan.hnsw_from_kb,
                ),
                optimizers_config=models.OptimizersConfigDiff(indexing_threshold=plan.hnsw_from_kb),
            )
    except StoreRefusedError as refused:
        # Perhaps since another process made it in between; what it made is checked like any other.
        try:
            return await read_layout(connection, index_id)
        except NoIndexError:
            raise refused from None
    return await read_layout(connection, index_id)


async def index_order(connection: QdrantConnection, layout: Layout, keys: Collection[str]) -> None:
    """Give the order of new fields an index, up to a number of fields.

    Beyond, and in local mode, comparisons read payloads instead: slower, and the same result.
    """
    if connection.is_local:
        return
    room = _MOST_ORDERED - sum(key.startswith(f"{ORDER}.") for key in layout.indexed)
    for key in sorted(set(keys) - layout.indexed)[: max(room, 0)]:
        await _create_index(connection, layout, key, models.PayloadSchemaType.FLOAT)


async def _create_index(
    connection: QdrantConnection, layout: Layout, key: str, schema: _Schema
) -> None:
    async with connection.client() as client:
        await client.create_payload_index(layout.name, key, field_schema=schema, wait=True)


async def drop_collection(connection: QdrantConnection, index_id: UUID) -> None:
    """Remove the collection of an index, if it is there."""
    try:
        async with connection.client() as client:
            await client.delete_collection(collection_name(index_id))
    except NoIndexError:
        return


async def wait_for_graphs(connection: QdrantConnection, index_id: UUID) -> None:
    """Wait until Qdrant has built what it builds by itself in the background.

    Raises:
        StoreRefusedError: it failed to.
    """
    name = collection_name(index_id)
    nudges = 0
    while True:
        async with connection.client() as client:
            info = await client.get_collection(name)
        if info.status is models.CollectionStatus.RED:
            raise StoreRefusedError(f"qdrant: collection {name} failed: {info.optimizer_status}")
        if info.status is models.CollectionStatus.GREEN or nudges == _NUDGES:
            return
        if info.status is models.CollectionStatus.GREY:
            # After a restart, work that is pending begins with the next change of anything.
            nudges += 1
            async with connection.client() as client:
                await client.update_collection(
                    name, optimizers_config=models.OptimizersConfigDiff()
                )
        await asyncio.sleep(_POLL_S)
