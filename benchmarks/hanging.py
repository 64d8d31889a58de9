"""A parser that hangs, for the fork server of the parsers to import: see parsing.py here."""

import time
from collections.abc import Iterator

from ingest import loaders
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import SourceError

_load = loaders.load


def load(
    ref: SourceRef, options: LoadOptions, *, expected_hash: bytes | None = None
) -> Iterator[LoadedDocument | SourceError]:
    """Hang over files of that name, and read all others."""
    while ref.name == "hang.html":
        time.sleep(60)
    return _load(ref, options, expected_hash=expected_hash)


loaders.load = load
