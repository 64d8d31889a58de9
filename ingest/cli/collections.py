"""``ingest collections``: delete and rename whole collections."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, amount
from search_app.config import Settings, load_settings
from search_app.console import print_json, wait_for
from search_app.errors import InvalidInputError
from search_app.types import Collection

if TYPE_CHECKING:
    from ingest.deletion import Deleted

group = typer.Typer(
    help="Delete and rename whole collections; ingest status lists them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(group, name="collections")


@group.command("rm")
def delete(
    name: Annotated[str, typer.Argument(help="The collection to delete.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a collection with its documents, vectors and indexes; no file is touched.

    Files that were uploaded are kept nowhere else, and go too. Its runs stay in the history. Cut
    short, the same command goes on with it.
    """
    settings = load_settings()
    if not yes:
        _ask(name)
    deleted = wait_for(_delete(settings, name), settings)
    if as_json:
        print_json(asdict(deleted))
        return
    indexes = "1 index" if deleted.indexes == 1 else f"{deleted.indexes:,} indexes"
    what = f"{amount(deleted.documents, 'document')}, {indexes}"
    typer.echo(f"deleted collection {name}: {what}")


@group.command("rename")
def rename(
    old: Annotated[str, typer.Argument(help="Its name so far.")],
    new: Annotated[str, typer.Argument(help="Its name from now on.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Give a collection another name; nothing is read or embedded again."""
    settings = load_settings()
    renamed = wait_for(_rename(settings, old, new), settings)
    if as_json:
        print_json(asdict(renamed))
    else:
        typer.echo(f"renamed collection {old} to {renamed.name}")


def _ask(name: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInputError("deleting a collection cannot be undone; say --yes to do it")
    if not typer.confirm(f"Delete collection {name} with all that it holds?", err=True):
        raise InvalidInputError("nothing was deleted")


async def _delete(settings: Settings, name: str) -> "Deleted":
    from ingest.deletion import delete_collection
    from search_app.bootstrap import open_services

    def waiting() -> None:
        typer.echo("an ingest writes to this collection; waiting for it to end", err=True)

    async with open_services(settings, create=False) as services:
        return await delete_collection(services, name, waiting=waiting)


async def _rename(settings: Settings, old: str, new: str) -> Collection:
    from search_app import jobs
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await jobs.rename_collection(services.engine, old=old, new=new)
