"""Vectors for elsewhere: with what they are of and where they come from, in constant memory.

``parquet`` and ``csv`` have a row for each passage, its vector in the column ``vector``. ``npy`` is
a ZIP of ``vectors.npy``, (n, d) float32, and ``rows.csv`` with all other columns in that order.
"""

import csv
import io
import json
import re
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO, Any, Literal, get_args
from uuid import UUID

import numpy as np

from search_app.bootstrap import Services
from search_app.catalog import exports, indexes, models
from search_app.catalog.analyses import CLUSTERS, MAP
from search_app.catalog.chunks import read_code
from search_app.catalog.engine import reading
from search_app.catalog.exports import Known
from search_app.errors import InvalidInputError, StoreError
from search_app.types import Collection, Index, Matrix, ModelVersion

Format = Literal["parquet", "csv", "npy"]
FORMATS: Sequence[Format] = get_args(Format)

SUFFIXES: Mapping[Format, str] = {"parquet": ".parquet", "csv": ".csv", "npy": ".zip"}

_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]")
_PAGE = 1_000
_SPOOLED = 8 << 20

_COLUMNS: Mapping[str, type] = {
    "chunk_id": str,
    "document_id": str,
    "uri": str,
    "title": str,
    "language": str,
    "type": str,
    "ordinal": int,
    "heading": str,
    "page": int,
    "first_line": int,
    "last_line": int,
    "symbols": str,
    "fields": str,
    "cluster": int,
    "map_x": float,
    "map_y": float,
    "collection": str,
    "index_id": str,
    "model_version_id": str,
    "model": str,
    "chunking": str,
    "run_id": str,
    "embedded_at": str,
    "norm": float,
    "text_hash": str,
    "sent_hash": str,
    "vector_hash": str,
    "text": str,
}
"""The columns besides ``vector``; of ``text`` only where it is wanted."""


def read_format(text: str) -> Format:
    """Read the name of a format.

    Raises:
        InvalidInputError: there is no such format.
    """
    for each in FORMATS:
        if each == text:
            return each
    raise InvalidInputError(f"no format {text!r}; write {', '.join(FORMATS)}")


