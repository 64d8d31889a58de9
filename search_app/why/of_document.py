"""Findings about the document itself: what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from search_app.why.facts import Facts, State
from search_app.why.finding import Cause, Finding, Told, searchable
from search_app.wording import gettext_noop


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
class LeftOut(Finding):
    """Somebody had all or ``excluded`` of its ``passages`` left out of every search."""

    cause = Cause.LEFT_OUT
    whole: bool
    excluded: int
    passages: int
    since: datetime | None
    reason: str

    def told(self) -> Told:
        """Say since when, and why."""
        advice = gettext_noop("Have it found again with ingest include, or on its page.")
        if not self.whole:
            return Told(
                gettext_noop(
                    "%(excluded)s of its %(passages)s passages are excluded from every search "
                    "since %(since)s."
                ),
                advice,
            )
        if self.reason:
            return Told(
                gettext_noop("It is excluded from every search since %(since)s: %(reason)s"),
                advice,
            )
        return Told(gettext_noop("It is excluded from every search since %(since)s."), advice)


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


def left_out(facts: Facts) -> LeftOut | None:
    """Was it, or are passages of it, excluded from every search?"""
    left, passages = facts.left, len(facts.texts)
    whole = facts.is_left_out
    if facts.is_found or not searchable(facts) or not (left.whole or left.chunk_ids):
        return None
    return LeftOut(
        whole=whole,
        excluded=passages if whole else len(left.chunk_ids),
        passages=passages,
        since=left.since,
        reason=left.reason,
    )


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
    if not searchable(facts) or facts.last_hit.chunking == facts.serving.chunking:
        return None
    return ChunkedAnew(before=facts.last_hit.chunking, now=facts.serving.chunking)
