"""What is known of a document and a query: plain values, so that findings are functions of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from search_app.catalog.exclusions import Left
from search_app.catalog.history import DocumentEvent
from search_app.catalog.inquiries import PastCheck, PastFailure, PastSearch
from search_app.question import Question
from search_app.types import JSON, Mode


class State(StrEnum):
    """How what was asked for stands."""

    UNKNOWN = "unknown"
    """Nobody ever ingested it."""
    FAILED = "failed"
    """It never came in, since reading it failed."""
    REMOVED = "removed"
    PENDING = "pending"
    INDEXED = "indexed"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The document that is asked for; ``id`` is None of what never came in.

    Not ``complete``: a newer form of it is on its way in. ``stale``: its source could not be read
    when it was last met, so that it is there in an older form.
    """

    state: State
    uri: str
    title: str = ""
    id: UUID | None = None
    fields: Mapping[str, JSON] = field(default_factory=dict)
    complete: bool = True
    stale: bool = False
    run_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Serving:
    """The index that answers now; ``noise`` is the largest 1 - cos measured between two sends.

    It is None where nothing was measured.
    """

    index_id: UUID
    model_version_id: UUID
    model: str
    chunking: str
    store: str
    noise: float | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the best passage of a document stands among the hits.

    ``scores`` and ``ranks`` are those in each list, as a hit has them.
    """

    rank: int
    chunk_id: UUID
    document_id: UUID
    uri: str
    title: str
    score: float
    scores: Mapping[str, float]
    ranks: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a search gives now: its first hits, and the place of the document, if it has one.

    ``looked_into`` is how many hits were looked through for it.
    """

    hits: Sequence[Place]
    place: Place | None
    looked_into: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that the findings are made from.

    ``approximate`` is what users get; ``exact`` the same without the index's own error, asked only
    where the document is not among the first ``k``; ``unfiltered`` without filters, asked only
    where filters leave the document out. ``texts`` are its passages with their headings, ``left``
    what of them is left out of every search, and ``lacking`` how many have no vector in the index.
    ``nearest`` is the cosine of its best passage, where that is known. ``folded_into`` is the rank
    of the hit that the page shows in its place. ``rivals`` is what became of the documents above it
    since the search compared with, and ``switched_at`` when the index took over that answers now,
    where another one answered that. ``checks`` are those of the index since the
    search compared with, where it answered that too.
    """

    k: int
    mode: Mode
    subject: Subject
    filters: Sequence[str] = ()
    question: Question = field(default_factory=lambda: Question(""))
    since: datetime | None = None
    elsewhere: Sequence[str] = ()
    failure: PastFailure | None = None
    events: Sequence[DocumentEvent] = ()
    serving: Serving | None = None
    switched_at: datetime | None = None
    last: PastSearch | None = None
    last_hit: PastSearch | None = None
    chunk_ids: Sequence[UUID] = ()
    texts: Sequence[str] = ()
    left: Left = field(default_factory=Left)
    lacking: int = 0
    approximate: Listed | None = None
    exact: Listed | None = None
    unfiltered: Listed | None = None
    folded_into: int | None = None
    nearest: float | None = None
    vector_hash: bytes | None = None
    rivals: Sequence[DocumentEvent] = ()
    checks: Sequence[PastCheck] = ()

    @property
    def place(self) -> Place | None:
        """Where users find the document now."""
        return self.approximate.place if self.approximate else None

    @property
    def is_left_out(self) -> bool:
        """Whether every passage of it was excluded by somebody."""
        every = bool(self.texts) and len(self.left.chunk_ids) == len(self.texts)
        return self.left.whole or every

    @property
    def is_found(self) -> bool:
        """Whether it is among the first ``k``."""
        return self.place is not None and self.place.rank <= self.k

    @property
    def compared(self) -> PastSearch | None:
        """The search that now is compared with: the last that found it, else the last of all."""
        return self.last_hit or self.last
