"""Answers as they were given, to be shown again exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, cast, func, insert, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import removed
from search_app.catalog.tables import answers, collections, documents
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import JSON, Collection


@dataclass(frozen=True, kw_only=True)
class KeptAnswer:
    """An answer as the catalog keeps it.

    ``passages``, ``sentences`` and ``details`` are JSON in the shape of ``answering.keeping``.
    """

    id: UUID
    collection_id: UUID
    collection: str
    index_id: UUID
    model_version_id: UUID
    search_id: UUID
    question: str
    query: str
    outcome: str
    generator: str
    generator_model: str | None
    prompt_version: str
    text: str
    passages: Sequence[JSON]
    sentences: Sequence[JSON]
    details: Mapping[str, JSON]
    client: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class ListedAnswer:
    """An answer as a list shows it."""

    id: UUID
    collection: str
    question: str
    outcome: str
    generator: str
    created_at: datetime


async def keep(connection: AsyncConnection, answer: KeptAnswer) -> None:
    """Write an answer."""
    values = {name: value for name, value in vars(answer).items() if name != "collection"}
    named = removed.documents_of(answer.passages)
    # The commit does not wait for the disk, as that of the log does not: somebody waits for it.
    there = select(documents.c.id, func.set_config("synchronous_commit", "off", true())).where(
        documents.c.id == func.any(list(named)), documents.c.state != "deleting"
    )
    # Held, so that what is removed meanwhile finds the answer or is found here to be gone.
    held = await connection.scalars(there.with_for_update(read=True, of=documents))
    gone = named - set(held)
    await connection.execute(insert(answers).values(**values, document_ids=sorted(named)))
    if gone:
        await removed.from_answers(connection, sorted(gone))


async def get(connection: AsyncConnection, answer_id: UUID) -> KeptAnswer:
    """Get an answer by its id.

    Raises:
        NotFoundError: there is none, or it is no longer kept.
    """
    row = (await connection.execute(_select().where(answers.c.id == answer_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"no answer {answer_id}; it may no longer be kept")
    return _kept(row)


async def find(connection: AsyncConnection, beginning: str) -> KeptAnswer:
    """Get an answer by its id, or by as much of its beginning as names one only.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: several begin so.
    """
    wanted = beginning.strip().lower()
    if not wanted or set(wanted) - set("0123456789abcdef-"):
        raise NotFoundError(f"no answer {beginning[:50]!r}")
    statement = _select().where(cast(answers.c.id, Text).startswith(wanted, autoescape=True))
    rows = (await connection.execute(statement.limit(2))).all()
    if not rows:
        raise NotFoundError(f"no answer {beginning[:50]!r}; it may no longer be kept")
    if len(rows) > 1:
        raise InvalidInputError(f"several answers begin with {wanted!r}; write more of the id")
    return _kept(rows[0])


async def listing(
    connection: AsyncConnection,
    *,
    collection: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[ListedAnswer]:
    """List answers, newest first."""
    statement = (
        select(
            answers.c.id,
            collections.c.name.label("collection"),
            answers.c.question,
            answers.c.outcome,
            answers.c.generator,
            answers.c.created_at,
        )
        .join(collections, collections.c.id == answers.c.collection_id)
        .order_by(answers.c.created_at.desc(), answers.c.id)
    )
    if collection is not None:
        statement = statement.where(collections.c.name == collection)
    rows = await connection.execute(statement.limit(limit).offset(offset))
    return [ListedAnswer(**row) for row in rows.mappings()]


async def latest_of(
    connection: AsyncConnection, collection: Collection, most: int
) -> list[KeptAnswer]:
    """Give the latest answers of a collection that cite something, each question once."""
    statement = (
        _select()
        .where(answers.c.collection_id == collection.id)
        .where(answers.c.outcome.in_(("answered", "cut", "broken_off")))
        .order_by(answers.c.created_at.desc(), answers.c.id)
        # People ask the same again; twice as many leave enough that differ.
        .limit(2 * most)
    )
    found: dict[tuple[str, str], KeptAnswer] = {}
    for row in await connection.execute(statement):
        answer = _kept(row)
        key = (answer.query, str(answer.details.get("filters")))
        found.setdefault(key, answer)
    return list(found.values())[:most]


_FORGET = text(
    """
    DELETE FROM answers WHERE id IN (
        SELECT old.id FROM collections CROSS JOIN LATERAL (
            SELECT id FROM answers
            WHERE collection_id = collections.id
                AND created_at < now() - make_interval(days => :days)
            ORDER BY created_at LIMIT :most
        ) AS old LIMIT :most
    )
    """
)


async def forget_old(connection: AsyncConnection, *, days: int, most: int) -> int:
    """Delete answers older than that, at most so many, and say how many."""
    result = await connection.execute(_FORGET, {"days": days, "most": most})
    return result.rowcount


def _select() -> Select[Any]:
    columns = [column for column in answers.c if column.name != "document_ids"]
    return select(*columns, collections.c.name.label("collection")).join(
        collections, collections.c.id == answers.c.collection_id
    )


def _kept(row: Any) -> KeptAnswer:
    return KeptAnswer(**dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name for it
