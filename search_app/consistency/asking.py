"""Asking a model during a check: past every cache, counted, and never more than was allowed."""

from collections.abc import Sequence

import numpy as np

from search_app.embedders.base import Embedder
from search_app.embedders.batching import normalise
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.embedders.metering import UNLIMITED, Allowance, Counted, Meter
from search_app.embedders.pieces import embed_in_pieces
from search_app.errors import EmbedderResponseError
from search_app.prices import is_free
from search_app.types import Kind, Matrix, Vector


class _Checked(Counted):
    """Refuses answers that no comparison could say anything with."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Embed as the embedder does.

        Raises:
            SpentUpError: these are more texts than may be sent.
            EmbedderResponseError: numbers that are none.
        """
        answer = await super().embed(texts, kind)
        if len(answer) != len(texts) or not np.isfinite(answer).all():
            raise EmbedderResponseError(
                f"{self.spec} answered {len(answer)} vectors to {len(texts)} texts, "
                f"{int((~np.isfinite(answer)).any(axis=1).sum())} of them with NaN or infinity"
            )
        return answer


class Asker:
    """Sends texts one by one or together, and counts them."""

    def __init__(
        self,
        embedder: Embedder,
        dimensions: int,
        tokens: TokenCounter,
        allowance: Allowance = UNLIMITED,
    ) -> None:
        """Take the embedder, the dimensions of its answers, and how much may be sent."""
        self.meter = Meter(texts=allowance.texts, money=allowance.money)
        self.embedder = _Checked(embedder, self.meter, tokens, price=allowance.price)
        self._dimensions = dimensions

    @property
    def is_free(self) -> bool:
        """Whether asking costs nothing but time."""
        return is_free(self.embedder.spec)

    async def alone(self, text: str, kind: Kind) -> Vector:
        """Send one text, and give its unit vector.

        Raises:
            SpentUpError: no more may be sent.
            EmbedderError: no answer, or one of other dimensions.
        """
        vector: Vector = (await self.together([text], kind))[0]
        return vector

    async def each(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Send texts one by one, and give their unit vectors (n, d). Raises as ``alone``."""
        return self.rows([await self.alone(text, kind) for text in texts])

    async def in_pieces(self, text: str, kind: Kind, pieces: int) -> Vector | None:
        """Send a text that is too long for the model in as many pieces as it was sent in before.

        None where it would be cut into another number now. Raises as ``alone``.
        """
        if pieces == 1:
            return await self.alone(text, kind)
        return await embed_in_pieces(self.embedder, text, kind, pieces)

    def rows(self, vectors: Sequence[Vector]) -> Matrix:
        """Put vectors under each other, (n, d) float32; n may be 0."""
        return np.stack(vectors) if vectors else np.empty((0, self._dimensions), np.float32)

    async def together(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Send texts in one request, and give their unit vectors (n, d). Raises as ``alone``."""
        unit, _ = normalise(await self.received(texts, kind))
        return unit

    async def received(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Send texts in one request, and give vectors as received. Raises as ``alone``."""
        answer = await self.embedder.embed(texts, kind)
        if answer.shape != (len(texts), self._dimensions):
            raise EmbedderResponseError(
                f"{self.embedder.spec} answered {answer.shape[0]} vectors of {answer.shape[-1]} "
                f"dimensions to {len(texts)} texts; {self._dimensions} dimensions are expected"
            )
        return answer
