"""The JSON of the query vectors that are kept."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict

from search_app.types import JSON
from search_app.web.examples import EXAMPLES as OTHERS
from search_app.web.schemas import Model

EXAMPLES: Mapping[str, JSON] = {
    "kept": {
        "kept": [
            {
                "model_version_id": OTHERS["answer"]["model_version_id"],
                "model": OTHERS["answer"]["model"],
                "vectors": 1843,
                "unproven": 12,
                "bytes": 2830848,
                "oldest": "2026-03-14T09:26:53Z",
                "newest": "2026-06-02T17:05:11Z",
            }
        ]
    },
    "cleared": {"cleared": 1843},
}


class KeptJson(Model):
    """What is kept for a model version, with the size of the vectors in ``bytes``.

    ``unproven`` vectors are given up if the model turns out to be another one before it has
    proved itself again.
    """

    model_version_id: UUID
    model: str
    vectors: int
    unproven: int
    bytes: int
    oldest: datetime
    newest: datetime


class KeptVectors(Model):
    """Query vectors that are kept, by model version."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["kept"]})

    kept: list[KeptJson]


class ClearedJson(Model):
    """How many query vectors were forgotten."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["cleared"]})

    cleared: int
