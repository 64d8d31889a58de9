"""The JSON of what helps around searches: suggestions, feedback, similar passages."""

from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field

from search_app.catalog.feedback import Verdict
from search_app.phrases import PhraseKind
from search_app.types import JSON, Mode
from search_app.web.assist_examples import EXAMPLES
from search_app.web.schemas import HitJson, Model, NoticeJson


def _example(name: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": EXAMPLES[name]})


def _no_truth_value(value: JSON) -> JSON:
    # Which Python takes for 1 and 0.
    if isinstance(value, bool):
        raise ValueError("must be 1, -1 or 0")  # noqa: TRY004 - what pydantic takes for an answer
    return value


class SuggestionJson(Model):
    """A text to go on with: a past ``query``, the ``title`` of a document, or a ``heading``."""

    text: str
    kind: PhraseKind


class Suggestions(Model):
    """Texts that go on from what was typed, best first."""

    model_config = _example("suggestions")

    suggestions: list[SuggestionJson]


class FeedbackBody(Model):
    """A verdict on a hit."""

    model_config = _example("feedback")

    search_id: Annotated[UUID, Field(strict=False, description="Of the answer with the hit")]
    chunk_id: Annotated[UUID, Field(strict=False, description="Of the hit")]
    verdict: Annotated[
        Verdict,
        BeforeValidator(_no_truth_value),
        Field(description="1: what was looked for; -1: it is not; 0: takes the verdict back"),
    ]


class FeedbackAnswer(Model):
    """The verdict that is kept now, 0 where none is, and the rank that the hit had."""

    model_config = _example("feedback kept")

    search_id: UUID
    chunk_id: UUID
    verdict: Verdict
    position: int


class SimilarAnswer(Model):
    """Passages like the one or those asked with, best first. They are not logged."""

    model_config = _example("similar")

    hits: list[HitJson]
    mode: Mode
    notices: list[NoticeJson]
    collection: str
    index_id: UUID
    model_version_id: UUID
    model: str
    exact: bool
    more: bool
    took_ms: float
