"""``ingest reconcile``: do the stores hold what the catalog says, and make it so."""

from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, print_table, short
from search_app.config import Settings, load_settings
from search_app.console import OK, SOME_FAILED, print_json, printable, wait_for

if TYPE_CHECKING:
    from ingest.reconcile import IndexReport, ReconcileReport

SHOWN = 20
"""Findings of an index that a terminal shows."""


@app.command()
def reconcile(
    collection: Annotated[
        str | None, typer.Option(help="Only this collection; all of them if unset.")
    ] = None,
    index: Annotated[
        str, typer.Option(help="Only this index: its id or the beginning of it.")
    ] = "",
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what can be proved; leave the rest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare what the vector stores hold with what the catalog recorded, vector by vector.

    Finds what is missing, orphaned, altered, stale, there twice or not embedded. Exit code: 0 all
    well, 1 faults are left, 2 it could not be told.
    """
    settings = load_settings()
    report = wait_for(
        _run(settings, collection=collection, index=index or None, repair=repair), settings
    )
    if as_json:
        print_json(report.as_json())
    else:
        _print(report, repair=repair)
    raise typer.Exit(SOME_FAILED if report.faults else OK)


async def _run(
    settings: Settings, *, collection: str | None, index: str | None, repair: bool
) -> "ReconcileReport":
    from ingest.reconcile import reconcile
    from search_app.bootstrap import open_services

    def waiting(name: str) -> None:
        typer.echo(f"a run writes to collection {name}; waiting for it to end", err=True)

    async with open_services(settings, create=False) as services:
        return await reconcile(
            services, collection=collection, index=index, repair=repair, waiting=waiting
        )


def _print(report: "ReconcileReport", *, repair: bool) -> None:
    print_table(
        ["index", "collection", "model", "store", "vectors", "faults", "repaired"],
        [
            [
                short(each.index.id),
                each.collection,
                each.model,
                each.index.store,
                f"{each.points:,}",
                f"{each.faults + sum(each.repaired.values()):,}",
                f"{sum(each.repaired.values()) + each.lexicon_repaired:,}" if repair else "-",
            ]
            for each in report.indexes
        ],
        empty="there is no index yet; try: ingest add PATH",
    )
    for each in report.indexes:
        _print_findings(each)
    for name in report.writing:
        typer.echo(f"note: a run wrote to collection {name} meanwhile; look again once it ended")
    if report.faults and not repair:
        typer.echo("ingest reconcile --repair puts right what can be proved")


def _print_findings(report: "IndexReport") -> None:
    for told in report.told[:SHOWN]:
        finding = told.finding
        outcome = "repaired" if told.repaired else f"left: {told.left}" if told.left else ""
        line = f"{finding.kind.value:<10} {finding.chunk_id}  {finding.detail}"
        typer.echo(printable(f"{line}; {outcome}" if outcome else line))
    number = sum(report.found.values())
    if number > SHOWN:
        typer.echo(f"… and {number - min(SHOWN, len(report.told)):,} more; --json tells of 1,000")
    if report.lexicon is not None:
        done = "; counted anew" if report.lexicon_repaired else ""
        typer.echo(f"words      index {short(report.index.id)}: {report.lexicon}{done}")
