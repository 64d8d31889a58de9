"""Collections: named sets of documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4, uuid5

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.access.principal import seen_collections
from search_app.catalog.tables import chunks, collections, documents, indexes, model_versions
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import Collection, IndexState

LONGEST_NAME = 200

NAMESPACE = UUID("5f0c7d3e-8a35-4e0b-9d57-2f7b1c64a9e2")
"""All other ids are computed from a collection's, so the same name gives the same ids anywhere."""


IS_LIVE = collections.c.state == "live"
"""Collections that are not on their way out."""


@dataclass(frozen=True, kw_only=True)
class CollectionSummary:
    """A collection with what is in it and what answers for it; no index: nothing was ingested."""

    id: UUID
    name: str
    documents: int
    chunks: int
    pending_documents: int
    index_id: UUID | None
    store: str | None
    model_version_id: UUID | None
    model: str | None


def check_name(name: str) -> None:
    """Refuse names that could not be typed or stored.

    Raises:
        InvalidInputError: the name is empty, too long or has control characters.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidInputError(
            f"collection {name[:40]!r}: a name is 1 to {LONGEST_NAME} printable characters"
        )


async def get(connection: AsyncConnection, name: str) -> Collection:
    """Find a collection by its name.

    Raises:
        NotFoundError: there is none, or it is being deleted; names those there are.
    """
    found = await check_open(connection, name)
    if found is None:
        known = (
            await connection.scalars(select(collections.c.name).where(IS_LIVE).limit(10))
        ).all()
        there = "there is" if len(known) == 1 else "there are"
        raise NotFoundError(
            f"no collection {name!r}; "
            + (f"{there} {', '.join(map(repr, known))}" if known else "ingest something first")
        )
    return found


async def check_open(connection: AsyncConnection, name: str) -> Collection | None:
    """Find a collection by its name; None where there is none yet and one could be made.

    Raises:
        InvalidInputError: no collection can have that name.
        NotFoundError: it is being deleted, or whoever asks could not make it.
    """
    check_name(name)
    row = (
        await connection.execute(
            select(collections.c.id, collections.c.state).where(collections.c.name == name)
        )
    ).one_or_none()
    if row is None:
        if seen_collections() is not None:
            # It may be there, unseen; and who sees only some cannot make others.
            raise NotFoundError(f"no collection {name!r} that you may see")
        return None
    if row.state != "live":
        raise NotFoundError(
            f"collection {name!r} is being deleted; ingest collections rm finishes that"
        )
    return Collection(id=row.id, name=name)


async def get_or_create(connection: AsyncConnection, name: str) -> Collection:
    """Find a collection by its name, making it where it is missing.

    Raises:
        NotFoundError: it is being deleted.
    """
    found = await check_open(connection, name)
    if found is None:
        # The id that goes with the name may belong to a collection that had it and was renamed.
        for identity in (uuid5(NAMESPACE, name), uuid4()):
            await connection.execute(
                insert(collections).values(id=identity, name=name).on_conflict_do_nothing()
            )
            found = await check_open(connection, name)
            if found is not None:
                await connection.execute(_JOBS_OF, {"id": found.id, "name": name})
                return found
    return await get(connection, name)


# Those that are to fill it were asked for before it was there.
_JOBS_OF = text("""
    INSERT INTO job_collections (job_id, collection_id)
    SELECT id, CAST(:id AS uuid) FROM procrastinate_jobs AS jobs
    WHERE args->>'collection' = :name AND status IN ('todo', 'doing') AND task_name <> 'delete'
    ON CONFLICT (job_id) DO NOTHING
""")


async def rename(connection: AsyncConnection, collection: Collection, name: str) -> Collection:
    """Give a collection another name.

    Raises:
        InvalidInputError: no collection can have that name, or another one has it.
    """
    check_name(name)
    statement = select(collections.c.id).where(collections.c.name == name)
    if await connection.scalar(statement) is not None:
        raise InvalidInputError(f"there is a collection {name!r} already; choose another name")
    await connection.execute(
        update(collections).where(collections.c.id == collection.id).values(name=name)
    )
    return Collection(id=collection.id, name=name)


async def summaries(connection: AsyncConnection) -> Sequence[CollectionSummary]:
    """List all collections by name, with counts of what can be found and of what is unfinished."""
    counted = (
        select(
            documents.c.collection_id,
            func.count().filter(documents.c.state == "indexed").label("documents"),
            func.count().filter(documents.c.state == "pending").label("pending"),
        )
        .group_by(documents.c.collection_id)
        .subquery()
    )
    active = indexes.c.state == IndexState.ACTIVE.value
    # As Chunking.name has it; documents are cut for every other kept index as well.
    fields = (indexes.c.chunking[name].astext for name in ("tokenizer", "max_tokens", "version"))
    passages = (
        select(documents.c.collection_id, func.count().label("chunks"))
        .join(chunks, chunks.c.document_id == documents.c.id)
        .join(indexes, (indexes.c.collection_id == documents.c.collection_id) & active)
        .where(chunks.c.state == "live")
        .where(chunks.c.chunking == func.concat_ws("/", *fields))
        .group_by(documents.c.collection_id)
        .subquery()
    )
    rows = await connection.execute(
        select(
            collections.c.id,
            collections.c.name,
            func.coalesce(counted.c.documents, 0).label("documents"),
            func.coalesce(counted.c.pending, 0).label("pending_documents"),
            func.coalesce(passages.c.chunks, 0).label("chunks"),
            indexes.c.id.label("index_id"),
            indexes.c.store,
            indexes.c.model_version_id,
            (model_versions.c.provider + "/" + model_versions.c.model).label("model"),
        )
        .select_from(collections)
        .outerjoin(counted, counted.c.collection_id == collections.c.id)
        .outerjoin(passages, passages.c.collection_id == collections.c.id)
        .outerjoin(indexes, (indexes.c.collection_id == collections.c.id) & active)
        .outerjoin(model_versions, model_versions.c.id == indexes.c.model_version_id)
        .where(IS_LIVE)
        .order_by(collections.c.name)
    )
    return [CollectionSummary(**row._mapping) for row in rows]  # noqa: SLF001 - a public name with an underscore
