"""The JSON API of what is ingested again and again."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from search_app.catalog import addressing
from search_app.catalog.engine import transaction
from search_app.jobs import schedules
from search_app.jobs.schedules import Schedule, parse_timing
from search_app.web.answers import described
from search_app.web.api import json_only
from search_app.web.api_actions import Address
from search_app.web.deps import ServicesDep
from search_app.web.job_schemas import ScheduleBody, ScheduleJson, Schedules
from search_app.web.problems import Kind
from search_app.web.reach import check_reach

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get(
    "/schedules",
    name="schedules",
    responses=described(Kind.INVALID_INPUT, Kind.INVALID_BODY),
)
async def list_schedules(
    services: ServicesDep,
    collection: Annotated[
        str | None, Query(description="Name of a collection; left out: all of them")
    ] = None,
) -> Schedules:
    """List what is ingested again and again, and when next."""
    found = await schedules.listing(services.engine, collection=collection)
    return Schedules(schedules=[_json(schedule) for schedule in found])


@router.post(
    "/collections/{collection}/schedules",
    name="schedule",
    status_code=201,
    dependencies=[Depends(json_only)],
    responses=described(
        Kind.INVALID_INPUT,
        Kind.CROSS_ORIGIN,
        Kind.NOT_FOUND,
        Kind.TOO_LARGE,
        Kind.INVALID_BODY,
        Kind.NOT_JSON,
        Kind.OUT_OF_REACH,
    ),
)
async def add_schedule(
    services: ServicesDep, collection: Address, body: ScheduleBody
) -> ScheduleJson:
    """Have sources ingested again and again; workers see to it."""
    async with transaction(services.engine) as connection:
        name = (await addressing.at(connection, collection)).name
    await check_reach(services, name, body.arguments)
    timing = parse_timing(every=body.every, cron=body.cron, timezone=body.timezone)
    made = await schedules.add(
        services.engine,
        collection=name,
        arguments=body.arguments,
        timing=timing,
        prune=body.prune,
    )
    return _json(made)


@router.delete(
    "/schedules/{schedule}",
    name="remove_schedule",
    responses=described(Kind.INVALID_INPUT, Kind.CROSS_ORIGIN, Kind.NOT_FOUND, Kind.INVALID_BODY),
)
async def remove_schedule(
    services: ServicesDep, schedule: Annotated[int, Path(description="Number of the schedule")]
) -> ScheduleJson:
    """Forget a schedule, and give it as it was; what it brought in stays."""
    return _json(await schedules.remove(services.engine, schedule))


def _json(schedule: Schedule) -> ScheduleJson:
    timing = schedule.timing
    return ScheduleJson(
        id=schedule.id,
        collection=schedule.collection,
        arguments=list(schedule.arguments),
        prune=schedule.prune,
        every=timing.interval,
        cron=timing.cron,
        timezone=timing.timezone,
        next_at=schedule.next_at,
        last_at=schedule.last_at,
        last_job_id=schedule.last_job_id,
        created_at=schedule.created_at,
    )
