"""The JSON of maps: colours, points, a query among its hits, a part and what is in it."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from search_app.analysis.mapped import MOST_SELECTED
from search_app.web.map_examples import EXAMPLES
from search_app.web.schemas import Model


def _example(name: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": EXAMPLES[name]})


class GroupJson(Model):
    """Points of one colour: with a value, with any rarer one (others), or with none.

    ``x`` and ``y`` are where most of them lie.
    """

    code: int
    kind: Literal["value", "others", "none"]
    label: str
    count: int
    x: float
    y: float


class Groups(Model):
    """What the points of a map are coloured by; ordered groups go from low to high.

    Of the passages that the map was made of, ``shown`` can be seen; the others are ``excluded``
    from searches, or ``gone``.
    """

    model_config = _example("groups")

    map: UUID
    by: str
    ordered: bool
    groups: list[GroupJson]
    shown: int
    excluded: int
    gone: int


class PointJson(Model):
    """A passage and its place on the map, from -1 to 1 in both directions."""

    model_config = _example("point")

    place: int
    chunk_id: UUID
    x: float
    y: float
    document_id: UUID
    title: str
    language: str
    text: str


class ColouredPoint(PointJson):
    """A point with the code of its group and what that is called."""

    model_config = ConfigDict()

    group: int
    label: str


class PointsJson(Model):
    """Points of a map in the order of their numbers; ``total`` are all that there are."""

    model_config = _example("points")

    points: list[ColouredPoint]
    total: int
    more: bool


class HitOnMap(PointJson):
    """A hit of a query; where ``on_map`` is false, it has no place, and x and y are 0."""

    model_config = ConfigDict()

    rank: int
    score: float
    on_map: bool


class QueryOnMap(Model):
    """A query among its hits; x and y are null where none of them is on the map."""

    model_config = _example("on_map")

    query: str
    x: float | None
    y: float | None
    hits: list[HitOnMap]


class SelectBody(Model):
    """Passages of a part of a map, and what is looked for among them."""

    model_config = _example("select")

    chunk_ids: Annotated[
        tuple[Annotated[UUID, Field(strict=False)], ...],
        Field(
            strict=False,
            min_length=1,
            max_length=MOST_SELECTED,
            description=f"Ids of passages on the map, at most {MOST_SELECTED:,}",
        ),
    ]
    query: Annotated[
        str, Field(description="Looked for among these, by meaning; empty: all are listed")
    ] = ""
    limit: Annotated[int, Field(ge=1, le=200, description="Most passages wanted")] = 50
    offset: Annotated[int, Field(ge=0, le=MOST_SELECTED, description="Passages to pass over")] = 0


class SelectedPoint(PointJson):
    """A passage of a part of a map; ``score`` is its cosine to the query, if there was one."""

    model_config = ConfigDict()

    score: float | None


class SelectionJson(Model):
    """A part of a map: nearest to the query first, or to the middle; ``total`` are in it."""

    model_config = _example("selection")

    total: int
    passages: list[SelectedPoint]
    more: bool
