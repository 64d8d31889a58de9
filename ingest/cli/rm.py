"""``ingest rm``: take sources out of a collection."""

from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from search_app.config import Settings, load_settings
from search_app.console import print_json, wait_for

if TYPE_CHECKING:
    from ingest.report import IngestReport


@app.command()
def rm(
    source: Annotated[str, typer.Argument(help="A file, or a folder with all that lies below it.")],
    collection: Annotated[str, typer.Option(help="The collection it is in.")] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove a source, its documents and their vectors; the file itself is not touched."""
    settings = load_settings()
    report = wait_for(_run(settings, source, collection or settings.collection), settings)
    if as_json:
        print_json(report.as_json())
    else:
        typer.echo(
            f"removed {report.documents.removed:,} documents, {report.chunks.removed:,} chunks"
        )


async def _run(settings: Settings, source: str, collection: str) -> "IngestReport":
    from ingest.pipeline import remove
    from search_app.bootstrap import open_services

    async with open_services(settings) as services:
        return await remove(services, source=source, collection=collection)
