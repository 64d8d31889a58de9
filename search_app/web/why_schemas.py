"""The JSON of why a document is not found."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field

from search_app.types import JSON, Mode
from search_app.web.schemas import Model, NoticeJson
from search_app.web.why_examples import EXAMPLES
from search_app.why.facts import State
from search_app.why.finding import Cause
from search_app.why.of_search import Reason


class SubjectJson(Model):
    """The document that is asked for; without ``id`` it never came in."""

    id: UUID | None
    uri: str
    title: str
    state: State


class FindingJson(Model):
    """One cause, in a sentence, with what to do and the values that it rests on."""

    cause: Cause
    sentence: str
    advice: str
    evidence: dict[str, JSON]


class ComparedJson(Model):
    """The logged search that now is compared with; ``rank`` is where it found the document."""

    search_id: UUID
    at: datetime
    index_id: UUID
    model: str
    mode: Mode
    filters: list[str]
    rank: int | None


class AboveJson(Model):
    """A hit above the document; ``new`` where it was not in the search compared with.

    ``reason`` says why: its document was ``added`` or ``edited`` since, another ``index`` answers,
    or it is ``unknown``.
    """

    rank: int
    chunk_id: UUID
    document_id: UUID
    uri: str
    title: str
    score: float
    scores: dict[str, float]
    ranks: dict[str, int]
    new: bool
    reason: Reason | None
    at: datetime | None
    run_id: UUID | None


class WhyAnswer(Model):
    """Why a document is not found, the most decisive cause first.

    ``rank`` is where its best passage stands among the first 1,000 hits, null where it does not.
    """

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["why"]})

    query: str
    collection: str
    k: int
    mode: Mode
    filters: list[str]
    since: datetime | None
    document: SubjectJson
    index_id: UUID | None
    model: str | None
    rank: int | None
    findings: list[FindingJson]
    compared: ComparedJson | None
    above: Annotated[list[AboveJson], Field(description="The hits shown, where it is outranked")]
    notices: list[NoticeJson]
