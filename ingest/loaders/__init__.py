"""What reads files: one module a family of formats, found here by a file's name.

``load`` streams documents and errors, ``content_hash`` says whether a source changed, ``reader``
whether what reads it did.
"""

import importlib.metadata
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePath

from ingest.loaders.documents import EMPTY
from ingest.loaders.html import load_html
from ingest.loaders.jsonl import jsonl_records
from ingest.loaders.pdf import load_pdf
from ingest.loaders.reading import CHANGED, HashedFile, content_hash, open_source, read_source
from ingest.loaders.records import Record, RecordReader
from ingest.loaders.tables import csv_records, tsv_records
from ingest.loaders.text import CODE_LANGUAGES, load_code, load_markdown, load_text
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import SourceError

__all__ = [
    "LoadOptions",
    "content_hash",
    "is_supported",
    "load",
    "loader_version",
    "reader",
    "supported",
]

FileLoader = Callable[[SourceRef, bytes], LoadedDocument]
RecordLoader = Callable[[str, io.BufferedReader], Iterator[Record | SourceError]]


@dataclass(frozen=True, kw_only=True)
class Loader:
    """How a family of formats is read; ``version`` rises with every change of what comes out.

    ``libraries`` are packages whose version has a say in it too. Exactly one of ``file`` and
    ``records`` is set.
    """

    name: str
    version: int
    libraries: tuple[str, ...] = ()
    file: FileLoader | None = None
    records: RecordLoader | None = None


_TEXT = Loader(name="text", version=1, file=load_text)
_CODE = Loader(name="code", version=1, file=load_code)
_MARKDOWN = Loader(name="markdown", version=1, libraries=("markdown-it-py",), file=load_markdown)
_HTML = Loader(name="html", version=1, libraries=("beautifulsoup4", "markdownify"), file=load_html)
_PDF = Loader(name="pdf", version=1, libraries=("pypdfium2",), file=load_pdf)
_CSV = Loader(name="csv", version=1, records=csv_records)
_TSV = Loader(name="tsv", version=1, records=tsv_records)
_JSONL = Loader(name="jsonl", version=1, records=jsonl_records)

_BY_SUFFIX: Mapping[str, Loader] = {
    **dict.fromkeys((".md", ".markdown"), _MARKDOWN),
    **dict.fromkeys((".txt", ".text", ".rst", ".log"), _TEXT),
    **dict.fromkeys((".html", ".htm", ".xhtml"), _HTML),
    ".pdf": _PDF,
    ".csv": _CSV,
    ".tsv": _TSV,
    **dict.fromkeys((".jsonl", ".ndjson"), _JSONL),
    **dict.fromkeys(CODE_LANGUAGES, _CODE),
}
_BLOCK = 1 << 20
_NAMES_WITHOUT_SUFFIX = frozenset(
    {"README", "LICENSE", "CHANGELOG", "Makefile", "Dockerfile", "NOTICE", "AUTHORS"}
)


def supported() -> list[str]:
    """List what can be read: suffixes in lower case, and names that need none."""
    return [*sorted(_BY_SUFFIX), *sorted(_NAMES_WITHOUT_SUFFIX)]


def is_supported(name: str) -> bool:
    """Say whether files of this name can be read."""
    return _loader_of(name) is not None


def loader_version(ref: SourceRef) -> str:
    """Name the loader of a source with its version and those of the libraries under it.

    Raises:
        SourceError: nothing reads files of this name.
    """
    loader = _loader(ref)
    libraries = (f"{name}={importlib.metadata.version(name)}" for name in loader.libraries)
    return "/".join([loader.name, str(loader.version), *libraries])


def reader(ref: SourceRef, options: LoadOptions) -> str:
    """Name all that decides what an unchanged source is read as: its loader and its options.

    Raises:
        SourceError: nothing reads files of this name.
    """
    version = loader_version(ref)
    if _loader(ref).records is None:
        return version
    fields = (options.text_fields, options.meta_fields, options.title_field, options.id_field)
    return f"{version}/{sha256(repr(fields).encode()).hexdigest()[:12]}"


def load(
    ref: SourceRef, options: LoadOptions, *, expected_hash: bytes | None = None
) -> Iterator[LoadedDocument | SourceError]:
    """Read a source, document by document; what cannot be read yields its error and never raises.

    With ``expected_hash`` (from ``content_hash``) other bytes than those are an error, the last
    thing yielded.
    """
    try:
        yield from _load(ref, options, expected_hash)
    except SourceError as error:
        yield error
    except Exception as exc:  # noqa: BLE001 - parsers fail on hostile files in ways no list names; one file must not end a run over thousands
        first_line = next(iter(str(exc).splitlines()), "")
        yield SourceError(ref.uri, f"cannot be read: {type(exc).__name__}: {first_line[:200]}")


def _load(
    ref: SourceRef, options: LoadOptions, expected_hash: bytes | None
) -> Iterator[LoadedDocument | SourceError]:
    loader = _loader(ref)
    if ref.size == 0:
        raise SourceError(ref.uri, EMPTY)
    if loader.records is not None:
        reader = RecordReader(ref, options, loader.name)
        with open_source(ref) as file:
            yield from _load_records(ref, loader.records, reader, file, expected_hash)
    elif loader.file is not None:
        if ref.size > options.max_file_mb * 1_000_000:
            raise SourceError(
                ref.uri,
                f"has {ref.size / 1e6:,.0f} MB; at most {options.max_file_mb}, "
                "set by UNMOVED_MAX_FILE_MB",
            )
        yield loader.file(ref, read_source(ref, expected_hash))


def _load_records(
    ref: SourceRef,
    records: RecordLoader,
    reader: RecordReader,
    file: io.BufferedReader,
    expected_hash: bytes | None,
) -> Iterator[LoadedDocument | SourceError]:
    hashed = HashedFile(file)
    buffered: io.BufferedReader = io.BufferedReader(hashed, _BLOCK)
    found_any = False
    for found in reader.documents(records(ref.uri, buffered)):
        found_any = True
        yield found
    while buffered.read(_BLOCK):
        # Reading may have stopped at an error; the hash is of all bytes.
        pass
    if expected_hash is not None and hashed.digest() != expected_hash:
        raise SourceError(ref.uri, CHANGED)
    if not found_any:
        raise SourceError(ref.uri, EMPTY)


def _loader_of(name: str) -> Loader | None:
    suffix = PurePath(name).suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    return _TEXT if name in _NAMES_WITHOUT_SUFFIX else None


def _loader(ref: SourceRef) -> Loader:
    loader = _loader_of(ref.path.name)
    if loader is None:
        raise SourceError(ref.uri, unknown_type(ref.path.name))
    return loader


def unknown_type(name: str) -> str:
    """Say that nothing reads files of this name, and what can be read."""
    suffix = PurePath(name).suffix
    kind = f"unknown type {suffix}" if suffix else "unknown type (no suffix)"
    return f"{kind}; supported: text, Markdown, HTML, PDF, CSV, TSV, JSONL, source code"
