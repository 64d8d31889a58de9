"""Passages that say nearly the same: by how many short pieces of text they share."""

import unicodedata
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

SHINGLE = 5
"""Characters of a piece."""

SAME = 0.8
"""Share of their pieces that two passages must have in common (Jaccard) to say nearly the same."""

_SKETCHED = 64
"""Pieces that stand for all of a text in a first comparison (MinHash: Broder, 1997)."""

_LIKELY = 0.5
"""Share of these that must be equal; two texts above SAME fall short of it once in 10⁷ times."""

_Hashes = NDArray[np.uint64]

_random = np.random.default_rng(5)
_POWERS = _random.integers(1, 2**63, SHINGLE, np.uint64) | np.uint64(1)
_ORDERS = _random.integers(1, 2**63, (_SKETCHED, 2), np.uint64) | np.uint64(1)
_FOLD = np.uint64(29)


def near_duplicates(texts: Sequence[str]) -> list[int]:
    """Give for each text the first one that says nearly the same; its own place if there is none.

    A text is compared with those that came first in their groups, so that a chain of small changes
    does not make one group of two texts that differ. A thousand texts take about a second.
    """
    pieces = [_shingles(text) for text in texts]
    sketches = np.empty((len(texts), _SKETCHED), np.uint64)
    firsts = np.empty(len(texts), np.intp)
    groups: list[int] = []
    number = 0
    for place, mine in enumerate(pieces):
        sketches[place] = sketch = _sketch(mine)
        equal = (sketches[firsts[:number]] == sketch).mean(axis=1)
        likely = firsts[:number][equal >= _LIKELY].tolist()
        group = next((first for first in likely if _alike(mine, pieces[first])), place)
        if group == place:
            firsts[number] = place
            number += 1
        groups.append(group)
    return groups


def _shingles(text: str) -> _Hashes:
    """Give the hashes of the pieces of a text, each once, in order."""
    plain = "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))
    if not plain:
        digest = blake2b(text.strip().encode(), digest_size=8).digest()
        return np.frombuffer(digest, np.uint64)
    letters = np.frombuffer(plain.encode("utf-32-le"), "<u4").astype(np.uint64)
    size = min(SHINGLE, len(letters))
    windows = np.lib.stride_tricks.sliding_window_view(letters, size)
    # Like all sums here, modulo 2⁶⁴.
    return np.unique(windows @ _POWERS[:size])


def _sketch(pieces: _Hashes) -> _Hashes:
    """Give the first piece in each of many orders."""
    return np.array([_mixed(pieces * odd + more).min() for odd, more in _ORDERS], np.uint64)


def _mixed(hashes: _Hashes) -> _Hashes:
    """Let the lower bits have a say in the higher ones, which decide the order."""
    mixed: _Hashes = (hashes ^ (hashes >> _FOLD)) * _POWERS[0]
    return mixed


def _alike(one: _Hashes, other: _Hashes) -> bool:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared >= SAME * (len(one) + len(other) - shared)
