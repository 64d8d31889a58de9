"""``ingest add``: read documents into a collection."""

from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from search_app.config import Settings, load_settings
from search_app.console import NOTHING_DONE, OK, SOME_FAILED, print_json, printable, wait_for

if TYPE_CHECKING:
    from ingest.pipeline import IngestRequest
    from ingest.report import IngestReport, Progress


@app.command()
def add(
    paths: Annotated[
        list[str], typer.Argument(help="Files, folders or quoted patterns such as 'docs/**/*.md'.")
    ],
    collection: Annotated[str, typer.Option(help="The collection to put them in.")] = "",
    embedder: Annotated[
        str,
        typer.Option(help="bundled, openai:MODEL or hashing:DIM; the collection's own if unset."),
    ] = "",
    store: Annotated[str, typer.Option(help="Where a new index keeps its vectors: pgvector.")] = "",
    text_field: Annotated[
        list[str] | None, typer.Option(help="CSV and JSONL: fields that make up the text.")
    ] = None,
    meta_field: Annotated[
        list[str] | None, typer.Option(help="CSV and JSONL: fields kept as metadata.")
    ] = None,
    title_field: Annotated[str, typer.Option(help="CSV and JSONL: the field with the title.")] = "",
    id_field: Annotated[
        str, typer.Option(help="CSV and JSONL: the field that names a record.")
    ] = "",
    *,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove documents whose files are gone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print failures only.")] = False,
) -> None:
    """Read documents, embed them, and keep them up to date.

    Unchanged documents are skipped; changed ones are replaced once their new vectors are in. An
    ingest that was stopped is finished by the next one. Exit code: 0 all in, 1 some sources
    failed, 2 nothing could be done.
    """
    from ingest.cli.progress import Display
    from ingest.pipeline import IngestRequest
    from ingest.report import Silent
    from ingest.types import LoadOptions

    settings = load_settings()
    request = IngestRequest(
        arguments=paths,
        collection=collection or settings.collection,
        embedder=embedder or None,
        store=store or None,
        prune=prune,
        load=LoadOptions(
            text_fields=tuple(text_field or ()),
            meta_fields=None if meta_field is None else tuple(meta_field),
            title_field=title_field or None,
            id_field=id_field or None,
            max_file_mb=settings.max_file_mb,
        ),
    )
    display = None if as_json or quiet else Display(paths)
    try:
        report = wait_for(_run(settings, request, display or Silent()), settings)
    finally:
        if display is not None:
            display.close()
    if as_json:
        print_json(report.as_json())
    else:
        _print(report, quiet=quiet, shown=display is not None)
    raise typer.Exit(_exit_code(report))


async def _run(
    settings: Settings, request: "IngestRequest", progress: "Progress"
) -> "IngestReport":
    from ingest.pipeline import ingest
    from search_app.bootstrap import open_services

    async with open_services(settings) as services:
        return await ingest(services, request, progress)


def _exit_code(report: "IngestReport") -> int:
    done = report.documents
    if not done.failed:
        return OK
    some = done.added or done.updated or done.unchanged or done.removed
    return SOME_FAILED if some else NOTHING_DONE


def _print(report: "IngestReport", *, quiet: bool, shown: bool) -> None:
    if not shown:
        for failure in report.errors:
            typer.echo(printable(f"failed  {failure.source}: {failure.reason}"), err=True)
    if quiet:
        return
    documents, chunks = report.documents, report.chunks
    typer.echo(
        f"documents  {documents.added:,} added · {documents.updated:,} updated · "
        f"{documents.unchanged:,} unchanged · {documents.removed:,} removed · "
        f"{documents.failed:,} failed"
    )
    typer.echo(
        f"chunks     {chunks.embedded:,} embedded · {chunks.reused:,} reused · "
        f"{chunks.removed:,} removed"
    )
    typer.echo(f"collection {report.collection} · run {report.run_id} · {report.seconds:.1f} s")
