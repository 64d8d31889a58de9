"""The JSON of the API: what it takes and what it gives, with an example of each."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from search_app.fusion import Method
from search_app.stores.base import MAX_K
from search_app.types import JSON, Mode, QueryKind, RunStatus
from search_app.web.examples import EXAMPLES


class Model(BaseModel):
    """What all of them have in common: no unknown fields, no conversions, unchangeable."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, frozen=True, strict=True)


def _example(name: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": EXAMPLES[name]})


class SearchBody(Model):
    """A search. ``filters`` must all hold; they are written as on the command line."""

    model_config = _example("search")

    query: Annotated[str, Field(description="What is looked for, in words, up to 2,000 characters")]
    collection: Annotated[
        str | None, Field(description="Left out: the server's default collection")
    ] = None
    index: Annotated[
        str | None,
        Field(
            description="Id of another kept index that shall answer, or the beginning of it; "
            "left out: the active one"
        ),
    ] = None
    k: Annotated[int, Field(ge=1, le=MAX_K, description="How many hits are wanted")] = 10
    first_rank: Annotated[
        int, Field(ge=1, le=MAX_K, description="Rank of the first hit wanted; pages through them")
    ] = 1
    filters: Annotated[
        tuple[str, ...],
        Field(
            strict=False,
            description="language=ja, type=pdf,markdown, folder!=drafts, meta.year>=2020",
        ),
    ] = ()
    mode: Annotated[
        Mode | None,
        Field(description="By meaning and words, by meaning, or by words; left out: the server's"),
    ] = None
    dense_weight: Annotated[
        float | None, Field(ge=0, le=1, description="Share of meaning in a hybrid score")
    ] = None
    fusion: Annotated[
        Method | None, Field(description="Merge by scores (minmax) or by ranks (rrf)")
    ] = None
    rerank: Annotated[
        bool, Field(description="Let the server's reranker reorder the first hits, if it has one")
    ] = True
    exact: Annotated[
        bool, Field(description="Compare with every vector instead of using the fast index")
    ] = False
    mmr: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="λ of maximal marginal relevance: the lower, the more hits differ",
        ),
    ] = None
    kind: Annotated[
        QueryKind,
        Field(description="What is looked for: anything, or source code; some models are told"),
    ] = "query"
    fold: Annotated[
        bool, Field(description="Show passages that say nearly the same as one hit")
    ] = False


class DocumentOfHit(Model):
    """The document that a hit stands in."""

    id: UUID
    uri: str
    title: str
    source: str
    language: str


class CodeSymbolJson(Model):
    """A function, class or the like: ``name`` with the module or package in front."""

    name: str
    kind: str


class CodeJson(Model):
    """The lines of a passage of source code, from 1, both included, and what it is of.

    ``symbols`` is the one function or class that all of it is part of, else all that it has of.
    """

    first_line: int
    last_line: int
    symbols: list[CodeSymbolJson]


class HitJson(Model):
    """A passage found; a higher ``score`` is better.

    ``scores`` and ``ranks`` are those of the lists that found it: ``dense`` is the inner product
    with the query's vector, ``bm25`` the score of its words; ``fused`` and ``rerank`` are what
    came of them. ``similar`` are passages that were folded into this one.
    ``within_noise_of_next`` is true where the next hit has the same score, or one so near that
    another answer of the model to the same query could swap the two; null where that is not known,
    as for scores of a reranker.
    """

    rank: int
    chunk_id: UUID
    document: DocumentOfHit
    text: str
    heading_path: list[str]
    page: int | None
    score: float
    scores: dict[str, float]
    ranks: dict[str, int]
    similar: list[UUID]
    run_id: UUID
    model_version_id: UUID
    index_id: UUID
    within_noise_of_next: Annotated[
        bool | None,
        Field(description="The order of this hit and the next is within the noise of the model"),
    ]
    code: Annotated[CodeJson | None, Field(description="Where it stands in source code; else null")]


class NoticeJson(Model):
    """Something that the search could not do, though it found; ``reason`` is one line."""

    kind: str
    reason: str


