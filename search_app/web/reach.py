"""Which paths may be named over HTTP: the server's user can read far more than its visitors may."""

import asyncio
import os
import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from search_app.bootstrap import Services
from search_app.catalog import collections, sources
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.errors import InvalidInputError
from search_app.uploads import upload_folder
from search_app.web.problems import Kind, ProblemError

_MAGIC = frozenset("*?[")
_UNSAYABLE = re.compile("[\x00\ud800-\udfff]")


async def check_reach(services: Services, collection: str, arguments: Sequence[str]) -> None:
    """Return if all arguments may be ingested at the wish of a visitor.

    Those are web addresses, what lies below a folder of ``UNMOVED_INGEST_ROOTS``, what was
    uploaded to the collection, and the sources that it has already.

    Raises:
        InvalidInputError: one holds what no path or address can.
        ProblemError: one may not; names it.
    """
    if any(_UNSAYABLE.search(text) for text in arguments):
        raise InvalidInputError(
            "a path or an address has a NUL or half of a surrogate pair; remove it"
        )
    paths = [text for text in arguments if not text.startswith(("http://", "https://"))]
    async with transaction(services.engine) as connection:
        known = await collections.check_open(connection, collection)
        there = await sources.known(connection, known, paths) if known else {}
    folders = roots(services.settings)
    if known is not None:
        folders.append(upload_folder(services.settings, known.id))
    for text in paths:
        if text not in there and not await asyncio.to_thread(_lies_below, text, folders):
            raise ProblemError(Kind.OUT_OF_REACH, _refusal(text, services.settings))


def roots(settings: Settings) -> list[Path]:
    """Give the folders that ``UNMOVED_INGEST_ROOTS`` names."""
    return [Path(part) for part in settings.ingest_roots.split(os.pathsep) if part.strip()]


def _lies_below(text: str, folders: Sequence[Path]) -> bool:
    path = Path(text)
    if ".." in path.parts or not path.is_absolute():
        return False
    # As far as it is no pattern: a pattern only matches names of entries, which lie below.
    literal = Path(*takewhile(lambda part: not _MAGIC & set(part), path.parts))
    try:
        real = path.resolve() if path.exists() else literal.resolve()
        return any(real.is_relative_to(folder.resolve()) for folder in folders)
    except (OSError, RuntimeError, ValueError):
        return False


def _refusal(text: str, settings: Settings) -> str:
    allowed = roots(settings)
    where = (
        f"only what lies below {', '.join(map(str, allowed))} may"
        if allowed
        else "UNMOVED_INGEST_ROOTS names no folder that may"
    )
    return (
        f"{text[:200]!r} may not be ingested over the web: {where}; upload the file, or run "
        "ingest add where it lies"
    )
