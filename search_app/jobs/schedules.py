"""Sources that are ingested again and again: when, and asking for it once it is due.

Every worker looks for what is due. A schedule is locked while its job is asked for, in the same
transaction that sets when it is due next, so that each time gives one job, however many workers
look. What came due while nobody was there is asked for once, not as often as it was missed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from sqlalchemy import Row, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.catalog import collections
from search_app.catalog.engine import transaction
from search_app.catalog.tables import collections as collection_rows
from search_app.catalog.tables import schedules
from search_app.errors import InvalidInputError, NotFoundError
from search_app.jobs.asking import check_arguments, enqueue_ingest_with
from search_app.jobs.types import Job

LEAST = timedelta(minutes=1)
MOST = timedelta(days=366)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_INTERVAL = re.compile(r"(\d{1,9})\s*([smhdw])")
_FIELDS_OF_CRON = 5
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When something is done: every so often, or at the times of a cron line in a time zone."""

    every: timedelta | None = None
    cron: str | None = None
    timezone: str = "UTC"

    def after(self, moment: datetime, last: datetime | None = None) -> datetime:
        """Give the next time after a moment, in UTC; intervals are counted from the last time."""
        if self.every is not None:
            in_step = (last or moment) + self.every
            return in_step if in_step > moment else moment + self.every
        line = croniter(self.cron or "", moment.astimezone(ZoneInfo(self.timezone)))
        following: datetime = line.get_next(datetime)
        return following.astimezone(UTC)

    @property
    def interval(self) -> str | None:
        """How often, as it is written on the command line."""
        return None if self.every is None else interval_text(self.every)

    @property
    def text(self) -> str:
        """How often or when, in one short line."""
        return f"{self.cron} ({self.timezone})" if self.cron else f"every {self.interval}"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Sources of a collection that are ingested again and again."""

    id: int
    collection: str
    arguments: Sequence[str]
    prune: bool
    timing: Timing
    next_at: datetime
    last_at: datetime | None
    last_job_id: int | None
    created_at: datetime


def parse_timing(*, every: str | None, cron: str | None, timezone: str = "UTC") -> Timing:
    """Read when something is to be done, as users write it: ``6h``, or ``0 3 * * *``.

    Raises:
        InvalidInputError: neither or both are given, or one of them cannot be read.
    """
    if (not every) == (not cron):
        raise InvalidInputError("say either --every, such as 6h, or --cron, such as '0 3 * * *'")
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise InvalidInputError(
            f"time zone {timezone[:80]!r} is not known; write one such as Asia/Tokyo or UTC"
        ) from exc
    if every:
        return Timing(every=_interval(every), timezone=timezone)
    line = " ".join((cron or "").split())
    if len(line.split(" ")) != _FIELDS_OF_CRON or not croniter.is_valid(line):
        raise InvalidInputError(
            f"cron line {line[:80]!r} cannot be read; write minute, hour, day, month and weekday, "
            "such as '0 3 * * *' for three in the morning"
        )
    return Timing(cron=line, timezone=timezone)


def _interval(text: str) -> timedelta:
    found = _INTERVAL.fullmatch(text.strip().lower())
    if found is None:
        raise InvalidInputError(
            f"interval {text[:80]!r} cannot be read; write a number and m, h, d or w, such as 6h"
        )
    number, unit = int(found[1]), _UNITS[found[2]]
    # Compared before anything overflows.
    seconds = number * timedelta(**{unit: 1}).total_seconds()
    if not LEAST.total_seconds() <= seconds <= MOST.total_seconds():
        raise InvalidInputError(
            f"interval {text[:80]!r} is out of range; from {interval_text(LEAST)} "
            f"to {interval_text(MOST)}"
        )
    return timedelta(seconds=seconds)


def interval_text(span: timedelta) -> str:
    """Write an interval in the largest unit that it is a whole number of: ``90m``, ``6h``."""
    seconds = round(span.total_seconds())
    for letter in ("d", "h", "m"):
        unit = round(timedelta(**{_UNITS[letter]: 1}).total_seconds())
        if seconds % unit == 0:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


async def add(
    engine: AsyncEngine,
    *,
    collection: str,
    arguments: Sequence[str],
    timing: Timing,
    prune: bool = False,
) -> Schedule:
    """Have sources ingested again and again; the collection is made where it is missing.

    With an interval, the first time is now.

    Raises:
        InvalidInputError: what is named cannot be ingested by a worker.
        NotFoundError: the collection is being deleted.
    """
    check_arguments(arguments)
    async with transaction(engine) as connection:
        known = await collections.get_or_create(connection, collection)
        now = await connection.scalar(select(func.now()))
        assert now is not None  # noqa: S101 - PostgreSQL knows the time
        first = now if timing.every is not None else timing.after(now)
        schedule_id = await connection.scalar(
            insert(schedules)
            .values(
                collection_id=known.id,
                arguments=list(arguments),
                prune=prune,
                every_s=None if timing.every is None else round(timing.every.total_seconds()),
                cron=timing.cron,
                timezone=timing.timezone,
                next_at=first,
            )
            .returning(schedules.c.id)
        )
        return _schedule((await connection.execute(_one(schedule_id or 0))).one())


async def listing(engine: AsyncEngine, *, collection: str | None = None) -> list[Schedule]:
    """List schedules by collection, and as they were made."""
    statement = _select().order_by(collection_rows.c.name, schedules.c.id)
    if collection is not None:
        statement = statement.where(collection_rows.c.name == collection)
    async with transaction(engine) as connection:
        return [_schedule(row) for row in await connection.execute(statement)]


async def get(engine: AsyncEngine, schedule_id: int) -> Schedule:
    """Get a schedule.

    Raises:
        NotFoundError: there is none.
    """
    async with transaction(engine) as connection:
        return await _find(connection, schedule_id)


async def remove(engine: AsyncEngine, schedule_id: int) -> Schedule:
    """Forget a schedule, and give it as it was; what it ingested stays, and so do its jobs.

    Raises:
        NotFoundError: there is none.
    """
    async with transaction(engine) as connection:
        found = await _find(connection, schedule_id)
        await connection.execute(delete(schedules).where(schedules.c.id == schedule_id))
    return found


async def enqueue_due(engine: AsyncEngine) -> list[Job]:
    """Ask for every ingest that is due, each once, and give the jobs."""
    asked: list[Job] = []
    while True:
        async with transaction(engine) as connection:
            due = (
                await connection.execute(
                    _select()
                    .where(schedules.c.next_at <= func.now())
                    .where(collection_rows.c.state == "live")
                    .order_by(schedules.c.next_at)
                    .limit(1)
                    .with_for_update(of=schedules, skip_locked=True)
                    .add_columns(func.now().label("now"))
                )
            ).one_or_none()
            if due is None:
                return asked
            schedule = _schedule(due)
            try:
                job = await enqueue_ingest_with(
                    connection,
                    schedule.collection,
                    {
                        "arguments": list(schedule.arguments),
                        "force": False,
                        "prune": schedule.prune,
                    },
                )
            except NotFoundError:
                # Its collection is on its way out, and takes the schedule with it.
                job = None
            await connection.execute(
                update(schedules)
                .where(schedules.c.id == schedule.id)
                .values(
                    next_at=schedule.timing.after(due.now, schedule.next_at),
                    last_at=func.now(),
                    last_job_id=job.id if job else schedule.last_job_id,
                )
            )
        if job is not None:
            asked.append(job)


async def _find(connection: AsyncConnection, schedule_id: int) -> Schedule:
    row = None
    if 0 < schedule_id <= _LARGEST_ID:
        row = (await connection.execute(_one(schedule_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"no schedule {schedule_id}; ingest schedule list shows them")
    return _schedule(row)


def _select() -> Select[Any]:
    return select(*schedules.c, collection_rows.c.name.label("collection")).join(
        collection_rows, collection_rows.c.id == schedules.c.collection_id
    )


def _one(schedule_id: int) -> Select[Any]:
    return _select().where(schedules.c.id == schedule_id)


def _schedule(row: Row[Any]) -> Schedule:
    return Schedule(
        id=row.id,
        collection=row.collection,
        arguments=row.arguments,
        prune=row.prune,
        timing=Timing(
            every=None if row.every_s is None else timedelta(seconds=row.every_s),
            cron=row.cron,
            timezone=row.timezone,
        ),
        next_at=row.next_at,
        last_at=row.last_at,
        last_job_id=row.last_job_id,
        created_at=row.created_at,
    )
