"""Reports as JSON, kept in the catalog; and a person's word that what is is right."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.answering.stability import Again
from search_app.catalog import checks, references
from search_app.catalog.checks import Check
from search_app.catalog.engine import reading, transaction
from search_app.catalog.references import Sends
from search_app.consistency.evidence import Interval
from search_app.consistency.subject import Subject
from search_app.consistency.types import (
    SCHEMA,
    Canaries,
    ChangedQuery,
    CheckReport,
    Documents,
    Integrity,
    Queries,
    Ranked,
)
from search_app.errors import InvalidInputError
from search_app.types import JSON

Object = dict[str, JSON]


async def keep(
    engine: AsyncEngine, subject: Subject, report: CheckReport, sends: Mapping[UUID, Sends]
) -> None:
    """Write a check to the catalog, with what was sent for each reference query."""
    queries = report.layers.queries
    async with transaction(engine) as connection:
        await checks.add(
            connection,
            Check(
                id=report.check_id,
                collection=report.collection,
                index_id=report.index_id,
                verdict=report.verdict.value,
                sampled=queries.sampled if queries else 0,
                changed=queries.changed if queries else 0,
                repeated=queries.repeated if queries else 0,
                unsteady=queries.unsteady if queries else 0,
                noise_median=report.noise_median,
                noise_max=report.noise_max,
                drift=report.evidence_p.processes,
                reproducibility=report.evidence_r.processes,
                report=as_json(report),
                created_at=report.started_at,
                accepted_at=None,
            ),
            subject.collection.id,
            sends,
        )


async def accept(engine: AsyncEngine, beginning: str) -> Check:
    """Take what a check saw as the baseline: its noise, and its query vectors as references.

    A person's decision, which is recorded; evidence begins anew.

    Raises:
        NotFoundError: there is no such check.
        InvalidInputError: a later check of the index was made, or this one compared nothing.
    """
    async with reading(engine) as connection:
        check = await checks.find(connection, beginning)
        latest = await checks.listing(connection, index_id=check.index_id, limit=1)
        sends = await checks.sends_of(connection, check.id)
    if latest[0].id != check.id:
        raise InvalidInputError(
            f"check {str(check.id)[:8]} is not the latest of its index; accept "
            f"{str(latest[0].id)[:8]}, or check again"
        )
    if not sends:
        raise InvalidInputError(
            f"check {str(check.id)[:8]} compared no query, so there is nothing to accept"
        )
    async with transaction(engine) as connection:
        for reference_id, vectors in sends.items():
            await references.replace(connection, reference_id, vectors)
        await checks.accept(connection, check.id)
    return check


def as_json(report: CheckReport) -> Object:
    """Give a report in its JSON shape; ``schema`` is the version of that."""
    layers = report.layers
    return {
        "schema": SCHEMA,
        "check_id": str(report.check_id),
        "collection": report.collection,
        "index_id": str(report.index_id),
        "model_version_id": str(report.model_version_id),
        "model": report.model,
        "verdict": report.verdict.value,
        "sentence": report.sentence,
        "findings": [
            {
                "kind": finding.kind.value,
                "severity": finding.severity.value,
                "sentence": finding.sentence,
            }
            for finding in report.findings
        ],
        "reproducibility": _interval(report.reproducibility),
        "drift": _interval(report.drift),
        "drift_week": _interval(report.drift_week),
        "noise": {"median": report.noise_median, "max": report.noise_max},
        "evidence": {
            "reproducibility": report.evidence_r.value,
            "drift": report.evidence_p.value,
        },
        "layers": {
            "integrity": _integrity(layers.integrity),
            "canaries": _canaries(layers.canaries),
            "queries": _queries(layers.queries),
            "documents": _documents(layers.documents),
        },
        "causes": [
            {
                "name": cause.name,
                "confirmed": cause.confirmed,
                "evidence": cause.evidence,
                "clauses": [
                    {"sentence": clause.sentence, "values": dict(clause.values)}
                    for clause in cause.clauses
                ],
                "remedy": cause.remedy,
            }
            for cause in report.causes
        ],
        "texts_sent": report.spent.texts,
        "tokens": report.spent.tokens,
        "cost": report.spent.cost,
        "not_checked": list(report.not_checked),
        "seed": report.seed,
        "k": report.k,
        "answers": _answers(report.answers),
        "started_at": report.started_at.isoformat(),
        "seconds": round(report.seconds, 3),
    }


def _answers(found: Again | None) -> JSON:
    if found is None:
        return None
    return {
        "asked": found.asked,
        "skipped": found.skipped,
        "moved": [
            {
                "answer_id": str(each.answer_id),
                "question": each.question,
                "titles": list(dict.fromkeys(place.title for place in each.gone)),
            }
            for each in found.moved
        ],
    }


def _interval(found: Interval) -> Object:
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def _integrity(found: Integrity | None) -> JSON:
    if found is None:
        return None
    return {
        "scanned": found.scanned,
        "faults": [
            {
                "kind": fault.kind.value,
                "detail": fault.detail,
                "ids": [str(chunk_id) for chunk_id in fault.ids],
            }
            for fault in found.faults
        ],
    }


def _canaries(found: Canaries | None) -> JSON:
    if found is None:
        return None
    return {
        "outcome": found.outcome,
        "lowest_cosine": found.lowest_cosine,
        "canary": found.canary,
        "noise": found.noise,
        "distances": dict(found.distances),
        "within": dict(found.within),
        "decided_after": found.decided_after,
        "upgraded": dict(found.upgraded),
    }


def _queries(found: Queries | None) -> JSON:
    if found is None:
        return None
    return {
        "references": found.references,
        "sampled": found.sampled,
        "changed": found.changed,
        "repeated": found.repeated,
        "unsteady": found.unsteady,
        "near_ties": found.near_ties,
        "tolerance": found.tolerance,
        "overlap": _pair(found.overlap),
        "kendall_tau": _pair(found.tau),
        "rbo": _pair(found.rbo),
        "index_recall": found.recall,
        "distances": list(found.distances),
        "noise": list(found.noise),
        "worst": [_changed(query) for query in found.worst],
    }


def _pair(found: tuple[float, float] | None) -> JSON:
    return None if found is None else {"against_reference": found[0], "within_night": found[1]}


def _changed(query: ChangedQuery) -> JSON:
    return {
        "text": query.text,
        "cosine": query.cosine,
        "lead": query.lead,
        "loss": query.loss,
        "before": _ranked(query.before),
        "after": _ranked(query.after),
    }


def _ranked(documents: Sequence[Ranked]) -> JSON:
    return [
        {
            "chunk_id": str(each.chunk_id),
            "title": each.title,
            "before": each.before,
            "after": each.after,
        }
        for each in documents
    ]


def _documents(found: Documents | None) -> JSON:
    if found is None:
        return None
    return {
        "sampled": found.sampled,
        "distances": list(found.distances),
        "moved": [
            {
                "chunk_id": str(each.chunk_id),
                "title": each.title,
                "run_id": str(each.run_id),
                "cosine": each.cosine,
                "noise": each.noise,
            }
            for each in found.moved
        ],
    }
