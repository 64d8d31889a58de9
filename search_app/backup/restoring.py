"""Getting a backup back: checked whole before anything is touched, shown only once it is complete.

The catalog is written in one transaction, which commits last: whatever stops a restore before, the
database is as it was, and what was written into a store is overwritten by the next attempt.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from uuid import UUID

import numpy as np
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app import lexical
from search_app.backup.manifest import (
    Manifest,
    VectorFile,
    blocks_of,
    check_files,
    read_manifest,
    sync,
    written,
)
from search_app.backup.tables import (
    copy_in,
    driver_of,
    empty,
    is_filled,
    set_sequences,
    tables_of,
)
from search_app.bm25 import passage_terms
from search_app.bootstrap import Services
from search_app.catalog import auditing, indexes, lexicons
from search_app.catalog.auditing import Restorable
from search_app.catalog.chunks import indexed_text
from search_app.catalog.engine import catalog_errors
from search_app.catalog.lexicons import Lexicon
from search_app.catalog.migrate import HEAD
from search_app.catalog.tables import indexes as index_table
from search_app.errors import BackupError
from search_app.stores.base import VectorStore
from search_app.types import Index, IndexState, Point, Vector
from search_app.uploads import uploads_folder

PAGE = 500
"""Vectors written at a time."""


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What was restored. ``moved_from`` is the data directory of the backup, if it is another."""

    manifest: Manifest
    vectors: int
    moved_from: str | None


async def restore_backup(
    services: Services, folder: Path, *, force: bool = False, store: str | None = None
) -> Restored:
    """Put catalog, vectors and uploaded files back, every vector checked against its record.

    ``force`` replaces what is there. ``store`` takes the vectors of all indexes instead of the
    store that each was in.

    Raises:
        BackupError: the backup is damaged (names the file), of another version, or something is
            there already and is not to be replaced.
        StoreError: a store cannot be written.
        CatalogError: the database cannot be written.
    """
    manifest = await asyncio.to_thread(read_manifest, folder)
    if manifest.revision != HEAD:
        raise BackupError(
            f"{folder} was made by unmoved {manifest.version} at revision {manifest.revision}, "
            f"this code needs {HEAD}; restore it with that version, then run: search-app migrate"
        )
    _check_uploads_free(services, force=force)
    for name in {store or vectors.store for vectors in manifest.vectors}:
        # Before anything is touched: a store that is down shall not stop a restore half-way.
        await services.store(name).ping()
    await asyncio.to_thread(check_files, folder, manifest)
    async with _emptied(services, manifest, folder, force=force) as (connection, earlier):
        if store is not None:
            await connection.execute(
                update(index_table)
                .where(index_table.c.state != IndexState.RETIRED.value)
                .where(index_table.c.store != store)
                .values(store=store, precision=services.precision(store).value)
            )
        written_to = [
            await _restore_vectors(services, connection, vectors, folder)
            for vectors in manifest.vectors
        ]
        await asyncio.to_thread(_restore_uploads, services, manifest, folder)
    kept = {index.id for index in written_to}
    for index in earlier:
        if index.id not in kept:
            await services.store(index.store).drop(index.id)
    for index in written_to:
        await services.store(index.store).optimize(index.id)
    here = str(services.settings.data_dir)
    return Restored(
        manifest=manifest,
        vectors=sum(vectors.rows for vectors in manifest.vectors),
        moved_from=manifest.data_dir if manifest.uploads and manifest.data_dir != here else None,
    )


@asynccontextmanager
async def _emptied(
    services: Services, manifest: Manifest, folder: Path, *, force: bool
) -> AsyncIterator[tuple[AsyncConnection, Sequence[Index]]]:
    """Hold the transaction that has the catalog of the backup, and list the indexes from before."""
    async with catalog_errors(), services.engine.begin() as connection:
        driver = await driver_of(connection)
        tables = await tables_of(driver)
        shapes = {table.name: list(table.columns) for table in tables}
        if shapes != {each.table: list(each.columns) for each in manifest.tables}:
            raise BackupError(
                f"{folder} has other tables or columns than this database, though both are at "
                f"revision {HEAD}; one of them was changed by hand"
            )
        if not force and await is_filled(driver, tables):
            raise BackupError(
                "something is in this database already; name another one, or replace all that "
                "is there with --force"
            )
        rows = await connection.execute(select(*index_table.c))
        earlier = [
            index
            for index in map(indexes.from_row, rows.mappings())
            if index.state is not IndexState.RETIRED
        ]
        await empty(driver, tables)
        of = {each.table: each for each in manifest.tables}
        for table in tables:
            await copy_in(driver, of[table.name], folder)
        await set_sequences(driver, manifest.sequences)
        # Statistics of empty tables make plans that take minutes for what takes milliseconds.
        for name in ("chunks", "documents", "vector_records", "indexes"):
            await connection.execute(text(f"ANALYZE {name}"))
        yield connection, earlier


