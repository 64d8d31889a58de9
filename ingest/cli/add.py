"""``ingest add``: read documents into a collection."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.inputs import gathered
from ingest.cli.outcome import tell
from ingest.cli.tables import Budget, named
from search_app.config import Settings, load_settings
from search_app.console import wait_for
from search_app.errors import InvalidInputError

if TYPE_CHECKING:
    from ingest.pipeline import IngestRequest
    from ingest.report import IngestReport, Progress
    from search_app.uploads import Upload


@app.command()
def add(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders, quoted patterns such as 'docs/**/*.md', web addresses; "
            "- for standard input."
        ),
    ] = None,
    collection: Annotated[str | None, typer.Option(help="The collection to put them in.")] = None,
    embedder: Annotated[
        str,
        typer.Option(
            help="bundled, openai:MODEL, google:MODEL, bedrock:MODEL, cohere:MODEL, voyage:MODEL, "
            "onnx:FOLDER, sentence-transformers:NAME_OR_PATH or hashing:DIM; the "
            "collection's own if unset."
        ),
    ] = "",
    store: Annotated[
        str, typer.Option(help="Where a new index keeps its vectors: pgvector or qdrant.")
    ] = "",
    precision: Annotated[
        str,
        typer.Option(
            help="What numbers a new index searches by: float32, float16, int8 or binary."
        ),
    ] = "",
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
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="What to leave out of folders: a name such as '*.log' or 'drafts/', or a path "
            "below the folder such as 'old/*.md'; as often as needed."
        ),
    ] = None,
    password: Annotated[
        list[str] | None,
        typer.Option(
            help="Tried on encrypted PDFs, and never stored; as often as needed.",
            metavar="PASSWORD",
        ),
    ] = None,
    urls: Annotated[
        str, typer.Option(help="A file with web addresses, one a line; - for standard input.")
    ] = "",
    name: Annotated[
        str,
        typer.Option(help="What standard input is called, which says what reads it: notes.md."),
    ] = "",
    budget: Budget = None,
    *,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be sent, how long that would take and what it would cost; "
            "nothing is written or sent.",
        ),
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove documents whose files and pages are gone.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Read sources again that have not changed.")
    ] = False,
    enqueue: Annotated[
        bool,
        typer.Option("--enqueue", help="Leave the work to ingest worker; prints the job."),
    ] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="With --enqueue: wait until it is done. Ctrl-C ends only the waiting."
        ),
    ] = False,
    queue: Annotated[
        str, typer.Option(help="With --enqueue: the queue to wait in, see ingest worker --queues.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print failures only.")] = False,
) -> None:
    """Read documents, embed them, and keep them up to date.

    Unchanged documents are skipped; changed ones are replaced once their new vectors are in. An
    ingest that was stopped is finished by the next one. Exit code: 0 all in, 1 some sources
    failed or the budget was reached, 2 nothing could be done; with --enqueue alone, 0 once the
    job waits.
    """
    from ingest.cli.enqueuing import Wish, check_wish, enqueue_and_tell
    from ingest.cli.estimate import foreseen, tell_estimate
    from ingest.cli.progress import Display
    from ingest.pipeline import IngestRequest
    from ingest.report import Silent
    from ingest.types import LoadOptions

    settings = load_settings()
    wish = Wish(wanted=enqueue, wait=wait, queue=queue, as_json=as_json, quiet=quiet)
    check_wish(wish, has_passwords=bool(password))
    if dry_run and ("-" in (sources or []) or enqueue):
        raise InvalidInputError(
            "--dry-run reads what is named, here and now; leave --enqueue out, and put standard "
            "input into a file"
        )
    with gathered(settings, sources or [], urls=urls, name=name) as inputs:
        request = IngestRequest(
            arguments=inputs.arguments,
            refused=inputs.refused,
            collection=named(collection, settings),
            embedder=embedder or None,
            store=store or None,
            precision=precision or None,
            prune=prune,
            force=force,
            budget=budget,
            load=LoadOptions(
                text_fields=tuple(text_field or ()),
                meta_fields=None if meta_field is None else tuple(meta_field),
                title_field=title_field or None,
                id_field=id_field or None,
                max_file_mb=settings.max_file_mb,
                exclude=tuple(exclude or ()),
                passwords=tuple(password or ()),
            ),
        )
        if dry_run:
            told = wait_for(foreseen(settings, request), settings)
            tell_estimate(told, settings, as_json=as_json)
            return
        if wish.wanted:
            enqueue_and_tell(settings, request, inputs.upload, wish)
        display = None if as_json or quiet else Display(inputs.arguments, exclude or ())
        try:
            work = _run(settings, request, inputs.upload, display or Silent())
            report = wait_for(work, settings, spans=True)
        finally:
            if display is not None:
                display.close()
    tell(report, as_json=as_json, quiet=quiet, shown=display is not None)


async def _run(
    settings: Settings, request: "IngestRequest", upload: "Upload | None", progress: "Progress"
) -> "IngestReport":
    from ingest.pipeline import check_names, ingest
    from ingest.uploads import keep
    from search_app.bootstrap import open_services

    async with open_services(settings) as services:
        if upload is not None:
            check_names(services, request)
            path = await keep(services, request.collection, upload)
            request = replace(request, arguments=[*request.arguments, str(path)])
        return await ingest(services, request, progress)
