"""The tables of the pgvector store: two per index, in a schema that migrations never look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC, SPARSEVEC, VECTOR
from sqlalchemy import ARRAY, Column, Index, Integer, MetaData, Table, Uuid, cast, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateSchema, CreateTable

from search_app.errors import StoreRefusedError
from search_app.lexical import TERM_IDS

SCHEMA = "vectors"
MOST_DIMENSIONS = 16_000
"""Most that pgvector's type ``vector`` holds."""

MOST_HNSW_DIMENSIONS = 4_000
"""Most that an HNSW index over ``halfvec`` takes; beyond, every search is exact."""

HNSW_LINKS = 16
HNSW_CONSTRUCTION = 100


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one index stands in the database; ``has_hnsw`` only where it is complete.

    ``has_terms`` is false of an index from before there were terms, until it is created again.
    ``passages`` are how many points had terms when it was last optimized, 0 where it never was.
    """

    table: Table
    terms: Table
    has_terms: bool
    passages: int
    dimensions: int
    has_hnsw: bool

    @property
    def tables(self) -> Sequence[Table]:
        """Every table that has rows of points, in the order in which writers lock them."""
        return (self.table, self.terms) if self.has_terms else (self.table,)


def points_table(index_id: UUID, dimensions: int) -> Table:
    """Describe the table of one index."""
    return Table(
        f"index_{index_id.hex}",
        MetaData(schema=SCHEMA),
        Column("chunk_id", Uuid, primary_key=True),
        Column("document_id", Uuid, nullable=False),
        Column("run_id", Uuid, nullable=False),
        Column("index_id", Uuid, nullable=False),
        Column("model_version_id", Uuid, nullable=False),
        Column("fields", JSONB, nullable=False),
        Column("embedding", VECTOR(dimensions), nullable=False),
        # As long as a row fits a page, the vector stays in it: an exact search reads every
        # vector, and each one moved out of line would cost a look-up of its own.
        postgresql_with={"toast_tuple_target": 8160},
    )


def terms_table(index_id: UUID) -> Table:
    """Describe the table of an index's terms, which no search by vectors reads.

    A point without terms has no row. The ids of the weights stand beside them as an array, which a
    GIN index can take in.
    """
    return Table(
        f"index_{index_id.hex}_terms",
        MetaData(schema=SCHEMA),
        Column("chunk_id", Uuid, primary_key=True),
        Column("document_id", Uuid, nullable=False),
        Column("run_id", Uuid, nullable=False),
        Column("fields", JSONB, nullable=False),
        Column("terms", ARRAY(Integer), nullable=False),
        Column("weights", SPARSEVEC(TERM_IDS), nullable=False),
        # As above: every candidate's weights are read. A row that fits no page lets its terms go
        # out of line, which the index answers for, before its weights.
        postgresql_with={"toast_tuple_target": 8160},
    )


def hnsw_index(layout: Layout) -> Index:
    """Describe the approximate-search index; halfvec, since it is half the size to walk."""
    table = layout.table
    return Index(
        f"{table.name}_hnsw",
        cast(table.c.embedding, HALFVEC(layout.dimensions)).label("half"),
        postgresql_using="hnsw",
        postgresql_ops={"half": "halfvec_ip_ops"},
        postgresql_with={"m": HNSW_LINKS, "ef_construction": HNSW_CONSTRUCTION},
        postgresql_concurrently=True,
    )


def terms_index(layout: Layout) -> Index:
    """Describe the index that finds the points with a term."""
    table = layout.terms
    return Index(
        f"{table.name}_gin",
        table.c.terms,
        postgresql_using="gin",
        postgresql_concurrently=True,
    )


def fields_index(table: Table) -> Index:
    """Describe the index that answers filters."""
    return Index(
        f"{table.name}_fields",
        table.c.fields,
        postgresql_using="gin",
        postgresql_ops={"fields": "jsonb_path_ops"},
        postgresql_concurrently=True,
    )


async def create_tables(connection: AsyncConnection, index_id: UUID, dimensions: int) -> None:
    """Create extension, schema and tables where they are missing, in the open transaction."""
    # IF NOT EXISTS alone is no protection: two at once both find nothing, and one then fails.
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
        {"name": f"unmoved {SCHEMA}"},
    )
    await connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    if await connection.scalar(text("SELECT to_regnamespace(:name) IS NULL"), {"name": SCHEMA}):
        # Asked first: IF NOT EXISTS wants the right to create even where there is nothing to do.
        await connection.execute(CreateSchema(SCHEMA))
    await connection.execute(CreateTable(points_table(index_id, dimensions), if_not_exists=True))
    terms = terms_table(index_id)
    if not await connection.scalar(_EXISTS, {"name": terms.fullname}):
        await connection.execute(CreateTable(terms))
        await connection.execute(text(f"ALTER TABLE {terms.fullname} {_STORAGE}"))


_EXISTS = text("SELECT to_regclass(:name) IS NOT NULL")
_STORAGE = "ALTER terms SET STORAGE EXTERNAL, ALTER weights SET STORAGE MAIN"
_LAYOUT = text("""
    SELECT atttypmod AS dimensions,
           EXISTS (SELECT FROM pg_index
                   WHERE indexrelid = to_regclass(:hnsw) AND indisvalid) AS has_hnsw,
           to_regclass(:terms) IS NOT NULL AS has_terms,
           (SELECT greatest(reltuples, 0)::int FROM pg_class
            WHERE oid = to_regclass(:terms)) AS passages
    FROM pg_attribute
    WHERE attrelid = to_regclass(:table) AND attname = 'embedding'
""")


async def read_layout(connection: AsyncConnection, index_id: UUID) -> Layout:
    """Read how an index stands.

    Raises:
        StoreRefusedError: it was not created.
    """
    name = f"{SCHEMA}.index_{index_id.hex}"
    found = await connection.execute(
        _LAYOUT, {"table": name, "hnsw": f"{name}_hnsw", "terms": f"{name}_terms"}
    )
    row = found.one_or_none()
    if row is None:
        raise StoreRefusedError(f"pgvector: there is no index {index_id}; create it first")
    return Layout(
        table=points_table(index_id, row.dimensions),
        terms=terms_table(index_id),
        has_terms=row.has_terms,
        passages=row.passages or 0,
        dimensions=row.dimensions,
        has_hnsw=row.has_hnsw,
    )
