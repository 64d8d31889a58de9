"""What the commands that list things share: tables, short ids, options."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from search_app.config import Settings
from search_app.console import printable

UNBOUND_WIDTH = 200
"""Columns of a table that goes into a file or a pipe."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Offset = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="How many to pass over.")]


def named(collection: str | None, settings: Settings) -> str:
    """Give the collection that was named, or the configured one; an empty name is named too."""
    return settings.collection if collection is None else collection


def amount(number: int, noun: str) -> str:
    """Write a number of things: ``1 document``, ``2 documents``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def short(identity: object) -> str:
    """Give as much of an id as a person needs."""
    return "-" if identity is None else str(identity)[:8]


def when(moment: datetime) -> str:
    """Write a time as the clock on the wall shows it."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print a table, or what to say where it has no rows."""
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
        table.add_row(*(printable(cell).replace("[", r"\[") for cell in row))
    # A terminal's width is not ours to exceed; a file's is.
    width = None if sys.stdout.isatty() else UNBOUND_WIDTH
    Console(highlight=False, width=width).print(table)
