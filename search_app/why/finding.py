"""What a finding is, and what several of them look at."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from search_app.catalog.inquiries import PastSearch
from search_app.types import JSON
from search_app.why.facts import Facts, State

ROUNDING = 1e-6
"""Least difference of two scores that is one: they are sums of float32 products."""


class Cause(StrEnum):
    """Why, the most decisive first."""

    FOUND = "found"
    FOLDED = "folded"
    NEVER_INGESTED = "never_ingested"
    FAILED = "failed"
    REMOVED = "removed"
    PENDING = "pending"
    LEFT_OUT = "left_out"
    NO_VECTOR = "no_vector"
    EDITED = "edited"
    CHUNKED_ANEW = "chunked_anew"
    FILTERED_OUT = "filtered_out"
    EXCLUDED = "excluded"
    INDEX_SWITCHED = "index_switched"
    MISSED = "missed"
    OUTRANKED = "outranked"
    QUERY_VECTOR_CHANGED = "query_vector_changed"
    QUERY_VECTOR_UNKNOWN = "query_vector_unknown"
    CHECKED = "checked"
    UNCHECKED = "unchecked"
    NOISE = "noise"


@dataclass(frozen=True)
class Told:
    """A finding in words: what is so, and what to do; ``%(name)s`` stands for its values."""

    sentence: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class Finding(ABC):
    """One cause with its evidence, the fields of each kind."""

    cause: ClassVar[Cause]

    @abstractmethod
    def told(self) -> Told:
        """Say it."""

    def values(self) -> dict[str, JSON]:
        """Give the evidence by name."""
        return dict(vars(self))


def searchable(facts: Facts) -> bool:
    """Whether there is something of it that a search could find."""
    return facts.subject.state is State.INDEXED


def comparable(facts: Facts) -> PastSearch | None:
    """Give the search compared with, if its vector could be the same as now."""
    then, now = facts.compared, facts.serving
    if then is None or now is None or not searchable(facts):
        return None
    if then.model_version_id != now.model_version_id or "keyword" in (then.mode, facts.mode):
        return None
    return then
