"""Findings: each is one cause why a document is not found, or says where it is found after all.

Every cause has a function of the facts that gives a finding or None; ``findings`` calls them in
the order of the causes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from search_app.catalog.inquiries import PastCheck, PastSearch
from search_app.filters import Filter, field_values, leaves, passes
from search_app.grammar import parse_filter
from search_app.noise import movement
from search_app.question import Question
from search_app.types import JSON
from search_app.why.facts import Facts, Place, State
from search_app.wording import gettext_noop

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


@dataclass(frozen=True, kw_only=True)
class Found(Finding):
    """It is among the hits that are shown."""

    cause = Cause.FOUND
    rank: int
    score: float
    passage: UUID

    def told(self) -> Told:
        """Say where."""
        return Told(
            gettext_noop("It is found, at rank %(rank)s."),
            gettext_noop("Nothing is to be done."),
        )


@dataclass(frozen=True, kw_only=True)
class Folded(Finding):
    """The page shows another hit in its place."""

    cause = Cause.FOLDED
    rank: int

    def told(self) -> Told:
        """Name the hit."""
        return Told(
            gettext_noop("On the page it is folded into hit %(rank)s, which says nearly the same."),
            gettext_noop("Open the list of near duplicates below that hit."),
        )


@dataclass(frozen=True, kw_only=True)
class NeverIngested(Finding):
    """Nobody ever heard of it."""

    cause = Cause.NEVER_INGESTED
    wanted: str
    elsewhere: Sequence[str]

    def told(self) -> Told:
        """Say where it is instead, if it is anywhere."""
        if self.elsewhere:
            return Told(
                gettext_noop("It was never ingested into this collection; it is in %(elsewhere)s."),
                gettext_noop("Search there, or ingest it here too."),
            )
        return Told(
            gettext_noop(
                "It was never ingested: neither a document nor a failure has this in its name."
            ),
            gettext_noop("Run ingest add on it."),
        )


@dataclass(frozen=True, kw_only=True)
class Failed(Finding):
    """It could not be read; ``older`` says that an older form of it is there."""

    cause = Cause.FAILED
    reason: str
    run: UUID
    at: datetime
    older: bool

    def told(self) -> Told:
        """Give the reason."""
        if self.older:
            return Told(
                gettext_noop(
                    "Its source could not be read again at %(at)s (run %(run)s): %(reason)s. It "
                    "is there in an older form."
                ),
                gettext_noop("Mend the source, then run ingest retry."),
            )
        return Told(
            gettext_noop("It could not be read at %(at)s (run %(run)s): %(reason)s."),
            gettext_noop("Mend the source, then run ingest retry."),
        )


@dataclass(frozen=True, kw_only=True)
class Removed(Finding):
    """It was there once; ``rank`` is where it was last found, where that is known."""

    cause = Cause.REMOVED
    at: datetime
    run: UUID | None
    passages: int
    found_at: datetime | None
    rank: int | None

    def told(self) -> Told:
        """Say when and by which run."""
        advice = gettext_noop("Run ingest add on it if it is to be found again.")
        if self.run is None:
            return Told(gettext_noop("It was removed at %(at)s."), advice)
        return Told(gettext_noop("It was removed at %(at)s by run %(run)s."), advice)


@dataclass(frozen=True, kw_only=True)
class Pending(Finding):
    """It, or with ``older`` its newer form, was begun and is not in yet."""

    cause = Cause.PENDING
    run: UUID | None
    older: bool

    def told(self) -> Told:
        """Say what is searched meanwhile."""
        advice = gettext_noop("Wait for its run to end, or finish it with ingest add.")
        if self.older:
            return Told(
                gettext_noop("A newer form of it is not in yet; the older one is searched."),
                advice,
            )
        return Told(gettext_noop("It is not in yet: its ingest was begun and not ended."), advice)


@dataclass(frozen=True, kw_only=True)
class NoVector(Finding):
    """Passages of it are missing from the index."""

    cause = Cause.NO_VECTOR
    lacking: int
    passages: int

    def told(self) -> Told:
        """Say how many."""
        return Told(
            gettext_noop("The index lacks %(lacking)s of its %(passages)s passages."),
            gettext_noop("Run ingest reconcile; it tells what is missing and repairs it."),
        )


@dataclass(frozen=True, kw_only=True)
class Edited(Finding):
    """It changed after it was last found; ``kept`` says that the passage found then is unchanged.

    ``found_at`` is None where no search is known that found it.
    """

    cause = Cause.EDITED
    at: datetime
    run: UUID | None
    found_at: datetime | None
    rank: int | None
    kept: bool

    def told(self) -> Told:
        """Say when, and what became of the passage."""
        advice = gettext_noop("Look at what it says now; ask in its new words.")
        if self.found_at is None:
            return Told(gettext_noop("It was edited at %(at)s."), advice)
        if self.kept:
            return Told(
                gettext_noop(
                    "It was edited at %(at)s, after it was last found at rank %(rank)s "
                    "(%(found_at)s); the passage found then is unchanged."
                ),
                gettext_noop("Look for the cause among the others."),
            )
        return Told(
            gettext_noop(
                "It was edited at %(at)s, after it was last found at rank %(rank)s "
                "(%(found_at)s); the passage found then is no longer in it."
            ),
            advice,
        )


@dataclass(frozen=True, kw_only=True)
class ChunkedAnew(Finding):
    """Documents are cut into other passages than when it was last found."""

    cause = Cause.CHUNKED_ANEW
    before: str
    now: str

    def told(self) -> Told:
        """Name both ways of cutting."""
        return Told(
            gettext_noop(
                "Documents are cut into passages anew since it was last found: %(now)s instead of "
                "%(before)s."
            ),
            gettext_noop(
                "Compare both indexes with ingest compare, and go back with ingest rollback if "
                "the new one is worse."
            ),
        )


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


@dataclass(frozen=True, kw_only=True)
class QueryVectorChanged(Finding):
    """The same model gave the query another vector then.

    ``shift`` is the largest change of the score of a hit that was there then and now, where both
    searches were by meaning alone.
    """

    cause = Cause.QUERY_VECTOR_CHANGED
    searched_at: datetime
    shift: float | None

    def told(self) -> Told:
        """Say how much it matters."""
        advice = gettext_noop(
            "The model does not answer alike twice; see its noise floor, and verify a passage."
        )
        if self.shift is None:
            return Told(
                gettext_noop(
                    "The query had another vector at %(searched_at)s, by the same model; by how "
                    "much it differed is not known."
                ),
                advice,
            )
        return Told(
            gettext_noop(
                "The query had another vector at %(searched_at)s, by the same model; scores "
                "differ by up to %(shift)s."
            ),
            advice,
        )


@dataclass(frozen=True, kw_only=True)
class QueryVectorUnknown(Finding):
    """Nobody knows with what vector was searched then, or would be now."""

    cause = Cause.QUERY_VECTOR_UNKNOWN
    searched_at: datetime

    def told(self) -> Told:
        """Say so."""
        return Told(
            gettext_noop(
                "Whether the query had the same vector at %(searched_at)s is not known: the log "
                "has none of then, or the model gives none now."
            ),
            gettext_noop("Nothing is to be done; searches from now on are comparable."),
        )


_HOLDS, _OTHER = "stable", "other"

SAID: Mapping[str, str] = {
    "model_changed": gettext_noop("The check of %(at)s found that another model answers."),
    "drifted": gettext_noop("The check of %(at)s found that rankings moved."),
    "corrupt": gettext_noop(
        "The check of %(at)s found stored vectors that are not what was written."
    ),
    "passages_differ": gettext_noop(
        "The check of %(at)s found passages that do not get the vectors any more that are stored."
    ),
    "changes_without_alarm": gettext_noop(
        "The check of %(at)s found lists that changed, too few to be certain."
    ),
    "new_build": gettext_noop("The check of %(at)s found a new build of the same model."),
    "noisy": gettext_noop(
        "The check of %(at)s found that identical requests give different lists."
    ),
    "noise_above_baseline": gettext_noop(
        "The check of %(at)s found more noise in the model's answers than before."
    ),
    "index_recall_fell": gettext_noop(
        "The check of %(at)s found that the approximate index misses much."
    ),
    "stale_text": gettext_noop(
        "The check of %(at)s found vectors of texts that have changed since."
    ),
    _OTHER: gettext_noop("The check of %(at)s did not find that all is well."),
    _HOLDS: gettext_noop(
        "The check of %(at)s found that rankings hold; %(checks)s were made since the search of "
        "%(searched_at)s."
    ),
    "unreachable": gettext_noop(
        "The check of %(at)s could not be finished: the model or the store did not answer."
    ),
    "too_few_references": gettext_noop(
        "The check of %(at)s had too few queries to compare, and says nothing."
    ),
}
"""What the checks of an index may have said by the kind of a finding, the most telling first."""


@dataclass(frozen=True, kw_only=True)
class Checked(Finding):
    """What the most telling of the checks since the search compared with found.

    ``kind`` is that of its finding, a key of SAID; ``causes`` are those that it named; ``checks``
    counts all since then, and ``link`` leads to the report.
    """

    cause = Cause.CHECKED
    check: UUID
    at: datetime
    verdict: str
    kind: str
    causes: Sequence[str]
    noise: float | None
    checks: int
    searched_at: datetime
    link: str

    def told(self) -> Told:
        """Say what it found, and what it took to be the cause."""
        if self.causes:
            advice = gettext_noop(
                "It named as cause: %(causes)s. Its report says how certain that is, and what to "
                "do."
            )
        elif self.kind == _HOLDS:
            advice = gettext_noop("So the model and the stored vectors are unlikely to be why.")
        else:
            advice = gettext_noop("Its report says more, and what to do.")
        return Told(SAID[self.kind], advice)


@dataclass(frozen=True, kw_only=True)
class Unchecked(Finding):
    """Nobody looked whether the model and the stored vectors hold."""

    cause = Cause.UNCHECKED
    searched_at: datetime

    def told(self) -> Told:
        """Say so."""
        return Told(
            gettext_noop(
                "No check of this index was made since %(searched_at)s, so nobody knows whether "
                "the model and the stored vectors are what they were."
            ),
            gettext_noop("Run ingest check, and have it run every night."),
        )


@dataclass(frozen=True, kw_only=True)
class Noise(Finding):
    """Whether the measured noise of the model explains that the query had another vector.

    ``noise`` is the largest 1 - cos between two sends, so that scores move by ``bound`` at most
    (see noise.py). ``shift`` is by how much they moved; None: not known. ``within`` says whether
    noise explains it; None: it may.
    """

    cause = Cause.NOISE
    noise: float
    bound: float
    shift: float | None
    within: bool | None

    def told(self) -> Told:
        """Compare what changed with what was measured."""
        if self.noise == 0:
            return Told(
                gettext_noop(
                    "Noise does not explain it: the model gave the same vector at every send that "
                    "was measured."
                ),
                gettext_noop("Run ingest check: it looks for what else changed."),
            )
        if self.within is None:
            return Told(
                gettext_noop(
                    "Noise of the model may explain it: two answers to one text differed by up to "
                    "%(noise)s (1 − cos), which moves scores by up to %(bound)s."
                ),
                gettext_noop("Clear no query vectors: as long as they are kept, lists stay."),
            )
        if self.within:
            return Told(
                gettext_noop(
                    "Noise of the model explains it: two answers to one text differed by up to "
                    "%(noise)s (1 − cos), which moves scores by up to %(bound)s."
                ),
                gettext_noop("Clear no query vectors: as long as they are kept, lists stay."),
            )
        return Told(
            gettext_noop(
                "Noise of the model does not explain it: two answers to one text differed by up to "
                "%(noise)s (1 − cos), which moves scores by no more than %(bound)s."
            ),
            gettext_noop("Run ingest check: it looks for what else changed."),
        )


def found(facts: Facts) -> Found | None:
    """Is it found after all?"""
    if facts.place is None or not facts.is_found:
        return None
    return Found(rank=facts.place.rank, score=facts.place.score, passage=facts.place.chunk_id)


def folded(facts: Facts) -> Folded | None:
    """Does the page show another hit in its place?"""
    return None if facts.folded_into is None else Folded(rank=facts.folded_into)


def never_ingested(facts: Facts) -> NeverIngested | None:
    """Did nobody ever hear of it?"""
    if facts.subject.state is not State.UNKNOWN:
        return None
    return NeverIngested(wanted=facts.subject.uri, elsewhere=facts.elsewhere)


def failed(facts: Facts) -> Failed | None:
    """Could it not be read, at all or lately?"""
    failure, subject = facts.failure, facts.subject
    if failure is None:
        return None
    # Taken in again after it was removed, or tried to be.
    again = subject.state is State.REMOVED and failure.at > facts.events[0].at
    if not (subject.state is State.FAILED or subject.stale or again):
        return None
    return Failed(
        reason=failure.reason.rstrip("."),
        run=failure.run_id,
        at=failure.at,
        older=subject.stale,
    )


def removed(facts: Facts) -> Removed | None:
    """Was it removed?"""
    if facts.subject.state is not State.REMOVED:
        return None
    event = next((each for each in facts.events if each.event == "removed"), facts.events[0])
    hit, subject = facts.last_hit, facts.subject
    return Removed(
        at=event.at,
        run=event.run_id,
        passages=event.chunks,
        found_at=hit.at if hit else None,
        rank=min(hit.ranks(subject.id), default=None) if hit and subject.id else None,
    )


def pending(facts: Facts) -> Pending | None:
    """Is it, or a newer form of it, on its way in?"""
    subject = facts.subject
    if subject.state is State.PENDING:
        return Pending(run=subject.run_id, older=False)
    if subject.state is State.INDEXED and not subject.complete:
        return Pending(run=subject.run_id, older=True)
    return None


def no_vector(facts: Facts) -> NoVector | None:
    """Are passages of it missing from the index?"""
    if facts.subject.state is not State.INDEXED or not facts.lacking:
        return None
    return NoVector(lacking=facts.lacking, passages=len(facts.texts))


def edited(facts: Facts) -> Edited | None:
    """Did it change after it was last found, or since the day that was asked for?"""
    hit, subject = facts.last_hit, facts.subject
    after = hit.at if hit else facts.since
    if after is None or subject.id is None or subject.state is not State.INDEXED:
        return None
    changes = [event for event in facts.events if event.event != "removed" and event.at > after]
    if not changes:
        return None
    ranks = hit.ranks(subject.id, facts.chunk_ids) if hit else []
    then = [hit.hit_ids[rank - hit.first_rank] for rank in ranks] if hit else []
    latest = max(changes, key=lambda event: event.at)
    return Edited(
        at=latest.at,
        run=latest.run_id,
        found_at=hit.at if hit else None,
        rank=min(ranks, default=None),
        kept=bool(then) and then[0] in facts.chunk_ids,
    )


def chunked_anew(facts: Facts) -> ChunkedAnew | None:
    """Are documents cut in another way than when it was last found?"""
    if facts.last_hit is None or facts.serving is None or facts.switched_at is None:
        return None
    if not _searchable(facts) or facts.last_hit.chunking == facts.serving.chunking:
        return None
    return ChunkedAnew(before=facts.last_hit.chunking, now=facts.serving.chunking)


def filtered_out(facts: Facts) -> FilteredOut | None:
    """Does a condition of this search, or of the last one, leave it out?"""
    if not _searchable(facts):
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
    if not (question.is_strict and facts.texts and _searchable(facts)):
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
    if then is None or now is None or facts.switched_at is None or not _searchable(facts):
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
    if facts.approximate is None or facts.is_found or not _searchable(facts):
        return None
    if missed(facts) or excluded(facts) or (facts.filters and filtered_out(facts)):
        # It does not compete at all.
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


def query_vector_changed(facts: Facts) -> QueryVectorChanged | None:
    """Had the query another vector, by the same model?"""
    then = _comparable(facts)
    if then is None or None in (then.vector_hash, facts.vector_hash):
        return None
    if then.vector_hash == facts.vector_hash:
        return None
    return QueryVectorChanged(searched_at=then.at, shift=_shift(facts))


def query_vector_unknown(facts: Facts) -> QueryVectorUnknown | None:
    """Can that not be told?"""
    then = _comparable(facts)
    if then is None or facts.is_found or None not in (then.vector_hash, facts.vector_hash):
        return None
    return QueryVectorUnknown(searched_at=then.at)


def checked(facts: Facts) -> Checked | None:
    """Did a check see why the search compared with gave another list?"""
    then = _unexplained(facts)
    if then is None or not facts.checks:
        return None
    order = list(SAID)

    def telling(check: PastCheck) -> str:
        known = [kind for kind in check.kinds if kind in SAID]
        return min(known, key=order.index, default=_HOLDS if check.verdict == _HOLDS else _OTHER)

    kind = min(map(telling, facts.checks), key=order.index)
    saying = [check for check in facts.checks if telling(check) == kind]
    # When it began to fail says more than that it still does; when it last held, likewise.
    check = saying[-1 if kind == _HOLDS else 0]
    return Checked(
        check=check.id,
        at=check.at,
        verdict=check.verdict,
        kind=kind,
        causes=check.causes,
        noise=facts.serving.noise if facts.serving else None,
        checks=len(facts.checks),
        searched_at=then.at,
        link=f"/checks/{check.id}",
    )


def unchecked(facts: Facts) -> Unchecked | None:
    """Was no check made that could have seen it?"""
    then = _unexplained(facts)
    return None if then is None or facts.checks else Unchecked(searched_at=then.at)


def noise(facts: Facts) -> Noise | None:
    """Is what changed within the noise that was measured?"""
    changed = query_vector_changed(facts)
    if changed is None and query_vector_unknown(facts) is None:
        return None
    size = facts.serving.noise if facts.serving else None
    if size is None:
        return None
    bound = movement(size)
    shift = changed.shift if changed else None
    within = None if shift is None else shift <= bound + ROUNDING
    return Noise(noise=size, bound=bound, shift=shift, within=within)


JUDGES: Mapping[Cause, Callable[[Facts], Finding | None]] = {
    Cause.FOUND: found,
    Cause.FOLDED: folded,
    Cause.NEVER_INGESTED: never_ingested,
    Cause.FAILED: failed,
    Cause.REMOVED: removed,
    Cause.PENDING: pending,
    Cause.NO_VECTOR: no_vector,
    Cause.EDITED: edited,
    Cause.CHUNKED_ANEW: chunked_anew,
    Cause.FILTERED_OUT: filtered_out,
    Cause.EXCLUDED: excluded,
    Cause.INDEX_SWITCHED: index_switched,
    Cause.MISSED: missed,
    Cause.OUTRANKED: outranked,
    Cause.QUERY_VECTOR_CHANGED: query_vector_changed,
    Cause.QUERY_VECTOR_UNKNOWN: query_vector_unknown,
    Cause.CHECKED: checked,
    Cause.UNCHECKED: unchecked,
    Cause.NOISE: noise,
}
"""What decides about each cause."""


def findings(facts: Facts) -> list[Finding]:
    """Give everything that holds, in the order of the causes; never nothing."""
    return [finding for judge in JUDGES.values() if (finding := judge(facts)) is not None]


def _searchable(facts: Facts) -> bool:
    """Whether there is something of it that a search could find."""
    return facts.subject.state is State.INDEXED


def _has(fields: Mapping[str, JSON], condition: Filter | None) -> str:
    """Write what a document has in the fields that a condition looks at."""
    names = dict.fromkeys(
        leaf.field for each in (condition.conditions if condition else ()) for leaf in leaves(each)
    )
    told = []
    for name in names:
        values = field_values(fields, name)
        told.append(f"{name}={','.join(map(str, values))}" if values else f"no {name}")
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


def _comparable(facts: Facts) -> PastSearch | None:
    """Give the search compared with, if its vector could be the same as now."""
    then, now = facts.compared, facts.serving
    if then is None or now is None or not _searchable(facts):
        return None
    if then.model_version_id != now.model_version_id or "keyword" in (then.mode, facts.mode):
        return None
    return then


def _unexplained(facts: Facts) -> PastSearch | None:
    """Give the search compared with, if its list differs and documents do not explain that.

    Of another index, or by words alone, checks of this one say nothing.
    """
    then = _comparable(facts)
    if then is None or facts.serving is None or then.index_id != facts.serving.index_id:
        return None
    above = outranked(facts)
    strange = above is not None and any(each.reason is Reason.UNKNOWN for each in above.rivals)
    if strange or missed(facts) or query_vector_changed(facts) or query_vector_unknown(facts):
        return then
    return None


def _shift(facts: Facts) -> float | None:
    then = facts.compared
    if then is None or facts.approximate is None or (then.mode, facts.mode) != ("semantic",) * 2:
        return None
    before = dict(zip(then.hit_ids, then.scores, strict=True))
    moved = [
        abs(hit.score - before[hit.chunk_id])
        for hit in facts.approximate.hits
        if hit.chunk_id in before
    ]
    return max(moved, default=None)
