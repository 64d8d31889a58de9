"""The last step of every loader: from parts to a document that the catalog can hold."""

from collections.abc import Mapping

from ingest.language import detect
from ingest.loaders.decoding import check_lines, check_text
from ingest.types import LoadedDocument, SourceRef, Structure
from search_app.errors import SourceError
from search_app.types import JSON

EMPTY = "empty: nothing to ingest"
_LONGEST_TITLE = 300


def make_document(
    ref: SourceRef,
    *,
    text: str,
    media_type: str,
    structure: Structure,
    title: str = "",
    key: str | None = None,
    fallback_title: str | None = None,
    meta: Mapping[str, JSON] | None = None,
    language_hint: str | None = None,
    page_starts: tuple[int, ...] = (),
    encoding: str = "",
) -> LoadedDocument:
    """Build the document of a source, or of the record ``key`` of it.

    Raises:
        SourceError: there is no text, a line is too long, or a part cannot be stored.
    """
    uri = ref.uri if key is None else f"{ref.uri}#{key}"
    if not text.strip():
        raise SourceError(uri, EMPTY)
    title = " ".join(title.split())[:_LONGEST_TITLE]
    meta = dict(meta or {})
    check_lines(uri, text)
    check_text(uri, text)
    check_text(uri, title, "title")
    _check_meta(uri, meta)
    return LoadedDocument(
        uri=uri,
        source=ref.uri,
        title=title or fallback_title or ref.name,
        titled=bool(title),
        text=text,
        language=detect(text, language_hint),
        media_type=media_type,
        structure=structure,
        meta=meta,
        page_starts=page_starts,
        encoding=encoding,
    )


def _check_meta(uri: str, meta: Mapping[str, JSON]) -> None:
    for name, value in meta.items():
        check_text(uri, name, "a metadata name")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str):
                check_text(uri, item, f"metadata {name!r}")
