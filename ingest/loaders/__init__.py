"""What reads files: one module a family of formats, found in ``registry`` by a file's name.

``load`` streams documents and errors, ``content_hash`` says whether a source changed, ``reader``
whether what reads it did.
"""

import importlib.metadata
import io
from collections.abc import Iterator
from functools import cache
from hashlib import sha256

from ingest.loaders.code import load_unparsed
from ingest.loaders.documents import EMPTY
from ingest.loaders.reading import CHANGED, HashedFile, content_hash, open_source, read_source
from ingest.loaders.records import RecordReader
from ingest.loaders.registry import (
    RecordLoader,
    is_isolated,
    is_parsed_code,
    is_supported,
    loader_of,
    supported,
    unknown_type,
)
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import SourceError

__all__ = [
    "LoadOptions",
    "content_hash",
    "is_isolated",
    "is_parsed_code",
    "is_supported",
    "load",
    "load_code_unparsed",
    "loader_version",
    "reader",
    "supported",
    "unknown_type",
]

_BLOCK = 1 << 20


def loader_version(ref: SourceRef) -> str:
    """Name the loader of a source with its version and those of the libraries under it.

    Raises:
        SourceError: nothing reads files of this name.
    """
    loader = loader_of(ref)
    libraries = (f"{name}={_installed(name)}" for name in loader.libraries)
    return "/".join([loader.name, str(loader.version), *libraries])


@cache
def _installed(library: str) -> str:
    # Looking it up reads the folders of all packages, and is asked for every file.
    return importlib.metadata.version(library)


def reader(ref: SourceRef, options: LoadOptions) -> str:
    """Name all that decides what an unchanged source is read as: its loader and its options.

    Raises:
        SourceError: nothing reads files of this name.
    """
    version = loader_version(ref)
    if loader_of(ref).records is None:
        return version
    fields = (options.text_fields, options.meta_fields, options.title_field, options.id_field)
    return f"{version}/{sha256(repr(fields).encode()).hexdigest()[:12]}"


def load(
    ref: SourceRef, options: LoadOptions, *, expected_hash: bytes | None = None
) -> Iterator[LoadedDocument | SourceError]:
    """Read a source, document by document; what cannot be read yields its error.

    With ``expected_hash`` (from ``content_hash``) other bytes than those are an error, the last
    thing yielded.

    Raises:
        MemoryError: there is not enough; nothing else is raised.
    """
    try:
        yield from _load(ref, options, expected_hash)
    except SourceError as error:
        yield error
    except MemoryError:
        # Only whoever set the limit can say what it is.
        raise
    except Exception as exc:  # noqa: BLE001 - parsers fail on hostile files in ways no list names; one file must not end a run over thousands
        first_line = next(iter(str(exc).splitlines()), "")
        yield SourceError(ref.uri, f"cannot be read: {type(exc).__name__}: {first_line[:200]}")


def load_code_unparsed(
    ref: SourceRef, reason: str, *, expected_hash: bytes
) -> LoadedDocument | SourceError:
    """Read source code that its parser could not be done with, for the reason given."""
    try:
        return load_unparsed(ref, read_source(ref, expected_hash), reason)
    except SourceError as error:
        return error


def _load(
    ref: SourceRef, options: LoadOptions, expected_hash: bytes | None
) -> Iterator[LoadedDocument | SourceError]:
    loader = loader_of(ref)
    if ref.size == 0:
        raise SourceError(ref.uri, EMPTY)
    if loader.records is not None:
        reader = RecordReader(ref, options, loader.media_type)
        with open_source(ref) as file:
            yield from _load_records(ref, loader.records, reader, file, expected_hash)
        return
    if ref.size > options.max_file_mb * 1_000_000:
        raise SourceError(
            ref.uri,
            f"has {ref.size / 1e6:,.0f} MB; at most {options.max_file_mb}, "
            "set by UNMOVED_MAX_FILE_MB",
        )
    if loader.container is not None:
        yield loader.container(ref, read_source(ref, expected_hash), options)
    elif loader.file is not None:
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
