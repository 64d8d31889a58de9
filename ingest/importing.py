"""Precomputed vectors into an index of their own, once the model has shown that they are its own.

A file names passages of a collection by their ids, as ``ingest export`` writes it. Everything in it
is checked before anything is written. Then the model proves itself by its canaries, and embeds some
of the passages once more: what it gives now and what the file has may differ by no more than the
noise of the model. The vectors are kept beside until an index of that model has taken them over;
passages that the file lacks are embedded.
"""

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from uuid import UUID

import numpy as np

from ingest.reindex import ReindexReport, ReindexRequest, reindex
from ingest.report import Counts, Progress
from ingest.running import Order, record_failure, record_start
from ingest.targets import metered, register
from search_app import identity
from search_app.bootstrap import Services
from search_app.catalog import collections, embedding_cache, indexes, models, runs
from search_app.catalog.chunks import indexed_text
from search_app.catalog.embedding_cache import CachedVector
from search_app.catalog.engine import reading, transaction
from search_app.catalog.exports import Importable, importable
from search_app.embedders.base import Embedder
from search_app.embedders.batching import normalise
from search_app.embedders.metering import Meter
from search_app.errors import InvalidInputError, ModelMismatchError
from search_app.identity import SAME_MODEL_LIMIT, Outcome
from search_app.types import Collection, Index, Matrix, ModelVersion, RunStatus

SAMPLE = 16
"""Passages that the model embeds once more."""

