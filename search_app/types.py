"""The values that the parts hand to each other: frozen, keyword-only, nearly without behaviour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

JSON = Any
"""A value that JSON can carry."""

Vector = NDArray[np.float32]
"""One vector, shape (d,), float32."""

Matrix = NDArray[np.float32]
"""Vectors as rows, shape (n, d), float32."""

Ids = NDArray[np.int32]
"""Term ids, shape (n,), ascending, each once (see lexical.py)."""

Kind = Literal["query", "document", "clustering", "classification", "similarity", "code", "bare"]
"""What a text is to the embedder; decides the prefix or task type it is sent with.

``code`` is a query for source code. ``bare`` texts are sent as they are, which tells whether a
prefix was lost; nothing is stored of it.
"""

QueryKind = Literal["query", "code"]
"""What a query looks for: anything, or source code."""


class IndexState(StrEnum):
    """The life of an index; at most one index of a collection is active."""

    BUILDING = "building"
    READY = "ready"
    ACTIVE = "active"
    STANDBY = "standby"
    RETIRED = "retired"


class RunStatus(StrEnum):
    """How a run stands or ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    """Finished, but some sources failed."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Its process died or was stopped; the next run finishes its work."""


@dataclass(frozen=True, kw_only=True)
class Chunking:
    """How documents are cut; part of a chunk's identity: change a field and it is a new chunking.

    ``max_tokens`` counts tokens of the named ``tokenizer``; ``version`` rises with every change
    of the rules that would cut some document differently. From 3 on, source code is cut into its
    functions and classes; before, as its layout tells them.
    """

    max_tokens: int = 256
    tokenizer: str = "multilingual-e5-small"
    version: int = 3

    @property
    def name(self) -> str:
        """The chunking as one short string, stored with every chunk."""
        return f"{self.tokenizer}/{self.max_tokens}/{self.version}"


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """What an embedder says of itself; believed only as far as its canary vectors agree.

    ``dimensions`` are observed from an answer. ``max_tokens`` is None where the provider does not
    tell. ``settings`` holds whatever else changes vectors (a requested dimension, a base URL).
    """

    provider: str
    model: str
    revision: str
    dimensions: int
    max_tokens: int | None
    document_prefix: str
    query_prefix: str
    settings: Mapping[str, JSON] = field(default_factory=dict)
    library_versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """What actually embeds: the identity claimed, and what was observed of it.

    ``noise_floor`` is the largest 1 − cos seen between two sends of one canary at registration;
    ``bit_stable`` says that all those sends were equal to the bit. One whose vectors were imported
    while nobody could ask it was only ``declared_at``; until it is ``verified_at`` nothing of it
    was observed.
    """

    id: UUID
    spec: str
    identity: ModelIdentity
    noise_floor: float
    bit_stable: bool
    declared_at: datetime | None = None
    verified_at: datetime | None = None

    @property
    def unverified(self) -> bool:
        """Whether nothing but somebody's word says that its vectors are its own."""
        return self.declared_at is not None and self.verified_at is None

    @property
    def name(self) -> str:
        """The model as people call it, e.g. ``bundled/multilingual-e5-small``."""
        return f"{self.identity.provider}/{self.identity.model}"


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A named set of documents."""

    id: UUID
    name: str


class Precision(StrEnum):
    """What numbers an index searches vectors by; the float32 ones are kept beside them.

    ``BINARY`` keeps a bit or two of each: whether it is above its mean, or how far.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    BINARY = "binary"


@dataclass(frozen=True, kw_only=True)
class Index:
    """One vector space: a collection × model version × chunking, in one store."""

    id: UUID
    collection_id: UUID
    model_version_id: UUID
    chunking: Chunking
    store: str
    precision: Precision
    state: IndexState
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of ingest: what it was told, with what code, where, and how it ended.

    ``counts`` has the shape that ``ingest add --json`` prints under documents and chunks;
    ``progress`` says what was found, read and planned so far. ``job_id`` is the queued job that it
    does, if any; ``part_of`` the run of which it is one worker's share.
    """

    id: UUID
    kind: str
    collection: str
    index_id: UUID | None
    status: RunStatus
    configuration: Mapping[str, JSON]
    code_version: str
    library_versions: Mapping[str, str]
    host: str
    process_id: int
    counts: Mapping[str, JSON]
    progress: Mapping[str, JSON]
    job_id: int | None
    reason: str | None
    errors: int
    started_at: datetime
    finished_at: datetime | None
    part_of: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A source that could not be ingested, and the one-line reason."""

    source: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Sparse:
    """A passage's BM25 weights: ``weights[i]`` > 0, float32, belongs to the term ``ids[i]``."""

    ids: Ids
    weights: Vector


