"""Counting what a model is sent, and sending no more than was allowed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from search_app.embedders.base import Embedder
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.embedders.payer import paid_by
from search_app.errors import EmbedderRefusedError, EmbedderUnavailableError, SpentUpError
from search_app.stages import stage
from search_app.types import JSON, Kind, Matrix, ModelIdentity

_REMEMBERED = 2048
"""Texts whose tokens are remembered, since they are counted again when they are sent."""


@dataclass(kw_only=True)
class Sent:
    """What was sent to models.

    Tokens are counted by the model's own tokenizer where one is at hand; ``estimated_tokens`` of
    them by the bundled one, which is near enough for most models. ``cost`` is that of all but the
    ``unpriced_tokens``, whose price nobody said.
    """

    texts: int = 0
    requests: int = 0
    tokens: int = 0
    estimated_tokens: int = 0
    unpriced_tokens: int = 0
    cost: float = 0.0


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


class Meter:
    """Counts what one or many embedders send together, and stops them at a limit."""

    def __init__(self, *, texts: int | None = None, money: float | None = None) -> None:
        """Allow so many texts and so much money; None: any amount."""
        self.texts = texts
        self.money = money
        self.sent = Sent()
        self._held = 0.0

    def left(self) -> float | None:
        """Say how much money is left, but for what is held back; None where there is no limit."""
        return None if self.money is None else max(0.0, self.money - self._held - self.sent.cost)

    def hold(self, cost: float) -> None:
        """Hold back money for what has to be sent later."""
        self._held += cost

    def release(self, cost: float) -> None:
        """Let money be spent that was held back."""
        self._held = max(0.0, self._held - cost)

    def take(self, request: Sent) -> None:
        """Count a request that is about to be sent.

        Raises:
            SpentUpError: it would be more than may be sent; nothing is counted.
        """
        if self.texts is not None and self.sent.texts + request.texts > self.texts:
            raise SpentUpError(f"no more than {self.texts} texts were to be sent")
        if self.money is not None and self.sent.cost + request.cost > self.money - self._held:
            raise SpentUpError(f"no more than {self.money:g} was to be spent")
        self._add(request, 1)

    def give_back(self, request: Sent) -> None:
        """Count a request no longer that was not sent, or refused as a whole."""
        self._add(request, -1)

    def spent_elsewhere(self, cost: float) -> None:
        """Take off what is left, what something else spent that is counted there."""
        if self.money is not None:
            self.money = max(0.0, self.money - cost)

    def _add(self, request: Sent, sign: int) -> None:
        for name, number in vars(request).items():
            setattr(self.sent, name, getattr(self.sent, name) + sign * number)


class Counted(Embedder):
    """An embedder that counts what it is sent, and sends no more than it may."""

    def __init__(
        self, inner: Embedder, meter: Meter, tokens: TokenCounter, *, price: float | None = None
    ) -> None:
        """Count with ``meter``; ``price`` of a million tokens is None where nobody says it."""
        self.spec = inner.spec
        self.batch_size = inner.batch_size
        self.concurrency = inner.concurrency
        self.limits = inner.limits
        self.unit = inner.unit
        self.not_guaranteed = inner.not_guaranteed
        self.meter = meter
        self.price = price
        self._inner = inner
        self._counter = tokens
        self._count = lru_cache(_REMEMBERED)(self._tokens_of)

    def with_meter(self, meter: Meter) -> "Counted":
        """Give the same embedder, counted by another meter."""
        return Counted(self._inner, meter, self._counter, price=self.price)

    async def describe(self) -> ModelIdentity:
        """Say what the embedder says; what it may send for that is too little to be counted."""
        return await self._inner.describe()

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Embed as the embedder does.

        What it sends again counts again, unless an error came back: nobody charges for those.

        Raises:
            SpentUpError: this is more than may be sent; it is not sent.
        """
        bill = _Bill(self, texts, kind)
        whole = bill.whole
        with (
            paid_by(bill),
            stage("embed", embedder=self.spec, texts=whole.texts, tokens=whole.tokens),
        ):
            try:
                return await self._inner.embed(texts, kind)
            except (EmbedderRefusedError, EmbedderUnavailableError, asyncio.CancelledError):
                bill.give_back_unsent()
                raise

    def text_sent(self, text: str, kind: Kind) -> str:
        """Give the text that the embedder sends."""
        return self._inner.text_sent(text, kind)

    def tells_code(self) -> bool:
        """Say what the embedder says."""
        return self._inner.tells_code()

    def count_tokens(self, text: str, kind: Kind) -> int | None:
        """Count as the embedder does."""
        tokens, estimated = self._count(text, kind)
        return None if estimated else tokens

    def tokens(self, text: str, kind: Kind) -> int:
        """Count the tokens of what is sent, by the bundled tokenizer where there is no other."""
        return self._count(text, kind)[0]

    async def count_ahead(self, texts: Sequence[str], kind: Kind) -> None:
        """Count in a thread, so that counting when they are sent holds nobody up."""
        if texts:
            await asyncio.to_thread(lambda: [self._count(text, kind) for text in texts])

    def counted(self, texts: Sequence[str], kind: Kind) -> Sent:
        """Say what a request with these texts comes to."""
        counts = [self._count(text, kind) for text in texts]
        tokens = sum(number for number, _ in counts)
        return Sent(
            texts=len(texts),
            requests=1,
            tokens=tokens,
            estimated_tokens=sum(number for number, estimated in counts if estimated),
            unpriced_tokens=tokens if self.price is None else 0,
            cost=self.cost(tokens) or 0.0,
        )

    def cost(self, tokens: int) -> float | None:
        """Give what so many tokens cost; None where the price is not known."""
        return None if self.price is None else tokens * self.price / 1e6

    def _tokens_of(self, text: str, kind: Kind) -> tuple[int, bool]:
        """Count tokens, and say whether that is an estimate."""
        own = self._inner.count_tokens(text, kind)
        if own is not None:
            return own, False
        return self._counter.count_tokens(self._inner.text_sent(text, kind)), True


class _Bill:
    """One call of ``embed``, taken as sent once; who sends over a network tells what becomes of it.

    The first attempt is what was taken already.
    """

    def __init__(self, counted: Counted, texts: Sequence[str], kind: Kind) -> None:
        self._counted = counted
        self._kind = kind
        self.whole = counted.counted(texts, kind)
        self._attempts = 0
        counted.meter.take(self.whole)

    def attempt(self, texts: Sequence[str]) -> None:
        """Count another one."""
        if self._attempts:
            self._counted.meter.take(self._counted.counted(texts, self._kind))
        self._attempts += 1

    def declined(self, texts: Sequence[str]) -> None:
        """Count the request, and nothing of what was in it."""
        free = replace(self._counted.counted(texts, self._kind), requests=0)
        self._counted.meter.give_back(free)

    def unsent(self, texts: Sequence[str]) -> None:
        """Count it no longer."""
        self._counted.meter.give_back(self._counted.counted(texts, self._kind))

    def give_back_unsent(self) -> None:
        """Count nothing where there was no attempt."""
        if not self._attempts:
            self._counted.meter.give_back(self.whole)


def as_json(sent: Sent) -> dict[str, JSON]:
    """Give counts in the shape that users and the catalog get."""
    return {**vars(sent), "cost": round(sent.cost, 9)}