_PAGE = 1_000


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """What to import, and which model made it: ``embedder`` names it, or ``model_version``."""

    file: Path
    collection: str = "default"
    embedder: str | None = None
    model_version: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What came of it: ``furthest`` is the largest 1 − cos between the file and the model now.

    ``sampled`` passages were compared; ``built`` is the index that took the vectors over.
    """

    run_id: UUID
    model_version_id: UUID
    model: str
    imported: int
    sampled: int
    furthest: float
    allowed: float
    built: ReindexReport


@dataclass(frozen=True, kw_only=True, eq=False)
class _Page:
    """Some lines of a file: ids, vectors (n, d) float32, and hashes of texts where it has them."""

    ids: Sequence[UUID]
    vectors: Matrix
    text_hashes: Sequence[str]


async def import_vectors(
    services: Services, request: ImportRequest, progress: Progress | None = None
) -> ImportReport:
    """Check a file of vectors, have the model verify it, and build an index of it.

    Nothing is written unless all of the file is right. Other indexes stay as they are; which one
    answers does not change.

    Raises:
        InvalidInputError: the file is not what it has to be, or the active index is of that model.
        ModelMismatchError: another model answers, or the vectors are not its own.
        EmbedderError: the model does not answer, so that nothing can be verified.
        NotFoundError: no such collection or model version.
    """
    if (request.embedder is None) == (request.model_version is None):
        raise InvalidInputError("say what made the vectors: --embedder or --model-version")
    async with reading(services.engine) as connection:
        collection = await collections.get(connection, request.collection)
        active = await indexes.active(connection, collection)
    count, dimensions, sample = await _check(services, request.file, collection, active)
    version, embedder = await _model(services, request, collection)
    if version.id == active.model_version_id:
        raise InvalidInputError(
            f"the index that answers for {collection.name!r} has vectors of {version.name} already"
        )
    if dimensions != version.identity.dimensions:
        raise InvalidInputError(
            f"{request.file.name}: its vectors have {dimensions:,} dimensions, those of "
            f"{version.name} {version.identity.dimensions:,}"
        )
    allowed = max(3 * version.noise_floor, SAME_MODEL_LIMIT)
    furthest = await _verify(embedder, version, sample, allowed)
    order = Order(
        kind="import",
        collection=collection.name,
        configuration={
            "collection": collection.name,
            "file": request.file.name,
            "model_version_id": str(version.id),
            "verified": {"sampled": len(sample), "furthest": furthest, "allowed": allowed},
        },
    )
    run_id = await record_start(services, order, collection)
    counts = Counts(currency=services.prices.currency)
    try:
        await _keep(
            services, request.file, active, version=version, embedder=embedder, run_id=run_id
        )
        built = await reindex(
            services,
            ReindexRequest(collection=collection.name, embedder=embedder.spec),
            progress,
        )
        counts.chunks.reused = count
    except BaseException as exc:
        await record_failure(services, run_id, counts, exc)
        raise
    finally:
        # Beyond this index nobody is to take over what was only sampled.
        async with transaction(services.engine) as connection:
            await embedding_cache.clear(connection, run_id=run_id)
    async with transaction(services.engine) as connection:
        await runs.finish(
            connection, run_id, status=RunStatus.SUCCEEDED, counts=counts.as_json(), reason=None
        )
    return ImportReport(
        run_id=run_id,
        model_version_id=version.id,
        model=version.name,
        imported=count,
        sampled=len(sample),
        furthest=furthest,
        allowed=allowed,
        built=built,
    )


async def _model(
    services: Services, request: ImportRequest, collection: Collection
) -> tuple[ModelVersion, Embedder]:
    """Get the model that is said to have made the vectors, proved by its canaries."""
    if request.model_version is None:
        embedder = metered(services, request.embedder or "", Meter())
        return await register(services, embedder), embedder
    async with reading(services.engine) as connection:
        version = await models.find(connection, request.model_version)
        canaries = await models.canaries(connection, version.id)
    embedder = metered(services, version.spec, Meter())
    proof = await identity.prove(embedder, version, canaries)
    if proof.outcome is Outcome.OTHER_MODEL:
        raise identity.mismatch(embedder, version, proof, collection.name)
    return version, embedder


async def _check(
    services: Services, file: Path, collection: Collection, index: Index
) -> tuple[int, int, list[tuple[Importable, Matrix]]]:
    """Check every line; give how many there are, their dimensions, and some to be verified.

    Raises:
        InvalidInputError: something is wrong, with the first id.
    """
    seen: set[UUID] = set()
    dimensions: int | None = None
    spread: list[tuple[Importable, Matrix]] = []
    step = 1
    for page in _pages(file):
        dimensions = dimensions or page.vectors.shape[1]
        if page.vectors.shape[1] != dimensions:
            raise InvalidInputError(f"{file.name}: its vectors have different lengths")
        _check_page(file, page, seen)
        async with reading(services.engine) as connection:
            found = await importable(connection, index, page.ids)
        _check_known(file, page, found, collection)
        for chunk_id, vector in zip(page.ids, page.vectors, strict=True):
            # Every step-th, and every other one of them once there are too many.
            if len(seen) % step == 0:
                spread.append((found[chunk_id], vector))
            seen.add(chunk_id)
            if len(spread) == 2 * SAMPLE:
                spread, step = spread[::2], step * 2
    if dimensions is None:
        raise InvalidInputError(f"{file.name}: holds no vector")
    return len(seen), dimensions, spread[:SAMPLE]


def _check_page(file: Path, page: _Page, seen: set[UUID]) -> None:
    wrong = ~np.isfinite(page.vectors).all(axis=1) | ~page.vectors.any(axis=1)
    if wrong.any():
        first = page.ids[int(wrong.argmax())]
        raise InvalidInputError(
            f"{file.name}: the vector of {first} is zero or has numbers that are not finite"
        )
    known: set[UUID] = set()
    for one in page.ids:
        if one in seen or one in known:
            raise InvalidInputError(f"{file.name}: passage {one} is there twice")
        known.add(one)


def _check_known(
    file: Path, page: _Page, found: Mapping[UUID, Importable], collection: Collection
) -> None:
    for chunk_id, text_hash in zip(page.ids, page.text_hashes, strict=True):
        if chunk_id not in found:
            raise InvalidInputError(
                f"{file.name}: collection {collection.name!r} has no passage {chunk_id}, or not "
                "as the index that answers cuts documents"
            )
        if text_hash and text_hash != found[chunk_id].text_hash.hex():
            raise InvalidInputError(
                f"{file.name}: the text of passage {chunk_id} is another one than was embedded"
            )


async def _verify(
    embedder: Embedder,
    version: ModelVersion,
    sample: Sequence[tuple[Importable, Matrix]],
    allowed: float,
) -> float:
    """Embed some passages once more; give the largest 1 − cos to what the file has.

    Raises:
        ModelMismatchError: it is more than the noise of the model.
    """
    furthest = 0.0
    for passage, vector in sample:
        text = indexed_text(passage.context, passage.text)
        answer = await embedder.embed([text], "document")
        units, _ = normalise(np.stack([answer[0], vector]))
        away = float(1.0 - np.dot(units[0].astype(np.float64), units[1].astype(np.float64)))
        if away > allowed:
            raise ModelMismatchError(
                f"the vectors are not those of {version.name}: that of passage {passage.id} is "
                f"{away:.4f} away (1 − cos) from what the model answers now, and its noise allows "
                f"{allowed:.4f}; nothing was imported"
            )
        furthest = max(furthest, away)
    return furthest


async def _keep(
    services: Services,
    file: Path,
    index: Index,
    *,
    version: ModelVersion,
    embedder: Embedder,
    run_id: UUID,
) -> None:
    """Keep the vectors for whoever builds the index next."""
    for page in _pages(file):
        units, norms = normalise(page.vectors)
        async with transaction(services.engine) as connection:
            found = await importable(connection, index, page.ids)
            kept: dict[bytes, CachedVector] = {}
            for place, chunk_id in enumerate(page.ids):
                passage = found.get(chunk_id)
                if passage is None:
                    # Gone since it was checked: nobody asks for it.
                    continue
                text = indexed_text(passage.context, passage.text)
                key = sha256(embedder.text_sent(text, "document").encode()).digest()
                kept[key] = CachedVector(
                    sent_hash=key,
                    vector=units[place],
                    run_id=run_id,
                    received_hash=_hash(page.vectors[place]),
                    stored_hash=_hash(units[place]),
                    norm=float(norms[place]),
                    batch_size=1,
                    batch_position=0,
                    pieces=1,
                )
            await embedding_cache.put(connection, version.id, "document", list(kept.values()))


def _hash(vector: Matrix) -> bytes:
    return sha256(vector.astype("<f4", copy=False).tobytes()).digest()


def _pages(file: Path) -> Iterator[_Page]:
    """Read a file a page at a time.

    Raises:
        InvalidInputError: it cannot be read, or lacks what it has to have.
    """
    readers = {".parquet": _parquet, ".csv": _csv, ".npy": _npy}
    read = readers.get(file.suffix.lower())
    if read is None:
        raise InvalidInputError(f"{file.name}: vectors are read from .parquet, .csv and .npy")
    try:
        yield from read(file)
    except FileNotFoundError as exc:
        raise InvalidInputError(f"{exc.filename}: no such file") from exc
    except (OSError, ValueError, KeyError) as exc:
        first_line = next(iter(str(exc).splitlines()), "") or type(exc).__name__
        raise InvalidInputError(f"{file.name}: is no file of vectors: {first_line[:200]}") from exc


def _parquet(file: Path) -> Iterator[_Page]:
    if find_spec("pyarrow") is None:
        raise InvalidInputError("Parquet needs the package pyarrow: pip install 'unmoved[export]'")
    from pyarrow import parquet

    table = parquet.ParquetFile(file)
    wanted = ["chunk_id", "vector", "text_hash"]
    columns = [name for name in wanted if name in table.schema_arrow.names]
    if not {"chunk_id", "vector"} <= set(columns):
        raise InvalidInputError(f"{file.name}: needs the columns chunk_id and vector")
    for batch in table.iter_batches(batch_size=_PAGE, columns=columns):
        rows = batch.to_pylist()
        yield _page(
            [row["chunk_id"] for row in rows],
            [row["vector"] for row in rows],
            [row.get("text_hash") or "" for row in rows],
        )


def _csv(file: Path) -> Iterator[_Page]:
    for rows in _rows(file, ("chunk_id", "vector")):
        yield _page(
            [row["chunk_id"] for row in rows],
            [np.array(row["vector"].split(), dtype=np.float32) for row in rows],
            [row.get("text_hash") or "" for row in rows],
        )


def _npy(file: Path) -> Iterator[_Page]:
    vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    if vectors.ndim != 2:  # noqa: PLR2004 - rows and columns
        raise InvalidInputError(f"{file.name}: is no matrix, (n, d)")
    first = 0
    for rows in _rows(file.with_suffix(".csv"), ("chunk_id",)):
        part = vectors[first : first + len(rows)]
        if len(part) < len(rows):
            break
        yield _page(
            [row["chunk_id"] for row in rows], part, [row.get("text_hash") or "" for row in rows]
        )
        first += len(rows)
    if first != len(vectors):
        raise InvalidInputError(
            f"{file.name}: has {len(vectors):,} vectors, and {file.stem}.csv another number of rows"
        )


def _rows(file: Path, needed: Sequence[str]) -> Iterator[list[dict[str, str]]]:
    # A vector of many dimensions is longer than what the module thinks sane.
    csv.field_size_limit(min(sys.maxsize, 1 << 30))
    with file.open(encoding="utf-8", newline="") as lines:
        table = csv.DictReader(lines)
        if not set(needed) <= set(table.fieldnames or ()):
            raise InvalidInputError(f"{file.name}: needs the columns {' and '.join(needed)}")
        page: list[dict[str, str]] = []
        for row in table:
            page.append(row)
            if len(page) == _PAGE:
                yield page
                page = []
        if page:
            yield page


def _page(ids: Sequence[str], vectors: object, text_hashes: Sequence[str]) -> _Page:
    return _Page(
        ids=[UUID(one) for one in ids],
        # Lists of different lengths make no matrix.
        vectors=np.array(vectors, dtype=np.float32, ndmin=2),
        text_hashes=text_hashes,
    )
