"""The search-app command: search, serve, migrate, config."""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_app.cli_alerts import alerts
from search_app.cli_ask import answers, ask
from search_app.cli_backup import backup, restore
from search_app.cli_cache import cache
from search_app.cli_explain import explain, passage_id
from search_app.cli_hits import print_result, result_json
from search_app.cli_keys import audit, keys
from search_app.cli_mcp import mcp
from search_app.cli_recommend import groups, recommend
from search_app.cli_why import day_of, mode_of, why
from search_app.config import Settings, describe_settings, load_settings
from search_app.console import print_json, run, version_option, wait_for
from search_app.types import JSON, SearchResult

if TYPE_CHECKING:
    from search_app.golden import GoldenReport, GoldenRequest
    from search_app.retrieval import RecommendRequest, SearchRequest

app = typer.Typer(
    name="search-app",
    help="Search your documents, and serve the page and the API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command()(ask)
app.add_typer(answers, name="answers")
app.command()(explain)
app.command()(why)
app.command()(alerts)
app.command()(backup)
app.command()(restore)
app.add_typer(cache, name="cache")
app.add_typer(keys, name="keys")
app.command()(audit)
app.command()(mcp)
app.command()(recommend)
app.command()(groups)


@app.callback()
def options(*, version: Annotated[bool, version_option()] = False) -> None:
    """Search your documents, and serve the page and the API."""


def main() -> None:
    """Run the command; one line on standard error and exit code 2 when nothing could be done."""
    sys.exit(run(app))


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What you are looking for, in your own words.")],
    collection: Annotated[str | None, typer.Option(help="The collection to search.")] = None,
    k: Annotated[int, typer.Option("--k", help="How many hits.")] = 10,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="As often as needed: language=ja, or: (type=pdf or folder=notes) and date>=2024.",
        ),
    ] = None,
    *,
    mode: Annotated[
        str | None,
        typer.Option(help="hybrid, semantic or keyword; unset: UNMOVED_SEARCH_MODE."),
    ] = None,
    index: Annotated[
        str,
        typer.Option(
            help="Another kept index that shall answer: its id, as ingest indexes lists it, or the "
            "beginning of it."
        ),
    ] = "",
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every vector, missing none.")
    ] = False,
    fold: Annotated[
        bool, typer.Option("--fold", help="Show passages that say nearly the same as one hit.")
    ] = False,
    mmr: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Hits that differ: λ of maximal marginal relevance, 1 leaves all as it is.",
        ),
    ] = None,
    code: Annotated[
        bool,
        typer.Option("--code", help="The query looks for source code; some models are told."),
    ] = False,
    no_rerank: Annotated[
        bool, typer.Option("--no-rerank", help="Leave UNMOVED_RERANKER aside.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the passages that answer a query best, by meaning and by words.

    "quoted words" must stand in a passage as they are; -word must not.
    """
    from search_app.retrieval import SearchRequest

    settings = load_settings()
    request = SearchRequest(
        query=query,
        collection=settings.collection if collection is None else collection,
        index=index or None,
        k=k,
        filters=filters or (),
        mode=mode_of(mode),
        rerank=not no_rerank,
        exact=exact,
        fold=fold,
        mmr=mmr,
        kind="code" if code else "query",
        client="command",
    )
    result = wait_for(_search(settings, request), settings)
    if as_json:
        print_json(result_json(result))
    else:
        print_result(result)


@app.command()
def similar(
    chunk_id: Annotated[str, typer.Argument(help="Id of a passage, as --json prints it.")],
    k: Annotated[int, typer.Option("--k", help="How many hits.")] = 10,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="As often as needed: language=ja, or: (type=pdf or folder=notes) and date>=2024.",
        ),
    ] = None,
    *,
    mode: Annotated[
        str | None,
        typer.Option(help="hybrid, semantic or keyword; unset: UNMOVED_SEARCH_MODE."),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every vector, missing none.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find passages like a passage, in its collection."""
    from search_app.likeness import Example
    from search_app.retrieval import RecommendRequest

    settings = load_settings()
    request = RecommendRequest(
        like=[Example(kind="passage", id=passage_id(chunk_id))],
        k=k,
        filters=filters or (),
        mode=mode_of(mode),
        exact=exact,
    )
    result = wait_for(_similar(settings, request), settings)
    if as_json:
        of_queries = ("search_id", "query", "unknown_words", "suggestion", "noise", "kind")
        shown = result_json(result)
        print_json({name: value for name, value in shown.items() if name not in of_queries})
    else:
        print_result(result)


@app.command()
def golden(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    collection: Annotated[
        str | None, typer.Option(help="The collection that was searched.")
    ] = None,
    since: Annotated[
        str, typer.Option(help="Only feedback from that day on (UTC): 2026-01-31.")
    ] = "",
    min_judgements: Annotated[
        int, typer.Option(min=1, help="Leave out queries with fewer judged documents.")
    ] = 1,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a golden set of the feedback on hits, to measure search with."""
    from search_app.golden import GoldenRequest

    settings = load_settings()
    request = GoldenRequest(
        folder=folder,
        collection=settings.collection if collection is None else collection,
        since=day_of(since) if since else None,
        min_judgements=min_judgements,
    )
    report = wait_for(_golden(settings, request), settings)
    if as_json:
        print_json(asdict(report))
    else:
        _print_golden(report)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; loopback if unset.")] = "",
    port: Annotated[int, typer.Option(help="Port; 0 takes any that is free.")] = -1,
    *,
    no_worker: Annotated[
        bool,
        typer.Option("--no-worker", help="Start none; others do what is uploaded or asked for."),
    ] = False,
) -> None:
    """Serve the web page and the API, with a worker beside them that ingests what is uploaded."""
    from search_app.web.server import serve_forever

    overrides: dict[str, JSON] = {"host": host} if host else {}
    if port >= 0:
        overrides["port"] = port
    settings = load_settings(**overrides)
    wait_for(serve_forever(settings, worker=not no_worker), settings)


@app.command()
def migrate(
    revision: Annotated[str, typer.Argument(help="head, base or a revision.")] = "head",
) -> None:
    """Bring the database's schema to this version, or to another revision."""
    settings = load_settings()
    typer.echo(wait_for(_migrate(settings, revision), settings))


@app.command()
def config(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the settings in force and where each came from; secrets are masked."""
    rows = describe_settings(load_settings())
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("variable", "value", "from", "meaning"):
        table.add_column(column, overflow="fold", no_wrap=column == "variable")
    for row in rows:
        table.add_row(row.variable, Text(row.value), row.origin, Text(row.description))
    Console(highlight=False).print(table)


async def _search(settings: Settings, request: "SearchRequest") -> SearchResult:
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await services.searcher.search(request)


async def _similar(settings: Settings, request: "RecommendRequest") -> SearchResult:
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return (await services.searcher.recommend(request)).result


async def _golden(settings: Settings, request: "GoldenRequest") -> "GoldenReport":
    from search_app.bootstrap import open_services
    from search_app.golden import write_golden

    async with open_services(settings, create=False) as services:
        return await write_golden(services.engine, request)


async def _migrate(settings: Settings, revision: str) -> str:
    from search_app.bootstrap import open_database
    from search_app.catalog import migrate as migrations

    async with open_database(settings) as url:
        before = await asyncio.to_thread(migrations.current, url)
        await asyncio.to_thread(migrations.move, url, revision)
        after = await asyncio.to_thread(migrations.current, url)
    if before == after:
        return f"the schema is at {after or 'base'} already"
    return f"the schema went from {before or 'base'} to {after or 'base'}"


def _print_golden(report: "GoldenReport") -> None:
    typer.echo(
        f"{report.folder}: {report.documents:,} documents, {report.queries:,} queries, "
        f"{report.judgements:,} judgements ({report.answers:,} of score 1)"
    )
    left_out = {
        "ties": report.ties,
        "on documents that are gone": report.gone,
        "queries with too few judgements": report.thin,
    }
    told = [f"{number:,} {what}" for what, number in left_out.items() if number]
    if told:
        typer.echo(f"left out: {', '.join(told)}")
    if not report.answers:
        typer.echo("no query has an answer yet, so nothing can be measured with this set")
