"""The JSON of recommendations by examples, and of groups as mean vectors."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from search_app.stores.base import MAX_K
from search_app.types import Mode
from search_app.web.recommend_examples import EXAMPLES
from search_app.web.schemas import HitJson, Model, NoticeJson


def _example(name: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": EXAMPLES[name]})


class RecommendBody(Model):
    """Examples for and against; each is the id of a passage, ``document:ID`` or ``text:WORDS``."""

    model_config = _example("recommend")

    like: Annotated[
        tuple[str, ...],
        Field(strict=False, description="What is wanted; at least one, 100 with those against"),
    ]
    unlike: Annotated[
        tuple[str, ...], Field(strict=False, description="What is not wanted, written likewise")
    ] = ()
    collection: Annotated[
        str | None,
        Field(description="Left out: that of the examples, of texts alone the server's default"),
    ] = None
    index: Annotated[
        str | None, Field(description="Id of another kept index, or the beginning; the active one")
    ] = None
    k: Annotated[int, Field(ge=1, le=MAX_K, description="How many hits are wanted")] = 10
    filters: Annotated[
        tuple[str, ...], Field(strict=False, description="As in a search; all must hold")
    ] = ()
    mode: Annotated[
        Mode | None,
        Field(description="By meaning and words, by meaning, or by words; left out: the server's"),
    ] = None
    exact: Annotated[bool, Field(description="Compare with every vector")] = False
    mmr: Annotated[
        float | None,
        Field(ge=0, le=1, description="λ of maximal marginal relevance: lower means more varied"),
    ] = None
    per_document: Annotated[
        int | None, Field(ge=1, le=MAX_K, description="Most passages of one document")
    ] = None
    other_documents: Annotated[
        bool, Field(description="Leave out all that is of the documents of the examples")
    ] = False


class ReasonJson(Model):
    """The example that a hit is nearest to, and the nearest one against, with their cosines."""

    like: str
    cosine: float
    unlike: str | None
    unlike_cosine: float | None


class RecommendedJson(HitJson):
    """A passage that was recommended; ``reason`` is null where it has no vector to compare."""

    reason: ReasonJson | None


class RecommendAnswer(Model):
    """Passages like the examples, best first. They are not logged."""

    model_config = _example("recommended")

    hits: list[RecommendedJson]
    like: list[str]
    unlike: list[str]
    mode: Mode
    notices: list[NoticeJson]
    collection: str
    index_id: UUID
    model_version_id: UUID
    model: str
    exact: bool
    more: bool
    took_ms: float


class GroupJson(Model):
    """A group: its value of the field, and how many documents and passages have it.

    ``length`` is that of the mean of its passages' unit vectors: how much they agree. All that
    have a vector are in it, ``drawn`` of them.
    ``by_chance`` is that of as many passages drawn from everything.
    """

    value: str | int | float | bool
    documents: int
    passages: int
    drawn: int
    length: float
    by_chance: float


class GroupsAnswer(Model):
    """The groups of a field, those with the most passages first.

    ``length`` is that of the mean of everything; ``pull`` how many passages a group must have for
    half of what sets it apart to be its own, not chance; ``all_alike`` says that all vectors are
    the same, so that groups cannot be told apart.
    """

    model_config = _example("groups")

    field: str
    collection: str
    index_id: UUID
    model_version_id: UUID
    model: str
    length: float
    pull: float
    all_alike: bool
    groups: list[GroupJson]
    more: bool


class SimilarGroupJson(GroupJson):
    """A group like another one: the cosine of what sets each apart from everything, -1 to 1."""

    cosine: float


class GroupAnswer(Model):
    """What is like a group, and passages for it, the best one of each document.

    ``group`` is null where no document is of it. ``basis`` is ``passages`` (what sets their mean
    apart from that of everything), ``described`` (that and the description), ``description`` alone
    or ``everything`` (nothing sets it apart); ``share`` of it is the group's own, not chance;
    ``told`` says so in words. Scores are inner products with that direction.
    """

    model_config = _example("group")

    field: str
    value: str
    group: GroupJson | None
    basis: Literal["passages", "described", "description", "everything"]
    pull: float
    share: float
    told: str
    similar: list[SimilarGroupJson]
    hits: list[HitJson]
    notices: list[NoticeJson]
    collection: str
    index_id: UUID
    model_version_id: UUID
    model: str
    exact: bool
    more: bool
    took_ms: float
