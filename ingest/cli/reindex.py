"""``ingest reindex``: build a second index beside the one that answers."""

from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import Budget, named, sent_line, short
from search_app.config import Settings, load_settings
from search_app.console import OK, SOME_FAILED, print_json, printable, wait_for
from search_app.errors import InvalidInputError

if TYPE_CHECKING:
    from ingest.reindex import ReindexReport, ReindexRequest
    from ingest.report import Progress
    from search_app.jobs import Job


@app.command()
def reindex(
    collection: Annotated[str | None, typer.Option(help="The collection to build it of.")] = None,
    embedder: Annotated[
        str,
        typer.Option(
            help="bundled, openai:MODEL, google:MODEL, bedrock:MODEL, cohere:MODEL, voyage:MODEL, "
            "onnx:FOLDER, sentence-transformers:NAME_OR_PATH or hashing:DIM; that of "
            "the active index if unset."
        ),
    ] = "",
    store: Annotated[
        str, typer.Option(help="pgvector or qdrant; that of the active index if unset.")
    ] = "",
    precision: Annotated[
        str,
        typer.Option(
            help="What numbers it searches by: float32, float16, int8 or binary; those of the "
            "active index if unset."
        ),
    ] = "",
    chunk_tokens: Annotated[
        int, typer.Option(min=0, help="Most tokens of a passage; as now if unset.")
    ] = 0,
    budget: Budget = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Build one even if it is like the active one.")
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Embed every passage again; no vector is taken over."),
    ] = False,
    enqueue: Annotated[
        bool,
        typer.Option("--enqueue", help="Leave the work to ingest worker; prints the job."),
    ] = False,
    queue: Annotated[
        str, typer.Option(help="With --enqueue: the queue to wait in, see ingest worker --queues.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print failures only.")] = False,
) -> None:
    """Build a second index beside the active one: another model, store, precision or length.

    Texts are taken from the catalog; where the model stays, vectors are copied. Searches and
    ingests go on meanwhile, and what is ingested is in both. Stopped at any point, the same command
    goes on with it. Exit code: 0 the index is ready, 1 something is missing in it, 2 nothing could
    be done; with --enqueue 0 once the job waits.
    """
    from ingest.cli.progress import Display
    from ingest.reindex import ReindexRequest
    from ingest.report import Silent

    settings = load_settings()
    request = ReindexRequest(
        collection=named(collection, settings),
        embedder=embedder or None,
        store=store or None,
        precision=precision or None,
        chunk_tokens=chunk_tokens or None,
        force=force,
        fresh=fresh,
        budget=budget,
    )
    if enqueue:
        job = wait_for(_enqueue(settings, request, queue), settings)
        if as_json:
            print_json(job.as_json())
        elif not quiet:
            typer.echo(f"job {job.id} · reindex · collection {job.collection} · {job.status}")
        return
    if queue:
        raise InvalidInputError("--queue is for --enqueue; name it too")
    display = None if as_json or quiet else Display([], planned=True)
    try:
        report = wait_for(_run(settings, request, display or Silent()), settings, spans=True)
    finally:
        if display is not None:
            display.close()
    if as_json:
        print_json(report.as_json())
    else:
        _print(report, quiet=quiet, shown=display is not None)
    raise typer.Exit(OK if report.complete else SOME_FAILED)


async def _enqueue(settings: Settings, request: "ReindexRequest", queue: str) -> "Job":
    from ingest.reindex import check
    from search_app import jobs
    from search_app.bootstrap import open_services
    from search_app.jobs.types import QUEUE

    async with open_services(settings, create=False) as services:
        check(services, request)
        job = await jobs.enqueue_reindex(
            services.engine,
            collection=request.collection,
            embedder=request.embedder,
            store=request.store,
            precision=request.precision,
            chunk_tokens=request.chunk_tokens,
            force=request.force,
            fresh=request.fresh,
            budget=request.budget,
            queue=queue or QUEUE,
        )
        if not await jobs.worker_alive(services.engine):
            typer.echo("no worker is running; the job waits for: ingest worker", err=True)
    return job


async def _run(
    settings: Settings, request: "ReindexRequest", progress: "Progress"
) -> "ReindexReport":
    from ingest.reindex import reindex
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await reindex(services, request, progress)


def _print(report: "ReindexReport", *, quiet: bool, shown: bool) -> None:
    from search_app.embedders.metering import as_json as sent_json

    if not shown:
        for failure in report.errors:
            typer.echo(printable(f"failed  {failure.source}: {failure.reason}"), err=True)
        for warning in report.warnings:
            typer.echo(printable(f"warning {warning}"), err=True)
    index = short(report.index_id)
    if report.stopped is not None:
        typer.echo(report.stopped, err=True)
    elif not report.complete:
        typer.echo(
            f"index {index} is not complete: {report.missing:,} of {report.passages:,} passages "
            f"have no vector, {report.uncut:,} documents could not be cut; the same command tries "
            "again",
            err=True,
        )
    if quiet:
        return
    typer.echo(
        f"passages   {report.embedded:,} embedded · {report.copied:,} copied · "
        f"{report.passages:,} in all"
    )
    if report.sent.requests:
        typer.echo(f"sent       {sent_line(sent_json(report.sent), report.currency)}")
    typer.echo(
        f"index      {index} · {report.state} · {report.model} · {report.store}, {report.precision}"
    )
    typer.echo(f"collection {report.collection} · run {report.run_id} · {report.seconds:.1f} s")
    if report.complete:
        typer.echo(
            f"ingest compare sets it against the active one; ingest activate {index} lets it answer"
        )
