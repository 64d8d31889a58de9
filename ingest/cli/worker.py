"""``ingest worker``: do what was asked for over the web."""

import asyncio
import json
import os
import sys
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from search_app.config import Settings, load_settings
from search_app.console import printable, wait_for

if TYPE_CHECKING:
    from ingest.tasks import Event


@app.command()
def worker(
    concurrency: Annotated[
        int,
        typer.Option(
            min=1, max=64, help="Jobs done at once: of several collections, or parts of one ingest."
        ),
    ] = 1,
    queues: Annotated[
        str,
        typer.Option(
            help="The queues whose jobs it does, with commas between them.", metavar="NAMES"
        ),
    ] = "documents",
    *,
    attached: Annotated[
        bool,
        typer.Option("--attached", help="Stop when standard input is closed."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for every event.")
    ] = False,
) -> None:
    """Do queued work: what was uploaded, removed or asked for over the web or with --enqueue.

    Runs until it is stopped. What it is stopped in goes back into the queue, and the next worker
    goes on with it; likewise if it is killed. Any number of workers may run, on any number of
    machines that see the same database and the same files; they share the work of a large ingest.
    """
    from search_app.jobs.types import check_queue

    settings = load_settings()
    names = [check_queue(name.strip()) for name in queues.split(",")]
    work = _work(settings, names, concurrency, attached=attached, as_json=as_json)
    wait_for(work, settings, spans=True)


async def _work(
    settings: Settings, queues: list[str], concurrency: int, *, attached: bool, as_json: bool
) -> None:
    from ingest.worker import Duty, work

    def ready() -> None:
        if as_json:
            typer.echo(json.dumps({"event": "ready"}))
        else:
            typer.echo("waiting for jobs (Ctrl-C stops it)")

    def tell(event: "Event") -> None:
        line = json.dumps(asdict(event), ensure_ascii=False) if as_json else _line(event)
        typer.echo(line)

    if attached:
        _stop_at_end_of_input()
    duty = Duty(queues=queues, concurrency=concurrency)
    await work(settings, duty, ready=ready, tell=tell)


def _line(event: "Event") -> str:
    done = event.counts.get("documents", {})
    counts = " · ".join(f"{number:,} {name}" for name, number in done.items() if number)
    counts = counts or event.counts.get("verdict", "")
    parts = [f"job {event.job}", event.event, event.kind, event.collection, counts, event.reason]
    return printable("  ".join(part for part in parts if part))


def _stop_at_end_of_input() -> None:
    """Cancel this task when standard input ends, as it does when whoever started this dies."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()

    def wait() -> None:
        # Not through the buffer, whose lock a thread that waits would hold beyond the end.
        while os.read(descriptor, 1024):
            pass
        if task is not None and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    threading.Thread(target=wait, name="end of input", daemon=True).start()
