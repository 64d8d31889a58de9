"""The page of a document: its passages in reading order, the one asked for in sight."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request, Response
from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import (
    analyses,
    chunks,
    collections,
    documents,
    exclusions,
    indexes,
    runs,
)
from search_app.catalog.chunks import Passage
from search_app.catalog.documents import Document
from search_app.catalog.engine import transaction
from search_app.errors import NotFoundError
from search_app.types import Run
from search_app.web.code import CodeLine, code_lines
from search_app.web.deps import ServicesDep, page_id
from search_app.web.hits import document_lang, source_parts, trail
from search_app.web.passages import PassagePart, passage_parts
from search_app.web.plain import is_markdown, plain
from search_app.web.rendering import render
from search_app.web.state import SearchState, read_state
from search_app.words import CODE_TYPES

BEFORE = 40
"""Passages shown before the one asked for."""

WINDOW = 2 * BEFORE + 1
"""Passages shown at once."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class ShownPassage:
    """A passage with the headings that are new with it; of source code, its ``lines``."""

    passage: Passage
    parts: Sequence[PassagePart]
    lines: Sequence[CodeLine]
    headings: Sequence[str]
    asked: bool


@dataclass(frozen=True, kw_only=True)
class DocumentView:
    """Everything that the template of a document reads."""

    document: Document
    folder: str
    file: str
    like_url: str
    why_url: str
    lang: str
    run: Run | None
    passages: Sequence[ShownPassage]
    total: int
    missing: bool
    back: str | None
    answer: str | None
    earlier: str | None
    later: str | None
    code: bool


@router.api_route("/documents/{document_id}", methods=["GET", "HEAD"])
async def document_page(request: Request, services: ServicesDep, document_id: str) -> Response:
    """Show a document."""
    state = read_state(request.query_params)
    asked = _asked(request.query_params.get("chunk", ""))
    async with transaction(services.engine) as connection:
        document = await documents.get(connection, page_id(document_id, "document"))
        run = await runs.get(connection, document.run_id) if document.run_id else None
        window = await _window(connection, document, asked, request.query_params.get("from", ""))
        suggested = await analyses.suggestions(connection, document_id=document.id)
        left = await exclusions.of_document(connection, document.id)
    view = _view(document, run, window, state, request.query_params.get("chunk", ""))
    answer = _asked(request.query_params.get("answer", ""))
    if answer is not None:
        view = replace(view, answer=f"/answers/{answer}")
    return render(request, "document.html", view=view, suggested=suggested, left=left)


@dataclass(frozen=True, kw_only=True)
class _Window:
    """The passages around the one asked for, out of ``total``."""

    passages: Sequence[Passage]
    asked: UUID | None
    first: int
    total: int


async def _window(
    connection: AsyncConnection, document: Document, asked: UUID | None, start: str
) -> _Window:
    try:
        collection = await collections.get(connection, document.collection)
        chunking = (await indexes.active(connection, collection)).chunking.name
    except NotFoundError:
        # Its first ingest has not come far enough to be searched.
        return _Window(passages=(), asked=None, first=0, total=0)
    found = (await chunks.passages(connection, [asked])).get(asked) if asked else None
    if found is not None and found.document.id != document.id:
        found = None
    first = max(0, found.ordinal - BEFORE) if found else 0
    if start.isascii() and start.isdecimal() and len(start) < 10:  # noqa: PLR2004 - digits of a 32-bit number
        first = int(start)
    passages = await chunks.of_document(
        connection, document.id, chunking, first_ordinal=first, limit=WINDOW
    )
    return _Window(
        passages=passages,
        asked=found.chunk_id if found else None,
        first=first,
        total=await chunks.count_of_document(connection, document.id, chunking),
    )


def _asked(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _view(
    document: Document, run: Run | None, window: _Window, state: SearchState, chunk: str
) -> DocumentView:
    folder, file = source_parts(document.source, document.uri)
    code = document.media_type in CODE_TYPES
    after = window.first + len(window.passages)

    def at(first: int) -> str:
        pairs = [("chunk", chunk), *state.parameters(), ("from", str(first))]
        query = urlencode([(name, value) for name, value in pairs if value])
        return f"/documents/{document.id}?{query}"

    return DocumentView(
        document=document,
        folder=folder,
        file=file,
        like_url=state.similar_url("documents", document.id),
        why_url=replace(state, collection=document.collection).why_url(document.id),
        lang=document_lang(document.language),
        run=run,
        passages=_shown(window, state.query, document),
        total=window.total,
        missing=bool(chunk) and window.asked is None,
        back=state.url() if state.query else None,
        answer=None,
        earlier=at(max(0, window.first - WINDOW)) if window.first > 0 else None,
        later=at(after) if window.passages and after < window.total else None,
        code=code,
    )


def _shown(window: _Window, query: str, document: Document) -> list[ShownPassage]:
    shown = []
    path: Sequence[str] | None = None
    code = document.media_type in CODE_TYPES
    last_line = 0
    in_code, markdown = code, is_markdown(document.media_type)
    for passage in window.passages:
        asked = passage.chunk_id == window.asked
        parts, in_code = passage_parts(
            passage.text, query if asked else "", in_code=in_code, markdown=markdown
        )
        lines = _anchored(code_lines(passage, query if asked else ""), last_line)
        last_line = lines[-1].number if lines else last_line
        shown.append(
            ShownPassage(
                passage=passage,
                lines=lines,
                parts=[PassagePart(text=Markup("").join(p.text for p in parts), code=True)]
                if code
                else parts,
                headings=_headings(passage, path, document.title),
                asked=asked,
            )
        )
        path = passage.heading_path
    return shown


def _anchored(lines: Sequence[CodeLine], done: int) -> Sequence[CodeLine]:
    """Let only one passage have the anchor of a line."""
    return [replace(line, anchor=line.number > done) for line in lines]


def _headings(passage: Passage, before: Sequence[str] | None, title: str) -> Sequence[str]:
    """Give the headings to show above a passage: none that its own text begins with."""
    path = passage.heading_path
    if passage.code is not None:
        return trail(passage) if passage.code.symbols else ()
    if not path or path == before or plain(passage.text, path) != plain(passage.text):
        return ()
    return [heading for heading in path if heading != title]
