"""Where the vector of a passage comes from, and whether its text gives the same vector now."""

from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.access.principal import acting_as, seen_collections
from search_app.bootstrap import Services
from search_app.catalog import chunks, collections, documents, indexes, models, records, runs
from search_app.catalog.chunks import Passage, indexed_text
from search_app.catalog.engine import reading
from search_app.catalog.records import VectorRecord
from search_app.embedders.pieces import embed_in_pieces
from search_app.errors import InvalidInputError, ModelMismatchError, NotFoundError
from search_app.identity import SAME_MODEL_LIMIT, distance
from search_app.types import JSON, Collection, Index, ModelVersion, Run, Vector


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything that is known of one vector in one index.

    ``sent`` is the text that was embedded, prefix included, made anew from the catalog; where its
    hash is not the recorded one, it is not what was sent then (``sent_as_recorded``).
    """

    passage: Passage
    collection: str
    index: Index
    record: VectorRecord
    version: ModelVersion
    run: Run
    sent: str

    @property
    def sent_as_recorded(self) -> bool:
        """Whether the text is the one that was sent, by its hash."""
        return sha256(self.sent.encode()).digest() == self.record.sent_hash


class Likeness(StrEnum):
    """How near a vector that was made now comes to the one that is stored."""

    EQUAL = "equal"
    """To the bit."""
    WITHIN = "within"
    """No further away than sends of one text were seen to be from each other."""
    NEW_BUILD = "new_build"
    """Further than that, but no further than two builds of one model may be."""
    BEYOND = "beyond"
    """As far away as another model, another text or other bytes would be."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """A text that was embedded again, compared with what is stored.

    ``distance`` is 1 − cos. ``intact`` says that the stored bytes are still those that were
    recorded; where they are not, the store has been changed, whatever the model does.
    """

    distance: float
    likeness: Likeness
    intact: bool
    noise_floor: float

    @property
    def cosine(self) -> float:
        """The cosine of the two vectors."""
        return 1.0 - self.distance

    @property
    def holds(self) -> bool:
        """Whether nothing but noise sets the two vectors apart."""
        return self.intact and self.likeness in (Likeness.EQUAL, Likeness.WITHIN)


async def provenance_of(
    services: Services, chunk_id: UUID, *, index: str | None = None
) -> Provenance:
    """Look up where the vector of a passage comes from, in the index that answers searches.

    ``index`` names another one by the beginning of its id.

    Raises:
        NotFoundError: there is no such passage, or it has no vector in that index.
        InvalidInputError: the index is one of another collection.
    """
    async with reading(services.engine) as connection:
        passage = (await chunks.passages(connection, [chunk_id])).get(chunk_id)
        if passage is None:
            raise NotFoundError(f"no passage {chunk_id}; its document may have changed")
        name = (await documents.get(connection, passage.document.id)).collection
        collection = await collections.get(connection, name)
        found = await _index(connection, collection, index)
        recorded = await chunks.recorded(connection, found.id, [chunk_id])
        if not recorded:
            raise await _no_vector(connection, chunk_id, found)
        version = await models.get(connection, found.model_version_id)
        record = await records.get(connection, found.id, chunk_id)
        return Provenance(
            passage=passage,
            collection=collection.name,
            index=found,
            record=record,
            version=version,
            run=await _run(connection, record.run_id),
            sent=version.identity.document_prefix
            + indexed_text(recorded[0].context, recorded[0].text),
        )


async def verify(services: Services, found: Provenance) -> Verification:
    """Embed the text of a passage once more, alone, and compare with the stored vector.

    A text that was too long for the model is sent in pieces, as it was then.

    Raises:
        NotFoundError: the store has no vector of it, though the catalog has a record.
        InvalidInputError: it would be cut into another number of pieces now.
        ModelMismatchError: what answers has other dimensions.
        EmbedderError: it does not answer, or refuses.
        StoreError: the store does not answer.
    """
    stored = await _stored(services, found)
    embedder = services.embedder(found.version.spec)
    text = found.sent.removeprefix(found.version.identity.document_prefix)
    pieces = found.record.pieces
    vector = await embed_in_pieces(embedder, text, "document", pieces)
    if vector is None:
        raise InvalidInputError(
            f"the text was sent in {pieces} pieces, since it was too long for {embedder.spec}, and "
            "would be cut into another number now: what the model reads at most has changed"
        )
    if vector.shape != stored.shape:
        raise ModelMismatchError(
            f"another model answers: {embedder.spec} gives {len(vector)} dimensions, the vector in "
            f"index {str(found.index.id)[:8]} has {len(stored)}; point the embedder's address and "
            "settings at the model of the index"
        )
    noise_floor = found.version.noise_floor
    away = distance(vector, stored)
    return Verification(
        distance=away,
        likeness=_likeness(away, noise_floor, equal=vector.tobytes() == stored.tobytes()),
        intact=sha256(stored.tobytes()).digest() == found.record.stored_hash,
        noise_floor=noise_floor,
    )


async def _run(connection: AsyncConnection, run_id: UUID) -> Run:
    """Get the run that embedded a vector.

    A vector that was copied from a collection that whoever asks may not see was made by a run of
    that one: what made it, and when, is told; what else that run did is not.
    """
    try:
        return await runs.get(connection, run_id)
    except NotFoundError:
        if seen_collections() is None:
            raise
    with acting_as(None):
        found = await runs.get(connection, run_id)
    return replace(
        found,
        collection="",
        index_id=None,
        configuration={},
        host="",
        process_id=0,
        counts={},
        progress={},
        job_id=None,
        reason=None,
        errors=0,
        part_of=None,
    )


def provenance_json(found: Provenance) -> dict[str, JSON]:
    """Give a record in the shape that ``--json`` and the API have."""
    record = found.record
    return {
        "chunk_id": record.chunk_id,
        "document_id": found.passage.document.id,
        "collection": found.collection,
        "index_id": found.index.id,
        "index_state": found.index.state,
        "store": found.index.store,
        "model_version_id": found.version.id,
        "model": found.version.name,
        "model_unverified": found.version.unverified,
        "run_id": record.run_id,
        "copied_by_run_id": record.copied_by_run_id,
        "sent": found.sent,
        "sent_as_recorded": found.sent_as_recorded,
        "sent_hash": record.sent_hash.hex(),
        "received_hash": record.received_hash.hex(),
        "stored_hash": record.stored_hash.hex(),
        "norm": record.norm,
        "batch_size": record.batch_size,
        "batch_position": record.batch_position,
        "pieces": record.pieces,
        "embedded_at": record.created_at,
    }


def verification_json(found: Provenance, checked: Verification) -> dict[str, JSON]:
    """Give what embedding again gave, likewise."""
    return {
        "chunk_id": found.record.chunk_id,
        "index_id": found.index.id,
        "model": found.version.name,
        "cosine": checked.cosine,
        "distance": checked.distance,
        "likeness": checked.likeness,
        "noise_floor": checked.noise_floor,
        "intact": checked.intact,
        "holds": checked.holds,
    }


async def _index(connection: AsyncConnection, collection: Collection, named: str | None) -> Index:
    if named is None:
        return await indexes.active(connection, collection)
    found = await indexes.find(connection, named)
    if found.collection_id != collection.id:
        raise InvalidInputError(
            f"index {str(found.id)[:8]} is not one of collection {collection.name!r}, which the "
            "passage is in"
        )
    return found


async def _no_vector(connection: AsyncConnection, chunk_id: UUID, index: Index) -> NotFoundError:
    """Say that a passage has no vector in an index, and in which others it has one."""
    others = await chunks.indexes_of(connection, [chunk_id])
    named = ", ".join(sorted(str(other)[:8] for other in others))
    hint = f"it has one in index {named}; name it with --index" if others else "it has none at all"
    return NotFoundError(f"no vector of passage {chunk_id} in index {str(index.id)[:8]}; {hint}")


async def _stored(services: Services, found: Provenance) -> Vector:
    chunk_id = found.passage.chunk_id
    points = await services.store(found.index.store).fetch(found.index.id, [chunk_id])
    if not points or points[0].vector is None:
        raise NotFoundError(
            f"the store {found.index.store} has no vector of passage {chunk_id}, though one was "
            "recorded; run: ingest reconcile"
        )
    return points[0].vector


def _likeness(away: float, noise_floor: float, *, equal: bool) -> Likeness:
    if equal:
        return Likeness.EQUAL
    if away <= noise_floor:
        return Likeness.WITHIN
    if away <= max(3 * noise_floor, SAME_MODEL_LIMIT):
        return Likeness.NEW_BUILD
    return Likeness.BEYOND
