"""``ingest schedule``: sources that workers ingest again and again."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.enqueuing import whole
from ingest.cli.tables import AsJson, named, print_table, when
from search_app.config import Settings, load_settings
from search_app.console import print_json, wait_for
from search_app.types import JSON

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from search_app.jobs.schedules import Schedule, Timing

group = typer.Typer(
    help="Have sources ingested again and again by workers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(group, name="schedule")


@group.command("add")
def add_schedule(
    sources: Annotated[
        list[str],
        typer.Argument(help="Files, folders, quoted patterns, web addresses."),
    ],
    every: Annotated[
        str, typer.Option(help="How often: a number and m, h, d or w, such as 6h; first now.")
    ] = "",
    cron: Annotated[
        str, typer.Option(help="When instead: a cron line, such as '0 3 * * *' for every night.")
    ] = "",
    timezone: Annotated[
        str, typer.Option(help="The time zone of the cron line, such as Asia/Tokyo.")
    ] = "UTC",
    collection: Annotated[str | None, typer.Option(help="The collection to put them in.")] = None,
    *,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove documents whose files and pages are gone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Have sources ingested again and again, by whichever worker is there."""
    from search_app.jobs.schedules import parse_timing

    settings = load_settings()
    timing = parse_timing(every=every or None, cron=cron or None, timezone=timezone)
    work = _add(settings, named(collection, settings), sources, timing, prune=prune)
    made = wait_for(work, settings)
    if as_json:
        print_json(_json(made))
    else:
        typer.echo(f"schedule {made.id} · {made.timing.text} · next {when(made.next_at)}")


@group.command("list")
def list_schedules(
    collection: Annotated[str | None, typer.Option(help="Only those of this collection.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List what is ingested again and again, and when next."""
    settings = load_settings()
    found = wait_for(_list(settings, collection), settings)
    if as_json:
        print_json({"schedules": [_json(schedule) for schedule in found]})
        return
    print_table(
        ("schedule", "collection", "when", "next", "last", "sources"),
        [
            (
                str(schedule.id),
                schedule.collection,
                schedule.timing.text,
                when(schedule.next_at),
                "-" if schedule.last_at is None else when(schedule.last_at),
                ", ".join(schedule.arguments),
            )
            for schedule in found
        ],
        empty="nothing is scheduled; ingest schedule add SOURCE --every 6h",
    )


@group.command("rm")
def remove_schedule(
    schedule: Annotated[int, typer.Argument(help="Its number, see ingest schedule list.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Forget a schedule; what it brought in stays."""
    settings = load_settings()
    gone = wait_for(_remove(settings, schedule), settings)
    if as_json:
        print_json(_json(gone))
    else:
        typer.echo(f"schedule {gone.id} removed; what it brought in stays")


def _json(schedule: "Schedule") -> dict[str, JSON]:
    timing = schedule.timing
    return {
        **{name: value for name, value in asdict(schedule).items() if name != "timing"},
        "every_s": None if timing.every is None else round(timing.every.total_seconds()),
        "cron": timing.cron,
        "timezone": timing.timezone,
    }


async def _add(
    settings: Settings, collection: str, sources: list[str], timing: "Timing", *, prune: bool
) -> "Schedule":
    from search_app.bootstrap import open_services
    from search_app.jobs import schedules

    async with open_services(settings) as services:
        made = await schedules.add(
            services.engine,
            collection=collection,
            arguments=[whole(source) for source in sources],
            timing=timing,
            prune=prune,
        )
        await _warn_without_worker(services.engine)
    return made


async def _warn_without_worker(engine: "AsyncEngine") -> None:
    from search_app import jobs

    if not await jobs.worker_alive(engine):
        typer.echo("no worker is running; schedules are kept by: ingest worker", err=True)


async def _list(settings: Settings, collection: str | None) -> "list[Schedule]":
    from search_app.bootstrap import open_services
    from search_app.jobs import schedules

    async with open_services(settings, create=False) as services:
        return await schedules.listing(services.engine, collection=collection)


async def _remove(settings: Settings, schedule_id: int) -> "Schedule":
    from search_app.bootstrap import open_services
    from search_app.jobs import schedules

    async with open_services(settings, create=False) as services:
        return await schedules.remove(services.engine, schedule_id)
