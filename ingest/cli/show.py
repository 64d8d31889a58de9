"""``ingest status`` and ``runs``: what there is and how it came to be."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, print_table, short, when
from search_app.config import Settings, load_settings
from search_app.console import print_json, wait_for
from search_app.types import Run

if TYPE_CHECKING:
    from search_app.catalog.collections import CollectionSummary


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """List the collections: what is in them, what is unfinished, and which model answers."""
    settings = load_settings()
    found = wait_for(_collections(settings), settings)
    if as_json:
        print_json([asdict(summary) for summary in found])
        return
    print_table(
        ["collection", "documents", "chunks", "unfinished", "model", "store"],
        [
            [
                summary.name,
                f"{summary.documents:,}",
                f"{summary.chunks:,}",
                f"{summary.pending_documents:,}",
                summary.model or "-",
                summary.store or "-",
            ]
            for summary in found
        ],
        empty="nothing ingested yet; try: ingest add PATH",
    )


@app.command("runs")
def list_runs(
    collection: Annotated[str | None, typer.Option(help="Only runs of this collection.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most runs shown.")] = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """List the runs, newest first."""
    settings = load_settings()
    found = wait_for(_runs(settings, collection, limit), settings)
    if as_json:
        print_json([asdict(run) for run in found])
        return
    print_table(
        ["run", "kind", "collection", "status", "started", "s", "added", "updated", "failed"],
        [_run_row(run) for run in found],
        empty="no runs yet; try: ingest add PATH",
    )


async def _collections(settings: Settings) -> Sequence["CollectionSummary"]:
    from search_app.bootstrap import open_services
    from search_app.catalog import collections
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        return await collections.summaries(connection)


async def _runs(settings: Settings, collection: str | None, limit: int) -> Sequence[Run]:
    from search_app.bootstrap import open_services
    from search_app.catalog import collections, runs
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        if collection is not None:
            await collections.get(connection, collection)
        return await runs.listing(connection, collection=collection, limit=limit)


def _run_row(run: Run) -> list[str]:
    documents = run.counts.get("documents", {})
    seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at else None
    return [
        short(run.id),
        run.kind,
        run.collection,
        run.status,
        when(run.started_at),
        "-" if seconds is None else f"{seconds:,.1f}",
        *(f"{documents.get(name, 0):,}" for name in ("added", "updated", "failed")),
    ]
