"""``ingest add --enqueue``: ask workers to do it, and wait for them if that is wished."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from search_app.config import Settings
from search_app.console import NOTHING_DONE, OK, SOME_FAILED, print_json, printable, wait_for
from search_app.errors import InvalidInputError, UnmovedError

if TYPE_CHECKING:
    from ingest.pipeline import IngestRequest
    from search_app.bootstrap import Services
    from search_app.jobs import Job
    from search_app.uploads import Upload

POLL_S = 0.5
FAILURES_SHOWN = 1000


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was said about the queue, and about what is printed."""

    wanted: bool
    wait: bool
    queue: str
    as_json: bool
    quiet: bool


def check_wish(wish: Wish, *, has_passwords: bool) -> None:
    """Refuse options that contradict each other.

    Raises:
        InvalidInputError: they do.
    """
    if not wish.wanted and (wish.wait or wish.queue):
        raise InvalidInputError("--wait and --queue are for --enqueue; name it too")
    if wish.wanted and has_passwords:
        raise InvalidInputError(
            "--password cannot be given with --enqueue: jobs are kept, passwords never; "
            "leave --enqueue out"
        )


def enqueue_and_tell(
    settings: Settings, request: "IngestRequest", upload: "Upload | None", wish: Wish
) -> NoReturn:
    """Ask for an ingest, print the job, and end the command.

    Raises:
        typer.Exit: always, with the code that says how it went.
    """
    for failure in request.refused:
        typer.echo(printable(f"failed  {failure.source}: {failure.reason}"), err=True)
    job = wait_for(_enqueue(settings, request, upload, wish), settings)
    if wish.as_json:
        print_json(job.as_json())
    elif job.status == "failed":
        raise UnmovedError(f"job {job.id} failed: {job.reason or 'see its run'}")
    elif not wish.quiet:
        typer.echo(_line(job))
    raise typer.Exit(_code(job, refused=bool(request.refused)))


async def _enqueue(
    settings: Settings, request: "IngestRequest", upload: "Upload | None", wish: Wish
) -> "Job":
    from ingest.pipeline import check_names
    from ingest.uploads import keep
    from search_app import jobs
    from search_app.bootstrap import open_services
    from search_app.jobs.types import QUEUE

    async with open_services(settings) as services:
        check_names(services, request)
        if upload is not None:
            path = await keep(services, request.collection, upload)
            request = replace(request, arguments=[*request.arguments, str(path)])
        job = await jobs.enqueue_ingest(
            services.engine,
            collection=request.collection,
            arguments=[whole(argument) for argument in request.arguments],
            force=request.force,
            prune=request.prune,
            load=request.load.as_json(),
            embedder=request.embedder,
            store=request.store,
            precision=request.precision,
            budget=request.budget,
            queue=wish.queue or QUEUE,
        )
        if not await jobs.worker_alive(services.engine):
            typer.echo("no worker is running; the job waits for: ingest worker", err=True)
        if wish.wait:
            job = await _wait(services, job, _teller(wish))
    return job


def whole(argument: str) -> str:
    """Write a path from the root on, as workers need it; patterns and addresses stay what they are.

    Links are not followed: what they lead to then, the worker sees.
    """
    from ingest.fetching.addresses import is_address

    if is_address(argument):
        return argument
    path = Path(argument)
    if argument.startswith("~") and not path.exists():
        path = path.expanduser()
    return str(Path.cwd() / path)


def _teller(wish: Wish) -> "Callable[[Job], None]":
    """Say on a terminal, on one line that changes, how a job stands."""
    from rich.console import Console
    from rich.status import Status

    console = Console(stderr=True, highlight=False)
    if wish.as_json or wish.quiet or not console.is_terminal:
        return lambda _: None
    status = Status("", console=console)

    def tell(job: "Job") -> None:
        status.update(printable(_standing(job)).replace("[", r"\["))
        if job.ended:
            status.stop()
        else:
            status.start()

    return tell


async def _wait(services: "Services", job: "Job", tell: "Callable[[Job], None]") -> "Job":
    from search_app import jobs
    from search_app.catalog import runs
    from search_app.catalog.engine import transaction

    while not job.ended:
        tell(job)
        await asyncio.sleep(POLL_S)
        job = await jobs.get(services.engine, job.id)
    tell(job)
    if job.run_id is not None and job.failures:
        async with transaction(services.engine) as connection:
            failures = await runs.errors(connection, job.run_id, limit=FAILURES_SHOWN)
        for failure in failures:
            typer.echo(printable(f"failed  {failure.source}: {failure.reason}"), err=True)
    return job


def _standing(job: "Job") -> str:
    parts = [f"job {job.id} {job.status.value}"]
    if job.progress.get("sources_found"):
        read, found = job.progress.get("sources_read", 0), job.progress["sources_found"]
        parts.append(f"{read:,} of {found:,} sources")
    if job.rate:
        parts.append(f"{job.rate:,.0f} chunks/s")
    if job.seconds_left:
        parts.append(f"{job.seconds_left / 60:,.0f} min left")
    return " · ".join(parts)


def _line(job: "Job") -> str:
    done = job.counts.get("documents", {}) if job.ended else {}
    counts = [f"{number:,} {name}" for name, number in done.items() if number]
    return printable(
        " · ".join([f"job {job.id} {job.status.value}", f"collection {job.collection}", *counts])
    )


def _code(job: "Job", *, refused: bool) -> int:
    if job.status in {"cancelled", "failed"}:
        return NOTHING_DONE
    return SOME_FAILED if job.failures or refused else OK
