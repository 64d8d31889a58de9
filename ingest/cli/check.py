"""``ingest check``: do the rankings still hold, and if not, why?"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ingest.cli.app import app
from ingest.cli.check_all import check_everything
from ingest.cli.checks import HtmlFile, Language, check_html, save_html
from ingest.cli.tables import AsJson
from search_app.config import Settings, load_settings
from search_app.console import fail, print_json, printable, wait_for
from search_app.errors import ConfigurationError, InvalidInputError, UnmovedError
from search_app.translation import DEFAULT

if TYPE_CHECKING:
    from search_app.consistency.types import CheckReport, Queries

UNREACHABLE, USAGE, INTERNAL = 3, 4, 70
"""Exit codes beside those of verdicts; UNREACHABLE is also that of an inconclusive check."""

SHOWN_IDS = 5
SHOWN_QUERIES = 3


class CheckCommand(TyperCommand):
    """Ends with 4 where it is not understood: 2 means that the check failed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        try:
            return super().parse_args(ctx, args)
        except Exception as exc:
            if hasattr(exc, "exit_code") and exc.exit_code:
                exc.exit_code = USAGE
            raise


@app.command(cls=CheckCommand)
def check(
    collection: Annotated[str, typer.Option(help="The collection to check.")] = "default",
    index: Annotated[
        str,
        typer.Option(help="An index, by its id or the beginning; the active one if unset."),
    ] = "",
    k: Annotated[int, typer.Option("--k", help="Length of the lists that are compared.")] = 10,
    max_texts: Annotated[
        int,
        typer.Option("--max-texts", help="Send no more texts than that; 0: what it takes."),
    ] = 0,
    budget: Annotated[
        float,
        typer.Option(
            "--budget",
            metavar="MONEY",
            help="Spend no more than that, at UNMOVED_EMBEDDING_PRICE a million tokens; 0: any.",
        ),
    ] = 0,
    golden: Annotated[
        Path | None, typer.Option(help="A golden set whose queries become reference queries.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Draw the sample of an earlier check again; -1: a new one.")
    ] = -1,
    fail_on: Annotated[
        str, typer.Option("--fail-on", help="noisy: lists that change between sends are a failure.")
    ] = "",
    accept: Annotated[
        str,
        typer.Option(
            "--accept",
            metavar="CHECK_ID",
            help="Take what that check saw as the new baseline, instead of checking.",
        ),
    ] = "",
    html: HtmlFile = None,
    language: Language = DEFAULT,
    *,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Check every collection; the gravest gives the exit code."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check whether rankings still hold; if not, say why and what to do.

    Exit code: 0 stable, 1 warning, 2 failure, 3 inconclusive or unreachable, 4 not understood,
    70 an error of the program.
    """
    try:
        _check_fail_on(fail_on)
        if html is not None:
            check_html(html, language)
        settings = load_settings()
        if accept:
            _accept(settings, accept)
            return
        options = {
            "collection": collection,
            "index": index or None,
            "k": k,
            "most_texts": max_texts or None,
            "budget": budget or None,
            "seed": None if seed < 0 else seed,
            "fail_on_noisy": fail_on == "noisy",
            "golden": golden,
        }
        if everything:
            _check_all_alone(index=index, html=html)
            check_everything(settings, options, _print, as_json=as_json)
        report = wait_for(_run(settings, options), settings, spans=True)
    except (InvalidInputError, ConfigurationError) as exc:
        fail(str(exc))
        raise typer.Exit(USAGE) from exc
    except UnmovedError as exc:
        fail(f"nothing could be checked: {exc}")
        raise typer.Exit(UNREACHABLE) from exc
    except (typer.Exit, KeyboardInterrupt):
        raise
    except Exception as exc:
        fail(f"an error of the program, {type(exc).__name__}: {exc}")
        raise typer.Exit(INTERNAL) from exc
    if as_json:
        from search_app.consistency.keeping import as_json as in_json

        print_json(in_json(report))
    else:
        _print(report)
    code = report.verdict.exit_code
    if html is not None and not _saved(settings, report, html, language):
        code = code or INTERNAL
    raise typer.Exit(code)


def _saved(settings: Settings, report: "CheckReport", html: Path, language: str) -> bool:
    try:
        save_html(settings, str(report.check_id), html, language)
    except UnmovedError as exc:
        fail(str(exc))
        return False
    return True


def _check_all_alone(*, index: str, html: Path | None) -> None:
    if index or html is not None:
        raise InvalidInputError(
            "--all checks the active index of every collection; leave out --index and --html"
        )


def _check_fail_on(text: str) -> None:
    if text not in ("", "noisy"):
        raise InvalidInputError(f"--fail-on {text!r}: only noisy can be named")


async def _run(settings: Settings, options: dict[str, Any]) -> "CheckReport":
    from ingest.nightly import check_and_tell
    from search_app.bootstrap import open_services
    from search_app.consistency.subject import CheckRequest

    async with open_services(settings, create=False) as services:
        return await check_and_tell(services, CheckRequest(**options))


def _accept(settings: Settings, beginning: str) -> None:
    from search_app.bootstrap import open_services
    from search_app.consistency.keeping import accept

    async def run() -> None:
        async with open_services(settings, create=False) as services:
            taken = await accept(services.engine, beginning)
            made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
            typer.echo(
                f"check {taken.id} of collection {taken.collection} is the baseline from now on "
                f"({made} UTC); evidence begins anew"
            )

    wait_for(run(), settings)


def _print(report: "CheckReport") -> None:
    typer.echo(printable(f"{report.verdict.value.upper()}  {report.sentence}"))
    for finding in report.findings[1:]:
        typer.echo(printable(f"  also: {finding.sentence}"))
    for cause in report.causes:
        sure = "confirmed" if cause.confirmed else "likely"
        typer.echo(printable(f"cause  {cause.name} ({sure}): {cause.evidence}"))
        typer.echo(printable(f"  do:  {cause.remedy}"))
    layers = report.layers
    if layers.integrity is not None:
        found = layers.integrity
        typer.echo(f"stored     {found.scanned:,} vectors read, faults: {len(found.faults)} kinds")
        for fault in found.faults:
            ids = ", ".join(str(each) for each in fault.ids[:SHOWN_IDS])
            more = f" and {len(fault.ids) - SHOWN_IDS:,} more" if len(fault.ids) > SHOWN_IDS else ""
            typer.echo(f"  {fault.kind.value}: {fault.detail}: {ids}{more}")
    if layers.canaries is not None:
        seen = layers.canaries
        typer.echo(f"model      {seen.outcome}; lowest cosine {seen.lowest_cosine:.8f}")
        for package, versions in seen.upgraded.items():
            typer.echo(printable(f"  since it was registered, {package} went from {versions}"))
    if layers.queries is not None:
        _print_queries(layers.queries, report)
    if layers.documents is not None:
        passages = layers.documents
        typer.echo(f"passages   {len(passages.moved)} of {passages.sampled} moved")
    _print_answers(report)
    for reason in report.not_checked:
        typer.echo(printable(f"note: {reason}"))
    spent = report.spent
    cost = "" if not spent.cost else f" (cost {spent.cost:.4g})"
    typer.echo(
        f"check {report.check_id} · {spent.texts:,} texts, about {spent.tokens or 0:,} tokens sent"
        f"{cost} · seed {report.seed} · {report.seconds:.1f} s"
    )


def _print_answers(report: "CheckReport") -> None:
    again = report.answers
    if again is not None:
        typer.echo(
            f"answers    {len(again.moved)} of {again.asked} logged questions would now have to "
            "cite other passages"
        )


def _print_queries(queries: "Queries", report: "CheckReport") -> None:
    if not queries.sampled:
        typer.echo("queries    none could be compared")
        return
    typer.echo(
        f"queries    {queries.changed} of {queries.sampled} changed "
        f"(at most {report.drift.high:.1%}); {queries.unsteady} of {queries.repeated} differ when "
        f"repeated (at most {report.reproducibility.high:.1%}); {queries.near_ties} near-ties"
    )
    for query in queries.worst[:SHOWN_QUERIES]:
        gone = [one.title for one in query.before if one.chunk_id not in _ids(query.after)]
        new = [one.title for one in query.after if one.chunk_id not in _ids(query.before)]
        typer.echo(
            printable(f"  {query.text!r}: lost {', '.join(gone)}; found {', '.join(new)} instead")
        )


def _ids(documents: Any) -> set[Any]:
    return {each.chunk_id for each in documents}
