"""What the commands that list things share: tables, short ids, options."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

import typer

from search_app.config import Settings
from search_app.console import printable
from search_app.types import JSON

UNBOUND_WIDTH = 100_000
"""Columns of a table that goes into a file or a pipe."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Budget = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Most money that may be spent, in the currency of the prices; what was done by then "
        "stays, and the same command goes on.",
        metavar="AMOUNT",
    ),
]
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


def sent_line(sent: Mapping[str, JSON], currency: str) -> str:
    """Sum up what a model was sent, as a run keeps it."""
    tokens = f"{sent.get('tokens', 0):,} tokens"
    if sent.get("estimated_tokens"):
        tokens = f"about {tokens}"
    texts, requests = (sent.get(name, 0) for name in ("texts", "requests"))
    parts = [amount(texts, "text"), amount(requests, "request"), tokens, cost_of(sent, currency)]
    return " · ".join(parts)


def cost_of(sent: Mapping[str, JSON], currency: str) -> str:
    """Write what something costs, as far as that is known."""
    if sent.get("unpriced_tokens"):
        return "cost not known"
    return f"{sent.get('cost', 0):,.6f} {currency}" if sent.get("cost") else "free"


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
