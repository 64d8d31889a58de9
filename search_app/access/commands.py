"""Which commands change something, so that the log of changes has them too."""

import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from search_app.access.masking import masked

CHANGING = frozenset(
    {
        ("ingest", "add"),
        ("ingest", "rm"),
        ("ingest", "exclude"),
        ("ingest", "include"),
        ("ingest", "retry"),
        ("ingest", "export"),
        ("ingest", "import"),
        ("ingest", "reindex"),
        ("ingest", "activate"),
        ("ingest", "rollback"),
        ("ingest", "retire"),
        ("ingest", "collections", "rm"),
        ("ingest", "collections", "rename"),
        ("ingest", "schedule", "add"),
        ("ingest", "schedule", "rm"),
        ("search-app", "keys", "create"),
        ("search-app", "keys", "rotate"),
        ("search-app", "keys", "revoke"),
        ("search-app", "cache", "clear"),
    }
)
"""Commands that change what is served, by their words."""

_WHERE_WITH: Mapping[tuple[str, ...], str] = {
    ("ingest", "reconcile"): "--repair",
    ("ingest", "check"): "--accept",
}
"""Commands that do only with an option."""


@dataclass(kw_only=True)
class Doing:
    """A command that changes something, as long as it is under way."""

    who: str
    action: str
    target: str
    recorded: bool = False


def change_of(words: Sequence[str]) -> Doing | None:
    """Read from the words of a command what it changes; None where that is nothing."""
    for length in (3, 2):
        named = tuple(words[:length])
        option = _WHERE_WITH.get(named)
        if named in CHANGING or (option is not None and option in words):
            return Doing(
                who=_user(), action=" ".join(named), target=masked(" ".join(words[length:]))
            )
    return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container there may be no name to the number.
        return "unknown"


_doing: ContextVar[Doing | None] = ContextVar("doing", default=None)


def doing() -> Doing | None:
    """Give the command that is under way, if it changes something and is not written down yet."""
    found = _doing.get()
    return None if found is None or found.recorded else found


@contextmanager
def under_way(words: Sequence[str]) -> Iterator[None]:
    """Remember which command is under way."""
    token = _doing.set(change_of(words))
    try:
        yield
    finally:
        _doing.reset(token)
