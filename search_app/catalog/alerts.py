"""Alerts, each said once, and how far their delivery is; and what there is to be alerted about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import alert_deliveries, alerts, collections
from search_app.types import JSON

Channel = Literal["webhook", "mail"]

KEPT_DAYS = 90
"""Days that alerts are remembered."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How far an alert is on one of its ways; ``reason`` is why the latest attempt failed."""

    channel: str
    status: str
    attempts: int
    reason: str | None
    due_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that somebody was or is to be told of."""

    id: UUID
    kind: str
    collection: str
    payload: Mapping[str, JSON]
    created_at: datetime
    deliveries: Sequence[Delivery] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Due:
    """A delivery whose time has come; the row stays locked until the transaction ends."""

    alert_id: UUID
    channel: str
    attempts: int
    payload: Mapping[str, JSON]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How long it is that anything was known of the rankings of a collection.

    ``since`` is when the active index was last checked with a conclusion, or was activated, where
    it never was (``concluded`` False); ``age`` how long that is. ``latest_id`` and the others are
    of its newest check, conclusive or not.
    """

    collection: str
    collection_id: UUID
    index_id: UUID
    since: datetime
    age: timedelta
    concluded: bool
    latest_id: UUID | None
    latest_verdict: str | None
    latest_sentence: str | None


async def add(
    connection: AsyncConnection,
    *,
    alert_id: UUID,
    key: str,
    kind: str,
    collection_id: UUID,
    payload: Mapping[str, JSON],
    channels: Sequence[Channel],
) -> bool:
    """Keep an alert that is to be delivered; False where the same was said already."""
    added = await connection.scalar(
        insert(alerts)
        .values(id=alert_id, key=key, kind=kind, collection_id=collection_id, payload=dict(payload))
        .on_conflict_do_nothing(index_elements=[alerts.c.key])
        .returning(alerts.c.id)
    )
    if added is None:
        return False
    await connection.execute(
        insert(alert_deliveries),
        [{"alert_id": alert_id, "channel": channel} for channel in channels],
    )
    return True


async def said(connection: AsyncConnection, keys: Sequence[str]) -> set[str]:
    """Give those of the keys under which something was said already."""
    found = await connection.scalars(select(alerts.c.key).where(alerts.c.key.in_(keys)))
    return set(found)


async def due(connection: AsyncConnection) -> Due | None:
    """Take the delivery that is due longest and that nobody else is at; None: there is none."""
    found = await connection.execute(
        select(
            alert_deliveries.c.alert_id,
            alert_deliveries.c.channel,
            alert_deliveries.c.attempts,
            alerts.c.payload,
        )
        .join(alerts, alerts.c.id == alert_deliveries.c.alert_id)
        .where(alert_deliveries.c.status == "waiting")
        .where(alert_deliveries.c.due_at <= func.now())
        .order_by(alert_deliveries.c.due_at, alert_deliveries.c.alert_id)
        .limit(1)
        .with_for_update(of=alert_deliveries, skip_locked=True)
    )
    row = found.mappings().one_or_none()
    return None if row is None else Due(**row)


async def note_sent(connection: AsyncConnection, taken: Due, note: str | None) -> None:
    """Record that an alert arrived, and what there is to say of it."""
    await _note(
        connection,
        taken,
        status="sent",
        attempts=taken.attempts + 1,
        reason=note,
        sent_at=func.now(),
    )


async def note_failure(
    connection: AsyncConnection, taken: Due, reason: str, again_in: timedelta | None
) -> None:
    """Record why an alert did not arrive, and when it is tried again; None: it is given up."""
    await _note(
        connection,
        taken,
        status="failed" if again_in is None else "waiting",
        attempts=taken.attempts + 1,
        reason=reason,
        # Not now(), which is when the transaction and with it the attempt began.
        due_at=func.clock_timestamp() + (again_in or timedelta()),
    )


async def _note(connection: AsyncConnection, taken: Due, **values: Any) -> None:
    await connection.execute(
        update(alert_deliveries)
        .where(alert_deliveries.c.alert_id == taken.alert_id)
        .where(alert_deliveries.c.channel == taken.channel)
        .values(**values)
    )


