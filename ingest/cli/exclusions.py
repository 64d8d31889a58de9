"""``ingest exclude``, ``include`` and ``excluded``: what searches leave out without removing it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, amount, named, print_table, short
from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for

if TYPE_CHECKING:
    from search_app.catalog.exclusions import Exclusion

SHOWN_TITLE = 40
MOST = 1_000_000
SHOWN_TEXT = 60

Ids = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...", help="Documents and passages, by their ids or as much as names one only."
    ),
]
Collection = Annotated[str | None, typer.Option(help="The collection they are in.")]


@app.command()
def exclude(
    ids: Ids,
    *,
    collection: Collection = None,
    reason: Annotated[str, typer.Option(help="Why, in a line; shown with what is excluded.")] = "",
    as_json: AsJson = False,
) -> None:
    """Leave documents or passages out of all searches; nothing is removed, include takes it back.

    Nothing is embedded or written to the store, and checks take it for no fault.
    """
    settings = load_settings()
    number = wait_for(_exclude(settings, named(collection, settings), ids, reason), settings)
    if as_json:
        print_json({"changed": number})
    else:
        typer.echo(f"{amount(number, 'exclusion')} added; ingest excluded lists them")


@app.command()
def include(ids: Ids, *, collection: Collection = None, as_json: AsJson = False) -> None:
    """Have documents or passages found again that were excluded."""
    settings = load_settings()
    number = wait_for(_include(settings, named(collection, settings), ids), settings)
    if as_json:
        print_json({"changed": number})
    else:
        typer.echo(f"{amount(number, 'exclusion')} taken back")


@app.command()
def excluded(
    *,
    collection: Collection = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="Most that are listed.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the documents and passages that searches leave out, the latest first."""
    settings = load_settings()
    found = wait_for(_listing(settings, named(collection, settings), limit), settings)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    print_table(
        ["what", "id", "passages", "title", "text", "reason", "since"],
        [
            [
                "document" if each.chunk_id is None else "passage",
                short(each.chunk_id or each.document_id),
                f"{each.passages:,}",
                printable(each.title[:SHOWN_TITLE]),
                printable(each.text[:SHOWN_TEXT]),
                printable(each.reason),
                f"{each.created_at:%Y-%m-%d %H:%M}",
            ]
            for each in found
        ],
        empty="nothing is excluded",
    )


async def _exclude(settings: Settings, collection: str, ids: Sequence[str], reason: str) -> int:
    from search_app.bootstrap import open_services
    from search_app.catalog import collections, exclusions
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        known = await collections.get(connection, collection)
        documents, passages = await exclusions.meant(connection, known, ids)
        return await exclusions.add(
            connection, documents=documents, passages=passages, reason=reason
        )


async def _include(settings: Settings, collection: str, ids: Sequence[str]) -> int:
    from search_app.bootstrap import open_services
    from search_app.catalog import collections, exclusions
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        known = await collections.get(connection, collection)
        documents, passages = await exclusions.meant(connection, known, ids)
        return await exclusions.lift(connection, documents=documents, passages=passages)


async def _listing(settings: Settings, collection: str, limit: int) -> "Sequence[Exclusion]":
    from search_app.bootstrap import open_services
    from search_app.catalog import collections, exclusions
    from search_app.catalog.engine import reading

    async with (
        open_services(settings, create=False) as services,
        reading(services.engine) as connection,
    ):
        known = await collections.get(connection, collection)
        return await exclusions.listing(connection, collection=known.name, limit=limit)
