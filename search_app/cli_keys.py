"""``search-app keys`` and ``search-app audit``: who may use the server, and what was changed."""

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for
from search_app.types import JSON

if TYPE_CHECKING:
    from search_app.access.secret import Key
    from search_app.catalog.keys import KeyRecord
    from search_app.catalog.trail import RecordedChange

keys = typer.Typer(
    help="Keys: who may use the web server, and for what. Once there is one, all need one.",
    no_args_is_help=True,
)

_JSON = typer.Option("--json", help="Print JSON.")
_KEY = typer.Argument(metavar="KEY", help="Its label, as keys list shows it, or its id.")


@keys.command()
def create(
    name: Annotated[str, typer.Option(help="Who or what will use it.")],
    scope: Annotated[
        list[str], typer.Option(help="What it is for, as often as needed: read, ingest or admin.")
    ],
    collection: Annotated[
        list[str] | None,
        typer.Option(help="The only collections it is for, as often as needed; unset: all."),
    ] = None,
    expires: Annotated[
        int | None, typer.Option(metavar="DAYS", help="Days until it expires; unset: never.")
    ] = None,
    *,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Make a key and print it, this once; it is kept nowhere."""
    settings = load_settings()
    record, key = wait_for(_create(settings, name, scope, collection, expires), settings)
    _print_made(record, key, as_json=as_json)


@keys.command("list")
def list_keys(*, as_json: Annotated[bool, _JSON] = False) -> None:
    """List all keys that were ever made, newest first."""
    settings = load_settings()
    found = wait_for(_list(settings), settings)
    if as_json:
        print_json([_key_json(each) for each in found])
        return
    for each in found:
        seen = each.collections
        where = "all" if seen is None else ", ".join(one.name for one in seen) or "none any more"
        used = f"{each.last_used_at:%Y-%m-%d %H:%M}" if each.last_used_at else "never"
        until = f" until {each.expires_at:%Y-%m-%d}" if each.expires_at else ""
        typer.echo(
            printable(
                f"{each.label}  {each.state}{until}  {', '.join(sorted(each.scopes))}  "
                f"collections: {where}  used: {used}  {each.name}"
            )
        )
    if not found:
        typer.echo("no key was made yet; the server can be used from this machine alone")


@keys.command()
def rotate(
    key: Annotated[str, _KEY],
    overlap: Annotated[
        int, typer.Option(metavar="HOURS", min=0, help="Hours for which the old one works on.")
    ] = 24,
    *,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Make a key that takes the place of another, and print it, this once."""
    settings = load_settings()
    record, made = wait_for(_rotate(settings, key, overlap), settings)
    _print_made(record, made, as_json=as_json)


@keys.command()
def revoke(key: Annotated[str, _KEY], *, as_json: Annotated[bool, _JSON] = False) -> None:
    """Have a key work no more, at once, with the logins that were made with it."""
    settings = load_settings()
    record = wait_for(_revoke(settings, key), settings)
    if as_json:
        print_json(_key_json(record))
    else:
        typer.echo(printable(f"{record.label} ({record.name}) is {record.state}"))


def audit(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    who: Annotated[str, typer.Option(help="Only by that key's name or label, or user.")] = "",
    action: Annotated[str, typer.Option(help="Only such changes.")] = "",
    *,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show what was changed by whom, the latest first."""
    settings = load_settings()
    found = wait_for(_audit(settings, limit, who, action), settings)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    for each in found:
        by = f"{each.who} ({each.via}{', ' + each.address if each.address else ''})"
        typer.echo(
            printable(
                f"{each.created_at:%Y-%m-%d %H:%M:%S}  {by}  {each.action}  {each.target}  "
                f"{each.outcome}"
            )
        )
    if not found:
        typer.echo("nothing was changed yet")


async def _create(
    settings: Settings,
    name: str,
    scopes: list[str],
    collections: list[str] | None,
    days: int | None,
) -> "tuple[KeyRecord, Key]":
    from search_app.access.scopes import read_scopes
    from search_app.bootstrap import open_services
    from search_app.catalog import keys as kept
    from search_app.catalog.engine import transaction

    async with open_services(settings) as services, transaction(services.engine) as connection:
        return await kept.create(
            connection,
            name=name,
            scopes=read_scopes(scopes),
            collection_names=collections or None,
            days=days,
        )


async def _list(settings: Settings) -> "list[KeyRecord]":
    from search_app.bootstrap import open_services
    from search_app.catalog import keys as kept
    from search_app.catalog.engine import reading

    async with (
        open_services(settings, create=False) as services,
        reading(services.engine) as connection,
    ):
        return await kept.listing(connection)


async def _rotate(settings: Settings, key: str, overlap: int) -> "tuple[KeyRecord, Key]":
    from search_app.bootstrap import open_services
    from search_app.catalog import keys as kept
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        return await kept.rotate(connection, key, overlap=timedelta(hours=overlap))


async def _revoke(settings: Settings, key: str) -> "KeyRecord":
    from search_app.bootstrap import open_services
    from search_app.catalog import keys as kept
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        return await kept.revoke(connection, key)


async def _audit(settings: Settings, limit: int, who: str, action: str) -> "list[RecordedChange]":
    from search_app.bootstrap import open_services
    from search_app.catalog import trail
    from search_app.catalog.engine import reading

    async with (
        open_services(settings, create=False) as services,
        reading(services.engine) as connection,
    ):
        return list(await trail.listing(connection, limit=limit, who=who, action=action))


def _print_made(record: "KeyRecord", key: "Key", *, as_json: bool) -> None:
    if as_json:
        print_json({"key": key.text, "record": _key_json(record)})
        return
    typer.echo(key.text)
    typer.echo("Copy it now: it is kept nowhere and cannot be shown again.", err=True)


def _key_json(record: "KeyRecord") -> JSON:
    seen = record.collections
    return {
        **asdict(record),
        "scopes": sorted(record.scopes),
        "collections": None if seen is None else [each.name for each in seen],
        "state": record.state,
    }