@dataclass(frozen=True, kw_only=True, eq=False)
class TermQuery:
    """A query for keyword search: each term's weight (its IDF, times its count in the query).

    ``passages[i]`` is how many passages of the index have the term ``ids[i]``, at least 1: terms
    that no passage has are left out. The score of a passage is the inner product with its Sparse.
    ``mass`` is the sum of all weights, those included that no passage has; 0: not known.
    """

    ids: Ids
    weights: Vector
    passages: NDArray[np.int64]
    mass: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Point:
    """A vector as it stands in a store, with what says where it came from.

    ``vector`` is the unit vector, float32, bytes exactly as given; None where it was not asked for.
    ``terms`` are what keyword search finds it by; None where there are none, and in what a store
    gives back: they can be made anew from the text. ``fields`` are the filter fields of the
    chunk (see filters.py): its document's and its own.
    """

    chunk_id: UUID
    document_id: UUID
    index_id: UUID
    model_version_id: UUID
    run_id: UUID
    fields: Mapping[str, JSON]
    vector: Vector | None = field(default=None, compare=False)
    terms: Sparse | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A chunk found by a store and its inner product with the query; higher is better.

    ``vector`` is the stored one where it was asked for; two findings are the same without it.
    """

    chunk_id: UUID
    run_id: UUID
    score: float
    vector: Vector | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class DocumentRef:
    """The document of a hit, as much as a result list shows."""

    id: UUID
    uri: str
    source: str
    title: str
    language: str
    media_type: str


@dataclass(frozen=True, kw_only=True)
class CodePlace:
    """The lines of a chunk of source code, from 1, both included, and what stands in them.

    ``symbols`` are names with the module in front, and kinds: the one that all of it is part of,
    else all that begin or go on in it.
    """

    first_line: int
    last_line: int
    symbols: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A chunk found, with its scores and its provenance.

    ``rank`` counts from 1 over the whole result, not the page of it. ``score`` is the one that
    ranked it: of ``scores`` it is ``rerank``, ``fused``, ``dense`` or ``bm25``. ``scores`` and
    ``ranks`` have an entry for every list that found it among the hits that were fused.
    ``similar`` are passages that say nearly the same and were folded into this hit.
    ``within_noise_of_next`` says that the hit and the next one have the same score, or scores so
    near that another send of the query could swap them (see noise.py); None where that is unknown.
    ``code`` is where it stands in source code, None for everything else.
    """

    rank: int
    chunk_id: UUID
    document: DocumentRef
    text: str
    heading_path: Sequence[str]
    page: int | None
    ordinal: int
    score: float
    scores: Mapping[str, float]
    ranks: Mapping[str, int]
    similar: Sequence[UUID]
    run_id: UUID
    model_version_id: UUID
    index_id: UUID
    within_noise_of_next: bool | None = None
    code: CodePlace | None = None


Mode = Literal["hybrid", "semantic", "keyword"]
"""How a search finds: by meaning, by words, or by both."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that a search could not do, though it found; ``reason`` says why in one line.

    ``not_semantic``: hits were found by their words alone. ``not_keyword``: by meaning alone.
    ``no_words``: the query has no word that could be looked for. ``not_reranked``: the hits stand
    in the order in which they were found. ``not_all_looked_into``: of a query with phrases or
    exclusions, only the best hits could be looked into. ``all_alike``: every hit is equally near.
    """

    kind: Literal[
        "not_semantic",
        "not_keyword",
        "no_words",
        "not_reranked",
        "not_all_looked_into",
        "all_alike",
    ]
    reason: str


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The hits of one search and what answered it; ``took_ms`` includes embedding the query.

    ``search_id`` names it in the query log; a search for what is similar has no query and is not
    logged. ``unknown_words`` are words of the query that no passage of the index has;
    ``suggestion`` is the query with near words that some have, None where there are none.
    ``noise`` is the largest 1 − cos that was measured between two sends of one text to the model,
    None where none was sent or nothing was measured. ``kind`` is what the query was embedded as.
    """

    search_id: UUID
    query: str
    mode: Mode
    notices: Sequence[Notice]
    unknown_words: Sequence[str]
    suggestion: str | None
    collection: str
    hits: Sequence[Hit]
    index_id: UUID
    model_version_id: UUID
    model: str
    exact: bool
    more: bool
    took_ms: float
    searched_at: datetime
    noise: float | None = None
    kind: QueryKind = "query"
