"""Asking a model during a check: past every cache, counted, and never more than was allowed."""

from collections.abc import Sequence

import numpy as np

from search_app.embedders.base import Embedder
from search_app.embedders.batching import normalise
from search_app.errors import EmbedderResponseError
from search_app.types import Kind, Matrix, ModelIdentity, Vector

FREE = ("bundled", "hashing", "sentence-transformers", "onnx")
"""Providers that run here and cost nothing but time."""


class SpentUpError(Exception):
    """No more texts may be sent; what was found so far stands."""


class Counted(Embedder):
    """An embedder that counts the texts it is sent, and sends no more than it may."""

    def __init__(self, inner: Embedder, most: int | None) -> None:
        """Take the embedder, and how many texts may be sent; None: any number."""
        self.spec = inner.spec
        self.batch_size = inner.batch_size
        self.concurrency = inner.concurrency
        self._inner = inner
        self._most = most
        self.texts = 0
        self.sent: list[str] = []

    @property
    def left(self) -> int | None:
        """How many texts may still be sent; None: any number."""
        return None if self._most is None else self._most - self.texts

    async def describe(self) -> ModelIdentity:
        """Say what the embedder says."""
        return await self._inner.describe()

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Embed as the embedder does.

        Raises:
            SpentUpError: these are more texts than may be sent.
        """
        if self.left is not None and len(texts) > self.left:
            raise SpentUpError(f"no more than {self._most} texts were to be sent")
        self.texts += len(texts)
        self.sent += [self._inner.text_sent(text, kind) for text in texts]
        return await self._inner.embed(texts, kind)

    def text_sent(self, text: str, kind: Kind) -> str:
        """Give the text that the embedder sends."""
        return self._inner.text_sent(text, kind)


class Asker:
    """Sends texts one by one or together, and counts them."""

    def __init__(self, embedder: Embedder, dimensions: int, *, most: int | None = None) -> None:
        """Take the embedder, the dimensions of its answers, and how many texts may be sent."""
        self.embedder = Counted(embedder, most)
        self._dimensions = dimensions

    @property
    def is_free(self) -> bool:
        """Whether asking costs nothing but time."""
        return self.embedder.spec.partition(":")[0] in FREE

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
        rows = [await self.alone(text, kind) for text in texts]
        return np.stack(rows) if rows else np.empty((0, self._dimensions), np.float32)

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
