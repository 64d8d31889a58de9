"""``ingest status``, ``runs`` and ``models``: what there is and how it came to be."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from search_app.config import Settings, load_settings
from search_app.console import print_json, wait_for
from search_app.types import ModelVersion, Run

if TYPE_CHECKING:
    from search_app.catalog.collections import CollectionSummary

UNBOUND_WIDTH = 200
"""Columns of a table that goes into a file or a pipe."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """List the collections: what is in them, what is unfinished, and which model answers."""
    settings = load_settings()
    found = wait_for(_collections(settings), settings)
    if as_json:
        print_json([asdict(summary) for summary in found])
        return
    _table(
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
    collection: Annotated[str, typer.Option(help="Only runs of this collection.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most runs shown.")] = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """List the runs, newest first."""
    settings = load_settings()
    found = wait_for(_runs(settings, collection or None, limit), settings)
    if as_json:
        print_json([asdict(run) for run in found])
        return
    _table(
        ["run", "kind", "collection", "status", "started", "s", "added", "updated", "failed"],
        [_run_row(run) for run in found],
        empty="no runs yet; try: ingest add PATH",
    )


@app.command("models")
def list_models(*, as_json: AsJson = False) -> None:
    """List the model versions that indexes were made with, as observed."""
    settings = load_settings()
    found = wait_for(_models(settings), settings)
    if as_json:
        print_json([asdict(version) for version in found])
        return
    _table(
        ["id", "model", "spec", "dimensions", "noise floor", "stable"],
        [
            [
                _short(version.id),
                version.name,
                version.spec,
                str(version.identity.dimensions),
                f"{version.noise_floor:.1e}",
                "to the bit" if version.bit_stable else "no",
            ]
            for version in found
        ],
        empty="no model was used yet",
    )


async def _collections(settings: Settings) -> Sequence["CollectionSummary"]:
    from search_app.bootstrap import open_services
    from search_app.catalog import collections
    from search_app.catalog.engine import transaction

    async with open_services(settings) as services, transaction(services.engine) as connection:
        return await collections.summaries(connection)


async def _runs(settings: Settings, collection: str | None, limit: int) -> Sequence[Run]:
    from search_app.bootstrap import open_services
    from search_app.catalog import collections, runs
    from search_app.catalog.engine import transaction

    async with open_services(settings) as services, transaction(services.engine) as connection:
        if collection is not None:
            await collections.get(connection, collection)
        return await runs.listing(connection, collection=collection, limit=limit)


async def _models(settings: Settings) -> Sequence[ModelVersion]:
    from search_app.bootstrap import open_services
    from search_app.catalog import models
    from search_app.catalog.engine import transaction

    async with open_services(settings) as services, transaction(services.engine) as connection:
        return await models.listing(connection)


def _run_row(run: Run) -> list[str]:
    documents = run.counts.get("documents", {})
    seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at else None
    return [
        _short(run.id),
        run.kind,
        run.collection,
        run.status,
        f"{run.started_at.astimezone():%Y-%m-%d %H:%M}",
        "-" if seconds is None else f"{seconds:,.1f}",
        *(f"{documents.get(name, 0):,}" for name in ("added", "updated", "failed")),
    ]


def _short(identity: object) -> str:
    return "-" if identity is None else str(identity)[:8]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    if not rows:
        typer.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        # Names come from outside; as text they cannot be markup.
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    # A terminal's width is not ours to exceed; a file's is.
    width = None if sys.stdout.isatty() else UNBOUND_WIDTH
    Console(highlight=False, width=width).print(table)
