"""Precomputed vectors into an index of their own, once the model has shown that they are its own.

A file names passages of a collection by their ids, as ``ingest export`` writes it. Everything in it
is checked before anything is written. Then the model proves itself by its canaries, and embeds some
of the passages once more: what it gives now and what the file has may differ by no more than the
noise of the model. The vectors are kept beside until an index of that model has taken them over;
passages that the file lacks are embedded. Where the model does not answer, it is recorded as
declared, and an index of its vectors is built all the same, for whoever asks it next to verify.
"""

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from uuid import UUID, uuid4

import numpy as np

from ingest.reindex import Given, ReindexReport, ReindexRequest, reindex
from ingest.report import Counts, Progress
from ingest.running import Order, record_failure, record_start
from ingest.targets import metered, register
from search_app import declared, identity
from search_app.bootstrap import Services
from search_app.catalog import collections, embedding_cache, indexes, models, runs
from search_app.catalog.chunks import indexed_text
from search_app.catalog.embedding_cache import CachedVector
from search_app.catalog.engine import reading, transaction
from search_app.catalog.exports import Importable, count_importable, importable
from search_app.catalog.models import Declared
from search_app.embedders.base import Embedder
from search_app.embedders.batching import normalise
from search_app.embedders.metering import Meter
from search_app.errors import EmbedderUnavailableError, InvalidInputError, ModelMismatchError
from search_app.identity import Outcome
from search_app.types import (
    Collection,
    Index,
    Kind,
    Matrix,
    ModelIdentity,
    ModelVersion,
    RunStatus,
)

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

    ``sampled`` passages were compared; ``built`` is the index that took the vectors over. Where
    nobody could ask the model, ``unverified`` says why: then ``sampled`` are those that are to be
    compared, and there is no ``furthest``.
    """

    run_id: UUID
    model_version_id: UUID
    model: str
    imported: int
    sampled: int
    furthest: float | None
    allowed: float | None
    unverified: str | None
    built: ReindexReport
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class _Maker:
    """The model that made the vectors, asked or, for a reason, only declared."""

    version: ModelVersion
    embedder: Embedder
    furthest: float | None = None
    unverified: str | None = None

    @property
    def allowed(self) -> float | None:
        """How far, in 1 − cos, vectors may be from what it answers; None where it was not asked."""
        return None if self.unverified else declared.allowed(self.version.noise_floor)


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
    answers does not change. Where the model does not answer, it is recorded as declared, to be
    verified by whoever comes to ask it (see ``declared``); the file then has to have all passages.

    Raises:
        InvalidInputError: the file is not what it has to be, the active index is of that model, or
            nobody could ask the model, and the file lacks passages or the like is there already.
        ModelMismatchError: another model answers, or the vectors are not its own.
        EmbedderError: the model refuses or answers nonsense, so that nothing can be verified.
        NotFoundError: no such collection or model version.
    """
    if (request.embedder is None) == (request.model_version is None):
        raise InvalidInputError("say what made the vectors: --embedder or --model-version")
    checked = await _check(services, request)
    known, embedder = await _named(services, request)
    earlier = await _earlier(services, checked.collection, embedder.spec)
    warnings: list[str] = []
    try:
        for index, version in earlier:
            warnings += await _verify_earlier(services, index, version, embedder, checked)
        maker = await _asked(services, known, embedder, checked)
    except EmbedderUnavailableError as exc:
        maker = await _declared(services, known, embedder, checked, exc)
        _check_other(earlier, maker)
        await _check_whole(services, checked, maker)
    _check_new(checked, maker.version)
    return await _build(services, checked, maker, progress, warnings)


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """A file without faults: how many vectors of which length, and some of them, as they stand.

    Its passages are of a collection, cut as the index that answers for it has them; ``answering``
    is the model of that.
    """

    file: Path
    collection: Collection
    active: Index
    answering: ModelVersion
    count: int
    dimensions: int
    sample: Sequence[tuple[Importable, Matrix]]


