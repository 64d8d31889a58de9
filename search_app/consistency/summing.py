"""From what the layers saw to symptoms, and to the report of a check."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import chunks
from search_app.catalog.chunks import Passage
from search_app.catalog.engine import reading
from search_app.consistency.evidence import average, interval, updated
from search_app.consistency.integrity import Values
from search_app.consistency.lists import Alike, Compared, best_of
from search_app.consistency.subject import CheckRequest, Subject
from search_app.consistency.symptoms import Symptoms
from search_app.consistency.types import (
    Canaries,
    Cause,
    ChangedQuery,
    CheckReport,
    FaultKind,
    Finding,
    Integrity,
    Layers,
    Queries,
    Ranked,
    Spent,
)
from search_app.consistency.verdict import Facts, decide
from search_app.identity import SAME_MODEL_LIMIT

WORST = 10
"""Changed queries that a report shows."""


def canary_symptoms(symptoms: Symptoms, seen: Canaries, noise_floor: float) -> Symptoms:
    """Add what the canaries show."""
    return replace(
        symptoms,
        canaries_between=seen.distances,
        canaries_within=seen.within,
        upgraded=seen.upgraded,
        limit=max(3 * noise_floor, SAME_MODEL_LIMIT),
    )


def fault_symptoms(symptoms: Symptoms, found: Integrity, values: Values) -> Symptoms:
    """Add what is wrong with stored vectors."""
    faults: dict[FaultKind, int] = defaultdict(int)
    for fault in found.faults:
        faults[fault.kind] += len(fault.ids)
    grids = {name: len(ids) for name, ids in values.grids.items() if ids}
    return replace(symptoms, faults=dict(faults), grids=grids)


def list_symptoms(
    symptoms: Symptoms, compared: Sequence[Compared], recall: float | None
) -> Symptoms:
    """Add what lists and query vectors show."""
    return replace(
        symptoms,
        queries_between=[each.distance for each in compared],
        queries_within=[each.noise for each in compared if each.noise is not None],
        changed=[(each.nearest, each.spread) for each in compared if each.pair is not None],
        recall=recall,
    )


def summed_lists(
    compared: Sequence[Compared], *, references: int, tolerance: float, recall: float | None
) -> Queries:
    """Count what became of the lists."""
    repeated = [each for each in compared if each.unsteady is not None]
    return Queries(
        references=references,
        sampled=len(compared),
        changed=sum(each.pair is not None for each in compared),
        repeated=len(repeated),
        unsteady=sum(bool(each.unsteady) for each in repeated),
        near_ties=sum(each.near_tie for each in compared),
        tolerance=tolerance,
        distances=[each.distance for each in compared],
        noise=[each.noise for each in compared if each.noise is not None],
        overlap=_both(compared, lambda alike: alike.overlap),
        tau=_both(compared, lambda alike: alike.tau),
        rbo=_both(compared, lambda alike: alike.rbo),
        recall=recall,
    )


def _both(
    compared: Sequence[Compared], measure: Callable[[Alike], float | None]
) -> tuple[float, float] | None:
    """Give the mean against the reference and within the night, where both are known."""
    against = [measure(each.against) for each in compared]
    within = [measure(each.within) for each in compared if each.within is not None]
    known = [one for one in against if one is not None]
    same = [one for one in within if one is not None]
    return (statistics.fmean(known), statistics.fmean(same)) if known and same else None


async def with_worst(
    engine: AsyncEngine, layers: Layers, compared: Sequence[Compared], k: int
) -> Layers:
    """Add the queries that changed most, with both lists."""
    changed = [each for each in compared if each.pair is not None]
    changed.sort(key=lambda each: -min(each.pair.lead, each.pair.loss) if each.pair else 0)
    worst = changed[:WORST]
    if layers.queries is None or not worst:
        return layers
    lists = [(each, _lists(each, k)) for each in worst]
    wanted = {chunk_id for _, both in lists for one in both for chunk_id in one}
    async with reading(engine) as connection:
        known = await chunks.passages(connection, sorted(wanted))
    told = [_changed(each, before, after, known) for each, (before, after) in lists]
    return replace(layers, queries=replace(layers.queries, worst=told))


def _lists(compared: Compared, k: int) -> tuple[Mapping[UUID, float], Mapping[UUID, float]]:
    asked = compared.asked
    return best_of(asked, asked.before()[0], k), best_of(asked, asked.after()[0], k)


def _changed(
    compared: Compared,
    before: Mapping[UUID, float],
    after: Mapping[UUID, float],
    known: Mapping[UUID, Passage],
) -> ChangedQuery:
    asked, pair = compared.asked, compared.pair
    first, now = (
        dict(zip(asked.candidates, row.tolist(), strict=True))
        for row in (asked.before()[0], asked.after()[0])
    )

    def ranked(found: Mapping[UUID, float]) -> list[Ranked]:
        return [
            Ranked(
                chunk_id=chunk_id,
                title=known[chunk_id].document.title if chunk_id in known else "",
                before=first[chunk_id],
                after=now[chunk_id],
            )
            for chunk_id in found
        ]

    return ChangedQuery(
        text=asked.reference.text,
        before=ranked(before),
        after=ranked(after),
        lead=pair.lead if pair else 0.0,
        loss=pair.loss if pair else 0.0,
        cosine=1 - compared.distance,
    )


def reported(
    request: CheckRequest,
    subject: Subject,
    facts: Facts,
    *,
    causes: Sequence[Cause],
    not_checked: Sequence[str],
    spent: Spent,
    seed: int,
    started: datetime,
    seconds: float,
) -> CheckReport:
    """Weigh the night with those before it, and say what it comes to."""
    queries = facts.layers.queries
    drift, steady = subject.evidence
    nights = [(night.changed, night.sampled) for night in subject.nights]
    tonight = (0, 0)
    if queries is not None:
        tonight = (queries.changed, queries.sampled)
        drift = updated(drift, changed=queries.changed, sampled=queries.sampled)
        steady = updated(steady, changed=queries.unsteady, sampled=queries.repeated)
    verdict, findings = decide(replace(facts, drift=drift, reproducibility=steady))
    noise = queries.noise if queries is not None else ()
    return CheckReport(
        check_id=uuid4(),
        collection=subject.collection.name,
        index_id=subject.index.id,
        model_version_id=subject.version.id,
        model=subject.version.name,
        verdict=verdict,
        sentence=_sentence(findings, queries),
        findings=findings,
        reproducibility=interval(
            queries.unsteady if queries else 0, queries.repeated if queries else 0
        ),
        drift=interval(*tonight),
        drift_week=average([tonight, *nights[:6]]),
        noise_median=statistics.median(noise) if noise else None,
        noise_max=max(noise, default=None),
        evidence_r=steady,
        evidence_p=drift,
        layers=facts.layers,
        causes=causes if findings else (),
        spent=spent,
        not_checked=not_checked,
        seed=seed,
        k=request.k,
        started_at=started,
        seconds=seconds,
    )


def _sentence(findings: Sequence[Finding], queries: Queries | None) -> str:
    """Say the whole check in one sentence."""
    if findings:
        more = len(findings) - 1
        rest = f" (and {more} more)" if more else ""
        first = findings[0].sentence
        return f"{first[0].upper()}{first[1:]}{rest}."
    if queries is None:
        return "Nothing was found."
    high = interval(queries.changed, queries.sampled).high
    return (
        f"Rankings hold: none of {queries.sampled} queries found other documents than before, so "
        f"with 95 % confidence at most {high:.1%} of all did."
    )
