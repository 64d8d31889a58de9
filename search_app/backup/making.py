"""Making a backup: one moment of the catalog, and the vectors that it records.

The catalog is read in one transaction that sees one moment. Vectors in the same database are read
in that transaction, too. Another store has no such moments: the runs of collections with vectors
there wait until those are read.
"""

import asyncio
import importlib.metadata
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.backup.manifest import (
    Manifest,
    StoredFile,
    Upload,
    VectorFile,
    Writer,
    sync,
    write_manifest,
    written,
)
from search_app.backup.tables import copy_out, driver_of, sequences_of, tables_of
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes, locks
from search_app.catalog.engine import catalog_errors, transaction
from search_app.catalog.migrate import HEAD
from search_app.catalog.tables import indexes as index_table
from search_app.catalog.tables import model_versions
from search_app.errors import BackupError
from search_app.stores.base import digest_of
from search_app.stores.pgvector import PgvectorStore
from search_app.stores.pgvector_errors import store_errors
from search_app.stores.pgvector_rows import points_by_id
from search_app.stores.pgvector_tables import points_table, read_layout
from search_app.types import Collection, Index, IndexState, Point
from search_app.uploads import UNFINISHED, uploads_folder

PAGE = 1_000
"""Vectors read at a time."""


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a backup holds, and where it is."""

    folder: Path
    manifest: Manifest


async def make_backup(
    services: Services, folder: Path, *, waiting: Callable[[str], None] = lambda _: None
) -> Backup:
    """Write everything into a new folder, which is there whole or not at all.

    ``waiting`` is told of collections whose runs are waited for. Vectors that are not as recorded
    are left out and counted; ``ingest reconcile`` says more of them.

    Raises:
        BackupError: the folder is there already, or cannot be written.
        CatalogError: the database cannot be read.
        StoreError: a store cannot be read.
    """
    folder, partial = await asyncio.to_thread(_begin, folder)
    try:
        manifest = await _write(services, partial, waiting)
        await asyncio.to_thread(_end, partial, folder, manifest)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Backup(folder=folder, manifest=manifest)


def _begin(folder: Path) -> tuple[Path, Path]:
    """Give the folder's whole path, and make another beside it to write into."""
    folder = folder.absolute()
    _check_free(folder)
    with written(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent)
    return folder, Path(partial)


def _end(partial: Path, folder: Path, manifest: Manifest) -> None:
    """Finish what was written, and give it its name."""
    write_manifest(partial, manifest)
    with written(folder):
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
        sync(folder.parent)


def _check_free(folder: Path) -> None:
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as exc:
        raise BackupError(f"{folder} cannot be looked into: {exc.strerror}") from exc
    if taken:
        raise BackupError(f"{folder} is there already; name a new folder")


async def _write(services: Services, folder: Path, waiting: Callable[[str], None]) -> Manifest:
    async with AsyncExitStack() as held:
        await _hold_writers(services, held, waiting)
        async with _moment(services) as connection:
            with store_errors():
                driver = await driver_of(connection)
            kept = await _indexes(connection)
            await _keep_tables(connection, [index for index, _ in kept])
            tables = [await copy_out(driver, table, folder) for table in await tables_of(driver)]
            sequences = await sequences_of(driver)
            vectors = [
                await _copy_vectors(services, connection, index, dimensions, folder)
                for index, dimensions in kept
            ]
        uploads = await asyncio.to_thread(_copy_uploads, services, folder)
    return Manifest(
        version=importlib.metadata.version("unmoved"),
        revision=HEAD,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        data_dir=str(services.settings.data_dir),
        tables=tables,
        sequences=sequences,
        vectors=vectors,
        uploads=uploads,
    )


async def _hold_writers(
    services: Services, held: AsyncExitStack, waiting: Callable[[str], None]
) -> None:
    """Keep runs from collections that have vectors outside of this database."""
    async with transaction(services.engine) as connection:
        known = [
            Collection(id=each.id, name=each.name)
            for each in await collections.summaries(connection)
        ]
        outside = [
            each
            for each in known
            if any(
                index.store != PgvectorStore.name for index in await indexes.live(connection, each)
            )
        ]
    for each in outside:

        def tell(name: str = each.name) -> None:
            waiting(name)

        await held.enter_async_context(locks.writing(services.engine, each, tell))


