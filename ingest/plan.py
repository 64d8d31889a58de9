"""What a document that was read becomes in the catalog: ids, hashes, fields. No I/O.

Ids are computed, never drawn, so that writing twice is writing once and the catalog of a run that
was interrupted and finished equals that of one that was not.
"""

import json
import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid5

from ingest.definitions import CodePlaces
from ingest.fetching.addresses import is_address
from ingest.loaders.properties import dated
from ingest.types import ChunkSpan, LoadedDocument, Outline, Symbol, outline_json, read_outline
from search_app.catalog.chunks import indexed_text
from search_app.catalog.cutting import StoredDocument
from search_app.types import JSON, Chunking, CodePlace

_USUAL_ENCODINGS = ("", "utf-8")

MOST_SYMBOLS = 500
"""Functions and classes by which a document can be filtered; its passages by all that they have."""

LONGEST_CONTEXT = 120
"""Most characters of title and headings embedded in front of a chunk; the inmost are kept."""


@dataclass(frozen=True, kw_only=True)
class PlannedChunk:
    """A chunk as it will stand in the catalog; ``text_hash`` covers context and text.

    ``fields`` are filter fields in the place of its document's.
    """

    id: UUID
    document_id: UUID
    chunking: str
    ordinal: int
    text: str
    context: str
    text_hash: bytes
    char_start: int
    char_end: int
    heading_path: Sequence[str]
    page: int | None
    tokens: int
    code: CodePlace | None = None
    fields: Mapping[str, JSON] | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedDocument:
    """A document as it will stand in the catalog, with its chunks for every chunking in use.

    ``layout`` is what its text was cut by besides the text, see ``layout_of``.
    """

    id: UUID
    source_id: UUID
    uri: str
    title: str
    language: str
    media_type: str
    fields: Mapping[str, JSON]
    content_hash: bytes
    layout: Mapping[str, JSON]
    chunks: Mapping[str, Sequence[PlannedChunk]]


def source_id(collection_id: UUID, uri: str) -> UUID:
    """Compute the id of a source."""
    return uuid5(collection_id, f"source\0{uri}")


def document_id(collection_id: UUID, uri: str) -> UUID:
    """Compute the id of a document."""
    return uuid5(collection_id, f"document\0{uri}")


def chunk_id(
    collection_id: UUID, uri: str, chunking: str, text_hash: bytes, occurrence: int
) -> UUID:
    """Compute the id of a chunk; ``occurrence`` counts equal texts of one document from 0."""
    return uuid5(collection_id, f"chunk\0{uri}\0{chunking}\0{text_hash.hex()}\0{occurrence}")


def context_of(document: LoadedDocument, span: ChunkSpan) -> str:
    """Compose the title and headings that a chunk stands under.

    A title that is only a file name says nothing about the text and is left out.
    """
    parts = list(span.heading_path)
    if document.titled and document.title not in parts[:1]:
        parts.insert(0, document.title)
    line = " › ".join(" ".join(part.split()) for part in parts)
    return line if len(line) <= LONGEST_CONTEXT else "…" + line[-LONGEST_CONTEXT + 1 :]


def fields_of(document: LoadedDocument, root: str) -> dict[str, JSON]:
    """Collect what a document can be filtered by, in the shape of filters.py.

    Folders are named from the folder that was ingested on, so that they read as people say them.
    The date is the document's own: a file's would change with every copy of it.
    """
    day, outline = dated(document.meta), _parsed(document)
    return {
        "language": document.language,
        "source": document.source,
        "folder": _folders(document.source, root),
        "type": document.media_type,
        **({"date": day} if day else {}),
        "meta": {**_encoding(document), **document.meta},
        **({} if outline is None else symbol_fields(outline, outline.symbols[:MOST_SYMBOLS])),
    }


def symbol_fields(outline: Outline, symbols: Sequence[Symbol]) -> dict[str, JSON]:
    """Give the filter fields of what has some of these functions and classes.

    Each is named alone, with what it stands in before it, and with the module before that.
    """
    names = (
        ".".join(parts)
        for symbol in symbols
        for parts in (symbol.path[-1:], symbol.path, (outline.module, *symbol.path))
    )
    return {
        "symbol": list(dict.fromkeys(names)),
        "symbol_kind": list(dict.fromkeys(symbol.kind for symbol in symbols)),
    }


def _parsed(document: LoadedDocument) -> Outline | None:
    outline = document.outline
    return outline if outline and outline.symbols else None


def _encoding(document: LoadedDocument) -> dict[str, JSON]:
    """Name the encoding where someone may look for it; UTF-8 would only fill every facet."""
    return {} if document.encoding in _USUAL_ENCODINGS else {"encoding": document.encoding}


def _folders(source: str, root: str) -> list[str]:
    if is_address(source):
        return _folders_of_page(source)
    return list(_folders_below(root, posixpath.dirname(source)))


