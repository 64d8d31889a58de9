"""Cutting documents anew for an index with another chunking, from the texts in the catalog."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ingest.chunker import chunk
from ingest.plan import PlannedChunk, content_hash, plan_chunks, with_layout
from ingest.rows import chunk_row
from ingest.turns import Turns
from search_app.bootstrap import Services
from search_app.catalog import cutting, indexes
from search_app.catalog.cutting import StoredDocument
from search_app.catalog.engine import transaction
from search_app.filters import given_fields
from search_app.types import Chunking, Collection, Index

DOCUMENTS = 32
"""Documents that are cut together."""


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """A document with its new chunks, and what its content hashes to with them."""

    document: StoredDocument
    content_hash: bytes
    chunks: Sequence[PlannedChunk]


async def cut_anew(
    services: Services, collection: Collection, index: Index, known: Chunking, turns: Turns
) -> list[StoredDocument]:
    """Cut all documents that have no chunks as the index wants them.

    Their texts are those of their chunks in the chunking ``known``.

    Returns:
        Those that have to be read again, texts left out: it is not known what they were cut by.
    """
    unknown: list[StoredDocument] = []
    after = ""
    while True:
        async with transaction(services.engine) as connection:
            page = await cutting.uncut_after(connection, index, known, after, most=DOCUMENTS)
            names = {other.chunking.name for other in await indexes.live(connection, collection)}
        if not page:
            return unknown
        made = await asyncio.to_thread(_cut_all, services, page, index, names)
        done = {cut.document.id for cut in made}
        # Their texts are not needed any more, and may be many.
        unknown += [replace(document, text="") for document in page if document.id not in done]
        async with turns.turn(), transaction(services.engine) as connection:
            # What was changed meanwhile, an ingest has cut for this index as well.
            same = await cutting.rehash(
                connection,
                {
                    cut.document.id: (cut.document.content_hash or b"", cut.content_hash)
                    for cut in made
                },
            )
            await cutting.put_live(
                connection,
                [chunk_row(each) for cut in made if cut.document.id in same for each in cut.chunks],
            )
        after = page[-1].uri


def _cut_all(
    services: Services, page: Sequence[StoredDocument], index: Index, names: set[str]
) -> list[_Cut]:
    cuts = (_cut(services, document, index, names) for document in page)
    return [cut for cut in cuts if cut is not None]


def _cut(
    services: Services, document: StoredDocument, index: Index, names: set[str]
) -> _Cut | None:
    loaded = with_layout(document, document.text)
    if loaded is None or document.content_hash is None:
        return None
    spans = chunk(loaded, index.chunking, services.tokens)
    return _Cut(
        document=document,
        content_hash=content_hash(loaded, given_fields(document.fields), names),
        chunks=plan_chunks(index.collection_id, loaded, index.chunking, spans),
    )
