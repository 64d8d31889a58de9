"""How alike two ranked lists are, and what moved from one to the other. No I/O."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

PERSISTENCE = 0.9
"""Of rank-biased overlap: how likely a reader goes on to the next rank; 86 % of the weight is on
the first ten."""

Key = TypeVar("Key", bound=Hashable)


class Change(StrEnum):
    """What became of an entry from the first list to the second."""

    SAME = "same"
    UP = "up"
    DOWN = "down"
    ENTERED = "entered"
    LEFT = "left"


@dataclass(frozen=True, kw_only=True)
class Move(Generic[Key]):
    """An entry and its ranks in both lists, from 1; None where it is not in that list."""

    key: Key
    before: int | None
    after: int | None

    @property
    def change(self) -> Change:
        """What became of it."""
        if self.before is None:
            return Change.ENTERED
        if self.after is None:
            return Change.LEFT
        if self.before == self.after:
            return Change.SAME
        return Change.UP if self.after < self.before else Change.DOWN


def overlap(left: Sequence[Hashable], right: Sequence[Hashable]) -> float:
    """Give the share of entries that both lists have, of the longer one; 1 of two empty ones."""
    longer = max(len(left), len(right))
    return len(set(left) & set(right)) / longer if longer else 1.0


def rbo(
    left: Sequence[Hashable], right: Sequence[Hashable], persistence: float = PERSISTENCE
) -> float:
    """Give the rank-biased overlap of two lists without ties, extrapolated beyond their ends.

    This is RBO_EXT for lists of any lengths, equation 32 in W. Webber, A. Moffat and J. Zobel, "A
    similarity measure for indefinite rankings", ACM TOIS 28(4), 2010. 1 for equal lists, 0 for
    ones without a common entry.
    """
    shorter, longer = sorted((left, right), key=len)
    ends, last = len(shorter), len(longer)
    if not ends:
        return 0.0 if last else 1.0
    common = _common(shorter, longer)
    weight = 1.0
    total = 0.0
    for depth in range(1, last + 1):
        weight *= persistence
        total += common[depth] / depth * weight
        if depth > ends:
            # What the shorter list would add if it went on as it did.
            total += common[ends] * (depth - ends) / (ends * depth) * weight
    beyond = (common[last] - common[ends]) / last + common[ends] / ends
    return (1 - persistence) / persistence * total + beyond * weight


def _common(shorter: Sequence[Hashable], longer: Sequence[Hashable]) -> list[int]:
    """Count the common entries at every depth, from 0 on."""
    seen_short: set[Hashable] = set()
    seen_long: set[Hashable] = set()
    counts = [0]
    for depth, entry in enumerate(longer):
        found = 0
        if depth < len(shorter):
            other = shorter[depth]
            found += other in seen_long or other == entry
            seen_short.add(other)
            found += entry in seen_short and entry != other
        else:
            found += entry in seen_short
        seen_long.add(entry)
        counts.append(counts[-1] + found)
    return counts


def moves(left: Sequence[Key], right: Sequence[Key]) -> list[Move[Key]]:
    """Say what became of every entry: those of the second list in order, then those that left."""
    before = {key: rank for rank, key in enumerate(left, start=1)}
    after = {key: rank for rank, key in enumerate(right, start=1)}
    gone = [key for key in left if key not in after]
    return [Move(key=key, before=before.get(key), after=after.get(key)) for key in (*right, *gone)]