@asynccontextmanager
async def _moment(services: Services) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that sees one moment and changes nothing."""
    engine = services.engine.execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    async with catalog_errors(), engine.connect() as connection, connection.begin():
        yield connection


async def _indexes(connection: AsyncConnection) -> list[tuple[Index, int]]:
    """List the indexes that have vectors, with their dimensions."""
    rows = await connection.execute(
        select(*index_table.c, model_versions.c.dimensions)
        .join(model_versions, model_versions.c.id == index_table.c.model_version_id)
        .where(index_table.c.state != IndexState.RETIRED.value)
        .order_by(index_table.c.id)
    )
    return [(indexes.from_row(row), row["dimensions"]) for row in rows.mappings()]


async def _keep_tables(connection: AsyncConnection, kept: Sequence[Index]) -> None:
    """Let nobody drop the tables of an index that is retired meanwhile."""
    for index in kept:
        if index.store == PgvectorStore.name:
            name = points_table(index.id, 1).fullname
            there = text("SELECT to_regclass(:name) IS NOT NULL")
            if await connection.scalar(there, {"name": name}):
                await connection.execute(text(f"LOCK TABLE {name} IN ACCESS SHARE MODE"))


_RECORDS = text("""
    SELECT r.chunk_id, r.stored_hash, 'deleting' IN (c.state, d.state) AS leaving
    FROM (
        SELECT chunk_id, stored_hash FROM vector_records
        WHERE index_id = :index_id AND chunk_id > :after ORDER BY chunk_id LIMIT :limit
    ) r
    JOIN chunks c ON c.id = r.chunk_id
    JOIN documents d ON d.id = c.document_id
    ORDER BY r.chunk_id
""")


async def _copy_vectors(
    services: Services, connection: AsyncConnection, index: Index, dimensions: int, folder: Path
) -> VectorFile:
    """Write the vectors that the catalog records, those left out that are not as recorded."""
    rows = left_out = 0
    after = UUID(int=0)
    with Writer(folder, f"vectors/{index.id}.f32") as file:
        while True:
            given = {"index_id": index.id, "after": after, "limit": PAGE}
            page = (await connection.execute(_RECORDS, given)).all()
            if not page:
                break
            hashes: Mapping[UUID, bytes] = {row.chunk_id: row.stored_hash for row in page}
            points = await _points(services, connection, index, list(hashes))
            good = [each for each in points if digest_of(each) == hashes[each.chunk_id]]
            file.write(b"".join(_packed(good)))
            rows += len(good)
            # Of what is on its way out, the vector goes first.
            kept = {each.chunk_id for each in good}
            left_out += sum(row.chunk_id not in kept and not row.leaving for row in page)
            after = page[-1].chunk_id
        return VectorFile(
            index_id=index.id,
            store=index.store,
            dimensions=dimensions,
            rows=rows,
            left_out=left_out,
            file=file.finish(),
        )


async def _points(
    services: Services, connection: AsyncConnection, index: Index, chunk_ids: Sequence[UUID]
) -> list[Point]:
    store = services.store(index.store)
    if not isinstance(store, PgvectorStore):
        return await store.fetch(index.id, chunk_ids)
    # In the transaction that sees one moment, which the store's own connections do not.
    with store_errors():
        layout = await read_layout(connection, index.id)
        return await points_by_id(connection, layout.table, chunk_ids)


def _packed(points: Sequence[Point]) -> Iterator[bytes]:
    for point in sorted(points, key=lambda each: each.chunk_id.bytes):
        if point.vector is not None:
            yield point.chunk_id.bytes
            yield point.vector.astype("<f4", copy=False).tobytes()


def _copy_uploads(services: Services, folder: Path) -> list[Upload]:
    root = uploads_folder(services.settings)
    found = []
    for number, place in enumerate(sorted(root.rglob("*")) if root.is_dir() else ()):
        if place.name.startswith(UNFINISHED) or place.is_symlink() or not place.is_file():
            continue
        kept = _copied(place, folder, f"uploads/{number}")
        if kept is not None:
            found.append(Upload(path=place.relative_to(root).as_posix(), file=kept))
    return found


def _copied(place: Path, folder: Path, path: str) -> StoredFile | None:
    try:
        source = place.open("rb")
    except FileNotFoundError:
        # Removed since by a run, with the document that it was.
        return None
    except OSError as exc:
        raise BackupError(f"{place} cannot be read: {exc.strerror}") from exc
    with source, Writer(folder, path) as file:
        while block := source.read(1 << 20):
            file.write(block)
        return file.finish()
