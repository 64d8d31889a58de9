"""Who pays for requests hears of each attempt: some are made twice, some never."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Payer(Protocol):
    """Counts what is truly sent."""

    def attempt(self, texts: Sequence[str]) -> None:
        """Count a request that is about to be sent.

        Raises:
            SpentUpError: no more may be sent.
        """

    def declined(self, texts: Sequence[str]) -> None:
        """Count it as free: it was answered with an error, for which nobody charges."""

    def unsent(self, texts: Sequence[str]) -> None:
        """Count it no longer: no connection was made."""


class _Nobody:
    """Pays for nothing, as for a probe."""

    def attempt(self, texts: Sequence[str]) -> None:
        """Let it be sent."""

    def declined(self, texts: Sequence[str]) -> None:
        """Take no notice."""

    def unsent(self, texts: Sequence[str]) -> None:
        """Take no notice."""


_PAYER: ContextVar[Payer] = ContextVar("payer", default=_Nobody())  # noqa: B039 - keeps nothing


@contextmanager
def paid_by(payer: Payer) -> Iterator[None]:
    """Have requests that are sent inside paid by somebody."""
    token = _PAYER.set(payer)
    try:
        yield
    finally:
        _PAYER.reset(token)


def payer() -> Payer:
    """Give who pays here."""
    return _PAYER.get()
