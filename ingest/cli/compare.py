"""``ingest compare``: two indexes of one collection side by side, before one is activated."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, amount, print_table, short
from search_app.cli_why import mode_of
from search_app.config import Settings, load_settings
from search_app.console import NOTHING_DONE, fail, print_json, printable, wait_for
from search_app.errors import InvalidInputError
from search_app.types import Mode

if TYPE_CHECKING:
    from ingest.comparing import Measured
    from ingest.evaluation.golden import GoldenSet
    from search_app.comparison.asking import Comparison, Side

SHOWN = 10
"""Queries that changed most, as many as are listed."""

SHOWN_QUERY = 60
"""Characters of a query in that list."""

Index = Annotated[str, typer.Argument(help="An index: its id or the beginning of it.")]


@app.command()
def compare(
    first: Index,
    second: Index,
    *,
    collection: Annotated[
        str | None, typer.Option(help="The collection that both must be of.")
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(
            help="A golden set whose documents are in the collection: nDCG@10 of both.",
            metavar="DIR",
        ),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(help="Queries to compare by, one a line; unset: the log's.", metavar="FILE"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most queries asked.")] = 200,
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="How many hits are compared.")] = 10,
    mode: Annotated[
        str | None, typer.Option(help="hybrid, semantic or keyword; as the settings say if unset.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare what two indexes find: overlap, rank-biased overlap, what enters, leaves and moves.

    By the queries asked most, or by given ones; with a golden set, by nDCG and a paired test too.
    """
    from ingest.evaluation.golden import GoldenSetError, read_golden_set

    settings = load_settings()
    chosen = mode_of(mode)
    texts = None if queries is None else _read(queries)
    try:
        known = None if golden is None else read_golden_set(golden)
    except GoldenSetError as exc:
        for fault in exc.faults:
            fail(fault)
        raise typer.Exit(NOTHING_DONE) from exc
    work = _Work(
        settings=settings,
        indexes=(first, second),
        collection=collection,
        texts=texts,
        limit=limit,
        k=k,
        mode=chosen,
        golden=known,
    )
    comparison, measured = wait_for(work.do(), settings)
    if as_json:
        from search_app.comparison.wording import as_json as comparison_as_json

        shown = comparison_as_json(comparison)
        shown["golden"] = None if measured is None else _golden_json(measured)
        print_json(shown)
        return
    _print(comparison)
    if measured is not None:
        _print_golden(measured)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What was asked for."""

    settings: Settings
    indexes: tuple[str, str]
    collection: str | None
    texts: Sequence[str] | None
    limit: int
    k: int
    mode: Mode | None
    golden: "GoldenSet | None"

    async def do(self) -> "tuple[Comparison, Measured | None]":
        """Compare, and measure where there is a golden set."""
        from ingest.comparing import measure
        from search_app.bootstrap import open_services
        from search_app.catalog.engine import reading
        from search_app.comparison.asking import compare, given, logged, pair_of

        async with open_services(self.settings, create=False) as services:
            async with reading(services.engine) as connection:
                pair = await pair_of(connection, *self.indexes, self.collection)
                if self.texts is not None:
                    asked = given(self.texts, self.limit)
                else:
                    asked = await logged(connection, pair.collection, self.limit)
            with _bar(len(asked)) as step:
                comparison = await compare(
                    services, pair, asked, k=self.k, mode=self.mode, after_each=step
                )
            measured = None
            if self.golden is not None:
                measured = await measure(services, pair, self.golden, mode=self.mode)
        return comparison, measured


def _read(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"--queries {path}: is not UTF-8") from exc
    except OSError as exc:
        reason = (exc.strerror or type(exc).__name__).lower()
        raise InvalidInputError(f"--queries {path}: cannot be read: {reason}") from exc


@contextmanager
def _bar(number: int) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("queries", total=number)
        yield lambda: bar.advance(task)


def _golden_json(measured: "Measured") -> dict[str, object]:
    return {"metric": "nDCG@10", **asdict(measured)}


def _print(comparison: "Comparison") -> None:
    from search_app.list_measures import Change

    pair, number = comparison.pair, len(comparison.queries)
    for name, side in (("A", pair.left), ("B", pair.right)):
        typer.echo(printable(f"{name}  {_side(side)}"))
    unit = "documents, since the indexes cut them differently" if pair.by_documents else "passages"
    asked = "1 query" if number == 1 else f"{number:,} queries"
    typer.echo(
        f"{asked} of collection {printable(pair.collection.name)}, {comparison.mode}; the first "
        f"{comparison.k} {unit}"
    )
    typer.echo(f"overlap@{comparison.k}: {comparison.overlap:.4f}   RBO: {comparison.rbo:.4f}")
    counts = {change: comparison.count(change) for change in Change}
    typer.echo(
        f"equal lists: {comparison.same:,} of {number:,}; entered {counts[Change.ENTERED]:,}, left "
        f"{counts[Change.LEFT]:,}, up {counts[Change.UP]:,}, down {counts[Change.DOWN]:,}, same "
        f"place {counts[Change.SAME]:,}"
    )
    if comparison.most_changed:
        typer.echo("changed most:")
        print_table(
            ["query", "asked", "overlap", "RBO", "entered", "left", "first in A", "first in B"],
            [
                [
                    each.query[:SHOWN_QUERY],
                    f"{each.times:,}" if each.times else "-",
                    f"{each.overlap:.2f}",
                    f"{each.rbo:.4f}",
                    str(each.count(Change.ENTERED)),
                    str(each.count(Change.LEFT)),
                    each.left[0].title[:SHOWN_QUERY] if each.left else "-",
                    each.right[0].title[:SHOWN_QUERY] if each.right else "-",
                ]
                for each in comparison.most_changed[:SHOWN]
            ],
            empty="",
        )


def _side(side: "Side") -> str:
    index = side.index
    return (
        f"{short(index.id)}  {side.version.name}, {index.store}, {index.precision}, "
        f"{index.chunking.max_tokens} tokens, {index.state}"
    )


def _print_golden(measured: "Measured") -> None:
    moved = measured.difference
    typer.echo(
        printable(
            f"golden set {measured.name}: {measured.queries:,} queries; "
            f"{measured.known:,} of {amount(measured.judged, 'document')} that answer them are in "
            "the collection"
        )
    )
    typer.echo(
        f"nDCG@10: A {measured.left.mean:.4f}, B {measured.right.mean:.4f}; difference "
        f"{moved.difference:+.4f} (95 % {moved.low:+.4f} to {moved.high:+.4f}, p {moved.p:.4f})"
    )
