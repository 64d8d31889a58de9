"""What ``ingest add`` is given besides paths: lists of addresses, and standard input."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search_app.config import Settings
from search_app.errors import InvalidInputError

if TYPE_CHECKING:
    from search_app.types import Failure
    from search_app.uploads import Upload


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What to ingest: arguments, lines that are none, and what came over standard input."""

    arguments: Sequence[str]
    refused: Sequence["Failure"]
    upload: "Upload | None"


@contextmanager
def gathered(
    settings: Settings, sources: Sequence[str], *, urls: str, name: str
) -> Iterator[Inputs]:
    """Read the list and standard input, before anything else is begun.

    Raises:
        InvalidInputError: there is nothing to ingest, or the options contradict each other.
        UnmovedError: standard input cannot be kept.
    """
    from ingest.uploads import DEFAULT_NAME, STDIN, receive

    wanted = [source for source in sources if source != STDIN]
    has_upload = STDIN in sources
    _check(wanted, urls=urls, name=name, has_upload=has_upload)
    found, refused = _read_urls(urls) if urls else ([], [])
    upload = receive(settings, name or DEFAULT_NAME, sys.stdin.buffer) if has_upload else None
    try:
        yield Inputs(arguments=[*wanted, *found], refused=refused, upload=upload)
    finally:
        if upload is not None:
            upload.discard()


def _check(wanted: Sequence[str], *, urls: str, name: str, has_upload: bool) -> None:
    if not (wanted or urls or has_upload):
        raise InvalidInputError(
            "nothing to ingest; name files, folders or web addresses, or a list with --urls FILE"
        )
    if has_upload and urls == "-":
        raise InvalidInputError("standard input cannot be a document and --urls at once")
    if name and not has_upload:
        raise InvalidInputError("--name is for standard input; write - among the sources")


def _read_urls(urls: str) -> "tuple[Sequence[str], Sequence[Failure]]":
    from ingest.fetching.lists import read_list

    if urls == "-":
        found = read_list("standard input", sys.stdin.buffer)
        return found.addresses, found.refused
    try:
        with Path(urls).open("rb") as lines:
            found = read_list(urls, lines)
    except OSError as exc:
        reason = (exc.strerror or type(exc).__name__).lower()
        raise InvalidInputError(f"--urls {urls}: {reason}") from exc
    return found.addresses, found.refused
