"""The JSON of two indexes compared."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from search_app.list_measures import Change
from search_app.types import IndexState, Mode, Precision
from search_app.web.compare_examples import EXAMPLES
from search_app.web.schemas import Model


class SideJson(Model):
    """One of the two indexes."""

    index_id: UUID
    state: IndexState
    model: str
    model_version_id: UUID
    store: str
    precision: Precision
    chunking: str


class EntryJson(Model):
    """A hit of one of the two lists."""

    rank: int
    chunk_id: UUID
    document_id: UUID
    uri: str
    title: str
    score: float


class MoveJson(Model):
    """What became of a hit: its rank in ``a`` and in ``b``, null where it is not in that list."""

    chunk_id: UUID
    document_id: UUID
    title: str
    a: int | None
    b: int | None
    change: Change


class ListsJson(Model):
    """One query with both lists; ``asked`` is how often users asked it, 0 for a given one."""

    query: str
    asked: int
    overlap: float
    rbo: float
    a: list[EntryJson]
    b: list[EntryJson]
    moves: list[MoveJson]


class ComparisonJson(Model):
    """Two indexes compared over queries: means of overlap and rank-biased overlap, and moves.

    ``unit`` says what is compared: each ``passage``, or each ``document`` by its best passage where
    the indexes cut documents differently. ``equal`` counts queries with equal lists.
    """

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["comparison"]})

    collection: str
    a: SideJson
    b: SideJson
    unit: Literal["passage", "document"]
    k: int
    mode: Mode
    queries: int
    overlap: float
    rbo: float
    rbo_persistence: float
    equal: int
    moves: dict[Change, int]
    lists: Annotated[
        list[ListsJson], Field(description="The queries that changed most, 50 at most")
    ]
