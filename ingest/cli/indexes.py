"""``ingest indexes``, ``activate``, ``rollback`` and ``retire``: which index answers."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, named, print_table, short, when
from search_app.config import Settings, load_settings
from search_app.console import print_json, wait_for
from search_app.types import JSON, Index

if TYPE_CHECKING:
    from search_app.catalog.lives import IndexLife
    from search_app.switching import Switched

Named = Annotated[str, typer.Argument(help="The index: its id or the beginning of it.")]


@app.command("indexes")
def list_indexes(
    collection: Annotated[
        str | None, typer.Option(help="Only those of this collection; all if unset.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the indexes: which one answers, which are kept beside it, and how complete each is."""
    settings = load_settings()
    found = wait_for(_indexes(settings, collection), settings)
    if as_json:
        print_json([life_json(life) for life in found])
        return
    print_table(
        ["index", "collection", "state", "model", "store", "tokens", "passages", "created", "last"],
        [_row(life) for life in found],
        empty="no index yet; try: ingest add PATH",
    )


@app.command()
def activate(index: Named, *, as_json: AsJson = False) -> None:
    """Let an index answer the searches of its collection, if it is complete.

    The index that did so far stands by, and ingest writes to it as well: ingest rollback goes back
    to it. With UNMOVED_GOLDEN_GATE set, the index must do well enough on that golden set.
    """
    settings = load_settings()
    switched, gate = wait_for(_activate(settings, index), settings)
    _tell(switched, gate, as_json=as_json)


@app.command()
def rollback(
    collection: Annotated[str | None, typer.Option(help="The collection to go back in.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Let the index answer again that did before the one that does now."""
    settings = load_settings()
    switched = wait_for(_rollback(settings, named(collection, settings)), settings)
    _tell(switched, None, as_json=as_json)


@app.command()
def retire(index: Named, *, as_json: AsJson = False) -> None:
    """Let go of an index that is not active: its vectors are deleted, its history stays.

    Ingest writes to it no longer, and nothing can go back to it.
    """
    settings = load_settings()
    retired = wait_for(_retire(settings, index), settings)
    if as_json:
        print_json({"index_id": str(retired.id), "state": retired.state})
    else:
        typer.echo(f"retired index {short(retired.id)}; its vectors are deleted")


def life_json(life: "IndexLife") -> JSON:
    """Give an index in the shape that users of ``--json`` rely on."""
    index, gaps = life.use.index, life.gaps
    return {
        "id": str(index.id),
        "collection": life.use.collection.name,
        "state": index.state,
        "store": index.store,
        "precision": index.precision,
        "model_version_id": str(index.model_version_id),
        "model": life.use.model,
        "unverified": life.use.unverified,
        "dimensions": life.use.dimensions,
        "chunking": asdict(index.chunking),
        "vectors": life.use.vectors,
        "passages": gaps.passages if gaps else None,
        "missing": gaps.missing if gaps else None,
        "uncut_documents": gaps.uncut if gaps else None,
        "created_at": index.created_at,
        "activated_at": life.use.activated_at,
        "events": [
            {"event": event.event, "reason": event.reason, "at": event.created_at}
            for event in life.events
        ],
    }


def _row(life: "IndexLife") -> list[str]:
    index, gaps = life.use.index, life.gaps
    last = life.events[-1] if life.events else None
    return [
        short(index.id),
        life.use.collection.name,
        index.state,
        f"{life.use.model}, not verified" if life.use.unverified else life.use.model,
        f"{index.store}, {index.precision}",
        str(index.chunking.max_tokens),
        "-" if gaps is None else _passages(life.use.vectors, gaps.missing, gaps.uncut),
        when(index.created_at),
        "-" if last is None else f"{last.event} {when(last.created_at)}",
    ]


def _passages(vectors: int, missing: int, uncut: int) -> str:
    if not missing and not uncut:
        return f"{vectors:,}, all"
    lacking = [f"{missing:,} missing"] if missing else []
    lacking += [f"{uncut:,} documents uncut"] if uncut else []
    return ", ".join([f"{vectors:,}", *lacking])


def _tell(switched: "Switched", gate: float | None, *, as_json: bool) -> None:
    index, left = switched.index, switched.left
    if as_json:
        print_json(
            {
                "collection": switched.collection.name,
                "index_id": str(index.id),
                "left_index_id": str(left.id) if left else None,
                "passages": switched.passages,
                "flip_ms": round(switched.flip_ms, 3),
                "golden_ndcg": gate,
            }
        )
        return
    if left is None:
        typer.echo(f"index {short(index.id)} is active already")
        return
    measured = "" if gate is None else f" · golden nDCG@10 {gate:.4f}"
    typer.echo(
        f"index {short(index.id)} answers for collection {switched.collection.name} now · "
        f"{switched.passages:,} passages{measured} · {switched.flip_ms:.0f} ms"
    )
    typer.echo(
        f"index {short(left.id)} stands by: ingest rollback goes back to it, "
        f"ingest retire {short(left.id)} lets go of it"
    )


async def _indexes(settings: Settings, collection: str | None) -> Sequence["IndexLife"]:
    from search_app.bootstrap import open_services
    from search_app.catalog import collections
    from search_app.catalog.engine import reading
    from search_app.catalog.lives import lives

    async with (
        open_services(settings, create=False) as services,
        reading(services.engine) as connection,
    ):
        only = None if collection is None else await collections.get(connection, collection)
        return await lives(connection, only)


async def _activate(settings: Settings, text: str) -> "tuple[Switched, float | None]":
    from ingest.gate import check_gate
    from search_app import switching
    from search_app.bootstrap import open_services
    from search_app.catalog import indexes
    from search_app.catalog.engine import reading

    async with open_services(settings, create=False) as services:
        async with reading(services.engine) as connection:
            index = await indexes.find(connection, text)
        # First what is quick and says more.
        await switching.fit(services.engine, services.store, index)
        gate = await check_gate(services, index)
        return await switching.activate(services.engine, services.store, index), gate


async def _rollback(settings: Settings, collection: str) -> "Switched":
    from search_app import switching
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await switching.rollback(services.engine, services.store, collection)


async def _retire(settings: Settings, text: str) -> Index:
    from ingest import retiring
    from search_app.bootstrap import open_services
    from search_app.catalog import indexes
    from search_app.catalog.engine import reading

    def waiting() -> None:
        typer.echo("it is out of use; waiting for an ingest that writes to it to end", err=True)

    async with open_services(settings, create=False) as services:
        async with reading(services.engine) as connection:
            index = await indexes.find(connection, text)
        return await retiring.retire(services, index, waiting=waiting)
