"""``ingest study``: experiments with vectors, apart from any collection."""

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, print_table
from search_app.config import load_settings
from search_app.console import print_json, printable, wait_for
from search_app.errors import InvalidInputError

study_app = typer.Typer(
    help="Study what models do with a corpus: determinism, and what moved between two answers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(study_app, name="study")


@study_app.command()
def determinism(
    *,
    data: Annotated[
        Path,
        typer.Option(
            help='JSONL with "text" (.gz too), or a folder of such, of .txt or of .md files.',
            metavar="PATH",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Where vectors and tables are kept; run again, it goes on.", metavar="DIR"
        ),
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            help="An embedder, as often as needed; 'SPEC batch=32' sends so many at once, "
            "'batch=32,1' others the second time, 'order=shuffled' in another order then. "
            "bundled if unset.",
            metavar="SPEC",
        ),
    ] = None,
    noise: Annotated[
        list[str] | None,
        typer.Option(
            help="Noise on the first model's vectors, the worst at that cosine, on every text or "
            "on a share: 0.9964, 0.9964@5%; as often as needed.",
            metavar="COSINE[@SHARE]",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Seeds of every noise.")] = 5,
    limit: Annotated[
        int | None, typer.Option(min=11, help="Only so many texts, drawn by the seed.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw and of the shuffled order.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Embed a corpus twice with every model: cosines, bit equality, clusterings and their ARI."""
    from ingest.study import determinism_report as report
    from ingest.study.determinism import Plan, study
    from ingest.study.reading import draw
    from ingest.study.rows import model_row, noise_row

    settings = load_settings()
    plan = Plan(
        models=[model_row(each) for each in models or ("bundled",)],
        noise=[noise_row(each) for each in noise or ()],
        texts=draw(data, limit=limit, seed=seed),
        repeats=repeats,
        out=_folder(out),
    )
    found = wait_for(study(settings, plan, _Display()), settings)
    peak = _peak_mb()
    shown = report.as_json(found, peak_mb=peak)
    _write(out / "determinism.md", report.as_markdown(found))
    _write(out / "determinism.html", report.as_html(found))
    _write(out / "determinism.json", _dumped(shown))
    if as_json:
        print_json(shown)
        return
    typer.echo(printable(report.caption(found)))
    print_table(report.COLUMNS, [report.cells(row) for row in found.rows], empty="")
    typer.echo(report.published())
    typer.echo(
        printable(
            f"written: {out}/determinism.md, .html, .json; {found.seconds:.0f} s, at most "
            f"{peak:,.0f} MB of memory"
        )
    )


@study_app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Vectors, (n, d), as .npy.", metavar="A.npy")],
    second: Annotated[
        Path, typer.Argument(help="Others of the same texts, in the same order.", metavar="B.npy")
    ],
    *,
    texts: Annotated[
        Path, typer.Option(help='The texts: JSONL with "text", one a line.', metavar="T.jsonl")
    ],
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Length of lists.")] = 10,
    batch: Annotated[
        int | None,
        typer.Option(min=2, help="Texts that were sent at once, if it is known."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page there too.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what moved between two sets of vectors of the same texts, and what that goes with.

    No model is asked. Nothing is claimed that is not surely strong.
    """
    from ingest.study import pairs_report as report
    from ingest.study.pairs import compare as compared
    from ingest.study.reading import read_texts, read_vectors

    found = compared(read_vectors(first), read_vectors(second), read_texts(texts), k=k, batch=batch)
    if html is not None:
        _write(html, report.as_html(found, (first.name, second.name)))
    if as_json:
        print_json(report.as_json(found))
        return
    for line in report.sentences(found):
        typer.echo(line)
    print_table(report.SPREAD_COLUMNS, report.spread_rows(found), empty="")
    print_table(
        report.FEATURE_COLUMNS,
        report.feature_rows(found),
        empty="too few texts, or too little that varies, to say what the distance goes with",
    )


class _Display:
    """Bars on a terminal, a line for each stage elsewhere."""

    @contextmanager
    def stage(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Count the steps of a stage."""
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        if not console.is_terminal:
            console.print(printable(label))
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(printable(label).replace("[", r"\["), total=total)
            yield lambda steps: bar.advance(task, steps)


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise InvalidInputError(f"--out {path}: cannot be made: {_reason(exc)}") from exc
    return path


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise InvalidInputError(f"{path}: cannot be written: {_reason(exc)}") from exc


def _dumped(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _peak_mb() -> float:
    """Give the most memory that this process has held, in 10^6 bytes."""
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
