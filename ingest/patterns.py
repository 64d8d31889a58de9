"""Patterns of paths: ``*``, ``?`` and ``[…]`` within a name, ``**`` for any number of folders."""

import fnmatch
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from search_app.errors import InvalidInputError

Pattern = tuple[str, ...]
"""One part a name."""
States = frozenset[int]
"""How many parts of a pattern the names of a path may have used up."""


def start(pattern: Pattern) -> States:
    """Begin to match a path, no name of which was seen yet."""
    return _closed(pattern, {0})


def advanced(pattern: Pattern, states: States, name: str) -> States:
    """Match one more name; what lies below a match matches too."""
    after: set[int] = set()
    for state in states:
        if state == len(pattern) or pattern[state] == "**":
            after.add(state)
        elif _same(name, pattern[state]):
            after.add(state + 1)
    return _closed(pattern, after)


def matched(pattern: Pattern, states: States) -> bool:
    """Say whether the whole pattern is used up."""
    return len(pattern) in states


def _closed(pattern: Pattern, states: set[int]) -> States:
    """Add what is reached without another name, since ``**`` also stands for none."""
    reached = set(states)
    for state, part in enumerate(pattern):
        if part == "**" and state in reached:
            reached.add(state + 1)
    return frozenset(reached)


def _same(name: str, part: str) -> bool:
    if not (name.isascii() and part.isascii()):
        # macOS writes が and é as two characters each, and people type them as one.
        name, part = (unicodedata.normalize("NFC", text) for text in (name, part))
    return fnmatch.fnmatchcase(name, part)


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """What is passed over below a folder; ``folders_only`` if the pattern ended in a slash."""

    pattern: Pattern
    folders_only: bool


def exclusion(typed: str) -> Exclusion:
    """Read a pattern as ``.gitignore`` has it, without ``!``.

    Without a slash it is a name at any depth, with one a path from the folder that is read; a
    slash at its end means folders only.

    Raises:
        InvalidInputError: it stands for nothing, or leads out of the folder.
    """
    parts = tuple(part for part in typed.split("/") if part not in ("", "."))
    if not parts or ".." in parts:
        raise InvalidInputError(
            f"cannot exclude {typed!r}: write a name such as '*.log', "
            "or a path below the folder such as 'drafts/2019'"
        )
    anchored = "/" in typed.rstrip("/")
    return Exclusion(pattern=parts if anchored else ("**", *parts), folders_only=typed[-1:] == "/")


class Exclusions:
    """What is excluded, and how far each pattern is matched at one path."""

    def __init__(self, every: Sequence[Exclusion], states: Sequence[States] | None = None) -> None:
        """Begin at the folder that is read."""
        self._every = every
        self._states = [start(one.pattern) for one in every] if states is None else states

    def below(self, name: str) -> "Exclusions":
        """Go on to an entry of the folder."""
        if not self._every:
            return self
        states = [
            advanced(one.pattern, reached, name)
            for one, reached in zip(self._every, self._states, strict=True)
        ]
        return Exclusions(self._every, states)

    def hit(self, *, folder: bool) -> bool:
        """Say whether the path is excluded, given whether it is a folder."""
        return any(
            matched(one.pattern, reached) and (folder or not one.folders_only)
            for one, reached in zip(self._every, self._states, strict=True)
        )
