"""The binary format of PowerPoint 97 to 2003, [MS-PPT]: the texts of each slide, and its notes.

An own reading, because kreuzberg 4.10 ran two slides of three into one and gave the text of
all slides once more as the notes of the first.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from search_app.errors import SourceError

_CONTAINER = 0xF
_HEADER = 8
_DOCUMENT_LIST = 4080
_SLIDE_REFERENCE = 1011
_SLIDES, _NOTES = 0, 2
_NOTES_ATOM = 1009
_TEXT_TYPE = 3999
_TEXT_WIDE = 4000
_TEXT_BYTES = 4008
_OUTLINE_REFERENCE = 3998
_TEXT_BOX = 61453
_EDIT = 4085
_DIRECTORY = 6002
_ENCRYPTED = 0xF3D1C4DF
_MOST_EDITS = 10_000
_NOTES_TEXT = 2
_PLACE_OF_A_NUMBER = "*"


@dataclass(frozen=True, kw_only=True)
class Text:
    """The text of a shape; its paragraphs end with a carriage return."""

    kind: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Slide:
    """The texts of a slide's shapes, and of its notes."""

    texts: Sequence[Text]
    notes: Sequence[Text]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    kind: int
    instance: int
    start: int
    end: int
    container: bool


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """An entry of the list of slides: where it lies, its id, and the texts of its outline."""

    place: int
    id: int
    outline: Sequence[Text]


def slides(source: str, stream: bytes, user: bytes) -> list[Slide]:
    """Read the streams ``PowerPoint Document`` and ``Current User``.

    Raises:
        SourceError: encrypted or damaged.
    """
    try:
        token, edit = struct.unpack_from("<II", user, 12)
        if token == _ENCRYPTED:
            raise SourceError(source, "encrypted; save it without a password")
        return list(_slides(stream, edit))
    except (struct.error, IndexError, KeyError) as exc:
        raise SourceError(source, f"damaged: {type(exc).__name__}: {exc}") from exc


def _slides(stream: bytes, edit: int) -> Iterator[Slide]:
    document, places = _directory(stream, edit)
    lists = {
        record.instance: list(_references(stream, record))
        for record in _within(stream, _record(stream, places[document]))
        if record.kind == _DOCUMENT_LIST
    }
    notes: dict[int, list[Text]] = {}
    for reference in lists.get(_NOTES, ()):
        page = _record(stream, places[reference.place])
        found = [t for t in _shape_texts(stream, page, reference.outline) if t.kind == _NOTES_TEXT]
        for atom in _within(stream, page):
            if atom.kind == _NOTES_ATOM:
                (slide,) = struct.unpack_from("<I", stream, atom.start)
                notes[slide] = found
    for reference in lists.get(_SLIDES, ()):
        page = _record(stream, places[reference.place])
        texts = list(_shape_texts(stream, page, reference.outline))
        yield Slide(texts=texts, notes=notes.get(reference.id, []))


def _directory(stream: bytes, edit: int) -> tuple[int, Mapping[int, int]]:
    """Find the document's number, and where in the stream each numbered part begins.

    Each time a file was saved, parts that had changed were added; the newest counts.
    """
    places: dict[int, int] = {}
    document = None
    for _ in range(_MOST_EDITS):
        record = _record(stream, edit)
        if record.kind != _EDIT:
            raise IndexError(f"no edit at byte {edit}")
        edit, directory, newest = struct.unpack_from("<III", stream, record.start + 8)
        document = newest if document is None else document
        entries = _record(stream, directory)
        at = entries.start if entries.kind == _DIRECTORY else entries.end
        while at < entries.end:
            (packed,) = struct.unpack_from("<I", stream, at)
            first, count = packed & 0xF_FFFF, packed >> 20
            for number, place in enumerate(struct.unpack_from(f"<{count}I", stream, at + 4)):
                places.setdefault(first + number, place)
            at += 4 + 4 * count
        if edit == 0:
            break
    return document or 0, places


def _record(stream: bytes, at: int) -> _Record:
    packed, kind, length = struct.unpack_from("<HHI", stream, at)
    return _Record(
        kind=kind,
        instance=packed >> 4,
        start=at + _HEADER,
        end=min(at + _HEADER + length, len(stream)),
        container=packed & _CONTAINER == _CONTAINER,
    )


def _within(stream: bytes, parent: _Record) -> Iterator[_Record]:
    at = parent.start
    while at + _HEADER <= parent.end:
        record = _record(stream, at)
        yield record
        at = record.end


def _references(stream: bytes, listing: _Record) -> Iterator[_Reference]:
    place, number = None, 0
    outline: list[Text] = []
    kind = 0
    for record in _within(stream, listing):
        if record.kind == _SLIDE_REFERENCE:
            if place is not None:
                yield _Reference(place=place, id=number, outline=outline)
            place, _, _, number = struct.unpack_from("<IIII", stream, record.start)
            outline = []
        elif record.kind == _TEXT_TYPE:
            (kind,) = struct.unpack_from("<I", stream, record.start)
        elif record.kind in (_TEXT_WIDE, _TEXT_BYTES):
            outline.append(Text(kind=kind, text=_decoded(stream, record)))
    if place is not None:
        yield _Reference(place=place, id=number, outline=outline)


def _shape_texts(stream: bytes, page: _Record, outline: Sequence[Text]) -> Iterator[Text]:
    """Give the texts of shapes; the outline's own are referred to by their number."""
    pending = [page]
    while pending:
        record = pending.pop()
        if record.kind == _TEXT_BOX:
            yield from _box_texts(stream, record, outline)
        elif record.container:
            pending += reversed(list(_within(stream, record)))


def _box_texts(stream: bytes, box: _Record, outline: Sequence[Text]) -> Iterator[Text]:
    kind = 0
    for record in _within(stream, box):
        if record.kind == _TEXT_TYPE:
            (kind,) = struct.unpack_from("<I", stream, record.start)
        elif record.kind == _OUTLINE_REFERENCE:
            (number,) = struct.unpack_from("<I", stream, record.start)
            yield from outline[number : number + 1]
        elif record.kind in (_TEXT_WIDE, _TEXT_BYTES):
            text = _decoded(stream, record)
            if text.strip() != _PLACE_OF_A_NUMBER:
                yield Text(kind=kind, text=text)


def _decoded(stream: bytes, record: _Record) -> str:
    data = stream[record.start : record.end]
    wide = record.kind == _TEXT_WIDE
    return data.decode("utf-16-le", "replace") if wide else data.decode("latin-1")
