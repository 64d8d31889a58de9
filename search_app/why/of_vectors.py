"""Findings about vectors: the query's own, and what checks saw of the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from search_app.catalog.inquiries import PastCheck, PastSearch
from search_app.noise import movement
from search_app.why.facts import Facts
from search_app.why.finding import ROUNDING, Cause, Finding, Told, comparable
from search_app.why.of_search import Reason, missed, outranked
from search_app.wording import gettext_noop


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


def query_vector_changed(facts: Facts) -> QueryVectorChanged | None:
    """Had the query another vector, by the same model?"""
    then = comparable(facts)
    if then is None or None in (then.vector_hash, facts.vector_hash):
        return None
    if then.vector_hash == facts.vector_hash:
        return None
    return QueryVectorChanged(searched_at=then.at, shift=_shift(facts))


def query_vector_unknown(facts: Facts) -> QueryVectorUnknown | None:
    """Can that not be told?"""
    then = comparable(facts)
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


def _unexplained(facts: Facts) -> PastSearch | None:
    """Give the search compared with, if its list differs and documents do not explain that.

    Of another index, or by words alone, checks of this one say nothing.
    """
    then = comparable(facts)
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
