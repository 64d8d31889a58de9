"""What a million tokens cost: the table that comes with the program, and what its user says."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from search_app.errors import ConfigurationError
from search_app.types import JSON

SHIPPED = Path(__file__).parent / "prices.toml"

FREE = ("bundled", "hashing", "sentence-transformers", "onnx")
"""Providers that run here and cost nothing but time."""

_OTHERS = frozenset(["noted", "source"])


class Origin(StrEnum):
    """Who says what a model costs."""

    FREE = "runs here"
    SETTING = "UNMOVED_EMBEDDING_PRICE"
    FILE = "UNMOVED_PRICES"
    SHIPPED = "shipped"
    """Public list prices as somebody noted them; to be checked before one relies on them."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a million tokens of a model cost, in which currency, and who says so."""

    amount: float
    currency: str
    origin: Origin
    noted: str = ""
    source: str = ""

    def of(self, tokens: int) -> float:
        """Give what so many tokens cost."""
        return tokens * self.amount / 1e6


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices by spec, ``provider:model``; see ``of`` for what else there is to a price."""

    currency: str
    table: Mapping[str, Price]
    every: float | None = None
    """What every model that does not run here costs, whatever the table says."""
    elsewhere: frozenset[str] = field(default_factory=frozenset)
    """Providers that are asked at another address than their own: list prices say nothing."""

    def of(self, spec: str) -> Price | None:
        """Give the price of a model by its spec; None where nobody says it."""
        provider = spec.partition(":")[0]
        if provider in FREE:
            return Price(amount=0.0, currency=self.currency, origin=Origin.FREE)
        if self.every is not None:
            return Price(amount=self.every, currency=self.currency, origin=Origin.SETTING)
        # Dimensions that are asked for change no price.
        found = self.table.get(spec) or self.table.get(spec.partition("?")[0])
        if found is not None and found.origin is Origin.SHIPPED and provider in self.elsewhere:
            return None
        return found


def is_free(spec: str) -> bool:
    """Whether an embedder costs nothing but time."""
    return spec.partition(":")[0] in FREE


def load_prices(
    file: Path | None = None,
    *,
    every: float | None = None,
    elsewhere: frozenset[str] = frozenset(),
) -> Prices:
    """Read the table that comes with the program, and over it the user's own.

    Raises:
        ConfigurationError: the user's file cannot be read, or a price in it is none.
    """
    currency, table = _read(SHIPPED, Origin.SHIPPED)
    if file is not None:
        own_currency, own = _read(file, Origin.FILE)
        if own_currency != currency:
            # Prices of two currencies in one sum would be no sum.
            table = {}
        currency, table = own_currency, {**table, **own}
    return Prices(currency=currency, table=table, every=every, elsewhere=elsewhere)


def _read(path: Path, origin: Origin) -> tuple[str, dict[str, Price]]:
    try:
        with path.open("rb") as file:
            found = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"UNMOVED_PRICES: {path} cannot be read: {exc}") from exc
    currency = found.pop("currency", "USD")
    if not isinstance(currency, str) or not currency.strip():
        raise ConfigurationError(
            f'UNMOVED_PRICES: {path}: currency must be a text such as "USD", not {currency!r}'
        )
    table = {spec: _price(path, spec, entry, currency, origin) for spec, entry in found.items()}
    return currency, table


def _price(path: Path, spec: str, entry: JSON, currency: str, origin: Origin) -> Price:
    amount = entry.get("price") if isinstance(entry, dict) else None
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise ConfigurationError(
            f'UNMOVED_PRICES: {path}: write ["{spec}"] and below it price = 0.02, the price of a '
            "million tokens"
        )
    if not math.isfinite(amount) or amount < 0:
        raise ConfigurationError(f"UNMOVED_PRICES: {path}: {spec}: {amount} is no price")
    unknown = entry.keys() - _OTHERS - {"price"}
    if unknown:
        raise ConfigurationError(
            f"UNMOVED_PRICES: {path}: {spec}: {min(unknown)!r} means nothing; there are "
            "price, noted and source"
        )
    texts = {name: str(entry[name]) for name in _OTHERS & entry.keys()}
    return Price(amount=float(amount), currency=currency, origin=origin, **texts)
