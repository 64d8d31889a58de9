"""``ingest retry``: read what failed once more."""

from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.outcome import tell
from ingest.cli.tables import AsJson, named
from search_app.config import Settings, load_settings
from search_app.console import wait_for

if TYPE_CHECKING:
    from ingest.report import IngestReport, Progress
    from ingest.types import LoadOptions


@app.command()
def retry(
    collection: Annotated[str | None, typer.Option(help="The collection they are in.")] = None,
    *,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print failures only.")] = False,
    password: Annotated[
        list[str] | None, typer.Option(help="Tried on encrypted files; may be repeated.")
    ] = None,
) -> None:
    """Read every source of a collection again that failed.

    Each is read with the options that it was last read with. Exit code: 0 all in or nothing to
    do, 1 some failed again, 2 all of them did.
    """
    from ingest.cli.progress import Display
    from ingest.report import Silent
    from ingest.types import LoadOptions

    settings = load_settings()
    # How many they are, the bar learns as they come.
    display = None if as_json or quiet else Display([])
    try:
        load = LoadOptions(max_file_mb=settings.max_file_mb, passwords=tuple(password or ()))
        work = _run(settings, named(collection, settings), load, display or Silent())
        report = wait_for(work, settings, spans=True)
    finally:
        if display is not None:
            display.close()
    tell(report, as_json=as_json, quiet=quiet, shown=display is not None)


async def _run(
    settings: Settings, collection: str, load: "LoadOptions", progress: "Progress"
) -> "IngestReport":
    from ingest.pipeline import retry
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await retry(services, collection=collection, load=load, progress=progress)
