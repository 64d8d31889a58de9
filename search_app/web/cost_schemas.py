"""The JSON of what embedding costs, and of document vectors that are kept."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict

from search_app.prices import Origin
from search_app.types import JSON, Kind
from search_app.web.examples import EXAMPLES as OTHERS
from search_app.web.schemas import Model

EXAMPLES: Mapping[str, JSON] = {
    "kept": {
        "kept": [
            {
                "model_version_id": OTHERS["answer"]["model_version_id"],
                "model": OTHERS["answer"]["model"],
                "kind": "document",
                "vectors": 41_250,
                "bytes": 63_360_000,
                "oldest": "2026-01-08T02:11:40Z",
                "newest": "2026-06-02T17:05:11Z",
            }
        ],
        "most_bytes": 1_024_000_000,
        "days": 0,
    },
    "cleared": {"cleared": 41_250},
    "prices": {
        "currency": "USD",
        "every_model": None,
        "prices": {
            "openai:text-embedding-3-small": {
                "amount": 0.02,
                "currency": "USD",
                "origin": "shipped",
                "noted": "2025",
                "source": "https://openai.com/api/pricing",
            }
        },
    },
}


class KeptDocumentsJson(Model):
    """How many vectors are kept of a model version and kind; ``bytes`` are those of the vectors."""

    model_version_id: UUID
    model: str
    kind: Kind
    vectors: int
    bytes: int
    oldest: datetime
    newest: datetime


class KeptDocumentVectors(Model):
    """Document vectors that are kept, by model version; for ``days`` 0 stands for no limit.

    Of more than ``most_bytes`` the oldest go first; 0: none are kept.
    """

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["kept"]})

    kept: list[KeptDocumentsJson]
    most_bytes: int
    days: int


class ClearedDocumentsJson(Model):
    """How many document vectors were forgotten."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["cleared"]})

    cleared: int


class PriceJson(Model):
    """What a million tokens of a model cost, and who says so.

    A ``shipped`` price is a public list price as it was ``noted``; it is to be checked at its
    ``source`` before anybody relies on it.
    """

    amount: float
    currency: str
    origin: Origin
    noted: str
    source: str


class PricesJson(Model):
    """Prices by model; ``every_model`` is what all cost that do not run here, if that was set."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["prices"]})

    currency: str
    every_model: float | None
    prices: dict[str, PriceJson]