async def _build(
    services: Services,
    checked: _Checked,
    maker: _Maker,
    progress: Progress | None,
    warnings: Sequence[str],
) -> ImportReport:
    version, embedder, collection = maker.version, maker.embedder, checked.collection
    sampled = {"sampled": len(checked.sample)}
    told = (
        {"verified": {**sampled, "furthest": maker.furthest, "allowed": maker.allowed}}
        if maker.unverified is None
        else {"declared": {**sampled, "reason": maker.unverified}}
    )
    order = Order(
        kind="import",
        collection=collection.name,
        configuration={
            "collection": collection.name,
            "file": checked.file.name,
            "model_version_id": str(version.id),
            **told,
        },
    )
    run_id = await record_start(services, order, collection)
    counts = Counts(currency=services.prices.currency)
    try:
        if maker.unverified is not None:
            await _declare(services, version, checked.sample)
        await _keep(services, checked, version=version, embedder=embedder, run_id=run_id)
        built = await reindex(
            services,
            ReindexRequest(collection=collection.name, embedder=embedder.spec),
            progress,
            given=Given(version=version, chunking=checked.active.chunking),
        )
        counts.chunks.reused = checked.count
    except BaseException as exc:
        await record_failure(services, run_id, counts, exc)
        raise
    finally:
        async with transaction(services.engine) as connection:
            # Beyond this index nobody is to take over what was only sampled.
            await embedding_cache.clear(connection, run_id=run_id)
            await models.withdraw(connection, version.id)
    async with transaction(services.engine) as connection:
        await runs.finish(
            connection, run_id, status=RunStatus.SUCCEEDED, counts=counts.as_json(), reason=None
        )
    return ImportReport(
        run_id=run_id,
        model_version_id=version.id,
        model=version.name,
        imported=checked.count,
        sampled=len(checked.sample),
        furthest=maker.furthest,
        allowed=maker.allowed,
        unverified=maker.unverified,
        built=built,
        warnings=warnings,
    )


async def _named(
    services: Services, request: ImportRequest
) -> tuple[ModelVersion | None, Embedder]:
    """Get the model version that is named, if one is, and the embedder that is to be asked."""
    if request.model_version is None:
        return None, metered(services, request.embedder or "", Meter())
    async with reading(services.engine) as connection:
        version = await models.find(connection, request.model_version)
    return version, metered(services, version.spec, Meter())


async def _earlier(
    services: Services, collection: Collection, spec: str
) -> list[tuple[Index, ModelVersion]]:
    """List the indexes whose vectors were imported as those of an embedder and never verified."""
    async with reading(services.engine) as connection:
        found = [
            (index, await models.get(connection, index.model_version_id))
            for index in await indexes.live(connection, collection)
        ]
    return [
        (each, version) for each, version in found if version.unverified and version.spec == spec
    ]


async def _verify_earlier(
    services: Services,
    index: Index,
    version: ModelVersion,
    embedder: Embedder,
    checked: _Checked,
) -> list[str]:
    """Verify what was imported while the model did not answer; say where it is not its own."""
    proof = await declared.proved(services.engine, embedder, version, ())
    if proof.outcome is not Outcome.OTHER_MODEL:
        return []
    told = identity.mismatch(embedder, version, proof, checked.collection.name)
    return [f"index {str(index.id)[:8]}: {told}"]


async def _asked(
    services: Services,
    known: ModelVersion | None,
    embedder: Embedder,
    checked: _Checked,
) -> _Maker:
    """Have the model that is said to have made the vectors prove itself, and verify them.

    Raises:
        ModelMismatchError: it is another one, or they are not its own.
        EmbedderError: it does not answer.
    """
    if known is None:
        version = await register(services, embedder)
    else:
        async with reading(services.engine) as connection:
            canaries = await models.canaries(connection, known.id)
        proof = await declared.proved(services.engine, embedder, known, canaries)
        if proof.outcome is Outcome.OTHER_MODEL:
            raise identity.mismatch(embedder, known, proof, checked.collection.name)
        async with reading(services.engine) as connection:
            version = await models.get(connection, known.id)
    if checked.dimensions != version.identity.dimensions:
        # What has to be said of it is said of all that is refused.
        return _Maker(version=version, embedder=embedder)
    furthest = await _verify(embedder, version, checked.sample)
    return _Maker(version=version, embedder=embedder, furthest=furthest)


async def _declared(
    services: Services,
    known: ModelVersion | None,
    embedder: Embedder,
    checked: _Checked,
    reason: EmbedderUnavailableError,
) -> _Maker:
    """Say what is known of a model that does not answer: what was observed of it, or is declared.

    It becomes a version of its own: one that was observed has vectors that are surely its own.
    """
    if known is None:
        async with reading(services.engine) as connection:
            listed = await models.listing(connection)
        alike = [
            each
            for each in listed
            if each.spec == embedder.spec and each.identity.dimensions == checked.dimensions
        ]
        known = alike[-1] if alike else None
    version = ModelVersion(
        id=uuid4(),
        spec=embedder.spec,
        identity=_told(embedder, checked.dimensions) if known is None else known.identity,
        noise_floor=0.0,
        bit_stable=False,
        declared_at=datetime.now(UTC),
    )
    return _Maker(version=version, embedder=embedder, unverified=str(reason))


