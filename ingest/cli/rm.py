"""``ingest rm``: take sources out of a collection."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import amount, named
from search_app.config import Settings, load_settings
from search_app.console import print_json, wait_for

if TYPE_CHECKING:
    from ingest.report import IngestReport


@app.command()
def rm(
    sources: Annotated[
        list[str],
        typer.Argument(help="Files, web addresses, or folders with all that lies below them."),
    ],
    collection: Annotated[str | None, typer.Option(help="The collection they are in.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove sources, their documents and their vectors; the files themselves are not touched.

    A file that was uploaded is kept nowhere else, and goes too. If the collection does not have
    one of them, nothing is removed.
    """
    settings = load_settings()
    report = wait_for(_run(settings, sources, named(collection, settings)), settings, spans=True)
    if as_json:
        print_json(report.as_json())
    else:
        documents = amount(report.documents.removed, "document")
        typer.echo(f"removed {documents}, {amount(report.chunks.removed, 'chunk')}")


async def _run(settings: Settings, sources: Sequence[str], collection: str) -> "IngestReport":
    from ingest.pipeline import remove
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await remove(services, sources=sources, collection=collection)
