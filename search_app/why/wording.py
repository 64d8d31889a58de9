"""An answer in English, and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from uuid import UUID

from search_app.catalog.inquiries import PastSearch
from search_app.types import JSON
from search_app.why.finding import Finding
from search_app.why.inquiry import Answer
from search_app.why.of_search import Outranked, Rival


def sentence(finding: Finding) -> str:
    """Say what is so."""
    return finding.told().sentence % spelled(finding.values())


def advice(finding: Finding) -> str:
    """Say what to do."""
    return finding.told().advice % spelled(finding.values())


def spelled(values: Mapping[str, JSON]) -> dict[str, str]:
    """Write values as English sentences have them."""
    return {name: _spelled(value) for name, value in values.items()}


def _spelled(value: JSON) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(f'"{each}"' for each in value)
    match value:
        case None:
            return ""
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        case UUID():
            return str(value)[:8]
        case int() | float():
            return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"
    return str(value)


def as_json(answer: Answer) -> dict[str, JSON]:
    """Give the shape that ``--json`` and the API have."""
    facts, inquiry = answer.facts, answer.inquiry
    subject = facts.subject
    return {
        "query": inquiry.query,
        "collection": inquiry.collection,
        "k": facts.k,
        "mode": facts.mode,
        "filters": list(facts.filters),
        "since": inquiry.since,
        "document": {
            "id": subject.id,
            "uri": subject.uri,
            "title": subject.title,
            "state": subject.state,
        },
        "index_id": facts.serving.index_id if facts.serving else None,
        "model": facts.serving.model if facts.serving else None,
        "rank": facts.place.rank if facts.place else None,
        "findings": [
            {
                "cause": finding.cause,
                "sentence": sentence(finding),
                "advice": advice(finding),
                "evidence": _evidence(finding),
            }
            for finding in answer.findings
        ],
        "compared": None
        if facts.compared is None
        else _compared(facts.compared, subject.id, facts.chunk_ids),
        "above": [
            _rival(rival)
            for finding in answer.findings
            if isinstance(finding, Outranked)
            for rival in finding.rivals
        ],
        "notices": [asdict(notice) for notice in answer.notices],
    }


def _evidence(finding: Finding) -> dict[str, JSON]:
    return {
        name: value
        for name, value in finding.values().items()
        if not (isinstance(value, list | tuple) and any(is_dataclass(each) for each in value))
    }


def _rival(rival: Rival) -> dict[str, JSON]:
    place = rival.place
    return {
        "rank": place.rank,
        "chunk_id": place.chunk_id,
        "document_id": place.document_id,
        "uri": place.uri,
        "title": place.title,
        "score": place.score,
        "scores": dict(place.scores),
        "ranks": dict(place.ranks),
        "new": rival.reason is not None,
        "reason": rival.reason,
        "at": rival.at,
        "run_id": rival.run,
    }


def _compared(
    then: PastSearch, document_id: UUID | None, chunk_ids: Sequence[UUID]
) -> dict[str, JSON]:
    ranks = [] if document_id is None else then.ranks(document_id, chunk_ids)
    return {
        "search_id": then.id,
        "at": then.at,
        "index_id": then.index_id,
        "model": then.model,
        "mode": then.mode,
        "filters": list(then.filters),
        "rank": min(ranks, default=None),
    }
