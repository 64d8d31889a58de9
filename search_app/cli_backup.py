"""``search-app backup`` and ``restore``: everything of an installation, out and back in."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_app.config import Settings, load_settings
from search_app.console import SOME_FAILED, print_json, wait_for
from search_app.types import JSON

if TYPE_CHECKING:
    from search_app.backup.making import Backup
    from search_app.backup.manifest import Manifest
    from search_app.backup.restoring import Restored


def backup(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write catalog, vectors and uploaded files into a folder, as of one moment.

    Searches go on, and so do ingests into PostgreSQL; those into Qdrant wait. Exit code: 0 all is
    in it, 1 vectors that are not as recorded were left out, 2 there is no backup.
    """
    settings = load_settings()
    made = wait_for(_backup(settings, folder), settings)
    left_out = made.manifest.left_out
    if as_json:
        print_json({"folder": str(made.folder), **_summary(made.manifest)})
    else:
        typer.echo(f"{made.folder}: {_said(made.manifest)}")
        if left_out:
            typer.echo(
                f"left out: {left_out:,} vectors that are not as recorded; ingest reconcile says "
                "more of them"
            )
    if left_out:
        raise typer.Exit(SOME_FAILED)


def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that search-app backup wrote.")],
    store: Annotated[
        str, typer.Option(help="Put all vectors into this store: pgvector or qdrant.")
    ] = "",
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Replace everything that is there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Put a backup back, after checking every file, and every vector against its record.

    Nothing is shown before all is in. Cut short, the same command begins anew.
    """
    settings = load_settings()
    restored = wait_for(_restore(settings, folder, store or None, force=force), settings)
    if as_json:
        print_json({**_summary(restored.manifest), "moved_from": restored.moved_from})
        return
    typer.echo(f"restored {_said(restored.manifest)}")
    if restored.moved_from is not None:
        typer.echo(
            f"note: uploaded files were in {restored.moved_from}; documents name them there, so "
            "set UNMOVED_DATA_DIR to that folder to read them again"
        )


async def _backup(settings: Settings, folder: Path) -> "Backup":
    from search_app.backup.making import make_backup
    from search_app.bootstrap import open_services

    def waiting(name: str) -> None:
        typer.echo(f"a run writes to collection {name}; waiting for it to end", err=True)

    async with open_services(settings, create=False) as services:
        return await make_backup(services, folder, waiting=waiting)


async def _restore(
    settings: Settings, folder: Path, store: str | None, *, force: bool
) -> "Restored":
    from search_app.backup.restoring import restore_backup
    from search_app.bootstrap import open_services

    async with open_services(settings) as services:
        return await restore_backup(services, folder, force=force, store=store)


def _summary(manifest: "Manifest") -> dict[str, JSON]:
    return {
        "version": manifest.version,
        "revision": manifest.revision,
        "created_at": manifest.created_at,
        "rows": {table.table: table.rows for table in manifest.tables},
        "vectors": [
            {name: value for name, value in asdict(each).items() if name != "file"}
            for each in manifest.vectors
        ],
        "uploads": len(manifest.uploads),
        "bytes": sum(file.size for file in manifest.files),
    }


def _said(manifest: "Manifest") -> str:
    documents = next((each.rows for each in manifest.tables if each.table == "documents"), 0)
    vectors = sum(each.rows for each in manifest.vectors)
    size = sum(file.size for file in manifest.files) / 1e6
    return (
        f"{documents:,} documents, {vectors:,} vectors of {len(manifest.vectors):,} indexes, "
        f"{len(manifest.uploads):,} uploaded files, {size:,.1f} MB"
    )
