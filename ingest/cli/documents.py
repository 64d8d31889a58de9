"""``ingest documents`` and ``failures``: what a collection holds, and what it could not read."""

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, Offset, amount, named, print_table, when
from search_app.config import Settings, load_settings
from search_app.console import print_json, wait_for
from search_app.errors import InvalidInputError

if TYPE_CHECKING:
    from search_app.catalog.failures import FailedSource
    from search_app.catalog.listing import Entry, Wanted
    from search_app.types import Failure

_OF_THE_LIST = ("state", "text")
"""What entries of the list have and documents do not, so that no filter can ask for it."""


class SortedBy(StrEnum):
    """What documents can be sorted by."""

    PATH = "path"
    TITLE = "title"
    CHANGED = "changed"
    CHUNKS = "chunks"


@app.command()
def documents(
    collection: Annotated[str | None, typer.Option(help="The collection to look into.")] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="As for searches, as often as needed: language=ja, or: type=pdf and date>=2024; "
            "also state=STATE and text=TEXT.",
        ),
    ] = None,
    sort: Annotated[SortedBy, typer.Option(help="What to sort by.")] = SortedBy.PATH,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most documents listed.")] = 50,
    offset: Offset = 0,
    *,
    descending: Annotated[bool, typer.Option("--descending", help="In reverse order.")] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what failed; the same as state=failed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what a collection holds: documents, and sources that failed or are not in yet."""
    settings = load_settings()
    wanted = _wanted(filters or [], sort, descending=descending, failed=failed)
    name = named(collection, settings)
    found, total = wait_for(_documents(settings, name, wanted, limit, offset), settings)
    if as_json:
        print_json({"documents": [asdict(entry) for entry in found], "total": total})
        return
    print_table(
        ["document", "state", "language", "type", "chunks", "changed", "reason"],
        [_document_row(entry) for entry in found],
        empty="nothing there that fits",
    )
    if len(found) < total:
        typer.echo(f"{len(found):,} of {amount(total, 'document')}; --offset shows others")


@app.command()
def failures(
    collection: Annotated[
        str | None, typer.Option(help="Only those of this collection; all if unset.")
    ] = None,
    run: Annotated[
        str, typer.Option(help="Those of this run instead: its id or the beginning of it.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most failures listed.")] = 100,
    offset: Offset = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """List the sources that could not be read, or not whole, and why.

    Without --run these are the ones that are failed now; ingest retry reads them again.
    """
    settings = load_settings()
    if run and collection is not None:
        raise InvalidInputError("a run belongs to one collection; name either of them")
    if run:
        _print_failures(wait_for(_of_run(settings, run, limit, offset), settings), as_json=as_json)
    else:
        _print_failed(
            wait_for(_failed_now(settings, collection, limit, offset), settings), as_json=as_json
        )


def _print_failed(found: Sequence["FailedSource"], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(failed) | {"collection": failed.collection.name} for failed in found])
        return
    print_table(
        ["collection", "source", "reason", "when"],
        [
            [failed.collection.name, failed.source, failed.reason, when(failed.failed_at)]
            for failed in found
        ],
        empty="nothing is failed",
    )


def _print_failures(found: Sequence["Failure"], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(failure) for failure in found])
        return
    print_table(
        ["source", "reason"],
        [[failure.source, failure.reason] for failure in found],
        empty="nothing failed in that run",
    )


def _wanted(filters: Sequence[str], sort: SortedBy, *, descending: bool, failed: bool) -> "Wanted":
    from search_app.catalog.listing import EntryState, Sort, Wanted
    from search_app.grammar import parse_filter

    values: dict[str, Any] = {}
    of_documents = []
    for text in [*filters, *(["state=failed"] if failed else [])]:
        field, equals, value = text.partition("=")
        if field not in _OF_THE_LIST:
            of_documents.append(text)
            continue
        if not equals or not value or values.get(field, value) != value:
            raise InvalidInputError(f"filter {text!r}: write {field}=VALUE, once")
        values[field] = value
    if "state" in values:
        try:
            values["state"] = EntryState(values["state"])
        except ValueError as exc:
            known = ", ".join(state.value for state in EntryState)
            raise InvalidInputError(f"no state {values['state']!r}; there are {known}") from exc
    wanted = parse_filter(of_documents)
    return Wanted(**values, filter=wanted, sort=Sort(sort.value), descending=descending)


def _document_row(entry: "Entry") -> list[str]:
    return [
        entry.uri,
        entry.state.value,
        entry.language or "-",
        entry.type or "-",
        f"{entry.chunks:,}",
        when(entry.changed_at),
        entry.reason or "-",
    ]


async def _documents(
    settings: Settings, name: str, wanted: "Wanted", limit: int, offset: int
) -> tuple[list["Entry"], int]:
    from search_app.bootstrap import open_services
    from search_app.catalog import collections, indexes, listing
    from search_app.catalog.engine import transaction
    from search_app.errors import NotFoundError

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        collection = await collections.get(connection, name)
        try:
            chunking = (await indexes.active(connection, collection)).chunking.name
        except NotFoundError:
            # Its first ingest has not come so far: there are no chunks to count.
            chunking = ""
        found = await listing.entries(
            connection, collection, wanted, chunking=chunking, limit=limit, offset=offset
        )
        return found, await listing.count(connection, collection, wanted)


async def _failed_now(
    settings: Settings, name: str | None, limit: int, offset: int
) -> Sequence["FailedSource"]:
    from search_app.bootstrap import open_services
    from search_app.catalog import collections
    from search_app.catalog import failures as failed
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        only = None if name is None else await collections.get(connection, name)
        return await failed.listing(connection, collection=only, limit=limit, offset=offset)


async def _of_run(settings: Settings, run: str, limit: int, offset: int) -> Sequence["Failure"]:
    from search_app.bootstrap import open_services
    from search_app.catalog import runs
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        found = await runs.find(connection, run)
        return await runs.errors(connection, found.id, limit=limit, offset=offset)
