"""``ingest eval``: how good search is on queries whose answers are known."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import amount, print_table
from search_app.config import Settings, load_settings
from search_app.console import NOTHING_DONE, fail, print_json, printable, wait_for
from search_app.errors import InvalidInputError

if TYPE_CHECKING:
    from ingest.evaluation.evaluation import EvaluationRequest
    from ingest.evaluation.golden import GoldenSet
    from ingest.evaluation.report import Evaluation
    from ingest.report import Progress

MOST_K = 100
NAMED = 3
"""Most documents left out that are named."""


@app.command("eval")
def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A folder with corpus.jsonl, queries.jsonl and qrels.tsv or qrels/test.tsv."
        ),
    ],
    mode: Annotated[
        str, typer.Option(help="hybrid, semantic or keyword; as the settings say if unset.")
    ] = "",
    k: Annotated[
        int, typer.Option(min=1, max=MOST_K, help="Documents that nDCG and MRR look at.")
    ] = 10,
    embedder: Annotated[
        str, typer.Option(help="What embeds the documents; as the settings say if unset.")
    ] = "",
    store: Annotated[str, typer.Option(help="Where the vectors go: pgvector or qdrant.")] = "",
    precision: Annotated[
        str,
        typer.Option(
            help="What numbers the store searches by: float32, float16, int8 or binary; the "
            "store's own if unset."
        ),
    ] = "",
    rerank: Annotated[
        str,
        typer.Option(
            help="What reranks: sentence-transformers:NAME_OR_PATH, endpoint:MODEL or none; as "
            "the settings say if unset."
        ),
    ] = "",
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="Settings to compare with, such as mode=semantic or 'fusion=rrf "
            "dense_weight=0.5'; as often as needed.",
            metavar="SETTINGS",
        ),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="Only search documents that pass; as often as needed."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Ask only so many queries, drawn at random.")
    ] = None,
    qrels: Annotated[
        str, typer.Option(help="Another file of judgements in the folder.", metavar="NAME")
    ] = "",
    csv: Annotated[
        Path | None, typer.Option(help="Write the scores of every query there.", metavar="FILE")
    ] = None,
    keep: Annotated[
        str, typer.Option(help="Keep the collection under this name, and use it again.")
    ] = "",
    *,
    no_title: Annotated[
        bool, typer.Option("--no-title", help="Leave the titles of documents out.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure search on a golden set: nDCG, recall and MRR, with intervals.

    The documents go into a collection that is deleted at the end. Exit code: 0 measured, 2 nothing
    could be done; a set that cannot be used is told line by line.
    """
    from ingest.evaluation.evaluation import EvaluationRequest
    from ingest.evaluation.golden import GoldenSetError, read_golden_set
    from ingest.evaluation.report import as_json as report_as_json
    from ingest.evaluation.report import write_csv
    from ingest.evaluation.variants import read_variants

    settings = load_settings()
    given = {
        "mode": mode,
        "embedder": embedder,
        "store": store,
        "precision": precision,
        "rerank": rerank,
    }
    given = {name: value for name, value in given.items() if value}
    if csv is not None and not csv.absolute().parent.is_dir():
        raise InvalidInputError(f"--csv {csv}: there is no folder {csv.parent}")
    variants = read_variants(settings, given, compare or ())
    try:
        golden = read_golden_set(folder, qrels=qrels, titles=not no_title)
    except GoldenSetError as exc:
        for fault in exc.faults:
            fail(fault)
        raise typer.Exit(NOTHING_DONE) from exc
    _tell_left_out(golden)
    request = EvaluationRequest(
        golden=golden, variants=variants, k=k, filters=filters or (), limit=limit, keep=keep
    )
    evaluation = wait_for(_evaluate(settings, request), settings)
    if csv is not None:
        write_csv(evaluation, csv)
    if as_json:
        print_json(report_as_json(evaluation))
    else:
        _print(evaluation)


async def _evaluate(settings: Settings, request: "EvaluationRequest") -> "Evaluation":
    from ingest.evaluation.evaluation import evaluate
    from search_app.bootstrap import open_services

    async with open_services(settings) as services:
        return await evaluate(services, request, _Display())


