"""Passages that say nearly the same: by how many short pieces of text they share."""

import unicodedata
from collections.abc import Sequence

SHINGLE = 5
"""Characters of a piece."""

SAME = 0.8
"""Share of their pieces that two passages must have in common (Jaccard) to say nearly the same."""


def near_duplicates(texts: Sequence[str]) -> list[int]:
    """Give for each text the first one that says nearly the same; its own place if there is none.

    A text is compared with those that came first in their groups, so that a chain of small changes
    does not make one group of two texts that differ.
    """
    pieces = [_shingles(text) for text in texts]
    groups: list[int] = []
    firsts: list[int] = []
    for place, mine in enumerate(pieces):
        group = next((first for first in firsts if _alike(mine, pieces[first])), place)
        if group == place:
            firsts.append(place)
        groups.append(group)
    return groups


def _shingles(text: str) -> frozenset[str]:
    plain = "".join(
        character
        for character in unicodedata.normalize("NFKC", text).casefold()
        if character.isalnum()
    )
    if not plain:
        return frozenset([text.strip()])
    return frozenset(
        plain[start : start + SHINGLE] for start in range(max(1, len(plain) - SHINGLE + 1))
    )


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    smaller, larger = sorted((len(one), len(other)))
    # Sets of such different sizes cannot share enough, and most pairs end here.
    if smaller < SAME * larger:
        return False
    shared = len(one & other)
    return shared >= SAME * (smaller + larger - shared)
