"""The values that pass between discovery, loaders, chunker and pipeline."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from search_app.types import JSON, CodePlace

Structure = Literal["markdown", "plain", "code"]
"""How a text is built, which decides where it may be cut."""


@dataclass(frozen=True, kw_only=True)
class SourceRef:
    """A file to read.

    ``uri`` is its absolute path with forward slashes, symbolic links not resolved and the name
    not normalised, so that it is what the user sees and can type; for a page that was fetched, its
    address. ``path`` is where the bytes are, ``name`` the file name that decides what reads them.
    ``root`` is the argument it was found under. ``size`` (bytes) and ``mtime_ns`` say which state
    of the file is meant. ``validators`` are what a server gave to ask for the page again only if
    it has changed, ``meta`` what the transport knows of it.
    """

    uri: str
    path: Path
    name: str
    root: str
    size: int
    mtime_ns: int
    validators: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PageRef:
    """A web page to fetch: its address, and the argument it was found under."""

    uri: str
    root: str


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """What lies in a folder that was to be read, and is nothing to read.

    ``kind`` says why: the suffix of an unknown type, ``no suffix``, ``empty``, ``no file`` (a
    device, pipe or socket) or ``link back`` (to a folder it is in).
    """

    uri: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Symbol:
    """A function, class or the like of source code, with the comments directly above it.

    ``path`` names it from the outermost it stands in, its own name last; ``kind`` is one of
    function, method, class, interface, struct, enum, trait, impl, type, namespace and macro.
    Symbols lie within one another or apart.
    """

    start: int
    end: int
    path: tuple[str, ...]
    kind: str


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The symbols of source code, in the order of their beginnings, those around others first.

    ``module`` is what all of them stand in. ``note`` says what could not be told; without any
    symbols, the layout of the text says where it may be cut.
    """

    symbols: tuple[Symbol, ...] = ()
    module: str = ""
    note: str = ""


def outline_json(outline: Outline) -> dict[str, JSON]:
    """Give an outline as data, short: there may be many symbols."""
    symbols = [[one.start, one.end, one.kind, *one.path] for one in outline.symbols]
    return {"symbols": symbols, "module": outline.module, "note": outline.note}


def read_outline(data: Mapping[str, JSON]) -> Outline:
    """Read what ``outline_json`` gave."""
    symbols = tuple(
        Symbol(start=start, end=end, kind=kind, path=tuple(path))
        for start, end, kind, *path in data["symbols"]
    )
    return Outline(symbols=symbols, module=data["module"], note=data["note"])


@dataclass(frozen=True, kw_only=True)
class LoadedDocument:
    """A text that was read, ready to be cut.

    ``uri`` is the source's for a whole file and ``SOURCE#KEY`` for a record of one. ``titled``
    says that the title comes from the content; otherwise it is only a file name or a key.
    ``language`` is ISO 639-1, ``und`` where it cannot be told. ``media_type`` is the value of the
    filter field ``type``. ``page_starts`` are the character offsets where pages 1, 2, … begin,
    empty where there are no pages. ``encoding`` is what the bytes were read as, e.g. ``cp932``;
    empty for formats that say themselves. ``outline`` is that of source code, None where nothing is
    known of its language.
    """

    uri: str
    source: str
    title: str
    titled: bool
    text: str
    language: str
    media_type: str
    structure: Structure
    meta: Mapping[str, JSON] = field(default_factory=dict)
    page_starts: tuple[int, ...] = ()
    encoding: str = ""
    outline: Outline | None = None


@dataclass(frozen=True, kw_only=True)
class ChunkSpan:
    """Where a chunk lies in its document's text: characters ``start`` to ``end``, end exclusive.

    ``heading_path`` holds the headings that all of it stands under, outermost first. ``page``
    counts from 1 and is the page the chunk begins on. ``tokens`` counts the stripped text. ``code``
    is there for source code.
    """

    start: int
    end: int
    heading_path: tuple[str, ...] = ()
    page: int | None = None
    tokens: int
    code: CodePlace | None = None


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What a user may say about reading. The fields concern CSV and JSONL only.

    ``exclude`` are patterns of what is passed over in folders, see ``sources.discover``.

    ``passwords`` are tried on encrypted files, in order; they are neither kept nor shown. Nor is
    ``max_file_mb`` kept, the limit of the moment.

    ``text_fields`` empty: a column named text, body, content, passage or contents, else every
    column that holds text. ``meta_fields`` None: every other field that holds a value short enough
    to filter by, at most 256 characters. ``title_field`` None: title, name or subject. ``id_field``
    None: id or _id, else the number of the line.
    """

    text_fields: tuple[str, ...] = ()
    meta_fields: tuple[str, ...] | None = None
    title_field: str | None = None
    id_field: str | None = None
    max_file_mb: int = 64
    exclude: tuple[str, ...] = ()
    passwords: tuple[str, ...] = field(default=(), repr=False)

    def as_json(self) -> dict[str, JSON]:
        """Give the options as the catalog keeps them with a source."""
        return {name: value for name, value in asdict(self).items() if name not in _OF_THE_MOMENT}

    def with_kept(self, kept: Mapping[str, JSON]) -> Self:
        """Take over what ``as_json`` gave, which JSON has turned from tuples into lists."""
        read: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in kept.items()
            if name not in _OF_THE_MOMENT
        }
        return replace(self, **read)


_OF_THE_MOMENT = frozenset(["passwords", "max_file_mb"])
