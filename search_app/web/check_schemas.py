"""The JSON of checks: their list, one whole, asking for one, accepting one."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from search_app.types import JSON
from search_app.web.check_examples import EXAMPLES
from search_app.web.schemas import Model

State = Literal["stable", "warn", "fail", "inconclusive", "unknown"]


def _example(name: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": EXAMPLES[name]})


class CheckSummary(Model):
    """A check in numbers: ``changed`` of ``sampled`` queries, ``unsteady`` of ``repeated`` ones.

    ``finding`` is the kind of the gravest thing found. Evidence is that after this check.
    """

    id: UUID
    collection: str
    index_id: UUID
    verdict: str
    finding: str | None
    sentence: str
    sampled: int
    changed: int
    repeated: int
    unsteady: int
    noise_median: float | None
    noise_max: float | None
    drift_evidence: float
    reproducibility_evidence: float
    at: datetime
    accepted_at: datetime | None


class StandingJson(Model):
    """An active index and its newest check.

    ``state`` is that check's verdict; unknown where there is none, or where it is too old to count.
    ``running`` says whether one is under way.
    """

    collection: str
    index_id: UUID
    state: State
    check_id: UUID | None
    at: datetime | None
    running: bool


class Checks(Model):
    """Checks, newest first, and how active indexes stand; ``more`` says whether others follow."""

    model_config = _example("checks")

    checks: list[CheckSummary]
    standings: list[StandingJson]
    more: bool


class FindingJson(Model):
    """Something to say about the night."""

    kind: str
    severity: str
    sentence: str


class IntervalJson(Model):
    """A share with one-sided 95 % bounds; the estimate is null where nothing was compared."""

    estimate: float | None
    low: float
    high: float


class NoiseJson(Model):
    """1 - cos between sends of one night; null where no text was sent twice."""

    median: float | None
    max: float | None


class EvidenceJson(Model):
    """Evidence gathered over the nights; 2,000 is an alarm."""

    reproducibility: float
    drift: float


class ClauseJson(Model):
    """A sentence of evidence, in English, with the values of its places."""

    sentence: str
    values: dict[str, str]


class CauseJson(Model):
    """What explains a difference; ``confirmed`` by embedding again under the hypothesis.

    ``clauses`` are the evidence in parts; reports of earlier versions have none.
    """

    name: str
    confirmed: bool
    evidence: str
    clauses: Annotated[list[ClauseJson], Field(default_factory=list)]
    remedy: str


class ReportJson(Model):
    """A report under its versioned ``schema``, as it was kept; the layers are shown in the example.

    A layer is null where it was not looked at.
    """

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    schema_: Annotated[int, Field(alias="schema")]
    check_id: UUID
    collection: str
    index_id: UUID
    model_version_id: UUID
    model: str
    verdict: str
    sentence: str
    findings: list[FindingJson]
    reproducibility: IntervalJson
    drift: IntervalJson
    drift_week: IntervalJson
    noise: NoiseJson
    evidence: EvidenceJson
    layers: dict[str, JSON]
    causes: list[CauseJson]
    texts_sent: int
    tokens: int | None
    cost: float | None
    not_checked: list[str]
    answers: Annotated[
        JSON,
        Field(
            description="Logged questions retrieved for again: how many, and those whose answers "
            "would have to cite other passages; null where there are none"
        ),
    ] = None
    seed: int
    k: int
    started_at: datetime
    seconds: float


class CheckJson(Model):
    """A check, whole. Only the latest of an index can be accepted."""

    model_config = _example("check")

    is_latest: bool
    accepted_at: datetime | None
    report: ReportJson


class AskForCheck(Model):
    """What to check."""

    model_config = _example("ask")

    collection: Annotated[str, Field(description="The collection whose active index is checked")]


class Accepted(Model):
    """A check whose noise and query vectors are the baseline from now on."""

    model_config = _example("accepted")

    check_id: UUID
    collection: str
    index_id: UUID
