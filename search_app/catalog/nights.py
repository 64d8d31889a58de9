"""Checks without their reports: what plots, lists and the sign on every page need of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.collections import IS_LIVE
from search_app.catalog.tables import checks, collections, indexes
from search_app.types import IndexState


@dataclass(frozen=True, kw_only=True)
class Night:
    """A check in numbers; ``drift`` and ``reproducibility`` are the evidence after it.

    ``finding`` is the kind of the gravest thing that was found, and ``sentence`` the check in one.
    """

    id: UUID
    collection: str
    index_id: UUID
    verdict: str
    finding: str | None
    sentence: str
    sampled: int
    changed: int
    repeated: int
    unsteady: int
    noise_median: float | None
    noise_max: float | None
    drift: float
    reproducibility: float
    at: datetime
    accepted_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """An active index and its newest check, if it ever had one; whether one is under way now."""

    collection: str
    collection_id: UUID
    index_id: UUID
    active_since: datetime
    night: Night | None
    running: bool


_COLUMNS = (
    checks.c.id,
    checks.c.index_id,
    checks.c.verdict,
    checks.c.sampled,
    checks.c.changed,
    checks.c.repeated,
    checks.c.unsteady,
    checks.c.noise_median,
    checks.c.noise_max,
    checks.c.drift,
    checks.c.reproducibility,
    checks.c.created_at,
    checks.c.accepted_at,
    checks.c.report["findings"][0]["kind"].astext.label("finding"),
    checks.c.report["sentence"].astext.label("sentence"),
)

_SINCE = func.coalesce(indexes.c.activated_at, indexes.c.created_at)

# The lock of search_app/consistency/checking.py, which ends with the check or its connection.
_RUNNING = text(
    "SELECT indexes.id FROM indexes JOIN pg_locks ON locktype = 'advisory' AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (classid::bigint << 32 | objid::bigint) = hashtextextended('check ' || indexes.id, 0)"
)


async def listing(
    connection: AsyncConnection,
    *,
    collection: str | None = None,
    index_id: UUID | None = None,
    until: datetime | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Night]:
    """List checks, newest first; those of a collection, of an index, up to a time."""
    statement = _select().order_by(checks.c.created_at.desc(), checks.c.id)
    if collection is not None:
        statement = statement.where(collections.c.name == collection)
    if index_id is not None:
        statement = statement.where(checks.c.index_id == index_id)
    if until is not None:
        statement = statement.where(checks.c.created_at <= until)
    return [_night(row) for row in await connection.execute(statement.limit(limit).offset(offset))]


async def standings(connection: AsyncConnection) -> list[Standing]:
    """Say of every active index how its newest check ended, by the name of its collection."""
    newest = (
        select(*_COLUMNS)
        .where(checks.c.index_id == indexes.c.id)
        .order_by(checks.c.created_at.desc())
        .limit(1)
        .lateral("newest")
    )
    statement = (
        select(
            *newest.c,
            collections.c.name.label("collection"),
            collections.c.id.label("collection_id"),
            indexes.c.id.label("active_id"),
            _SINCE.label("active_since"),
        )
        .join(collections, collections.c.id == indexes.c.collection_id)
        .join(newest, true(), isouter=True)
        .where(indexes.c.state == IndexState.ACTIVE.value, IS_LIVE)
        .order_by(collections.c.name)
    )
    rows = (await connection.execute(statement)).all()
    running = set((await connection.execute(_RUNNING)).scalars())
    return [
        Standing(
            collection=row.collection,
            collection_id=row.collection_id,
            index_id=row.active_id,
            active_since=row.active_since,
            night=None if row.id is None else _night(row),
            running=row.active_id in running,
        )
        for row in rows
    ]


async def verdicts(
    connection: AsyncConnection,
) -> Sequence[tuple[str | None, datetime | None, datetime]]:
    """Give the newest verdict of every active index, when it was given, and since when it answers.

    Verdict and time are None where it was never checked. An index whose only check was inconclusive
    has just been given the references that later checks compare with: its verdict is ``first``.
    """
    newest = (
        select(checks.c.verdict, checks.c.created_at)
        .where(checks.c.index_id == indexes.c.id)
        .order_by(checks.c.created_at.desc())
        .limit(1)
        .lateral("newest")
    )
    number = select(func.count()).select_from(checks).where(checks.c.index_id == indexes.c.id)
    only = number.scalar_subquery() == 1
    statement = (
        select(newest.c.verdict, newest.c.created_at, _SINCE, only.label("only"))
        .select_from(indexes)
        .join(collections, collections.c.id == indexes.c.collection_id)
        .join(newest, true(), isouter=True)
        .where(indexes.c.state == IndexState.ACTIVE.value, IS_LIVE)
    )
    return [
        ("first" if row.only and row[0] == "inconclusive" else row[0], row[1], row[2])
        for row in await connection.execute(statement)
    ]


def _select() -> Select[Any]:
    return select(*_COLUMNS, collections.c.name.label("collection")).join(
        collections, collections.c.id == checks.c.collection_id
    )


def _night(row: Any) -> Night:
    return Night(
        id=row.id,
        collection=row.collection,
        index_id=row.index_id,
        verdict=row.verdict,
        finding=row.finding,
        sentence=row.sentence or "",
        sampled=row.sampled,
        changed=row.changed,
        repeated=row.repeated,
        unsteady=row.unsteady,
        noise_median=row.noise_median,
        noise_max=row.noise_max,
        drift=fmean(row.drift) if row.drift else 0.0,
        reproducibility=fmean(row.reproducibility) if row.reproducibility else 0.0,
        at=row.created_at,
        accepted_at=row.accepted_at,
    )
