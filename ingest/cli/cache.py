"""``ingest cache``: the document vectors that are kept for texts that come again."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, amount, print_table, short, when
from search_app.config import Settings, load_settings
from search_app.console import print_json, wait_for

if TYPE_CHECKING:
    from search_app.catalog.embedding_cache import Kept

group = typer.Typer(
    help="Document vectors that are kept for texts that come again, whatever collection they are "
    "in; those of queries are search-app cache's.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(group, name="cache")


@group.command()
def show(*, as_json: AsJson = False) -> None:
    """Say how many vectors are kept for which model version, how large and how old they are."""
    settings = load_settings()
    found = wait_for(_kept(settings), settings)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    print_table(
        ["model version", "model", "kind", "vectors", "MB", "oldest", "newest"],
        [
            [
                short(each.model_version_id),
                each.model,
                each.kind,
                f"{each.vectors:,}",
                f"{each.bytes / 1e6:,.1f}",
                when(each.oldest),
                when(each.newest),
            ]
            for each in found
        ],
        empty="no document vectors are kept",
    )
    total = sum(each.bytes for each in found) / 1e6
    limit = settings.vector_cache_mb
    kept = f"of at most {limit:,} MB" if limit else "and none are added: UNMOVED_VECTOR_CACHE_MB=0"
    typer.echo(f"{total:,.1f} MB {kept}")


@group.command()
def clear(
    older_than: Annotated[
        int | None,
        typer.Option(min=0, max=36_500, help="Only those of before so many days.", metavar="DAYS"),
    ] = None,
    model_version: Annotated[
        str,
        typer.Option(
            help="Only of a model version, by its id as ingest models lists it.", metavar="ID"
        ),
    ] = "",
    run: Annotated[
        str, typer.Option(help="Only those that a run embedded, by its id.", metavar="ID")
    ] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Forget document vectors, so that their texts are embedded anew; without options, all."""
    settings = load_settings()
    cleared = wait_for(_clear(settings, older_than, model_version, run), settings)
    if as_json:
        print_json({"cleared": cleared})
    else:
        typer.echo(f"{amount(cleared, 'document vector')} forgotten")


async def _kept(settings: Settings) -> "list[Kept]":
    from search_app.bootstrap import open_services
    from search_app.catalog import embedding_cache
    from search_app.catalog.engine import reading

    async with open_services(settings, create=False) as services, reading(services.engine) as it:
        return await embedding_cache.kept(it)


async def _clear(settings: Settings, older_than: int | None, version: str, run: str) -> int:
    from search_app.bootstrap import open_services
    from search_app.catalog import embedding_cache

    async with open_services(settings, create=False) as services:
        return await embedding_cache.clear_named(
            services.engine, model_version=version, run=run, older_than_days=older_than
        )
