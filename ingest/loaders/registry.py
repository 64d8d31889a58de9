"""Which loader reads files of which name."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath

from ingest.fetching.addresses import is_address
from ingest.loaders.code import CODE_LANGUAGES, load_code
from ingest.loaders.containers import load_container
from ingest.loaders.grammars import is_installed, packages_of
from ingest.loaders.html import load_html
from ingest.loaders.json_list import is_list_of_objects, json_records
from ingest.loaders.jsonl import jsonl_records
from ingest.loaders.mail import load_eml
from ingest.loaders.markup import load_org, load_rst
from ingest.loaders.notebook import load_notebook
from ingest.loaders.page import load_page
from ingest.loaders.records import Record
from ingest.loaders.tables import csv_records, tsv_records
from ingest.loaders.text import load_markdown, load_text
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import SourceError

TextLoader = Callable[[SourceRef, bytes], LoadedDocument]
ContainerLoader = Callable[[SourceRef, bytes, LoadOptions], LoadedDocument]
RecordLoader = Callable[[str, io.BufferedReader], Iterator[Record | SourceError]]


@dataclass(frozen=True, kw_only=True)
class Loader:
    """How a family of formats is read; ``version`` rises with every change of what comes out.

    ``libraries`` are packages whose version has a say in it too. Exactly one of ``file``,
    ``container`` and ``records`` is set; ``media_type`` is that of records. ``isolated`` ones
    parse formats that can be made to hang or to take all memory, and are run in a process of
    their own (see parsing/); the others read text as it comes.
    """

    name: str
    version: int
    libraries: tuple[str, ...] = ()
    file: TextLoader | None = None
    container: ContainerLoader | None = None
    records: RecordLoader | None = None
    media_type: str = ""
    isolated: bool = False


def _container(name: str, version: int, *libraries: str) -> Loader:
    return Loader(
        name=name, version=version, libraries=libraries, container=load_container, isolated=True
    )


_TEXT = Loader(name="text", version=2, file=load_text)
_CODE = Loader(name="code", version=2, file=load_code)
_MARKDOWN = Loader(name="markdown", version=2, libraries=("markdown-it-py",), file=load_markdown)
_HTML_LIBRARIES = ("beautifulsoup4", "markdownify")
_HTML = Loader(name="html", version=2, libraries=_HTML_LIBRARIES, file=load_html, isolated=True)
_PAGE = Loader(
    name="page",
    version=1,
    libraries=("trafilatura", *_HTML_LIBRARIES),
    file=load_page,
    isolated=True,
)
_EMAIL = Loader(name="eml", version=1, libraries=_HTML_LIBRARIES, file=load_eml, isolated=True)
_ORG = Loader(name="org", version=1, libraries=("kreuzberg",), file=load_org, isolated=True)
_RST = Loader(name="rst", version=1, file=load_rst, isolated=True)
_NOTEBOOK = Loader(name="notebook", version=1, file=load_notebook, isolated=True)
_CSV = Loader(name="csv", version=2, records=csv_records, media_type="csv")
_TSV = Loader(name="tsv", version=2, records=tsv_records, media_type="tsv")
_JSONL = Loader(name="jsonl", version=2, records=jsonl_records, media_type="jsonl")
_JSON_LIST = Loader(name="json-list", version=2, records=json_records, media_type="jsonl")

_WORD = _container("docx", 1)
_SLIDES = _container("pptx", 1)
_WORKBOOK = _container("workbook", 1, "python-calamine")
_OPEN_DOCUMENT = _container("odf", 1)
_BINARY_OFFICE = _container("binary office", 1)

_BY_SUFFIX: Mapping[str, Loader] = {
    **dict.fromkeys(CODE_LANGUAGES, _CODE),
    **dict.fromkeys((".md", ".markdown"), _MARKDOWN),
    **dict.fromkeys((".txt", ".text", ".log", ".adoc", ".tex", ".srt", ".vtt"), _TEXT),
    **dict.fromkeys((".html", ".htm", ".xhtml"), _HTML),
    ".pdf": _container("pdf", 2, "pypdfium2"),
    **dict.fromkeys((".docx", ".docm", ".dotx"), _WORD),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx"), _SLIDES),
    **dict.fromkeys((".xlsx", ".xlsm", ".xls", ".ods"), _WORKBOOK),
    **dict.fromkeys((".odt", ".ott", ".odp"), _OPEN_DOCUMENT),
    **dict.fromkeys((".doc", ".ppt"), _BINARY_OFFICE),
    ".rtf": _container("rtf", 1, "kreuzberg"),
    ".epub": _container("epub", 1, *_HTML_LIBRARIES),
    ".msg": _container("msg", 1, "kreuzberg"),
    ".eml": _EMAIL,
    ".org": _ORG,
    ".rst": _RST,
    ".ipynb": _NOTEBOOK,
    ".csv": _CSV,
    ".tsv": _TSV,
    **dict.fromkeys((".jsonl", ".ndjson"), _JSONL),
}
_NAMES_WITHOUT_SUFFIX = frozenset(
    {"README", "LICENSE", "CHANGELOG", "Makefile", "Dockerfile", "NOTICE", "AUTHORS"}
)


def supported() -> list[str]:
    """List what can be read: suffixes in lower case, and names that need none."""
    return [*sorted(_BY_SUFFIX), *sorted(_NAMES_WITHOUT_SUFFIX)]


def is_supported(name: str) -> bool:
    """Say whether files of this name can be read."""
    return _loader_of(name) is not None


def is_isolated(ref: SourceRef) -> bool:
    """Say whether a source has to be parsed in a process of its own."""
    loader = _loader_of(ref.name)
    return loader is not None and loader.isolated


def loader_of(ref: SourceRef) -> Loader:
    """Find the loader of a source; of JSON, the beginning decides what it is read as.

    Raises:
        SourceError: nothing reads files of this name.
    """
    loader = _loader_of(ref.name)
    if loader is None:
        raise SourceError(ref.uri, unknown_type(ref.name))
    if PurePath(ref.name).suffix.lower() == ".json" and is_list_of_objects(ref):
        return _JSON_LIST
    # A page of the web comes with navigation and banners; a file that was saved, less so.
    return _PAGE if loader is _HTML and is_address(ref.uri) else loader


def _loader_of(name: str) -> Loader | None:
    suffix = PurePath(name).suffix.lower()
    if suffix in _BY_SUFFIX:
        loader = _BY_SUFFIX[suffix]
        return _parsed_code(name) if loader is _CODE else loader
    return _TEXT if name in _NAMES_WITHOUT_SUFFIX else None


def _parsed_code(name: str) -> Loader:
    """Give the loader of source code; once its grammar is installed, files are read again."""
    packages = packages_of(name)
    if not packages or not all(is_installed(package) for package in packages):
        return _CODE
    return replace(_CODE, version=4, libraries=packages, isolated=True)


def is_parsed_code(ref: SourceRef) -> bool:
    """Say whether a source is code that can be indexed without being parsed, too."""
    loader = _loader_of(ref.name)
    return loader is not None and loader.file is load_code and loader.isolated


def unknown_type(name: str) -> str:
    """Say that nothing reads files of this name, and what can be read."""
    suffix = PurePath(name).suffix
    kind = f"unknown type {suffix}" if suffix else "unknown type (no suffix)"
    return (
        f"{kind}; supported: text, Markdown, HTML, PDF, Word, PowerPoint, Excel, OpenDocument, "
        "EPUB, e-mail, CSV, TSV, JSON, notebooks, source code"
    )