class SearchAnswer(Model):
    """The hits, best first, and what answered. ``more`` says that further hits can be paged to.

    ``unknown_words`` are words of the query that no passage has; ``suggestion`` is the query with
    words in their place that some have, null where there are none near. ``noise`` is the largest
    1 − cos that was measured between two answers of the model to one text, when it was registered
    or by the latest check of the index; null where the query was not sent to a model.
    """

    model_config = _example("answer")

    search_id: UUID
    hits: list[HitJson]
    mode: Mode
    notices: list[NoticeJson]
    unknown_words: list[str]
    suggestion: str | None
    collection: str
    index_id: UUID
    model_version_id: UUID
    model: str
    exact: bool
    more: bool
    took_ms: float
    noise: float | None
    kind: Annotated[QueryKind, Field(description="What was looked for: anything, or source code")]


class CollectionJson(Model):
    """A collection; without an index nothing has been ingested into it."""

    id: UUID
    name: str
    documents: int
    chunks: int
    pending_documents: int
    index_id: UUID | None
    store: str | None
    model_version_id: UUID | None
    model: str | None


class Collections(Model):
    """All collections, by name."""

    model_config = _example("collections")

    collections: list[CollectionJson]


class ChunkJson(Model):
    """A passage of a document, in reading order by ``ordinal``."""

    id: UUID
    ordinal: int
    text: str
    heading_path: list[str]
    page: int | None
    excluded: bool
    code: CodeJson | None


class DocumentJson(Model):
    """A document with a page of its passages; ``chunks_total`` says how many there are.

    What is ``excluded`` no search finds; of an excluded document that is every passage.
    """

    model_config = _example("document")

    id: UUID
    collection: str
    uri: str
    source: str
    title: str
    language: str
    type: str
    fields: dict[str, JSON]
    note: Annotated[
        str | None,
        Field(description="What of source code could not be told; null if nothing is to be said"),
    ]
    state: str
    excluded: bool
    run_id: UUID | None
    created_at: datetime
    updated_at: datetime
    chunks: list[ChunkJson]
    chunks_total: int
    more: bool


class RunJson(Model):
    """A run of ingest: what it was told, with what code, where, and how it ended."""

    id: UUID
    kind: str
    collection: str
    index_id: UUID | None
    status: RunStatus
    configuration: dict[str, JSON]
    code_version: str
    library_versions: dict[str, str]
    host: str
    process_id: int
    counts: dict[str, JSON]
    reason: str | None
    errors: int
    started_at: datetime
    finished_at: datetime | None
    part_of: Annotated[
        UUID | None,
        Field(description="The run of which this one is one worker's share; else null"),
    ]


class Runs(Model):
    """Runs, newest first."""

    model_config = _example("runs")

    runs: list[RunJson]
    more: bool


class FailureJson(Model):
    """A source that could not be ingested, and why."""

    source: str
    reason: str


class RunWithFailures(RunJson):
    """A run with a page of its failures; ``errors`` says how many there are."""

    model_config = _example("run")

    failures: list[FailureJson]
    more: bool


class ModelJson(Model):
    """A model version: what it claims to be, and what was observed of it.

    ``noise_floor`` is the largest 1 − cos seen between two sends of one text. One whose vectors
    were imported while it did not answer was only ``declared_at``; until ``verified_at``, nothing
    of it was observed.
    """

    id: UUID
    name: str
    spec: str
    provider: str
    model: str
    revision: str
    dimensions: int
    max_tokens: int | None
    document_prefix: str
    query_prefix: str
    settings: dict[str, JSON]
    library_versions: dict[str, str]
    noise_floor: float
    bit_stable: bool
    declared_at: datetime | None
    verified_at: datetime | None


class Models(Model):
    """All model versions, oldest first."""

    model_config = _example("models")

    models: list[ModelJson]


class ProblemJson(Model):
    """A failure, after RFC 9457. ``type`` leads to an explanation, ``detail`` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[dict[str, Any]] | None = None
    request_id: Annotated[
        str | None, Field(description="As in the header X-Request-ID and in the server's log")
    ] = None
