"""Where the vector of a passage comes from: model version, run, and the bytes as recorded."""

from dataclasses import dataclass
from uuid import UUID

from search_app.bootstrap import Services
from search_app.catalog import chunks, collections, documents, indexes, models, records, runs
from search_app.catalog.chunks import Passage
from search_app.catalog.engine import transaction
from search_app.catalog.records import VectorRecord
from search_app.errors import NotFoundError
from search_app.types import Index, ModelVersion, Run


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything that is known of one vector in the active index of its collection."""

    passage: Passage
    collection: str
    index: Index
    record: VectorRecord
    version: ModelVersion
    run: Run


async def provenance_of(services: Services, chunk_id: UUID) -> Provenance:
    """Look up where the vector of a chunk comes from.

    Raises:
        NotFoundError: there is no such chunk, or it has no vector in the active index.
    """
    async with transaction(services.engine) as connection:
        passage = (await chunks.passages(connection, [chunk_id])).get(chunk_id)
        if passage is None:
            raise NotFoundError(f"no passage {chunk_id}; its document may have changed")
        document = await documents.get(connection, passage.document.id)
        collection = await collections.get(connection, document.collection)
        index = await indexes.active(connection, collection)
        record = await records.get(connection, index.id, chunk_id)
        return Provenance(
            passage=passage,
            collection=collection.name,
            index=index,
            record=record,
            version=await models.get(connection, index.model_version_id),
            run=await runs.get(connection, record.run_id),
        )
