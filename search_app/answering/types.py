"""The values of answering: a question, the passages given, sentences, the answer, its events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from search_app.types import DocumentRef, Mode, Notice

State = Literal["cited", "quoted", "unsupported", "note", "removed"]
"""What a sentence rests on.

``cited`` sentences name passages, ``quoted`` ones are a passage's own words, ``unsupported`` ones
name nothing; a ``note`` is not the model's but the program's, about the answer. A ``removed`` one
had a passage whose document has been removed since; its text is gone.
"""

Outcome = Literal["answered", "not_found", "no_passages", "stopped", "cut", "broken_off"]
"""How an answer ended.

``not_found``: what was retrieved is too weak, or the model found nothing in it; ``no_passages``:
nothing was retrieved. ``stopped`` by whoever asked; ``cut`` at the limit of length or time;
``broken_off`` by the model in mid-answer.
"""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A question of a conversation, and what was answered."""

    question: str
    answer: str = ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question as a user asks it; what is None is as the settings say.

    ``filters``, ``mode`` and ``index`` are as in a search. ``passages`` are the most given to the
    generator, ``budget`` the most tokens of them together. ``conversation`` is what was asked and
    answered before, oldest first. ``logged`` false leaves no trace of it.
    """

    text: str
    collection: str = "default"
    index: str | None = None
    filters: Sequence[str] = ()
    mode: Mode | None = None
    passages: int = 8
    budget: int | None = None
    generator: str | None = None
    conversation: Sequence[Turn] = ()
    client: str = "api"
    logged: bool = True


@dataclass(frozen=True, kw_only=True)
class PassageGiven:
    """A stretch of one document that was given to the generator under a number, from 1.

    ``chunk_ids`` are its chunks in reading order: neighbours that were found are one passage.
    ``char_start`` to ``char_end`` is its place in the text of the document. ``rank`` and ``score``
    are those of its best chunk; ``scores`` too. ``removed_at`` is when the document was removed, of
    a kept answer: its text is gone then.
    """

    number: int
    chunk_ids: Sequence[UUID]
    document: DocumentRef
    text: str
    char_start: int
    char_end: int
    heading_path: Sequence[str]
    page: int | None
    rank: int
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    removed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of an answer, without the marks of its citations.

    ``citations`` are numbers of passages given. ``support`` says how near the sentence is to what
    it cites: 0 as unrelated passages are, 1 the same; None where it cites nothing or nothing could
    be measured. ``lead`` is the white space before it in the answer. ``quote_start`` to
    ``quote_end`` is the place of quoted words in the text of the passage cited.
    """

    text: str
    citations: Sequence[int]
    state: State
    support: float | None = None
    lead: str = ""
    quote_start: int | None = None
    quote_end: int | None = None

    @property
    def marked(self) -> str:
        """The sentence with its citations as they are written."""
        return self.text + "".join(f"[{number}]" for number in self.citations)


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How well a question was met by what was found.

    ``distance`` is how far the nearest passage's similarity lies above what questions that have
    nothing to do with the index find best, in their standard deviations; None without a vector.
    ``coverage`` is the share of the question's words, rare ones counting more, that the first
    passage has; None without words. ``enough`` is the verdict.
    """

    distance: float | None
    coverage: float | None
    value: float
    threshold: float

    @property
    def enough(self) -> bool:
        """Whether an answer may be looked for in what was found."""
        return self.value >= self.threshold


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of one answer: ``prompt`` and ``completion`` by the model's word, None if unknown."""

    passages: int = 0
    prompt: int | None = None
    completion: int | None = None


@dataclass(frozen=True, kw_only=True)
class AnswerNotice:
    """Something that went otherwise than asked, in one line."""

    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer and everything that made it.

    ``query`` is what was searched for: the question, or with a conversation what was made of it,
    by ``rewriter`` (``question``, ``words`` or the name of the model). ``generator`` is who wrote
    it, which is not the one asked for where that failed. ``removed_citations`` counts citations of
    passages that were not given, ``removed_links`` addresses and images. ``times`` are
    milliseconds by stage. ``stored`` says whether it can be shown again.
    """

    id: UUID
    question: str
    query: str
    rewriter: str
    conversation: Sequence[Turn]
    collection: str
    collection_id: UUID
    most_passages: int
    budget: int
    filters: Sequence[str]
    mode: Mode
    index_id: UUID
    model_version_id: UUID
    model: str
    search_id: UUID
    passages: Sequence[PassageGiven]
    sentences: Sequence[Sentence]
    text: str
    outcome: Outcome
    reason: str | None
    strength: Strength
    generator: str
    generator_model: str | None
    prompt_version: str
    removed_citations: int
    removed_links: int
    usage: Usage
    times: Mapping[str, float]
    notices: Sequence[AnswerNotice]
    client: str
    created_at: datetime
    stored: bool = False

    @property
    def cited(self) -> Sequence[int]:
        """The numbers of the passages that are cited, in the order of their numbers."""
        return sorted({number for each in self.sentences for number in each.citations})


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """The passages are there; the answer follows."""

    answer_id: UUID
    query: str
    rewriter: str
    collection: str
    index_id: UUID
    model: str
    mode: Mode
    passages: Sequence[PassageGiven]
    strength: Strength
    generator: str
    notices: Sequence[Notice]


@dataclass(frozen=True, kw_only=True)
class Written:
    """One more sentence is done; its support comes with the whole answer."""

    place: int
    sentence: Sentence


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The model failed; what comes next, if anything, says ``instead``."""

    reason: str
    instead: str | None


@dataclass(frozen=True, kw_only=True)
class Done:
    """The whole answer."""

    answer: Answer


Event = Retrieved | Written | Failed | Done