async def _restore_vectors(
    services: Services, connection: AsyncConnection, vectors: VectorFile, folder: Path
) -> Index:
    """Write the vectors of one index into its store, each as its record and document say."""
    index = await indexes.get(connection, vectors.index_id)
    store = services.store(index.store)
    lexicon = await lexicons.get(connection, index.id)
    await store.drop(index.id)
    await store.create(index.id, vectors.dimensions, index.precision)
    place = folder / vectors.file.path
    number = 0
    for page in _pages(place, vectors.dimensions):
        rows = await auditing.restorable(connection, index.id, list(page))
        for row in rows:
            if row.stored_hash != sha256(page[row.id].tobytes()).digest():
                raise BackupError(
                    f"{place} is damaged: the vector of chunk {row.id} is not the one recorded"
                )
        if len(rows) != len(page):
            unknown = next(iter(page.keys() - {row.id for row in rows}))
            raise BackupError(f"{place} is damaged: it has a vector of the unknown chunk {unknown}")
        await _write(store, index, lexicon, rows, page)
        number += len(rows)
    if number != vectors.rows or await store.count(index.id) != number:
        raise BackupError(f"{place} is damaged: {number:,} vectors instead of {vectors.rows:,}")
    return index


def _pages(place: Path, dimensions: int) -> Iterator[dict[UUID, Vector]]:
    """Read a file of vectors some rows at a time, by chunk."""
    width = 16 + 4 * dimensions
    size = PAGE * width
    left = b""
    for block in blocks_of(place):
        left += block
        while len(left) >= size:
            yield _parsed(left[:size], width)
            left = left[size:]
    if len(left) % width:
        raise BackupError(f"{place} is damaged: it ends within a vector")
    if left:
        yield _parsed(left, width)


def _parsed(block: bytes, width: int) -> dict[UUID, Vector]:
    return {
        UUID(bytes=block[start : start + 16]): np.frombuffer(
            block[start + 16 : start + width], "<f4"
        ).astype(np.float32)
        for start in range(0, len(block), width)
    }


async def _write(
    store: VectorStore,
    index: Index,
    lexicon: Lexicon | None,
    rows: Sequence[Restorable],
    vectors: dict[UUID, Vector],
) -> None:
    texts = [indexed_text(row.context, row.text) for row in rows]
    terms = await asyncio.to_thread(
        lambda: [
            None
            if lexicon is None
            else passage_terms(
                lexical.analyse(each, lexicon.weighting.analyzer).counts, lexicon.weighting
            )
            for each in texts
        ]
    )
    points = [
        Point(
            chunk_id=row.id,
            document_id=row.document_id,
            index_id=index.id,
            model_version_id=index.model_version_id,
            run_id=row.run_id,
            fields=row.fields,
            vector=vectors[row.id],
            terms=words,
        )
        for row, words in zip(rows, terms, strict=True)
        if row.run_id is not None
    ]
    await store.upsert(index.id, points)


def _check_uploads_free(services: Services, *, force: bool) -> None:
    root = uploads_folder(services.settings)
    if not force and root.is_dir() and any(root.iterdir()):
        raise BackupError(
            f"uploaded files are in {root} already; name another UNMOVED_DATA_DIR, or replace "
            "them with --force"
        )


def _restore_uploads(services: Services, manifest: Manifest, folder: Path) -> None:
    """Put uploaded files in place of all that are there, in one step."""
    root = uploads_folder(services.settings)
    with written(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".uploads-", dir=root.parent))
        try:
            for upload in manifest.uploads:
                if ".." in PurePosixPath(upload.path).parts or upload.path.startswith("/"):
                    raise BackupError(f"{folder} is damaged: it names the upload {upload.path!r}")
                place = new / upload.path
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copyfile(folder / upload.file.path, place)
                place.chmod(0o600)
            if root.exists():
                shutil.rmtree(root)
            if manifest.uploads:
                new.rename(root)
                sync(root.parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)
