"""How much there is of everything: the contents of collections, their indexes and latest runs."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, and_, func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import indexes as index_queries
from search_app.catalog.tables import (
    collections,
    documents,
    indexes,
    model_versions,
    run_errors,
    runs,
    sources,
    vector_records,
)
from search_app.types import Collection, Index, IndexState, RunStatus


@dataclass(kw_only=True)
class Contents:
    """What a collection holds, counted.

    ``documents`` can be found; ``pending`` are on their way in and ``removing`` on their way out.
    ``languages`` and ``types`` count those that can be found. ``failed`` are sources.
    """

    documents: int = 0
    pending: int = 0
    removing: int = 0
    sources: int = 0
    failed: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)


async def contents(
    connection: AsyncConnection, collection: Collection | None = None
) -> Mapping[UUID, Contents]:
    """Count what collections hold, of all or of one; those not in the answer hold nothing."""
    found: defaultdict[UUID, Contents] = defaultdict(Contents)
    kept = (documents.c.collection_id, documents.c.state)
    grouped = (*kept, documents.c.language, documents.c.media_type)
    statement = select(*grouped, func.count().label("number")).group_by(*grouped)
    if collection is not None:
        statement = statement.where(documents.c.collection_id == collection.id)
    for row in await connection.execute(statement):
        held = found[row.collection_id]
        if row.state == "indexed":
            held.documents += row.number
            held.languages[row.language] += row.number
            held.types[row.media_type] += row.number
        elif row.state == "pending":
            held.pending += row.number
        else:
            held.removing += row.number
    for row in await connection.execute(_sources(collection)):
        found[row.collection_id].sources = row.number
        found[row.collection_id].failed = row.failed
    # Unlike the one used here, the mapping given away must not grow by being asked.
    return dict(found)


def _sources(collection: Collection | None) -> Select[tuple[UUID, int, int]]:
    statement = select(
        sources.c.collection_id,
        func.count().label("number"),
        func.count().filter(sources.c.state == "failed").label("failed"),
    ).group_by(sources.c.collection_id)
    if collection is not None:
        statement = statement.where(sources.c.collection_id == collection.id)
    return statement


@dataclass(frozen=True, kw_only=True)
class IndexUse:
    """An index with what uses it and what it uses; ``vectors`` are those that it holds.

    They are ``unverified`` where they were imported while their model did not answer.
    """

    index: Index
    collection: Collection
    model: str
    dimensions: int
    vectors: int
    activated_at: datetime | None
    unverified: bool = False

    @property
    def active(self) -> bool:
        """Say whether it answers the searches of its collection."""
        return self.index.state is IndexState.ACTIVE


async def index_uses(
    connection: AsyncConnection,
    *,
    collection: Collection | None = None,
    model_version_id: UUID | None = None,
) -> list[IndexUse]:
    """List indexes with their numbers of vectors, by collection, the active one first."""
    # By the records, whose key is an index of little else: chunks would have to be read whole.
    number = (
        select(func.count())
        .where(vector_records.c.index_id == indexes.c.id)
        .scalar_subquery()
        .label("vectors")
    )
    statement = (
        select(
            *indexes.c,
            collections.c.name,
            (model_versions.c.provider + "/" + model_versions.c.model).label("model"),
            model_versions.c.dimensions,
            and_(
                model_versions.c.declared_at.is_not(None), model_versions.c.verified_at.is_(None)
            ).label("unverified"),
            number,
        )
        .join(collections, collections.c.id == indexes.c.collection_id)
        .join(model_versions, model_versions.c.id == indexes.c.model_version_id)
        .order_by(
            collections.c.name,
            indexes.c.state != IndexState.ACTIVE.value,
            indexes.c.created_at.desc(),
            indexes.c.id,
        )
    )
    if collection is not None:
        statement = statement.where(indexes.c.collection_id == collection.id)
    if model_version_id is not None:
        statement = statement.where(indexes.c.model_version_id == model_version_id)
    return [
        IndexUse(
            index=index_queries.from_row(row),
            collection=Collection(id=row[indexes.c.collection_id], name=row["name"]),
            model=row["model"],
            dimensions=row["dimensions"],
            vectors=row["vectors"],
            activated_at=row[indexes.c.activated_at],
            unverified=row["unverified"],
        )
        for row in (await connection.execute(statement)).mappings()
    ]


@dataclass(frozen=True, kw_only=True)
class LatestRun:
    """The run of a collection that began last."""

    id: UUID
    kind: str
    status: RunStatus
    errors: int
    started_at: datetime
    finished_at: datetime | None


async def latest_runs(
    connection: AsyncConnection, collection: Collection | None = None
) -> Mapping[UUID, LatestRun]:
    """Give the latest run of all collections that ever had one, or of one of them."""
    failed = (
        select(func.count())
        .where(run_errors.c.run_id == runs.c.id)
        .scalar_subquery()
        .label("errors")
    )
    statement = (
        select(
            runs.c.collection_id,
            runs.c.id,
            runs.c.kind,
            runs.c.status,
            failed,
            runs.c.started_at,
            runs.c.finished_at,
        )
        .where(runs.c.collection_id.is_not(None))
        .where(runs.c.part_of.is_(None))
        .ext(distinct_on(runs.c.collection_id))
        .order_by(runs.c.collection_id, runs.c.started_at.desc(), runs.c.id)
    )
    if collection is not None:
        statement = statement.where(runs.c.collection_id == collection.id)
    return {
        row.collection_id: LatestRun(
            id=row.id,
            kind=row.kind,
            status=RunStatus(row.status),
            errors=row.errors,
            started_at=row.started_at,
            finished_at=row.finished_at,
        )
        for row in await connection.execute(statement)
    }
