"""What is planned and read, as rows of the catalog."""

from uuid import UUID

from ingest.opening import OpenSource
from ingest.plan import PlannedChunk, PlannedDocument
from search_app.catalog.chunks import Place, code_json
from search_app.catalog.sources import FinishedSource


def document_row(document: PlannedDocument, run_id: UUID) -> dict[str, object]:
    """Give the row of a document."""
    return {
        "id": document.id,
        "source_id": document.source_id,
        "uri": document.uri,
        "title": document.title,
        "language": document.language,
        "media_type": document.media_type,
        "fields": document.fields,
        "content_hash": document.content_hash,
        "layout": document.layout,
        "run_id": run_id,
    }


def chunk_row(chunk: PlannedChunk) -> dict[str, object]:
    """Give the row of a chunk."""
    return {
        "id": chunk.id,
        "document_id": chunk.document_id,
        "chunking": chunk.chunking,
        "ordinal": chunk.ordinal,
        "text": chunk.text,
        "context": chunk.context,
        "text_hash": chunk.text_hash,
        "char_start": chunk.char_start,
        "char_end": chunk.char_end,
        "heading_path": list(chunk.heading_path),
        "page": chunk.page,
        "tokens": chunk.tokens,
        "code": code_json(chunk.code),
        "fields": chunk.fields,
    }


def place_row(chunk: PlannedChunk) -> Place:
    """Give where a chunk stands in its document now."""
    return Place(
        chunk_id=chunk.id,
        ordinal=chunk.ordinal,
        char_start=chunk.char_start,
        char_end=chunk.char_end,
        page=chunk.page,
        text=chunk.text,
        heading_path=chunk.heading_path,
        tokens=chunk.tokens,
        code=chunk.code,
        fields=chunk.fields,
    )


def finished_row(source: OpenSource) -> FinishedSource:
    """Give how reading a source ended, with its first reason where some of it failed."""
    if source.failures == 0:
        return FinishedSource(id=source.id, content_hash=source.content_hash)
    more = f" (and {source.failures - 1} more)" if source.failures > 1 else ""
    return FinishedSource(id=source.id, content_hash=None, reason=f"{source.first_reason}{more}")
