"""The log of changes: who did what, when, and what came of it. No secret is ever in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import audit_events

LONGEST = 500
"""Most characters of a target or an outcome; the rest is cut off."""

Via = Literal["page", "api", "mcp", "command"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that was done, or tried; ``outcome`` is ``done``, or why not.

    ``who`` is the name of a key or of a user of the system; ``target`` says what it was done to.
    """

    who: str
    via: Via
    action: str
    target: str
    outcome: str
    key_label: str | None = None
    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedChange(Change):
    """A change as it was recorded."""

    id: int
    created_at: datetime


async def record(connection: AsyncConnection, change: Change) -> None:
    """Write a change down."""
    await connection.execute(
        insert(audit_events).values(
            who=_clean(change.who),
            key_label=change.key_label,
            address=None if change.address is None else _clean(change.address),
            via=change.via,
            action=_clean(change.action),
            target=_clean(change.target),
            outcome=_clean(change.outcome),
        )
    )


async def listing(
    connection: AsyncConnection,
    *,
    limit: int = 50,
    offset: int = 0,
    who: str = "",
    action: str = "",
) -> Sequence[RecordedChange]:
    """List changes, the latest first; ``who`` and ``action`` narrow them where they are given."""
    statement = select(*audit_events.c).order_by(audit_events.c.id.desc())
    if who:
        statement = statement.where((audit_events.c.who == who) | (audit_events.c.key_label == who))
    if action:
        statement = statement.where(audit_events.c.action == action)
    rows = await connection.execute(statement.limit(limit).offset(offset))
    return [RecordedChange(**row) for row in rows.mappings()]


async def forget(connection: AsyncConnection, days: int) -> int:
    """Forget changes that are older than that many days, and say how many."""
    old = audit_events.c.created_at < func.now() - timedelta(days=days)
    return (await connection.execute(delete(audit_events).where(old))).rowcount


def _clean(text: str) -> str:
    """Make a text of anybody's fit for a column and a line."""
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
