"""Findings about the search: what it passes over, and what is above the document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from search_app.filters import Filter, field_values, leaves, passes
from search_app.grammar import parse_filter
from search_app.question import Question
from search_app.types import JSON
from search_app.why.facts import Facts, Place
from search_app.why.finding import Cause, Finding, Told, searchable
from search_app.wording import gettext_noop

_MOST_TOLD = 8
"""Values of a field that are told: source code may have hundreds of functions."""


@dataclass(frozen=True, kw_only=True)
class FilteredOut(Finding):
    """A condition leaves it out; ``searched_at`` is given where only the last search had it."""

    cause = Cause.FILTERED_OUT
    filter: str
    has: str
    rank_without: int | None
    searched_at: datetime | None

    def told(self) -> Told:
        """Name the condition and what the document has instead."""
        if self.searched_at is not None:
            return Told(
                gettext_noop(
                    "The last search for this (%(searched_at)s) was narrowed by %(filter)s, which "
                    "leaves it out: it has %(has)s."
                ),
                gettext_noop("Search without this filter."),
            )
        if self.rank_without is not None:
            return Told(
                gettext_noop(
                    "The filter %(filter)s leaves it out: it has %(has)s. Without filters it is "
                    "at rank %(rank_without)s."
                ),
                gettext_noop("Search without this filter, or correct the document's fields."),
            )
        return Told(
            gettext_noop("The filter %(filter)s leaves it out: it has %(has)s."),
            gettext_noop("Search without this filter, or correct the document's fields."),
        )


@dataclass(frozen=True, kw_only=True)
class Excluded(Finding):
    """No passage of it has the phrases of the query and none of its exclusions."""

    cause = Cause.EXCLUDED
    phrases: Sequence[str]
    unwanted: Sequence[str]

    def told(self) -> Told:
        """Name what is missing, or what is there and must not be."""
        if self.phrases and self.unwanted:
            return Told(
                gettext_noop(
                    "No passage of it has %(phrases)s word for word, and all have %(unwanted)s, "
                    "which the query excludes."
                ),
                gettext_noop("Leave out the quotes and the exclusion."),
            )
        if self.phrases:
            return Told(
                gettext_noop("No passage of it has %(phrases)s word for word."),
                gettext_noop("Leave out the quotes."),
            )
        if self.unwanted:
            return Told(
                gettext_noop("Every passage of it has %(unwanted)s, which the query excludes."),
                gettext_noop("Leave out the exclusion."),
            )
        return Told(
            gettext_noop("No passage of it meets all quotes and exclusions of the query at once."),
            gettext_noop("Leave out the quotes or the exclusion."),
        )


@dataclass(frozen=True, kw_only=True)
class IndexSwitched(Finding):
    """Another index answers than in the search that now is compared with."""

    cause = Cause.INDEX_SWITCHED
    at: datetime
    searched_at: datetime
    before: str
    now: str
    index_before: UUID
    index_now: UUID
    same_model: bool

    def told(self) -> Told:
        """Name both models."""
        advice = gettext_noop(
            "Compare both indexes with ingest compare, and go back with ingest rollback if the "
            "new one is worse."
        )
        if self.same_model:
            return Told(
                gettext_noop(
                    "Another index of the same model answers since %(at)s: %(index_now)s instead "
                    "of %(index_before)s."
                ),
                advice,
            )
        return Told(
            gettext_noop(
                "Another model answers since %(at)s: %(now)s (index %(index_now)s) instead of "
                "%(before)s (index %(index_before)s)."
            ),
            advice,
        )


@dataclass(frozen=True, kw_only=True)
class Missed(Finding):
    """The approximate index leaves it out; compared with every vector, it is there."""

    cause = Cause.MISSED
    exact_rank: int
    approximate_rank: int | None

    def told(self) -> Told:
        """Give both ranks."""
        advice = gettext_noop(
            "Search with --exact; if this happens often, rebuild the index with ingest reindex."
        )
        if self.approximate_rank is None:
            return Told(
                gettext_noop(
                    "The approximate index misses it: compared with every vector it is at rank "
                    "%(exact_rank)s."
                ),
                advice,
            )
        return Told(
            gettext_noop(
                "The approximate index misses its best passage: compared with every vector it is "
                "at rank %(exact_rank)s instead of %(approximate_rank)s."
            ),
            advice,
        )


class Reason(StrEnum):
    """Why a hit is above the document that was not there before."""

    ADDED = "added"
    EDITED = "edited"
    INDEX = "index"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A hit above the document; ``reason`` is None where it was above it before, too."""

    place: Place
    reason: Reason | None
    at: datetime | None
    run: UUID | None