def _tell_left_out(golden: "GoldenSet") -> None:
    for number, what in (
        (golden.unjudged, "without judgements"),
        (golden.unanswerable, "without a document of a score of 1 or more"),
    ):
        if number:
            _say(f"{_queries(number)} {what} left out")
    if golden.empty:
        first = ", ".join(golden.empty[:NAMED])
        more = ", …" if len(golden.empty) > NAMED else ""
        _say(f"{amount(len(golden.empty), 'document')} without text left out: {first}{more}")


class _Display:
    """Bars on a terminal, a line for each part elsewhere."""

    @contextmanager
    def indexing(self, path: Path, documents: int) -> Iterator["Progress"]:
        """Show what ``ingest add`` shows."""
        from ingest.cli.progress import Display

        _say(f"indexing {amount(documents, 'document')}")
        display = Display([str(path)])
        try:
            yield display
        finally:
            display.close()

    @contextmanager
    def asking(self, label: str, queries: int) -> Iterator[Callable[[], None]]:
        """Count queries."""
        from rich.console import Console
        from rich.progress import Progress as Bar

        _say(f"asking {_queries(queries)}: {label}")
        console = Console(stderr=True)
        with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("queries", total=queries)
            yield lambda: bar.advance(task)


def _say(line: str) -> None:
    typer.echo(printable(line), err=True)


def _print(evaluation: "Evaluation") -> None:
    from ingest.evaluation.resampling import RESAMPLES, SEED

    golden, base = evaluation.golden, evaluation.measured[0]
    typer.echo(
        printable(
            f"{golden.name}: {amount(golden.documents, 'document')}, "
            f"{_queries(len(evaluation.queries))}, {base.model}"
        )
    )
    columns = ["metric", "settings", "mean", "95 %"]
    if evaluation.measured[1:]:
        columns += ["difference", "95 %", "p"]
    print_table(columns, _rows(evaluation), empty="")
    drawn = f"{RESAMPLES:,} resamples of the queries, seed {SEED}"
    typer.echo(f"intervals: percentile bootstrap, {drawn}")
    if evaluation.measured[1:]:
        typer.echo("p: paired randomisation test, two-sided, likewise")
    _print_costs(evaluation)
    if evaluation.kept:
        names_kept = dict.fromkeys(each.collection for each in evaluation.measured)
        typer.echo(printable(f"kept: collection {', '.join(names_kept)}"))


def _rows(evaluation: "Evaluation") -> list[list[str]]:
    """Give a row for each metric and variant; differences are from the first."""
    others = evaluation.measured[1:]
    means = [each.means(evaluation.k) for each in evaluation.measured]
    differences = [evaluation.differences(other) for other in others]
    rows = []
    for name in means[0]:
        for place, each in enumerate(evaluation.measured):
            found = means[place][name]
            row = ["" if place else name, each.variant.label, f"{found.mean:.4f}"]
            row.append(f"{found.low:.4f} to {found.high:.4f}")
            if place:
                moved = differences[place - 1][name]
                row.append(f"{moved.difference:+.4f}")
                row += [f"{moved.low:+.4f} to {moved.high:+.4f}", f"{moved.p:.4f}"]
            elif others:
                row += ["", "", ""]
            rows.append(row)
    return rows


def _print_costs(evaluation: "Evaluation") -> None:
    from ingest.evaluation.costing import NEAREST

    costs = [(each.variant.label, each.cost) for each in evaluation.measured if each.cost]
    if not costs:
        return
    typer.echo("")
    print_table(
        ["settings", "searched as", "memory", "in all", f"recall@{NEAREST}", "median", "95 %"],
        [
            [
                label,
                cost.precision,
                ("" if cost.size.measured else "~") + _megabytes(cost.size.searched),
                ("" if cost.size.measured else "~") + _megabytes(cost.size.whole),
                f"{cost.recall:.4f}",
                f"{cost.median_ms:.1f} ms",
                f"{cost.p95_ms:.1f} ms",
            ]
            for label, cost in costs
        ],
        empty="",
    )
    typer.echo(
        "memory: what a search by meaning goes through; recall and times: of the store alone, "
        f"{NEAREST} nearest, one query at a time"
    )


def _megabytes(number: int) -> str:
    return f"{number / 1e6:,.2f} MB"


def _queries(number: int) -> str:
    return "1 query" if number == 1 else f"{number:,} queries"
