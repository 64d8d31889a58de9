"""What a key may be for."""

from collections.abc import Iterable
from enum import StrEnum

from search_app.errors import InvalidInputError


class Scope(StrEnum):
    """One thing that a key may be for; ``admin`` is for all of them."""

    READ = "read"
    """Searching, asking, looking at documents, runs, checks and whatever else there is."""
    INGEST = "ingest"
    """Adding, reading again and removing documents, and following the jobs that do it."""
    ADMIN = "admin"
    """All else: indexes, checks, removing collections, keys, the log of changes."""


def read_scopes(texts: Iterable[str]) -> frozenset[Scope]:
    """Read scopes by their names.

    Raises:
        InvalidInputError: one is not known, or there are none.
    """
    known = ", ".join(Scope)
    found = set()
    for text in texts:
        try:
            found.add(Scope(text.strip().lower()))
        except ValueError as exc:
            raise InvalidInputError(f"scope {text[:20]!r} is not known; write {known}") from exc
    if not found:
        raise InvalidInputError(f"a key needs a scope; name one or more of {known}")
    return frozenset(found)
