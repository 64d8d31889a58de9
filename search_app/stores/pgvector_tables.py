"""The tables of the pgvector store: two per index, in a schema that migrations never look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pgvector.sqlalchemy import SPARSEVEC, VECTOR
from sqlalchemy import ARRAY, Column, Index, Integer, MetaData, Table, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateSchema, CreateTable

from search_app.errors import StoreRefusedError
from search_app.lexical import TERM_IDS
from search_app.stores.base import StoreSize
from search_app.stores.pgvector_forms import FORMS, Form, searched
from search_app.types import Precision

SCHEMA = "vectors"
MOST_DIMENSIONS = 16_000
"""Most that pgvector's type ``vector`` holds."""

HNSW_LINKS = 16
HNSW_CONSTRUCTION = 100


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one index stands in the database; ``has_hnsw`` only where it is complete.

    ``precision`` is what the HNSW index holds, or would.

    ``has_terms`` is false of an index from before there were terms, until it is created again.
    ``passages`` are how many points had terms when it was last optimized, 0 where it never was.
    """

    table: Table
    terms: Table
    has_terms: bool
    passages: int
    dimensions: int
    precision: Precision
    has_hnsw: bool

    @property
    def form(self) -> Form:
        """How the HNSW index is made and walked."""
        return FORMS[self.precision]

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
    """Describe the approximate-search index."""
    table = layout.table
    held = searched(table.c.embedding, layout.precision, table, layout.dimensions)
    return Index(
        f"{table.name}_hnsw",
        held.label("held"),
        postgresql_using="hnsw",
        postgresql_ops={"held": layout.form.operators},
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


async def create_tables(
    connection: AsyncConnection, index_id: UUID, dimensions: int, precision: Precision
) -> None:
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
    points = points_table(index_id, dimensions)
    if not await connection.scalar(_EXISTS, {"name": points.fullname}):
        await connection.execute(CreateTable(points))
        # What the HNSW index will hold, which is built much later and by whoever comes first.
        remark = f"COMMENT ON TABLE {points.fullname} IS '{_REMARK}{precision}'"
        await connection.execute(text(remark))
    terms = terms_table(index_id)
    if not await connection.scalar(_EXISTS, {"name": terms.fullname}):
        await connection.execute(CreateTable(terms))
        await connection.execute(text(f"ALTER TABLE {terms.fullname} {_STORAGE}"))


_REMARK = "precision "
_BEFORE = Precision.FLOAT16
"""What tables without a remark are searched by: there was nothing else."""

_EXISTS = text("SELECT to_regclass(:name) IS NOT NULL")
_STORAGE = "ALTER terms SET STORAGE EXTERNAL, ALTER weights SET STORAGE MAIN"
_LAYOUT = text("""
    SELECT atttypmod AS dimensions,
           EXISTS (SELECT FROM pg_index
                   WHERE indexrelid = to_regclass(:hnsw) AND indisvalid) AS has_hnsw,
           obj_description(attrelid, 'pg_class') AS remark,
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
        precision=_precision(row.remark),
        has_hnsw=row.has_hnsw,
    )


def _precision(remark: str | None) -> Precision:
    named = (remark or "").removeprefix(_REMARK)
    return Precision(named) if named in FORMS else _BEFORE


_SIZE = text("""
    SELECT coalesce(pg_relation_size(to_regclass(:hnsw)), pg_table_size(:table)) AS searched,
           pg_total_relation_size(:table) AS whole
""")


async def size_of(connection: AsyncConnection, layout: Layout) -> StoreSize:
    """Measure the HNSW index, or where there is none the table, and all that belongs to it."""
    table = layout.table.fullname
    hnsw = f"{table}_hnsw" if layout.has_hnsw else None
    row = (await connection.execute(_SIZE, {"table": table, "hnsw": hnsw})).one()
    return StoreSize(searched=row.searched, whole=row.whole, measured=True)
