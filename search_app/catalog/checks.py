"""Checks: what each night found, what evidence it left, and which one was accepted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, cast, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.references import Sends, as_bytes, as_sends
from search_app.catalog.tables import check_sends, checks, collections
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import JSON


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check as it is kept; ``drift`` and ``reproducibility`` are the processes of evidence."""

    id: UUID
    collection: str
    index_id: UUID
    verdict: str
    sampled: int
    changed: int
    repeated: int
    unsteady: int
    noise_median: float | None
    noise_max: float | None
    drift: Sequence[float]
    reproducibility: Sequence[float]
    report: Mapping[str, JSON]
    created_at: datetime
    accepted_at: datetime | None


def _select() -> Select[Any]:
    return select(*checks.c, collections.c.name.label("collection")).join(
        collections, collections.c.id == checks.c.collection_id
    )


def _check(row: Any) -> Check:
    return Check(
        id=row.id,
        collection=row.collection,
        index_id=row.index_id,
        verdict=row.verdict,
        sampled=row.sampled,
        changed=row.changed,
        repeated=row.repeated,
        unsteady=row.unsteady,
        noise_median=row.noise_median,
        noise_max=row.noise_max,
        drift=row.drift,
        reproducibility=row.reproducibility,
        report=row.report,
        created_at=row.created_at,
        accepted_at=row.accepted_at,
    )


async def add(
    connection: AsyncConnection,
    check: Check,
    collection_id: UUID,
    sends: Mapping[UUID, Sends],
) -> None:
    """Keep a check with what it was sent for each reference query, by its id.

    Of earlier checks of the index those vectors go: only the latest can be accepted.
    """
    earlier = select(checks.c.id).where(checks.c.index_id == check.index_id)
    await connection.execute(delete(check_sends).where(check_sends.c.check_id.in_(earlier)))
    values = {name: value for name, value in vars(check).items() if name != "collection"}
    await connection.execute(insert(checks).values(**values, collection_id=collection_id))
    if sends:
        await connection.execute(
            insert(check_sends),
            [
                {
                    "check_id": check.id,
                    "reference_id": reference_id,
                    "sends": len(vectors),
                    "vectors": as_bytes(vectors),
                }
                for reference_id, vectors in sends.items()
            ],
        )


async def get(connection: AsyncConnection, check_id: UUID) -> Check:
    """Get a check by its id.

    Raises:
        NotFoundError: there is none.
    """
    row = (await connection.execute(_select().where(checks.c.id == check_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"no check {check_id}")
    return _check(row)


async def find(connection: AsyncConnection, beginning: str) -> Check:
    """Get a check by its id, or by as much of its beginning as names one only.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: several begin so.
    """
    wanted = beginning.strip().lower()
    if not wanted or set(wanted) - set("0123456789abcdef-"):
        raise NotFoundError(f"no check {beginning[:50]!r}")
    statement = _select().where(cast(checks.c.id, Text).startswith(wanted, autoescape=True))
    rows = (await connection.execute(statement.limit(2))).all()
    if not rows:
        raise NotFoundError(f"no check {beginning[:50]!r}")
    if len(rows) > 1:
        raise InvalidInputError(f"several checks begin with {wanted!r}; write more of the id")
    return _check(rows[0])


async def listing(
    connection: AsyncConnection,
    *,
    collection: str | None = None,
    index_id: UUID | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Check]:
    """List checks, newest first."""
    statement = _select().order_by(checks.c.created_at.desc(), checks.c.id)
    if collection is not None:
        statement = statement.where(collections.c.name == collection)
    if index_id is not None:
        statement = statement.where(checks.c.index_id == index_id)
    rows = await connection.execute(statement.limit(limit).offset(offset))
    return [_check(row) for row in rows]


async def accepted(connection: AsyncConnection, index_id: UUID) -> Check | None:
    """Give the check that was accepted last, if any was."""
    statement = (
        _select()
        .where(checks.c.index_id == index_id)
        .where(checks.c.accepted_at.is_not(None))
        .order_by(checks.c.accepted_at.desc())
        .limit(1)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _check(row)


async def accept(connection: AsyncConnection, check_id: UUID) -> None:
    """Record that a person took what a check saw as the baseline."""
    await connection.execute(
        update(checks).where(checks.c.id == check_id).values(accepted_at=func.now())
    )


async def sends_of(connection: AsyncConnection, check_id: UUID) -> dict[UUID, Sends]:
    """Get what a check was sent, by reference query; empty once a later check was made."""
    rows = await connection.execute(
        select(*check_sends.c).where(check_sends.c.check_id == check_id)
    )
    return {row.reference_id: as_sends(row.vectors, row.sends) for row in rows}