@lru_cache(maxsize=1024)
def _folders_below(root: str, folder: str) -> Sequence[str]:
    parent, base = PurePosixPath(folder), PurePosixPath(root)
    if not parent.is_relative_to(base):
        return [parent.name] if parent.name else []
    inner = parent.relative_to(base.parent)
    named = [str(folder) for folder in (inner, *inner.parents) if folder != PurePosixPath(".")]
    return sorted(named)


def _folders_of_page(uri: str) -> list[str]:
    """Name the host and the parts of the path, so that a whole site can be filtered by."""
    parts = urlsplit(uri)
    below = [unquote(part) for part in parts.path.split("/")[1:-1] if part]
    return ["/".join([parts.netloc, *below[:depth]]) for depth in range(len(below) + 1)]


def plan(
    collection_id: UUID,
    document: LoadedDocument,
    spans: Mapping[Chunking, Sequence[ChunkSpan]],
    root: str,
) -> PlannedDocument:
    """Give a document and its chunks their ids and hashes."""
    fields = fields_of(document, root)
    identity = document_id(collection_id, document.uri)
    return PlannedDocument(
        id=identity,
        source_id=source_id(collection_id, document.source),
        uri=document.uri,
        title=document.title,
        language=document.language,
        media_type=document.media_type,
        fields=fields,
        content_hash=content_hash(document, fields, [chunking.name for chunking in spans]),
        layout=layout_of(document),
        chunks={
            chunking.name: plan_chunks(collection_id, document, chunking, found)
            for chunking, found in spans.items()
        },
    )


def layout_of(document: LoadedDocument) -> dict[str, JSON]:
    """Collect what a document is cut by that its chunks do not tell, with its text's SHA-256.

    Together with the texts of its chunks, ``with_layout`` makes the document of it again.
    """
    outline = document.outline
    return {
        "structure": document.structure,
        "titled": document.titled,
        "page_starts": list(document.page_starts),
        "encoding": document.encoding,
        "text_hash": sha256(document.text.encode()).hexdigest(),
        **({} if outline is None else {"outline": outline_json(outline)}),
    }


def with_layout(document: StoredDocument, text: str) -> LoadedDocument | None:
    """Make a document again as it was read; None where the text is not the one that was."""
    layout = document.layout
    if layout is None or sha256(text.encode()).hexdigest() != layout["text_hash"]:
        return None
    encoding = layout["encoding"]
    meta = dict(document.fields["meta"])
    if encoding not in _USUAL_ENCODINGS and meta.get("encoding") == encoding:
        del meta["encoding"]
    return LoadedDocument(
        uri=document.uri,
        source=document.source,
        title=document.title,
        titled=layout["titled"],
        text=text,
        language=document.language,
        media_type=document.media_type,
        structure=layout["structure"],
        meta=meta,
        page_starts=tuple(layout["page_starts"]),
        encoding=encoding,
        outline=read_outline(layout["outline"]) if "outline" in layout else None,
    )


def plan_chunks(
    collection_id: UUID,
    document: LoadedDocument,
    chunking: Chunking,
    spans: Sequence[ChunkSpan],
) -> list[PlannedChunk]:
    """Give the chunks of a document their ids and hashes."""
    identity = document_id(collection_id, document.uri)
    occurrences: Counter[bytes] = Counter()
    outline = _parsed(document)
    places = None if outline is None else CodePlaces(document.text, outline)
    chunks = []
    for ordinal, span in enumerate(spans):
        text = document.text[span.start : span.end]
        context = context_of(document, span)
        text_hash = sha256(indexed_text(context, text).encode()).digest()
        occurrence = occurrences[text_hash]
        occurrences[text_hash] += 1
        chunks.append(
            PlannedChunk(
                id=chunk_id(collection_id, document.uri, chunking.name, text_hash, occurrence),
                document_id=identity,
                chunking=chunking.name,
                ordinal=ordinal,
                text=text,
                context=context,
                text_hash=text_hash,
                char_start=span.start,
                char_end=span.end,
                heading_path=span.heading_path,
                page=span.page,
                tokens=span.tokens,
                code=span.code,
                fields=symbol_fields(outline, places.met(span.start, span.end))
                if outline and places
                else None,
            )
        )
    return chunks


def content_hash(
    document: LoadedDocument, fields: Mapping[str, JSON], chunkings: Iterable[str]
) -> bytes:
    """Hash everything that chunks and fields are made from, the names of chunkings among it."""
    everything = vars(document) | {"fields": fields, "chunkings": sorted(set(chunkings))}
    outline = everything.pop("outline")
    if outline is not None:
        # There were none at first, and what has none is as it was.
        everything["outline"] = asdict(outline)
    return sha256(json.dumps(everything, sort_keys=True).encode()).digest()