@dataclass(frozen=True, kw_only=True)
class Outranked(Finding):
    """Others are better.

    ``rank`` is None where it is not among the ``looked_into`` best; ``needed`` is the score of the
    last hit that is shown and ``score`` its own. ``nearest`` is the cosine of its best passage.
    """

    cause = Cause.OUTRANKED
    rank: int | None
    looked_into: int
    score: float | None
    needed: float | None
    dense: float | None
    dense_rank: int | None
    bm25: float | None
    bm25_rank: int | None
    k: int
    rivals: Sequence[Rival]
    searched_at: datetime | None

    @property
    def lacking(self) -> float | None:
        """How much is missing to the last hit shown."""
        if self.score is None or self.needed is None:
            return None
        return self.needed - self.score

    @property
    def new(self) -> Sequence[Rival]:
        """The hits above it that were not there in the search compared with."""
        return [rival for rival in self.rivals if rival.reason is not None]

    def values(self) -> dict[str, JSON]:
        """Give the evidence by name, what follows from it included."""
        return {**super().values(), "lacking": self.lacking, "new": len(self.new)}

    def told(self) -> Told:
        """Give rank and distance."""
        if self.rank is None:
            return Told(
                gettext_noop(
                    "It is outranked: it is not among the first %(looked_into)s passages."
                ),
                gettext_noop(
                    "See by its scores below whether words or meaning are missing, and ask with "
                    "words that it has."
                ),
            )
        advice = gettext_noop("Ask for more hits, narrow the search, or ask with words it has.")
        if self.new and self.searched_at is not None:
            return Told(
                gettext_noop(
                    "It is outranked: at rank %(rank)s, %(lacking)s below rank %(k)s; %(new)s of "
                    "the hits above it were not there at %(searched_at)s."
                ),
                advice,
            )
        return Told(
            gettext_noop("It is outranked: at rank %(rank)s, %(lacking)s below rank %(k)s."),
            advice,
        )


def filtered_out(facts: Facts) -> FilteredOut | None:
    """Does a condition of this search, or of the last one, leave it out?"""
    if not searchable(facts):
        return None
    fields = facts.subject.fields
    texts, searched_at = facts.filters, None
    if not texts and facts.last is not None:
        texts, searched_at = facts.last.filters, facts.last.at
    for text in texts:
        condition = parse_filter([text])
        if not passes(fields, condition):
            place = facts.unfiltered.place if facts.unfiltered else None
            return FilteredOut(
                filter=text,
                has=_has(fields, condition),
                rank_without=place.rank if place and searched_at is None else None,
                searched_at=searched_at,
            )
    return None


def excluded(facts: Facts) -> Excluded | None:
    """Do quotes or exclusions of the query leave out all of its passages?"""
    question = facts.question
    if not (question.is_strict and facts.texts and searchable(facts)):
        return None
    if any(question.accepts(text) for text in facts.texts):
        return None

    def keeps_none(part: Question) -> bool:
        return not any(part.accepts(text) for text in facts.texts)

    return Excluded(
        phrases=[each for each in question.phrases if keeps_none(Question("", phrases=(each,)))],
        unwanted=[each for each in question.excluded if keeps_none(Question("", excluded=(each,)))],
    )


def index_switched(facts: Facts) -> IndexSwitched | None:
    """Does another index answer than in the search compared with?"""
    then, now = facts.compared, facts.serving
    if then is None or now is None or facts.switched_at is None or not searchable(facts):
        return None
    return IndexSwitched(
        at=facts.switched_at,
        searched_at=then.at,
        before=then.model,
        now=now.model,
        index_before=then.index_id,
        index_now=now.index_id,
        same_model=then.model_version_id == now.model_version_id,
    )


def missed(facts: Facts) -> Missed | None:
    """Would it be shown if every vector were compared?"""
    if facts.is_found or facts.exact is None:
        return None
    exact = facts.exact.place
    if exact is None or exact.rank > facts.k:
        return None
    return Missed(exact_rank=exact.rank, approximate_rank=facts.place.rank if facts.place else None)


def outranked(facts: Facts) -> Outranked | None:
    """Are others better?"""
    if facts.approximate is None or facts.is_found or not searchable(facts):
        return None
    # It does not compete at all.
    if facts.is_left_out or missed(facts) or excluded(facts):
        return None
    if facts.filters and filtered_out(facts):
        return None
    if facts.lacking and facts.lacking == len(facts.texts):
        return None
    place = facts.place or (facts.exact.place if facts.exact else None)
    above = [hit for hit in facts.approximate.hits if hit.rank <= facts.k]
    scores = place.scores if place else {}
    ranks = place.ranks if place else {}
    return Outranked(
        rank=place.rank if place else None,
        looked_into=facts.approximate.looked_into,
        score=place.score if place else None,
        needed=above[-1].score if above else None,
        dense=scores.get("dense", facts.nearest),
        dense_rank=ranks.get("dense"),
        bm25=scores.get("bm25"),
        bm25_rank=ranks.get("bm25"),
        k=facts.k,
        rivals=[_rival(facts, hit) for hit in above],
        searched_at=facts.compared.at if facts.compared else None,
    )


def _has(fields: Mapping[str, JSON], condition: Filter | None) -> str:
    """Write what a document has in the fields that a condition looks at."""
    names = dict.fromkeys(
        leaf.field for each in (condition.conditions if condition else ()) for leaf in leaves(each)
    )
    told = []
    for name in names:
        values = field_values(fields, name)
        more = ",…" if len(values) > _MOST_TOLD else ""
        told.append(
            f"{name}={','.join(map(str, values[:_MOST_TOLD]))}{more}" if values else f"no {name}"
        )
    return ", ".join(told)


def _rival(facts: Facts, hit: Place) -> Rival:
    """Say why a hit is above the document that was not in the search compared with."""
    then = facts.compared
    if then is None or hit.chunk_id in then.hit_ids:
        return Rival(place=hit, reason=None, at=None, run=None)
    events = [
        event
        for event in facts.rivals
        if event.document_id == hit.document_id and event.at > then.at
    ]
    if events:
        added = any(event.event == "added" for event in events)
        latest = events[-1]
        return Rival(
            place=hit,
            reason=Reason.ADDED if added else Reason.EDITED,
            at=latest.at,
            run=latest.run_id,
        )
    switched = facts.serving is not None and facts.serving.index_id != then.index_id
    reason = Reason.INDEX if switched else Reason.UNKNOWN
    return Rival(place=hit, reason=reason, at=None, run=None)
