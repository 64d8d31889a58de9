"""Asking a model during a check: past every cache, counted, and never more than was allowed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search_app.embedders.base import Embedder
from search_app.embedders.batching import normalise
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.errors import EmbedderResponseError
from search_app.types import Kind, Matrix, ModelIdentity, Vector

FREE = ("bundled", "hashing", "sentence-transformers", "onnx")
"""Providers that run here and cost nothing but time."""


class SpentUpError(Exception):
    """No more texts may be sent; what was found so far stands."""


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What may be sent: texts, and money at a price for a million tokens; None: any amount."""

    texts: int | None = None
    money: float | None = None
    price: float | None = None

    def cost(self, tokens: int) -> float | None:
        """Give what so many tokens cost; None where the price is not known."""
        return None if self.price is None else tokens * self.price / 1e6


UNLIMITED = Allowance()


class Counted(Embedder):
    """An embedder that counts what it is sent, and sends no more than it may.

    Tokens are counted by the bundled tokenizer, which is near enough for most models.
    """

    def __init__(self, inner: Embedder, allowance: Allowance, tokens: TokenCounter) -> None:
        """Nothing is sent yet."""
        self.spec = inner.spec
        self.batch_size = inner.batch_size
        self.concurrency = inner.concurrency
        self._inner = inner
        self._allowance = allowance
        self._counter = tokens
        self.texts = 0
        self.tokens = 0

    @property
    def cost(self) -> float | None:
        """What was sent costs; None where the price is not known."""
        return self._allowance.cost(self.tokens)

    async def describe(self) -> ModelIdentity:
        """Say what the embedder says."""
        return await self._inner.describe()

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Embed as the embedder does.

        Raises:
            SpentUpError: these are more texts than may be sent.
            EmbedderResponseError: numbers that are none: no comparison with them says anything.
        """
        most, money = self._allowance.texts, self._allowance.money
        if most is not None and self.texts + len(texts) > most:
            raise SpentUpError(f"no more than {most} texts were to be sent")
        sent = [self._inner.text_sent(text, kind) for text in texts]
        tokens = sum(self._counter.count_tokens(text) for text in sent)
        cost = self._allowance.cost(self.tokens + tokens)
        if money is not None and cost is not None and cost > money:
            raise SpentUpError(f"no more than {money:g} was to be spent")
        self.texts += len(texts)
        self.tokens += tokens
        answer = await self._inner.embed(texts, kind)
        if len(answer) != len(texts) or not np.isfinite(answer).all():
            raise EmbedderResponseError(
                f"{self.spec} answered {len(answer)} vectors to {len(texts)} texts, "
                f"{int((~np.isfinite(answer)).any(axis=1).sum())} of them with NaN or infinity"
            )
        return answer

    def text_sent(self, text: str, kind: Kind) -> str:
        """Give the text that the embedder sends."""
        return self._inner.text_sent(text, kind)


def is_free(spec: str) -> bool:
    """Whether an embedder costs nothing but time."""
    return spec.partition(":")[0] in FREE


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
        self.embedder = Counted(embedder, allowance, tokens)
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
