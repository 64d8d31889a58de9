"""From planned chunks to points and records: copy what is known, embed the rest once."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import Protocol
from uuid import UUID

from ingest.targets import Target
from search_app.bm25 import Weighting, passage_terms
from search_app.bootstrap import Services
from search_app.catalog import records
from search_app.catalog.chunks import indexed_text
from search_app.catalog.embedding_cache import CachedVector
from search_app.catalog.engine import transaction
from search_app.catalog.records import VectorRecord
from search_app.embedders.batching import embed_all, normalise
from search_app.embedders.pieces import joined, length, pieces_of, weights_of
from search_app.errors import EmbedderRefusedError
from search_app.identity import REPEATS
from search_app.lexical import Analysed
from search_app.stores.base import VectorStore
from search_app.types import JSON, Matrix, Point, Sparse, Vector


class Passage(Protocol):
    """As much of a chunk as it takes to embed it."""

    @property
    def id(self) -> UUID:
        """Its id."""

    @property
    def document_id(self) -> UUID:
        """The document that it is of."""

    @property
    def context(self) -> str:
        """What is embedded in front of the text."""

    @property
    def text(self) -> str:
        """The text."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A chunk that has no vector in an index yet, with the filter fields of its document."""

    chunk: Passage
    fields: Mapping[str, JSON]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A vector and how it came to be, for the first chunk that needed it."""

    vector: Vector
    record: VectorRecord


@dataclass(frozen=True, kw_only=True)
class Written:
    """Points, records and terms of one segment in one index, in the order of the works.

    ``refused`` says of documents whose text the embedder would not take why it would not; their
    chunks are left out. So are chunks of the documents ``waiting``, for which no money was left.
    ``fresh`` is what was embedded now, to be kept once the model has proved itself.
    """

    points: Sequence[Point]
    records: Sequence[VectorRecord]
    analysed: Sequence[Analysed]
    embedded: int
    reused: int
    refused: Mapping[UUID, str]
    waiting: AbstractSet[UUID]
    fresh: Sequence[Made]


@dataclass(frozen=True, kw_only=True)
class _Fresh:
    """A text to be embedded, in pieces of which each is no longer than the model reads."""

    chunk_id: UUID
    pieces: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """What became of fresh texts, by the hash of what was sent."""

    made: Mapping[bytes, Made]
    refused: Mapping[bytes, str]


async def make_vectors(
    services: Services,
    target: Target,
    works: Sequence[Work],
    run_id: UUID,
    *,
    weighting: Weighting,
    analysed: Sequence[Analysed],
    also_from: Sequence[VectorStore] = (),
    fresh: bool = False,
) -> Written:
    """Get a vector for every chunk: one that the same text got before, or a new one.

    With ``fresh`` it is always a new one.

    ``analysed[i]`` are the terms of ``works[i]``, to be weighted as the index does. Vectors are
    taken over from the store of the target, what it has not from those of ``also_from``, and what
    none of them has from those that are kept beyond the indexes they were made for.

    Nothing is written here, and nothing made here may be written before the model has proved
    itself once more. A text that the provider refuses, as a content filter may, costs its own
    document and no other.

    Raises:
        EmbedderError: the embedder does not answer, answers nonsense or refuses everything.
    """
    texts = [indexed_text(work.chunk.context, work.chunk.text) for work in works]
    hashes = [
        sha256(target.embedder.text_sent(text, "document").encode()).digest() for text in texts
    ]
    made: dict[bytes, Made] = {}
    for store in () if fresh else (target.store, *also_from):
        unknown = [sent_hash for sent_hash in hashes if sent_hash not in made]
        made |= await _copied(services, target, store, unknown, run_id)
    if not fresh:
        made |= await _cached(services, target, [key for key in hashes if key not in made], run_id)
    unknown_texts: dict[bytes, tuple[str, UUID]] = {}
    for sent_hash, text, work in zip(hashes, texts, works, strict=True):
        if sent_hash not in made:
            # Equal texts travel once; the first chunk that has them counts as the embedded one.
            unknown_texts.setdefault(sent_hash, (text, work.chunk.id))
    refuse = services.settings.too_long == "refuse"
    unsent, too_long = await asyncio.to_thread(_cut, target, unknown_texts, refuse=refuse)
    affordable = _affordable(target, unsent)
    answers = await _embedded(target, affordable, run_id)
    made |= answers.made
    refused = {**too_long, **answers.refused}
    points, written, kept = [], [], []
    for work, sent_hash, terms in zip(works, hashes, analysed, strict=True):
        if sent_hash not in made:
            continue
        found = made[sent_hash]
        written.append(_record_for(found.record, work.chunk.id, run_id))
        points.append(_point(target, work, found, passage_terms(terms.counts, weighting)))
        kept.append(terms)
    return Written(
        points=points,
        records=written,
        analysed=kept,
        embedded=len(answers.made),
        reused=len(points) - len(answers.made),
        refused={
            work.chunk.document_id: refused[sent_hash]
            for work, sent_hash in zip(works, hashes, strict=True)
            if sent_hash in refused
        },
        waiting={
            work.chunk.document_id
            for work, sent_hash in zip(works, hashes, strict=True)
            if sent_hash in unsent and sent_hash not in affordable
        },
        fresh=list(answers.made.values()),
    )


async def keep_vectors(services: Services, target: Target, written: Written) -> None:
    """Keep what was embedded for texts that come again; the model has proved itself since."""
    await services.vectors.put(
        target.version.id,
        "document",
        [
            CachedVector(
                vector=made.vector,
                **{name: getattr(made.record, name) for name in _KEPT},
            )
            for made in written.fresh
        ],
    )


_KEPT = (
    "sent_hash",
    "run_id",
    "received_hash",
    "stored_hash",
    "norm",
    "batch_size",
    "batch_position",
    "pieces",
)
"""What of a record is kept with a vector: how it came to be, not where it was written."""


async def _cached(
    services: Services, target: Target, hashes: Sequence[bytes], run_id: UUID
) -> dict[bytes, Made]:
    """Take over vectors that were kept, if they are still what they were to the bit."""
    known = await services.vectors.find(target.version.id, "document", list(set(hashes)))
    return {
        sent_hash: Made(
            vector=found.vector,
            record=VectorRecord(
                index_id=target.index.id,
                # Whoever takes it over names the chunk.
                chunk_id=_NOBODY,
                copied_by_run_id=run_id,
                **{name: getattr(found, name) for name in _KEPT},
            ),
        )
        for sent_hash, found in known.items()
        if _hash(found.vector) == found.stored_hash
    }


_NOBODY = UUID(int=0)


def _cut(
    target: Target, texts: Mapping[bytes, tuple[str, UUID]], *, refuse: bool
) -> tuple[dict[bytes, _Fresh], dict[bytes, str]]:
    """Cut texts that are longer than the model reads, or say why they are refused.

    Counts the tokens of all of them, too, which takes longer than one may hold others up.
    """
    embedder = target.embedder
    fresh, refused = {}, {}
    for sent_hash, (text, chunk_id) in texts.items():
        tokens = length(embedder, text, "document")
        if tokens is not None and refuse:
            refused[sent_hash] = (
                f"a passage has {tokens:,} tokens, and {embedder.spec} reads "
                f"{embedder.limits.text_tokens:,}; UNMOVED_TOO_LONG=split sends such in pieces"
            )
            continue
        try:
            pieces = pieces_of(embedder, text, "document")
        except EmbedderRefusedError as exc:
            refused[sent_hash] = str(exc)
            continue
        fresh[sent_hash] = _Fresh(chunk_id=chunk_id, pieces=pieces)
        embedder.counted(pieces, "document")
    return fresh, refused


def _affordable(target: Target, fresh: Mapping[bytes, _Fresh]) -> dict[bytes, _Fresh]:
    """Take texts from the beginning for which there is money, and for the proof at their end."""
    embedder = target.embedder
    left = embedder.meter.left()
    if left is None:
        return dict(fresh)
    for canary in target.canaries:
        # Where one differs, it is sent again so many times.
        left -= (1 + REPEATS) * embedder.counted([canary.text], canary.kind).cost
    taken = {}
    for sent_hash, one in fresh.items():
        left -= embedder.counted(one.pieces, "document").cost
        if left < 0:
            break
        taken[sent_hash] = one
    return taken


async def _copied(
    services: Services,
    target: Target,
    store: VectorStore,
    hashes: Sequence[bytes],
    run_id: UUID,
) -> dict[bytes, Made]:
    """Take over vectors of equal texts, if the store still has them to the bit."""
    async with transaction(services.engine) as connection:
        known = await records.reusable(connection, target.version.id, store.name, list(set(hashes)))
    by_index: dict[UUID, list[VectorRecord]] = defaultdict(list)
    for record in known.values():
        by_index[record.index_id].append(record)
    copied = {}
    for index_id, group in by_index.items():
        points = await store.fetch(index_id, [record.chunk_id for record in group])
        vectors = {point.chunk_id: point.vector for point in points}
        for record in group:
            vector = vectors.get(record.chunk_id)
            if vector is not None and _hash(vector) == record.stored_hash:
                taken = replace(record, index_id=target.index.id, copied_by_run_id=run_id)
                copied[record.sent_hash] = Made(vector=vector, record=taken)
    return copied


async def _embedded(target: Target, fresh: Mapping[bytes, _Fresh], run_id: UUID) -> _Answers:
    try:
        return _Answers(made=await _embedded_together(target, fresh, run_id), refused={})
    except EmbedderRefusedError:
        # A wrong key refuses everything, and then this raises what it met.
        canary = next(canary for canary in target.canaries if canary.kind == "document")
        await target.embedder.embed([canary.text], canary.kind)
    return await _embedded_apart(target, fresh, run_id)


async def _embedded_apart(target: Target, fresh: Mapping[bytes, _Fresh], run_id: UUID) -> _Answers:
    """Halve until the texts that are refused stand alone."""
    half = len(fresh) // 2
    made: dict[bytes, Made] = {}
    refused: dict[bytes, str] = {}
    for part in (dict(islice(fresh.items(), half)), dict(islice(fresh.items(), half, None))):
        try:
            made |= await _embedded_together(target, part, run_id)
        except EmbedderRefusedError as exc:
            if len(part) == 1:
                refused |= dict.fromkeys(part, str(exc))
                continue
            answers = await _embedded_apart(target, part, run_id)
            made |= answers.made
            refused |= answers.refused
    return _Answers(made=made, refused=refused)


async def _embedded_together(
    target: Target, fresh: Mapping[bytes, _Fresh], run_id: UUID
) -> dict[bytes, Made]:
    if not fresh:
        return {}
    embedder = target.embedder
    texts = [piece for one in fresh.values() for piece in one.pieces]
    answer = await embed_all(embedder, texts, "document")
    units, norms = normalise(answer.vectors)
    made = {}
    first = 0
    for sent_hash, one in fresh.items():
        last = first + len(one.pieces)
        vector, norm = units[first], float(norms[first])
        if len(one.pieces) > 1:
            weights = weights_of(embedder, one.pieces, "document")
            vector, norm = joined(units[first:last], weights)
        record = VectorRecord(
            index_id=target.index.id,
            chunk_id=one.chunk_id,
            run_id=run_id,
            copied_by_run_id=None,
            sent_hash=sent_hash,
            received_hash=_hash(answer.vectors[first:last]),
            stored_hash=_hash(vector),
            norm=norm,
            batch_size=answer.batch_sizes[first],
            batch_position=answer.positions[first],
            pieces=len(one.pieces),
        )
        made[sent_hash] = Made(vector=vector, record=record)
        first = last
    return made


def _record_for(record: VectorRecord, chunk_id: UUID, run_id: UUID) -> VectorRecord:
    if record.chunk_id == chunk_id and record.copied_by_run_id is None:
        return record
    return replace(record, chunk_id=chunk_id, copied_by_run_id=run_id, created_at=None)


def _point(target: Target, work: Work, made: Made, terms: Sparse) -> Point:
    return Point(
        chunk_id=work.chunk.id,
        document_id=work.chunk.document_id,
        index_id=target.index.id,
        model_version_id=target.version.id,
        run_id=made.record.run_id,
        fields=work.fields,
        vector=made.vector,
        terms=terms,
    )


def _hash(vectors: Vector | Matrix) -> bytes:
    return sha256(vectors.astype("<f4", copy=False).tobytes()).digest()