@dataclass(frozen=True, kw_only=True)
class Export:
    """What is exported: an index as it stands, ``passages`` of it."""

    collection: Collection
    index: Index
    version: ModelVersion
    format: Format
    texts: bool
    passages: int
    clusters: UUID | None
    map_id: UUID | None

    @property
    def columns(self) -> list[str]:
        """The columns besides ``vector``."""
        return [name for name in _COLUMNS if self.texts or name != "text"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """Some rows, and their vectors, (n, d) float32."""

    rows: Sequence[Mapping[str, Any]]
    vectors: Matrix


async def prepare(
    services: Services,
    collection: Collection,
    *,
    index: Index | None = None,
    kind: Format = "parquet",
    texts: bool = False,
) -> Export:
    """Look up what is to be exported: an index, the one that answers unless another is named.

    Raises:
        NotFoundError: nothing was ever ingested.
        InvalidInputError: the index is of another collection, or a package is missing.
    """
    if kind == "parquet" and find_spec("pyarrow") is None:
        raise InvalidInputError(
            "Parquet needs the package pyarrow: pip install 'unmoved[export]'; csv and npy do not"
        )
    async with reading(services.engine) as connection:
        chosen = index or await indexes.active(connection, collection)
        if chosen.collection_id != collection.id:
            raise InvalidInputError(
                f"index {str(chosen.id)[:8]} is not of collection {collection.name!r}"
            )
        return Export(
            collection=collection,
            index=chosen,
            version=await models.get(connection, chosen.model_version_id),
            format=kind,
            texts=texts,
            passages=await exports.count(connection, chosen),
            clusters=await exports.newest(connection, chosen, CLUSTERS),
            map_id=await exports.newest(connection, chosen, MAP),
        )


async def stream(services: Services, export: Export) -> AsyncIterator[bytes]:
    """Give the bytes of an export, a page of passages at a time.

    Passages that come or go meanwhile may be missing; of ``npy``, whose head says how many there
    are, that is an error.

    Raises:
        StoreError: the store cannot be read, or has lost vectors. CatalogError: likewise.
    """
    writer = _WRITERS[export.format](export)
    async for page in pages(services, export):
        writer.write(page)
        if piece := writer.taken():
            yield piece
    writer.close()
    if piece := writer.taken():
        yield piece
    async for piece in writer.rest():
        yield piece


async def pages(services: Services, export: Export) -> AsyncIterator[Page]:
    """Read passages and vectors in the order of their ids."""
    store = services.store(export.index.store)
    after = None
    while True:
        async with reading(services.engine) as connection:
            ids = await exports.shown_after(connection, export.index, after, most=_PAGE)
            if not ids:
                return
            found = await exports.known(
                connection, export.index, ids, clusters=export.clusters, map_id=export.map_id
            )
        points = await store.fetch(export.index.id, [one.chunk_id for one in found])
        vectors = {point.chunk_id: point.vector for point in points if point.vector is not None}
        lost = [one.chunk_id for one in found if one.chunk_id not in vectors]
        if lost:
            raise StoreError(
                f"{len(lost):,} vectors that the catalog knows are not in the store, "
                f"{lost[0]} the first; ingest reconcile says what is the matter"
            )
        if found:
            yield Page(
                rows=[_row(export, one) for one in found],
                vectors=np.stack([vectors[one.chunk_id] for one in found]),
            )
        after = ids[-1]


def _row(export: Export, one: Known) -> dict[str, Any]:
    code = read_code(one.code)
    row = {
        "chunk_id": str(one.chunk_id),
        "document_id": str(one.document_id),
        "uri": one.uri,
        "title": one.title,
        "language": one.language,
        "type": one.type,
        "ordinal": one.ordinal,
        "heading": " › ".join(one.heading_path),
        "page": one.page,
        "first_line": code and code.first_line,
        "last_line": code and code.last_line,
        "symbols": None if code is None else ", ".join(name for name, _ in code.symbols),
        "fields": json.dumps(one.fields, ensure_ascii=False),
        "cluster": one.cluster,
        "map_x": one.map_x,
        "map_y": one.map_y,
        "collection": export.collection.name,
        "index_id": str(export.index.id),
        "model_version_id": str(export.version.id),
        "model": export.version.name,
        "chunking": export.index.chunking.name,
        "run_id": str(one.run_id),
        "embedded_at": one.embedded_at.isoformat(),
        "norm": one.norm,
        "text_hash": one.text_hash.hex(),
        "sent_hash": one.sent_hash.hex(),
        "vector_hash": one.vector_hash.hex(),
        "text": one.text,
    }
    return {name: row[name] for name in export.columns}


class _Sink(io.RawIOBase):
    """What is written and not taken yet; it cannot be gone back in."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._written += len(part)
        return len(part)

    def tell(self) -> int:
        return self._written

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


class _Writer(ABC):
    """Writes pages in one format."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._sink = _Sink()

    @abstractmethod
    def write(self, page: Page) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    def taken(self) -> bytes:
        """Give what was written since it was asked for last."""
        return self._sink.take()

    async def rest(self) -> AsyncIterator[bytes]:
        """Give what can only be written behind everything else."""
        nothing: tuple[bytes, ...] = ()
        for piece in nothing:
            yield piece


class _Parquet(_Writer):
    def __init__(self, export: Export) -> None:
        super().__init__(export)
        import pyarrow as pa
        from pyarrow import parquet

        kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
        columns = [pa.field(name, kinds[_COLUMNS[name]]) for name in export.columns]
        vector = pa.list_(pa.float32(), export.version.identity.dimensions)
        self._schema = pa.schema([*columns, pa.field("vector", vector)])
        self._arrow = pa
        self._file = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")

    def write(self, page: Page) -> None:
        pa = self._arrow
        fields = list(self._schema)[:-1]
        columns = [
            pa.array([row[field.name] for row in page.rows], type=field.type) for field in fields
        ]
        flat = pa.array(page.vectors.astype(np.float32, copy=False).ravel())
        columns.append(pa.FixedSizeListArray.from_arrays(flat, page.vectors.shape[1]))
        self._file.write_table(pa.table(columns, schema=self._schema))

    def close(self) -> None:
        self._file.close()


class _Csv(_Writer):
    def __init__(self, export: Export) -> None:
        super().__init__(export)
        self._file = _Table(self._sink, [*export.columns, "vector"])

    def write(self, page: Page) -> None:
        for row, vector in zip(page.rows, page.vectors, strict=True):
            # As short as gives back the same float32.
            numbers = " ".join(map(str, vector.astype(np.float32, copy=False)))
            self._file.write([*row.values(), numbers])

    def close(self) -> None:
        """All is written."""


class _Table:
    """Lines of CSV, written as bytes."""

    def __init__(self, file: IO[bytes] | _Sink, columns: Sequence[str]) -> None:
        self._file = file
        self._text = io.StringIO(newline="")
        self._lines = csv.writer(self._text)
        self.write(columns)

    def write(self, cells: Sequence[Any]) -> None:
        self._lines.writerow(cells)
        self._file.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()


def _write_head(file: IO[bytes], export: Export) -> None:
    shape = (export.passages, export.version.identity.dimensions)
    head = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)


