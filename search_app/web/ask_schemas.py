"""The JSON of questions and answers."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from search_app.answering.retrieving import MOST_PASSAGES, MOST_TURNS
from search_app.answering.types import Outcome, State
from search_app.types import Mode
from search_app.web.ask_examples import EXAMPLES
from search_app.web.schemas import DocumentOfHit, Model, NoticeJson


def _example(name: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": EXAMPLES[name]})


Filters = Annotated[
    tuple[str, ...],
    Field(strict=False, description="As in a search: language=ja, type=pdf,markdown"),
]


class TurnJson(Model):
    """A question of the conversation so far, and what was answered."""

    question: str
    answer: str = ""


class _Asking(Model):
    """What every question has."""

    question: Annotated[str, Field(description="In your own words, up to 2,000 characters")]
    collection: Annotated[
        str | None, Field(description="Left out: the server's default collection")
    ] = None
    filters: Filters = ()
    mode: Annotated[
        Mode | None, Field(description="How passages are found; left out: as the server searches")
    ] = None
    passages: Annotated[
        int, Field(ge=1, le=MOST_PASSAGES, description="Most passages that the answer is made of")
    ] = 8


class AskBody(_Asking):
    """A question. With ``Accept: text/event-stream``, the answer comes while it is written."""

    model_config = _example("question")

    index: Annotated[
        str | None,
        Field(
            description="Id of another kept index that shall answer, or the beginning of it; "
            "left out: the active one"
        ),
    ] = None
    generator: Annotated[
        Literal["extractive"] | None,
        Field(description="extractive: quotations, no model; left out: as the server is set up"),
    ] = None
    conversation: Annotated[
        tuple[TurnJson, ...],
        Field(strict=False, max_length=MOST_TURNS, description="What was asked before, in order"),
    ] = ()


class ComparingBody(_Asking):
    """A question that is asked of the active index and of another one; both quote."""

    model_config = _example("comparing")

    index: Annotated[str, Field(description="Id of the other index, or the beginning of it")]


class PassageJson(Model):
    """A stretch of a document that the answer was made of; sentences cite it by its number.

    Neighbouring passages that were found are one: ``chunk_ids`` are all of them, in order. Where
    its document was removed since, ``removed_at`` says when, and its text is gone.
    """

    number: int
    chunk_ids: list[UUID]
    document: DocumentOfHit
    text: str
    char_start: int
    char_end: int
    heading_path: list[str]
    page: int | None
    rank: int
    score: float
    scores: dict[str, float]
    tokens: int
    removed_at: datetime | None


class SentenceJson(Model):
    """A sentence, without the marks of its citations.

    ``cited`` names passages, ``quoted`` is the words of one, ``unsupported`` names none; a ``note``
    is about the answer; what a ``removed`` one said is gone with a document. ``support`` is how
    near it is to what it cites, 0 to 1; null where that is not known. ``quote_start`` to
    ``quote_end`` is its place in the text of the passage.
    """

    text: str
    citations: list[int]
    state: State
    support: float | None
    lead: str
    quote_start: int | None
    quote_end: int | None


class StrengthJson(Model):
    """How well the question was met by what was found; below the threshold nothing is answered."""

    distance: float | None
    coverage: float | None
    value: float
    threshold: float
    enough: bool


class UsageJson(Model):
    """Tokens: of the passages as counted here, of prompt and answer by the model's word."""

    passages: int
    prompt: int | None
    completion: int | None


class AnswerJson(Model):
    """An answer and everything that made it.

    ``query`` is what was searched for; ``rewriter`` says who made it of the conversation: the
    model, ``words`` for a rule, ``question`` where there was nothing to rewrite. ``times`` are
    milliseconds. ``stored`` says whether it can be shown again under its id.
    """

    model_config = _example("answered")

    id: UUID
    question: str
    query: str
    rewriter: str
    conversation: list[TurnJson]
    collection: str
    filters: list[str]
    mode: Mode
    index_id: UUID
    model_version_id: UUID
    model: str
    search_id: UUID
    passages: list[PassageJson]
    sentences: list[SentenceJson]
    text: str
    outcome: Outcome
    reason: str | None
    strength: StrengthJson
    generator: str
    generator_model: str | None
    prompt_version: str
    removed_citations: int
    removed_links: int
    usage: UsageJson
    times: dict[str, float]
    notices: list[NoticeJson]
    client: str
    created_at: datetime
    stored: bool


class ListedAnswerJson(Model):
    """An answer in a list."""

    id: UUID
    collection: str
    question: str
    outcome: Outcome
    generator: str
    created_at: datetime


class Answers(Model):
    """Answers that are kept, newest first; ``more`` says whether others follow."""

    model_config = _example("answers")

    answers: list[ListedAnswerJson]
    more: bool


class PlaceJson(Model):
    """A place of a document that is cited; ``text`` is what stands there."""

    number: int
    document_id: UUID
    uri: str
    title: str
    chunk_ids: list[UUID]
    char_start: int
    char_end: int
    text: str


class StabilityJson(Model):
    """Two answers to one question, and whether they cite the same places.

    ``gone`` are cited by ``a`` alone, ``new`` by ``b`` alone, ``kept`` by both.
    """

    model_config = _example("stability")

    changed: bool
    kept: list[PlaceJson]
    gone: list[PlaceJson]
    new: list[PlaceJson]
    a: AnswerJson
    b: AnswerJson
