"""The JSON of two runs beside each other."""

from collections.abc import Mapping
from typing import Literal
from uuid import UUID

from pydantic import ConfigDict

from search_app.types import JSON
from search_app.web.examples import EXAMPLES
from search_app.web.schemas import Model, RunJson

_RUN = EXAMPLES["runs"]["runs"][0]
_EXAMPLE: Mapping[str, JSON] = {
    "first": _RUN,
    "second": {**_RUN, "id": "0c1b2a39-4857-4665-8f4e-3d2c1b0a9f8e"},
    "configuration": [{"name": "force", "first": None, "second": "true"}],
    "versions": [{"name": "onnxruntime", "first": "1.23.0", "second": "1.23.2"}],
    "documents": [
        {
            "document_id": "7b6a5948-3726-5514-8392-0f1e2d3c4b5a",
            "uri": "/home/sato/docs/plan.md",
            "title": "Plan",
            "change": "updated",
            "chunks": 4,
        }
    ],
    "totals": {"documents": {"updated": 1}, "chunks_then": 3, "chunks_now": 4},
    "vectors": {
        "same_index": True,
        "made_by_first": 2301,
        "made_by_second": 2,
        "copied_by_second": 0,
        "others": 0,
        "equal": 0,
        "differing": 0,
        "only_first": 0,
        "only_second": 0,
    },
    "more": False,
}


class DifferingJson(Model):
    """A setting or a version that differs; null where a run has it not."""

    name: str
    first: str | None
    second: str | None


class DocumentChangeJson(Model):
    """What became of a document in between; it has, or had in the end, so many chunks."""

    document_id: UUID
    uri: str
    title: str
    change: Literal["added", "updated", "removed"]
    chunks: int


class TotalsJson(Model):
    """Changed documents by what became of them, and their chunks before and now."""

    documents: dict[str, int]
    chunks_then: int
    chunks_now: int


class VectorsJson(Model):
    """Vectors of both runs. Of one index, by who made those that it has now; of two, by chunk.

    ``equal`` and ``differing`` are chunks that both indexes have, compared by their bytes.
    """

    same_index: bool
    made_by_first: int
    made_by_second: int
    copied_by_second: int
    others: int
    equal: int
    differing: int
    only_first: int
    only_second: int


class RunDifferencesJson(Model):
    """An earlier and a later run, what they do not have alike, and what changed in between.

    ``documents`` and ``totals`` are null of runs of different collections; ``vectors`` is null
    where a run wrote to no index.
    """

    model_config = ConfigDict(json_schema_extra={"example": dict(_EXAMPLE)})

    first: RunJson
    second: RunJson
    configuration: list[DifferingJson]
    versions: list[DifferingJson]
    documents: list[DocumentChangeJson] | None
    totals: TotalsJson | None
    vectors: VectorsJson | None
    more: bool
