"""Vectors of sentences, by the embedder of the index; kept, since passages come again."""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from search_app.embedders.base import Embedder
from search_app.embedders.batching import embed_all, normalise
from search_app.types import Kind, Matrix, Vector

MOST_KEPT = 20_000

LONGEST = 320
"""Characters of a sentence that are embedded: time rises with them, and the rest tells little."""


class SentenceVectors:
    """The latest vectors of sentences."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: OrderedDict[bytes, Vector] = OrderedDict()

    async def of(self, embedder: Embedder, texts: Sequence[str], kind: Kind) -> Matrix:
        """Give unit vectors, (n, d) float32, row i for ``texts[i]``.

        Raises:
            EmbedderError: the embedder failed.
        """
        keys = [_key(embedder.spec, kind, text) for text in texts]
        missing = {
            key: text[:LONGEST].strip() or "-"
            for key, text in zip(keys, texts, strict=True)
            if key not in self._kept
        }
        found = {key: self._kept[key] for key in keys if key in self._kept}
        if missing:
            received = await embed_all(embedder, list(missing.values()), kind)
            units, _ = normalise(received.vectors)
            found |= dict(zip(missing, units, strict=True))
        for key in keys:
            self._kept[key] = found[key]
            self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return np.stack([found[key] for key in keys])


def _key(spec: str, kind: Kind, text: str) -> bytes:
    return blake2b(f"{spec}\n{kind}\n{text}".encode(errors="replace"), digest_size=16).digest()