def _check_count(written: int, export: Export) -> None:
    if written != export.passages:
        raise StoreError("passages came or went during the export; export again")


async def write_npy(
    services: Services, export: Export, vectors: IO[bytes], rows: IO[bytes]
) -> None:
    """Write the vectors and all other columns into files of their own, in the same order.

    Raises:
        StoreError, CatalogError: as ``stream`` does.
    """
    _write_head(vectors, export)
    table = _Table(rows, export.columns)
    written = 0
    async for page in pages(services, export):
        written += len(page.rows)
        vectors.write(page.vectors.astype("<f4", copy=False).tobytes())
        for row in page.rows:
            table.write(list(row.values()))
    _check_count(written, export)


class _Npy(_Writer):
    def __init__(self, export: Export) -> None:
        super().__init__(export)
        self._zip = zipfile.ZipFile(self._sink, "w", allowZip64=True)
        self._vectors = self._zip.open("vectors.npy", "w", force_zip64=True)
        _write_head(self._vectors, export)
        self._spooled = tempfile.SpooledTemporaryFile(max_size=_SPOOLED)  # noqa: SIM115 - closed below
        self._rows = _Table(self._spooled, export.columns)
        self._count = 0

    def write(self, page: Page) -> None:
        self._count += len(page.rows)
        self._vectors.write(page.vectors.astype("<f4", copy=False).tobytes())
        for row in page.rows:
            self._rows.write(list(row.values()))

    def close(self) -> None:
        self._vectors.close()
        _check_count(self._count, self._export)

    async def rest(self) -> AsyncIterator[bytes]:
        self._spooled.seek(0)
        with self._spooled, self._zip.open("rows.csv", "w", force_zip64=True) as rows:
            while part := self._spooled.read(1 << 16):
                rows.write(part)
                yield self._sink.take()
        self._zip.close()
        yield self._sink.take()


_WRITERS: Mapping[Format, type[_Writer]] = {"parquet": _Parquet, "csv": _Csv, "npy": _Npy}


def file_name(export: Export) -> str:
    """Propose a name for the file: the collection's, where it has only plain characters."""
    kept = _UNUSUAL.sub("_", export.collection.name)[:60] or "collection"
    return f"{kept}-{str(export.index.id)[:8]}{SUFFIXES[export.format]}"
