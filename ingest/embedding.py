"""From planned chunks to points and records: copy what is known, embed the rest once."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Protocol
from uuid import UUID

import numpy as np

from ingest.targets import Target
from search_app.bm25 import Weighting, passage_terms
from search_app.bootstrap import Services
from search_app.catalog import records
from search_app.catalog.chunks import indexed_text
from search_app.catalog.embedding_cache import CachedVector
from search_app.catalog.engine import transaction
from search_app.catalog.records import VectorRecord
from search_app.embedders.batching import Answers, embed_each, normalise
from search_app.embedders.pieces import joined, length, pieces_of, weights_of
from search_app.errors import EmbedderError, EmbedderRefusedError
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
    """A chunk that has no vector in an index yet, with its filter fields."""

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


@dataclass(kw_only=True)
class Sought:
    """What some works of one index wait for, by the hash of the text that is sent.

    ``made`` was found or embedded, ``embedded`` of it now. ``elsewhere`` are texts that an earlier
    one already asks for; it has what becomes of them. ``held`` is money kept back for the proof.
    """

    works: Sequence[Work]
    hashes: Sequence[bytes]
    to_send: Mapping[bytes, _Fresh]
    made: dict[bytes, Made]
    refused: dict[bytes, str]
    waiting: set[bytes]
    elsewhere: Mapping[bytes, "Sought"]
    held: float
    embedded: list[Made] = field(default_factory=list)
    answers: Answers = field(default_factory=Answers)


class Seeker:
    """Gets a vector for every passage of one index: one that its text got before, or a new one.

    ``find`` looks for the former, ``send`` makes the others, ``written`` puts both together. While
    one lot is sent another one may be looked for, and sent; equal texts travel once all the same.
    Nothing is written here, and nothing made here may be written before the model has proved
    itself once more.
    """

    def __init__(
        self,
        services: Services,
        target: Target,
        run_id: UUID,
        *,
        also_from: Sequence[VectorStore] = (),
        fresh: bool = False,
    ) -> None:
        """Take what the vectors are for.

        Vectors are taken over from the store of the target, what it has not from those of
        ``also_from``, and what none of them has from those that are kept beyond the indexes they
        were made for. With ``fresh`` none is.
        """
        self._services = services
        self._target = target
        self._run_id = run_id
        self._stores = () if fresh else (target.store, *also_from)
        self._fresh = fresh
        self._asked: dict[bytes, Sought] = {}
        self._gate = asyncio.Semaphore(target.embedder.concurrency)

    async def find(self, works: Sequence[Work]) -> Sought:
        """Take over what can be, and see what of the rest can be sent: one lot after the other."""
        target, services = self._target, self._services
        texts = [indexed_text(work.chunk.context, work.chunk.text) for work in works]
        hashes = [
            sha256(target.embedder.text_sent(text, "document").encode()).digest() for text in texts
        ]
        elsewhere = {key: self._asked[key] for key in hashes if key in self._asked}
        made: dict[bytes, Made] = {}

        def lacking() -> list[bytes]:
            return [key for key in hashes if key not in made and key not in elsewhere]

        for store in self._stores:
            made |= await _copied(services, target, store, lacking(), self._run_id)
        if not self._fresh:
            made |= await _cached(services, target, lacking(), self._run_id)
        unknown: dict[bytes, tuple[str, UUID]] = {}
        for key, text, work in zip(hashes, texts, works, strict=True):
            if key not in made and key not in elsewhere:
                # The first chunk of those with equal texts counts as the embedded one.
                unknown.setdefault(key, (text, work.chunk.id))
        refuse = services.settings.too_long == "refuse"
        unsent, refused = await asyncio.to_thread(_cut, target, unknown, refuse=refuse)
        affordable, held = _affordable(target, unsent)
        sought = Sought(
            works=works,
            hashes=hashes,
            to_send=affordable,
            made=made,
            refused=refused,
            waiting=unsent.keys() - affordable.keys(),
            elsewhere=elsewhere,
            held=held,
        )
        self._asked |= dict.fromkeys((key for key in hashes if key not in elsewhere), sought)
        return sought

    async def send(self, sought: Sought) -> None:
        """Embed what was not found. A text that is refused costs its own document and no other.

        What came back by then is there also where this raises.

        Raises:
            EmbedderError: the embedder does not answer, answers nonsense or refuses everything.
        """
        target, fresh = self._target, sought.to_send
        canary = next(canary for canary in target.canaries if canary.kind == "document")

        async def confirm() -> None:
            # A wrong key refuses everything, and then this raises what it met.
            await target.embedder.embed([canary.text], canary.kind)

        try:
            await embed_each(
                target.embedder,
                [piece for one in fresh.values() for piece in one.pieces],
                "document",
                sought.answers,
                gate=self._gate,
                confirm=confirm,
            )
        except BaseException:
            with suppress(EmbedderError):
                self._take(sought)
            raise
        self._take(sought)

    def written(
        self, lots: Sequence[Sought], *, weighting: Weighting, analysed: Sequence[Analysed]
    ) -> Written:
        """Put together what was found and made.

        ``analysed[i]`` are the terms of the ith work of all lots, weighted as the index does.
        """
        points, written, kept = [], [], []
        refused: dict[UUID, str] = {}
        waiting: set[UUID] = set()
        terms = iter(analysed)
        for lot in lots:
            for work, key in zip(lot.works, lot.hashes, strict=True):
                words, owner = next(terms), lot.elsewhere.get(key, lot)
                if key in owner.refused:
                    refused[work.chunk.document_id] = owner.refused[key]
                elif key in owner.waiting:
                    waiting.add(work.chunk.document_id)
                else:
                    found = owner.made[key]
                    written.append(_record_for(found.record, work.chunk.id, self._run_id))
                    sparse = passage_terms(words.counts, weighting)
                    points.append(_point(self._target, work, found, sparse))
                    kept.append(words)
        embedded = [made for lot in lots for made in lot.embedded]
        return Written(
            points=points,
            records=written,
            analysed=kept,
            embedded=len(embedded),
            reused=len(points) - len(embedded),
            refused=refused,
            waiting=waiting,
            fresh=embedded,
        )

    def forget(self, lots: Sequence[Sought]) -> None:
        """Look for their texts anew from now on: they are where ``find`` finds them."""
        done = {id(lot) for lot in lots}
        self._asked = {key: lot for key, lot in self._asked.items() if id(lot) not in done}
        for lot in lots:
            # Or each would hold the one before it, to the first.
            lot.elsewhere = {}

    def _take(self, sought: Sought) -> None:
        """Make vectors and records of what came back."""
        answers, first = sought.answers, 0
        complete: dict[bytes, range] = {}
        for key, one in sought.to_send.items():
            places = range(first, first + len(one.pieces))
            refusal = next((answers.refused[p] for p in places if p in answers.refused), None)
            if refusal is not None:
                sought.refused[key] = str(refusal)
            elif all(place in answers.made for place in places):
                complete[key] = places
            else:
                sought.waiting.add(key)
            first = places.stop
        if not complete:
            return
        came = [answers.made[place] for places in complete.values() for place in places]
        received = np.stack([answer.vector for answer in came])
        units, norms = normalise(received)
        first = 0
        for key in complete:
            one = sought.to_send[key]
            last = first + len(one.pieces)
            vector, norm = units[first], float(norms[first])
            if len(one.pieces) > 1:
                weights = weights_of(self._target.embedder, one.pieces, "document")
                vector, norm = joined(units[first:last], weights)
            record = VectorRecord(
                index_id=self._target.index.id,
                chunk_id=one.chunk_id,
                run_id=self._run_id,
                copied_by_run_id=None,
                sent_hash=key,
                received_hash=_hash(received[first:last]),
                stored_hash=_hash(vector),
                norm=norm,
                batch_size=came[first].batch_size,
                batch_position=came[first].position,
                pieces=len(one.pieces),
            )
            sought.made[key] = Made(vector=vector, record=record)
            sought.embedded.append(sought.made[key])
            first = last


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
    """Get a vector for every chunk, one lot alone; otherwise see ``Seeker``.

    Raises:
        EmbedderError: the embedder does not answer, answers nonsense or refuses everything.
    """
    seeker = Seeker(services, target, run_id, also_from=also_from, fresh=fresh)
    sought = await seeker.find(works)
    await seeker.send(sought)
    # For the proof, which comes next.
    target.embedder.meter.release(sought.held)
    return seeker.written([sought], weighting=weighting, analysed=analysed)


async def keep_vectors(services: Services, target: Target, embedded: Sequence[Made]) -> None:
    """Keep what was embedded for texts that come again; the model has proved itself since."""
    await services.vectors.put(
        target.version.id,
        "document",
        [
            CachedVector(
                vector=made.vector,
                **{name: getattr(made.record, name) for name in _KEPT},
            )
            for made in embedded
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
    known = await services.vectors.find(
        target.version.id, "document", list(set(hashes)), since=target.since
    )
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


def _affordable(target: Target, fresh: Mapping[bytes, _Fresh]) -> tuple[dict[bytes, _Fresh], float]:
    """Take texts from the beginning for which there is money, and for the proof at their end.

    The latter is held back, and given with them.
    """
    embedder = target.embedder
    left = embedder.meter.left()
    if left is None or not fresh:
        return dict(fresh), 0.0
    # Where one differs, it is sent again so many times.
    proof = (1 + REPEATS) * sum(
        embedder.counted([canary.text], canary.kind).cost for canary in target.canaries
    )
    left -= proof
    taken = {}
    for sent_hash, one in fresh.items():
        left -= embedder.counted(one.pieces, "document").cost
        if left < 0:
            break
        taken[sent_hash] = one
    if not taken:
        return {}, 0.0
    embedder.meter.hold(proof)
    return taken, proof


async def _copied(
    services: Services,
    target: Target,
    store: VectorStore,
    hashes: Sequence[bytes],
    run_id: UUID,
) -> dict[bytes, Made]:
    """Take over vectors of equal texts, if the store still has them to the bit."""
    async with transaction(services.engine) as connection:
        known = await records.reusable(
            connection, target.version.id, store.name, list(set(hashes)), since=target.since
        )
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
