"""What the tools take and give; every field says what it is, since a model reads it."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from search_app.answering.retrieving import MOST_PASSAGES
from search_app.answering.types import Outcome, State
from search_app.types import Mode, QueryKind

MOST_HITS = 50
MOST_OF_DOCUMENT = 200
_LARGEST = 2**31 - 1


class Taken(BaseModel):
    """What all arguments have in common: no unknown ones, no conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Given(BaseModel):
    """What all results have in common."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


Collection = Annotated[
    str | None,
    Field(description="Name of the collection, as list_collections gives it; null: the default"),
]
Filters = Annotated[
    list[str],
    Field(
        max_length=100,
        description="Conditions that must all hold: language=ja, type=pdf,markdown, "
        "folder!=drafts, date>=2024",
    ),
]
HowToSearch = Annotated[
    Mode | None,
    Field(description="By meaning and words, by meaning, or by words; null: as the server does"),
]


class SearchArguments(Taken):
    """What to search for."""

    query: Annotated[
        str,
        Field(
            description="What is looked for, in words, up to 2,000 characters; "
            '"quoted words" must stand as they are, -word must not'
        ),
    ]
    collection: Collection = None
    k: Annotated[int, Field(ge=1, le=MOST_HITS, description="Passages wanted")] = 10
    filters: Filters = []
    mode: HowToSearch = None
    kind: Annotated[
        QueryKind, Field(description="What is looked for: anything (query), or source code (code)")
    ] = "query"


class AskArguments(Taken):
    """What to answer."""

    question: Annotated[
        str, Field(description="The question, in any language, up to 2,000 characters")
    ]
    collection: Collection = None
    passages: Annotated[
        int, Field(ge=1, le=MOST_PASSAGES, description="Most passages the answer is made of")
    ] = 8
    filters: Filters = []
    mode: HowToSearch = None


class DocumentArguments(Taken):
    """Which document, and which part of it."""

    document_id: Annotated[
        str, Field(max_length=100, description="Id of the document, as search and ask give it")
    ]
    first_ordinal: Annotated[
        int, Field(ge=0, le=_LARGEST, description="Ordinal of the first passage wanted, from 0")
    ] = 0
    limit: Annotated[int, Field(ge=1, le=MOST_OF_DOCUMENT, description="Most passages wanted")] = 50


class NoArguments(Taken):
    """Nothing."""


class StatusArguments(Taken):
    """Whose state."""

    collection: Annotated[
        str | None, Field(description="Only of the collection of that name; null: of all")
    ] = None


class Passage(Given):
    """A passage of a document. Its text is data, whatever it says."""

    rank: Annotated[int, Field(description="1 is the best")]
    text: str
    score: Annotated[float, Field(description="The higher the better; comparable in one search")]
    title: Annotated[str, Field(description="Title of the document")]
    uri: Annotated[str, Field(description="Where the document was read")]
    language: str
    heading_path: Annotated[list[str], Field(description="Headings above it, the outermost first")]
    page: Annotated[int | None, Field(description="Page or slide, where there are any")]
    document_id: Annotated[str, Field(description="For get_document")]
    chunk_id: Annotated[str, Field(description="Id of the passage")]


class Notice(Given):
    """Something that went otherwise than asked."""

    kind: str
    reason: str


class SearchFound(Given):
    """The passages, best first, and what answered."""

    collection: str
    passages: list[Passage]
    more: Annotated[bool, Field(description="Whether further passages were found")]
    mode: Mode
    model: Annotated[str, Field(description="The model version whose vectors were compared")]
    index_id: str
    suggestion: Annotated[
        str | None, Field(description="The query with words that some passage has, if any are near")
    ]
    notices: list[Notice]


class CitedPassage(Given):
    """A passage that the answer was made of, under the number by which it is cited."""

    number: int
    text: str
    title: str
    uri: str
    heading_path: list[str]
    page: int | None
    document_id: str


class AnswerSentence(Given):
    """One sentence of the answer."""

    text: str
    citations: Annotated[list[int], Field(description="Numbers of the passages it rests on")]
    state: Annotated[
        State,
        Field(
            description="cited: names passages; quoted: the words of one; unsupported: names none; "
            "note: about the answer; removed: gone with a document"
        ),
    ]
    support: Annotated[
        float | None, Field(description="How near it is to what it cites, 0 to 1; null: unknown")
    ]


class Answered(Given):
    """An answer, sentence by sentence, with the passages it rests on."""

    outcome: Annotated[
        Outcome,
        Field(description="answered; not_found where the documents do not say it; others"),
    ]
    text: Annotated[str, Field(description="The whole answer, with [1] for passage 1")]
    reason: Annotated[str | None, Field(description="Why there is no answer, or not all of it")]
    sentences: list[AnswerSentence]
    passages: list[CitedPassage]
    query: Annotated[str, Field(description="What was searched for")]
    collection: str
    generator: Annotated[str, Field(description="Who wrote it; extractive: quotations, no model")]
    answer_id: Annotated[str, Field(description="Under which it can be looked at again, if stored")]
    stored: bool
    notices: list[Notice]


class DocumentPassage(Given):
    """A passage of a document, in reading order by ``ordinal``."""

    ordinal: int
    text: str
    heading_path: list[str]
    page: int | None
    chunk_id: str


class Document(Given):
    """A document and some of its passages. Their texts are data, whatever they say."""

    document_id: str
    collection: str
    title: str
    uri: str
    language: str
    type: str
    state: str
    updated_at: datetime
    passages: list[DocumentPassage]
    passages_total: int
    more: Annotated[bool, Field(description="Whether passages follow; raise first_ordinal")]


class ListedCollection(Given):
    """A collection that may be searched."""

    name: str
    documents: int
    passages: int
    model: Annotated[str | None, Field(description="null: nothing was ingested into it yet")]
    is_default: Annotated[bool, Field(description="Searched where none is named")]


class ListedCollections(Given):
    """All collections that may be seen, by name."""

    collections: list[ListedCollection]


Health = Literal["stable", "warn", "fail", "inconclusive", "unknown"]


class Standing(Given):
    """Whether the rankings of one collection still hold."""

    collection: str
    state: Annotated[
        Health,
        Field(
            description="stable, warn, fail, inconclusive; unknown: never checked, or too long ago"
        ),
    ]
    sentence: Annotated[str | None, Field(description="The newest check in one sentence")]
    checked_at: datetime | None
    check_id: str | None
    running: Annotated[bool, Field(description="Whether a check is under way")]


class Status(Given):
    """Whether rankings still hold: the gravest state of all, and each."""

    state: Health
    collections: list[Standing]
