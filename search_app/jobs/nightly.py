"""Asking for a check of every collection once a night.

Every worker looks whether it is time; a row that is locked meanwhile lets one of them ask. What
came due while nobody was there is asked for once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from croniter import croniter
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.catalog.collections import IS_LIVE
from search_app.catalog.engine import transaction
from search_app.catalog.tables import check_nights, collections, indexes
from search_app.config import TIME_OF_DAY, Settings
from search_app.errors import NotFoundError
from search_app.jobs.asking import enqueue_check_with
from search_app.jobs.schedules import Timing
from search_app.jobs.types import Job
from search_app.types import IndexState


@dataclass(frozen=True, kw_only=True)
class Nightly:
    """When collections are checked: a cron line in a time zone; empty: that of the machine."""

    cron: str
    timezone: str = ""

    def after(self, moment: datetime) -> datetime:
        """Give the next time after a moment, in UTC."""
        if self.timezone:
            return Timing(cron=self.cron, timezone=self.timezone).after(moment)
        # By the clock on the wall, whose offset the system knows for every day of the year.
        line = croniter(self.cron, moment.astimezone().replace(tzinfo=None))
        while True:
            following: datetime = line.get_next(datetime)
            found = following.astimezone(UTC)
            # An hour that the clock shows twice was done the first time.
            if found > moment:
                return found

    @property
    def text(self) -> str:
        """When, in one short line."""
        return f"{self.cron} ({self.timezone or 'local time'})"


def nightly_of(settings: Settings) -> Nightly | None:
    """Read when collections are checked; None: never by themselves."""
    if settings.check_at == "off":
        return None
    time = TIME_OF_DAY.fullmatch(settings.check_at)
    cron = f"{int(time[2])} {int(time[1])} * * *" if time else settings.check_at
    return Nightly(cron=cron, timezone=settings.check_timezone)


async def enqueue_checks(engine: AsyncEngine, nightly: Nightly) -> list[Job]:
    """Ask for a check of every collection if it is time, and give the jobs.

    The first time that workers are told of a timing, they wait for the next time.
    """
    async with transaction(engine) as connection:
        now = await connection.scalar(select(func.now()))
        assert now is not None  # noqa: S101 - PostgreSQL knows the time
        following = nightly.after(now)
        await connection.execute(
            insert(check_nights)
            .values(timing=nightly.text, next_at=following)
            .on_conflict_do_nothing()
        )
        row = check_nights.c.timing == nightly.text
        next_at = await connection.scalar(
            select(check_nights.c.next_at).where(row).with_for_update(skip_locked=True)
        )
        if next_at is None:
            return []
        is_due = next_at <= now
        # Further off than the time after the next: the clock was wrong when that was written.
        if is_due or next_at > nightly.after(following):
            await connection.execute(update(check_nights).where(row).values(next_at=following))
        return await _ask_for_all(connection) if is_due else []


async def _ask_for_all(connection: AsyncConnection) -> list[Job]:
    asked = []
    for name in await checkable(connection):
        try:
            asked.append(await enqueue_check_with(connection, name))
        except NotFoundError:
            # On its way out since it was listed.
            continue
    return asked


async def checkable(connection: AsyncConnection) -> list[str]:
    """List the collections that an index answers for, by name."""
    statement = (
        select(collections.c.name)
        .join(indexes, indexes.c.collection_id == collections.c.id)
        .where(IS_LIVE, indexes.c.state == IndexState.ACTIVE)
        .order_by(collections.c.name)
    )
    return list(await connection.scalars(statement))
