"""``ingest doctor``: is everything there and well, and what to do where it is not."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from search_app.config import Settings, load_settings
from search_app.console import NOTHING_DONE, OK, SOME_FAILED, print_json, wait_for

if TYPE_CHECKING:
    from rich.console import Console

    from ingest.doctor import Finding

_SIGNS = {"good": ("✓", "green"), "note": ("!", "yellow"), "bad": ("✗", "red")}


@app.command()
def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check database, store, model, disk and memory; say what to do about each.

    Changes nothing. Exit code: 0 all good, 1 something should be known, 2 something is broken.
    """
    settings = load_settings()
    found = wait_for(_examine(settings, shown=not as_json), settings)
    if as_json:
        print_json([asdict(finding) for finding in found])
    healths = {finding.health.value for finding in found}
    raise typer.Exit(NOTHING_DONE if "bad" in healths else SOME_FAILED if "note" in healths else OK)


async def _examine(settings: Settings, *, shown: bool) -> list["Finding"]:
    from rich.console import Console

    from ingest.doctor import examine

    console = Console(highlight=False, soft_wrap=True, file=sys.stdout)
    found = []
    async for finding in examine(settings):
        found.append(finding)
        if shown:
            # As it comes: a store that is down takes its time to say so.
            _print(console, finding)
    return found


def _print(console: "Console", finding: "Finding") -> None:
    from rich.text import Text

    from search_app.console import printable

    sign, colour = _SIGNS[finding.health.value]
    line = Text.assemble((f"{sign} ", colour), (f"{finding.part:<10} ", "bold"))
    console.print(line.append(printable(finding.found)))
    if finding.advice:
        console.print(Text(f"  → {printable(finding.advice)}", style="dim"))