async def try_again(connection: AsyncConnection) -> int:
    """Have everything delivered that was given up or waits for its next attempt; says how much."""
    rows = await connection.execute(
        update(alert_deliveries)
        .where(alert_deliveries.c.status != "sent")
        .values(status="waiting", attempts=0, due_at=func.now())
        .returning(alert_deliveries.c.alert_id)
    )
    return len(rows.all())


async def listing(connection: AsyncConnection, *, limit: int = 50) -> list[Alert]:
    """List alerts, newest first, with their deliveries."""
    rows = (
        await connection.execute(
            select(*alerts.c, collections.c.name.label("collection"))
            .join(collections, collections.c.id == alerts.c.collection_id)
            .order_by(alerts.c.created_at.desc(), alerts.c.id)
            .limit(limit)
        )
    ).all()
    ways = await connection.execute(
        select(*alert_deliveries.c)
        .where(alert_deliveries.c.alert_id.in_([row.id for row in rows]))
        .order_by(alert_deliveries.c.channel)
    )
    deliveries: dict[UUID, list[Delivery]] = {}
    for way in ways.mappings():
        values = {name: value for name, value in way.items() if name != "alert_id"}
        deliveries.setdefault(way["alert_id"], []).append(Delivery(**values))
    return [
        Alert(
            id=row.id,
            kind=row.kind,
            collection=row.collection,
            payload=row.payload,
            created_at=row.created_at,
            deliveries=deliveries.get(row.id, []),
        )
        for row in rows
    ]


async def counts(connection: AsyncConnection) -> dict[tuple[str, str], int]:
    """Count deliveries by channel and status."""
    rows = await connection.execute(
        select(alert_deliveries.c.channel, alert_deliveries.c.status, func.count()).group_by(
            alert_deliveries.c.channel, alert_deliveries.c.status
        )
    )
    return {(channel, status): number for channel, status, number in rows}


async def forget_old(connection: AsyncConnection) -> None:
    """Delete alerts of long ago."""
    await connection.execute(
        delete(alerts).where(alerts.c.created_at < func.now() - timedelta(days=KEPT_DAYS))
    )


async def failed_checks(connection: AsyncConnection) -> dict[UUID, UUID]:
    """Give the checks of the last day that failed, the oldest first, each with its collection."""
    return {row.id: row.collection_id for row in await connection.execute(_FAILED)}


async def standings(connection: AsyncConnection) -> list[Standing]:
    """Say of every collection that has passages how long ago it was checked with a conclusion.

    A check that is dated in the future was made by a clock that was wrong, and counts for nothing.
    """
    rows = await connection.execute(_STANDINGS)
    return [Standing(**row) for row in rows.mappings()]


_FAILED = text("""
    SELECT checks.id, checks.collection_id FROM checks
    JOIN collections ON collections.id = checks.collection_id
    WHERE checks.verdict = 'fail' AND checks.created_at > now() - interval '1 day'
    AND collections.state = 'live'
    ORDER BY checks.created_at
""")

_STANDINGS = text("""
    SELECT collections.name AS collection, collections.id AS collection_id,
        indexes.id AS index_id, found.since,
        greatest(now() - found.since, interval '0') AS age,
        concluded.at IS NOT NULL AS concluded,
        latest.id AS latest_id, latest.verdict AS latest_verdict,
        latest.sentence AS latest_sentence
    FROM collections
    JOIN indexes ON indexes.collection_id = collections.id AND indexes.state = 'active'
    LEFT JOIN LATERAL (
        SELECT max(created_at) AS at FROM checks WHERE checks.index_id = indexes.id
        AND verdict <> 'inconclusive' AND created_at < now() + interval '1 hour'
    ) AS concluded ON true
    LEFT JOIN LATERAL (
        SELECT id, verdict, report->>'sentence' AS sentence FROM checks
        WHERE checks.index_id = indexes.id ORDER BY created_at DESC, id LIMIT 1
    ) AS latest ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(concluded.at, indexes.activated_at, indexes.created_at) AS since
    ) AS found
    -- Not EXISTS, which may be planned as a join of all records.
    CROSS JOIN LATERAL (
        SELECT FROM vector_records JOIN chunks ON chunks.id = vector_records.chunk_id
        WHERE vector_records.index_id = indexes.id AND chunks.state = 'live' LIMIT 1
    ) AS passage
    WHERE collections.state = 'live'
    ORDER BY collections.name
""")
