"""What a check found, layer by layer, and what it comes to: the facts of every report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from search_app.answering.stability import Again
from search_app.consistency.evidence import Evidence, Interval

SCHEMA = 1
"""Version of the JSON shape of a report."""


class Verdict(StrEnum):
    """What a check comes to, the gravest first."""

    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    WARN = "warn"
    STABLE = "stable"

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return {"fail": 2, "inconclusive": 3, "warn": 1, "stable": 0}[self.value]


class FindingKind(StrEnum):
    """What can be said of a night, each with the verdict that it calls for in SEVERITY."""

    DRIFTED = "drifted"
    MODEL_CHANGED = "model_changed"
    CORRUPT = "corrupt"
    TOO_FEW = "too_few_references"
    UNCERTAIN = "changes_without_alarm"
    UNREACHABLE = "unreachable"
    NOISY = "noisy"
    NEW_BUILD = "new_build"
    RECALL = "index_recall_fell"
    STALE = "stale_text"
    PASSAGES = "passages_differ"
    NOISE = "noise_above_baseline"


SEVERITY: Mapping[FindingKind, Verdict] = {
    FindingKind.DRIFTED: Verdict.FAIL,
    FindingKind.MODEL_CHANGED: Verdict.FAIL,
    FindingKind.CORRUPT: Verdict.FAIL,
    FindingKind.TOO_FEW: Verdict.INCONCLUSIVE,
    FindingKind.UNCERTAIN: Verdict.INCONCLUSIVE,
    FindingKind.UNREACHABLE: Verdict.INCONCLUSIVE,
    FindingKind.NOISY: Verdict.WARN,
    FindingKind.NEW_BUILD: Verdict.WARN,
    FindingKind.RECALL: Verdict.WARN,
    FindingKind.STALE: Verdict.WARN,
    FindingKind.PASSAGES: Verdict.WARN,
    FindingKind.NOISE: Verdict.WARN,
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to say about the night, in one sentence."""

    kind: FindingKind
    severity: Verdict
    sentence: str


class FaultKind(StrEnum):
    """What can be wrong with stored vectors and their records."""

    MISSING = "missing"
    ORPHANED = "orphaned"
    ALTERED = "altered"
    NOT_FINITE = "not_finite"
    ZERO = "zero"
    NORM = "norm"
    GRID = "grid"
    TAIL = "zero_tail"
    COLLAPSED = "one_vector_for_different_texts"
    PREFIX = "another_prefix"
    STALE = "stale_fields"
    STALE_TEXT = "stale_text"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Chunks with the same thing wrong; ``ids`` are all of them, ``detail`` is one line."""

    kind: FaultKind
    ids: Sequence[UUID]
    detail: str


@dataclass(frozen=True, kw_only=True)
class Integrity:
    """Layer 0: how many vectors were read, and what is wrong with which."""

    scanned: int
    faults: Sequence[Fault] = ()


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """Layer 1: how far the canaries are from those of the model version.

    ``outcome`` is same, new build or other model. ``distances`` are 1 - cos to the registered
    vectors by the canary's name, ``within`` those between tonight's sends alone and in company, and
    ``noise`` the largest of these; None where texts travel alone anyway. ``decided_after`` texts it
    was clear that another model answers. ``upgraded`` are packages of other versions than when the
    model was registered.
    """

    outcome: str
    lowest_cosine: float
    canary: str
    noise: float | None = None
    distances: Mapping[str, float] = field(default_factory=dict)
    within: Mapping[str, float] = field(default_factory=dict)
    decided_after: int | None = None
    upgraded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A document of a list, with its scores then and now."""

    chunk_id: UUID
    title: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class ChangedQuery:
    """A query whose list changed materially: both lists, and the pair that was reversed."""

    text: str | None
    before: Sequence[Ranked]
    after: Sequence[Ranked]
    lead: float
    loss: float
    cosine: float


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Layer 2: lists of tonight against those of the reference, and against each other.

    ``changed`` of ``sampled`` lists changed materially, ``unsteady`` of ``repeated`` between two
    sends of this night; ``near_ties`` are swaps below the tolerance. ``distances`` are 1 - cos
    between reference and tonight, ``noise`` between sends of tonight. ``overlap``, ``tau`` and
    ``rbo`` are means against the reference, each with its value within the night.
    """

    references: int
    sampled: int
    changed: int
    repeated: int
    unsteady: int
    near_ties: int
    tolerance: float
    distances: Sequence[float] = ()
    noise: Sequence[float] = ()
    overlap: tuple[float, float] | None = None
    tau: tuple[float, float] | None = None
    rbo: tuple[float, float] | None = None
    recall: float | None = None
    worst: Sequence[ChangedQuery] = ()


@dataclass(frozen=True, kw_only=True)
class MovedDocument:
    """A passage whose vector is not what its text gives now, beyond the noise of 1 - cos."""

    chunk_id: UUID
    title: str
    run_id: UUID
    cosine: float
    noise: float


@dataclass(frozen=True, kw_only=True)
class Documents:
    """Layer 3: passages that were embedded again."""

    sampled: int
    moved: Sequence[MovedDocument] = ()
    distances: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Clause:
    """A sentence of evidence, marked for translation; ``values`` fill its places, ready to show."""

    sentence: str
    values: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence % self.values


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What explains a difference; ``confirmed`` by embedding again under the hypothesis."""

    name: str
    confirmed: bool
    clauses: Sequence[Clause]
    remedy: str

    @property
    def evidence(self) -> str:
        """What speaks for it, in one line."""
        return "; ".join(map(str, self.clauses))


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a check sent to the model; ``cost`` where the price is known, in its currency."""

    texts: int = 0
    tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What each layer saw; None: it was not looked at, and ``not_checked`` says why."""

    integrity: Integrity | None = None
    canaries: Canaries | None = None
    queries: Queries | None = None
    documents: Documents | None = None


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """A whole check. Intervals of ``reproducibility`` (r) and ``drift`` (p) are of this night.

    ``answers`` are logged questions asked again; None where there were none.
    """

    check_id: UUID
    collection: str
    index_id: UUID
    model_version_id: UUID
    model: str
    verdict: Verdict
    sentence: str
    findings: Sequence[Finding]
    reproducibility: Interval
    drift: Interval
    drift_week: Interval
    noise_median: float | None
    noise_max: float | None
    evidence_r: Evidence
    evidence_p: Evidence
    layers: Layers
    causes: Sequence[Cause]
    spent: Spent
    not_checked: Sequence[str]
    seed: int
    k: int
    started_at: datetime
    seconds: float
    answers: Again | None = None
