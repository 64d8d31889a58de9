"""``ingest watch``: keep a collection like some folders."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import named
from search_app.config import Settings, load_settings
from search_app.console import printable, wait_for
from search_app.errors import UnmovedError

if TYPE_CHECKING:
    from ingest.pipeline import IngestRequest
    from ingest.report import IngestReport


@app.command()
def watch(
    paths: Annotated[
        list[str], typer.Argument(help="Files, folders, quoted patterns such as 'docs/**/*.md'.")
    ],
    collection: Annotated[
        str | None, typer.Option(help="The collection to keep like them.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="What to leave out of folders, as in ingest add; as often as needed."),
    ] = None,
    debounce: Annotated[
        float,
        typer.Option(min=0.05, max=3600, help="Seconds for which changes are gathered."),
    ] = 1.6,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for every round.")
    ] = False,
) -> None:
    """Ingest folders, and then whatever changes in them, until Ctrl-C.

    Files that are gone are removed from the collection. A round that fails, because the embedder
    does not answer for instance, is one line on standard error, and is tried again.
    """
    from ingest.pipeline import IngestRequest
    from ingest.types import LoadOptions

    settings = load_settings()
    request = IngestRequest(
        arguments=paths,
        collection=named(collection, settings),
        load=LoadOptions(max_file_mb=settings.max_file_mb, exclude=tuple(exclude or ())),
    )
    wait_for(_watch(settings, request, debounce, as_json=as_json), settings)


async def _watch(
    settings: Settings, request: "IngestRequest", debounce: float, *, as_json: bool
) -> None:
    from ingest.watching import watch
    from search_app.bootstrap import open_services

    async with open_services(settings) as services:
        await watch(services, request, _Teller(as_json=as_json), debounce_s=debounce)


class _Teller:
    """Prints a line for whatever happened."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def watching(self) -> None:
        """Say that one may begin."""
        if self._as_json:
            typer.echo(json.dumps({"event": "watching"}))
        else:
            typer.echo("watching (Ctrl-C stops it)")

    def done(self, report: "IngestReport") -> None:
        """Print what a round did, and what failed in it; nothing, if it did nothing."""
        if self._as_json:
            typer.echo(json.dumps({"event": "round", **report.as_json()}, ensure_ascii=False))
            return
        for failure in report.errors:
            self._complain(f"failed  {failure.source}: {failure.reason}")
        counted = report.documents
        done = {"added": counted.added, "updated": counted.updated, "removed": counted.removed}
        parts = [f"{number:,} {name}" for name, number in done.items() if number]
        if parts:
            typer.echo(f"{datetime.now().astimezone():%H:%M:%S}  {' · '.join(parts)}")

    def failed(self, error: UnmovedError) -> None:
        """Say why a round failed."""
        self._complain(f"error: {error}; tried again")

    def gone(self, root: str) -> None:
        """Say that a folder is gone."""
        self._complain(f"{root} is gone; what was read from it stays until it is removed")

    def _complain(self, line: str) -> None:
        typer.echo(printable(" ".join(line.split())), err=True)
