"""``search-app cache``: the query vectors that are kept, and forgetting them."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for

if TYPE_CHECKING:
    from search_app.catalog.query_cache import Kept

cache = typer.Typer(
    help="Query vectors that are kept, so that the same query gets the same list.",
    no_args_is_help=True,
)


@cache.command()
def show(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False
) -> None:
    """Say how many query vectors are kept for which model version."""
    settings = load_settings()
    found = wait_for(_show(settings), settings)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    for each in found:
        unproven = f", {each.unproven:,} of them unproven" if each.unproven else ""
        typer.echo(
            printable(
                f"{str(each.model_version_id)[:8]}  {each.model}: {each.vectors:,} vectors"
                f"{unproven}, {each.bytes / 1e6:,.1f} MB, "
                f"{each.oldest:%Y-%m-%d} to {each.newest:%Y-%m-%d}"
            )
        )
    if not found:
        typer.echo("no query vectors are kept")


@cache.command()
def clear(
    model: Annotated[
        str,
        typer.Option(help="Only of a model version, by its id as ingest models lists it."),
    ] = "",
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Only those embedded from that day on (UTC): 2026-01-31."
        ),
    ] = None,
    query: Annotated[str, typer.Option(help="Only that of one query.")] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Forget query vectors, so that the queries are embedded anew; without options, all of them."""
    settings = load_settings()
    work = _clear(settings, model, since.replace(tzinfo=UTC) if since else None, query)
    cleared = wait_for(work, settings)
    if as_json:
        print_json({"cleared": cleared})
    else:
        typer.echo(f"{cleared:,} query vectors forgotten")


async def _show(settings: Settings) -> "list[Kept]":
    from search_app.bootstrap import open_services
    from search_app.catalog import query_cache
    from search_app.catalog.engine import reading

    async with open_services(settings, create=False) as services, reading(services.engine) as it:
        return await query_cache.kept(it)


async def _clear(settings: Settings, model: str, since: datetime | None, query: str) -> int:
    from search_app.bootstrap import open_services
    from search_app.retrieval import clear_query_vectors

    async with open_services(settings, create=False) as services:
        return await clear_query_vectors(services.engine, model=model, since=since, query=query)
