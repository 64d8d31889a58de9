"""How a command that ingests says what it did, and with which exit code it ends."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from ingest.cli.tables import sent_line
from search_app.console import NOTHING_DONE, OK, SOME_FAILED, print_json, printable
from search_app.types import RunStatus

if TYPE_CHECKING:
    from ingest.report import IngestReport

KINDS_SHOWN = 8

EXIT_CODES = {
    RunStatus.SUCCEEDED: OK,
    RunStatus.PARTIAL: SOME_FAILED,
    RunStatus.FAILED: NOTHING_DONE,
    RunStatus.INTERRUPTED: SOME_FAILED,
}


def tell(report: "IngestReport", *, as_json: bool, quiet: bool, shown: bool) -> None:
    """Print a report and end the command; ``shown``: failures were told as they came.

    Raises:
        typer.Exit: always, with the code that says how it went.
    """
    from ingest.report import ending

    if as_json:
        print_json(report.as_json())
    else:
        _print(report, quiet=quiet, shown=shown)
    status, _ = ending(report.documents, report.errors, report.stopped)
    raise typer.Exit(EXIT_CODES[status])


def _kinds(skipped: Mapping[str, int]) -> str:
    """List what was skipped, the most frequent first."""
    every = sorted(skipped.items(), key=lambda entry: (-entry[1], entry[0]))
    listed = [f"{number:,} {kind}" for kind, number in every[:KINDS_SHOWN]]
    return " · ".join(listed if len(every) <= KINDS_SHOWN else [*listed, "…"])


def _print(report: "IngestReport", *, quiet: bool, shown: bool) -> None:
    if not shown:
        for failure in report.errors:
            typer.echo(printable(f"failed  {failure.source}: {failure.reason}"), err=True)
    if report.stopped is not None:
        typer.echo(report.stopped, err=True)
    if quiet:
        return
    from search_app.embedders.metering import as_json as sent_json

    documents, chunks = report.documents, report.chunks
    typer.echo(
        f"documents  {documents.added:,} added · {documents.updated:,} updated · "
        f"{documents.unchanged:,} unchanged · {documents.removed:,} removed · "
        f"{documents.failed:,} failed"
    )
    if report.skipped:
        typer.echo(printable(f"skipped    {documents.skipped:,} ({_kinds(report.skipped)})"))
    typer.echo(
        f"chunks     {chunks.embedded:,} embedded · {chunks.reused:,} reused · "
        f"{chunks.removed:,} removed"
    )
    if report.sent.requests:
        typer.echo(f"sent       {sent_line(sent_json(report.sent), report.currency)}")
    typer.echo(f"collection {report.collection} · run {report.run_id} · {report.seconds:.1f} s")
