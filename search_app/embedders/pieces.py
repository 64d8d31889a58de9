"""Texts that are longer than a model reads: cut into pieces, and their vectors made one again.

A provider that is sent more than its model reads cuts it off, mostly without a word. Here the text
is counted first, by the model's own tokenizer; where there is none, or nobody knows the limit,
nothing can be known and the text is sent as it is.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from search_app.embedders.base import Embedder
from search_app.embedders.batching import normalise
from search_app.errors import EmbedderRefusedError
from search_app.types import Kind, Matrix, Vector

_ENDS = (
    re.compile(r"\n+"),
    re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])"),
    re.compile(r"\s+"),
)
"""Where texts may be cut, the best places first: lines, sentences, words."""

_REACH = 0.25
"""How far from where it would be even a cut may lie, as a share of a piece."""


def length(embedder: Embedder, text: str, kind: Kind) -> int | None:
    """Count the tokens of a text that is longer than the model reads; None of any other."""
    limit = embedder.limits.text_tokens
    if limit is None:
        return None
    tokens = embedder.count_tokens(text, kind)
    return tokens if tokens is not None and tokens > limit else None


def pieces_of(embedder: Embedder, text: str, kind: Kind) -> list[str]:
    """Cut a text into pieces of which each is no longer than the model reads.

    They are about equally long and end where lines, sentences or words do; a text without any of
    these is cut between characters. Blanks at the cuts are left out, all else is in one piece. The
    same text is always cut alike. A text that the model reads whole stays whole.

    Raises:
        EmbedderRefusedError: not even single characters are short enough.
    """
    tokens = length(embedder, text, kind)
    limit = embedder.limits.text_tokens
    if tokens is None or limit is None or not text.strip():
        return [text]
    if len(text.strip()) == 1:
        raise EmbedderRefusedError(
            f"{embedder.spec} reads {limit:,} tokens, and what is put before every text is longer"
        )
    # What goes before each piece counts again in each, so this may be too few; then they are cut
    # again.
    number = min(-(-tokens // limit), len(text))
    return [
        piece
        for part in _parts(text.strip(), max(2, number))
        for piece in pieces_of(embedder, part, kind)
    ]


def _parts(text: str, number: int) -> list[str]:
    """Cut a text into so many parts of about one length, or fewer; none of them is blank."""
    size = len(text) / number
    cuts = [0, *(_cut(text, round(size * step), size) for step in range(1, number)), len(text)]
    parts = [text[start:end].strip() for start, end in pairwise(cuts)]
    return [part for part in parts if part]


def _cut(text: str, wanted: int, size: float) -> int:
    """Find the best place for a cut near the one that is wanted."""
    reach = int(size * _REACH)
    first, last = max(1, wanted - reach), min(len(text) - 1, wanted + reach)
    for end in _ENDS:
        # From a little before, since some ends are known by what stands in front of them.
        places = [
            match.end() for match in end.finditer(text, first - 1, last) if match.end() >= first
        ]
        if places:
            return min(places, key=lambda place: abs(place - wanted))
    return min(max(1, wanted), len(text) - 1)


def joined(units: Matrix, tokens: Sequence[int]) -> tuple[Vector, float]:
    """Make one vector of those of a text's pieces: the mean of their directions, by their tokens.

    Args:
        units: the unit vectors, (pieces, d) float32.
        tokens: how many tokens each piece has.

    Returns:
        The unit vector, (d,) float32, and the length of the mean before normalising.

    Raises:
        EmbedderResponseError: they cancel each other out.
    """
    weights = np.asarray(tokens, np.float64)
    mean = (weights @ units.astype(np.float64)) / weights.sum()
    whole, norms = normalise(mean[np.newaxis].astype(np.float32))
    return whole[0], float(norms[0])


async def embed_in_pieces(embedder: Embedder, text: str, kind: Kind, pieces: int) -> Vector | None:
    """Embed a text alone, in as many pieces as it was embedded in before; give the unit vector.

    None where it would be cut into another number of pieces now, so that no comparison says
    anything: the model reads more or less than it did then.

    Raises:
        EmbedderError: no answer, or one without a direction.
    """
    parts = [text] if pieces == 1 else pieces_of(embedder, text, kind)
    if len(parts) != pieces:
        return None
    units, _ = normalise(np.concatenate([await embedder.embed([part], kind) for part in parts]))
    if pieces == 1:
        return np.asarray(units[0])
    return joined(units, weights_of(embedder, parts, kind))[0]


def weights_of(embedder: Embedder, parts: Sequence[str], kind: Kind) -> list[int]:
    """Give what each piece weighs in the mean: its tokens."""
    return [max(1, embedder.count_tokens(part, kind) or 1) for part in parts]