def _told(embedder: Embedder, dimensions: int) -> ModelIdentity:
    """Say what an embedder is without asking it."""
    provider, _, model = embedder.spec.partition(":")
    return ModelIdentity(
        provider=provider,
        model=model or provider,
        revision="",
        dimensions=dimensions,
        max_tokens=embedder.limits.text_tokens,
        document_prefix=_prefix(embedder, "document"),
        query_prefix=_prefix(embedder, "query"),
    )


def _prefix(embedder: Embedder, kind: Kind) -> str:
    text = "text"
    sent = embedder.text_sent(text, kind)
    return sent.removesuffix(text) if sent.endswith(text) else ""


def _check_other(earlier: Sequence[tuple[Index, ModelVersion]], maker: _Maker) -> None:
    """See that nothing waits for the same model already: one has to be verified before another.

    Raises:
        InvalidInputError: something does.
    """
    for index, version in earlier:
        name = str(index.id)[:8]
        raise InvalidInputError(
            f"index {name} has vectors that were imported as those of {version.name} already, and "
            f"it does not answer to verify them ({maker.unverified}); run the same again once it "
            f"does, or import others in their place after: ingest retire {name}"
        )


async def _check_whole(services: Services, checked: _Checked, maker: _Maker) -> None:
    """See that nothing has to be embedded by a model that does not answer.

    Raises:
        InvalidInputError: the file lacks passages.
    """
    async with reading(services.engine) as connection:
        passages = await count_importable(connection, checked.active)
    if checked.count < passages:
        raise InvalidInputError(
            f"{checked.file.name}: lacks {passages - checked.count:,} of {passages:,} passages, "
            f"and {maker.embedder.spec} does not answer to embed them ({maker.unverified}); run "
            "the same again once it does, or with a file that has all of them"
        )


def _check_new(checked: _Checked, version: ModelVersion) -> None:
    """See that an index of these vectors would be another one than the active one.

    Raises:
        InvalidInputError: the active index has vectors of that model, or these have other lengths.
    """
    collection, answering = checked.collection, checked.answering
    # Of what nobody could ask, no more is known than its name.
    alike = version.unverified and version.spec == answering.spec
    if version.id == answering.id or alike:
        raise InvalidInputError(
            f"the index that answers for {collection.name!r} has vectors of {version.name} "
            "already, of every passage; import the vectors of another model, or have this one "
            f"embed every passage again: ingest reindex --collection {quote(collection.name)} "
            "--fresh"
        )
    if checked.dimensions != version.identity.dimensions:
        raise InvalidInputError(
            f"{checked.file.name}: its vectors have {checked.dimensions:,} dimensions, those of "
            f"{version.name} {version.identity.dimensions:,}"
        )


async def _declare(
    services: Services, version: ModelVersion, sample: Sequence[tuple[Importable, Matrix]]
) -> None:
    """Record a model that nobody could ask, with the vectors that are to verify it."""
    units, _ = normalise(np.stack([vector for _, vector in sample]))
    async with transaction(services.engine) as connection:
        await models.declare(
            connection,
            version,
            [
                Declared(chunk_id=passage.id, vector=unit)
                for (passage, _), unit in zip(sample, units, strict=True)
            ],
        )


async def _check(services: Services, request: ImportRequest) -> _Checked:
    """Check every line, and choose some to be verified.

    Raises:
        InvalidInputError: something is wrong, with the first id.
        NotFoundError: no such collection.
    """
    file = request.file
    async with reading(services.engine) as connection:
        collection = await collections.get(connection, request.collection)
        index = await indexes.active(connection, collection)
        answering = await models.get(connection, index.model_version_id)
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
    return _Checked(
        file=file,
        collection=collection,
        active=index,
        answering=answering,
        count=len(seen),
        dimensions=dimensions,
        sample=spread[:SAMPLE],
    )


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
) -> float:
    """Embed some passages once more; give the largest 1 − cos to what the file has.

    Raises:
        ModelMismatchError: it is more than the noise of the model.
    """
    furthest, allowed = 0.0, declared.allowed(version.noise_floor)
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
    checked: _Checked,
    *,
    version: ModelVersion,
    embedder: Embedder,
    run_id: UUID,
) -> None:
    """Keep the vectors for whoever builds the index next."""
    for page in _pages(checked.file):
        units, norms = normalise(page.vectors)
        async with transaction(services.engine) as connection:
            found = await importable(connection, checked.active, page.ids)
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
