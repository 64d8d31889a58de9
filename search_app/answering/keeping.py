"""Answers to and from the JSON that the catalog keeps: what comes back is equal to what went in."""

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from search_app.answering.types import (
    Answer,
    AnswerNotice,
    PassageGiven,
    Sentence,
    Strength,
    Turn,
    Usage,
)
from search_app.catalog.answers import KeptAnswer
from search_app.types import JSON, DocumentRef

_COLUMNS = (
    *("id", "collection_id", "collection", "index_id", "model_version_id", "search_id", "question"),
    *("query", "outcome", "generator", "generator_model", "prompt_version", "text", "client"),
    "created_at",
)
_DETAILS = (
    *("rewriter", "filters", "mode", "most_passages", "budget", "model", "reason"),
    *("removed_citations", "removed_links", "times"),
)


def to_kept(answer: Answer) -> KeptAnswer:
    """Give an answer as the catalog keeps it."""
    details: dict[str, JSON] = {name: getattr(answer, name) for name in _DETAILS}
    details["filters"] = list(answer.filters)
    details["conversation"] = [asdict(turn) for turn in answer.conversation]
    details["strength"] = asdict(answer.strength)
    details["usage"] = asdict(answer.usage)
    details["notices"] = [asdict(notice) for notice in answer.notices]
    return KeptAnswer(
        **{name: getattr(answer, name) for name in _COLUMNS},
        passages=[_passage_json(each) for each in answer.passages],
        sentences=[_sentence_json(each) for each in answer.sentences],
        details=details,
    )


def from_kept(kept: KeptAnswer) -> Answer:
    """Give an answer as it was given."""
    details: dict[str, Any] = dict(kept.details)
    return Answer(
        **{name: getattr(kept, name) for name in _COLUMNS},
        **{name: details[name] for name in _DETAILS if name != "filters"},
        filters=tuple(details["filters"]),
        conversation=tuple(Turn(**each) for each in details["conversation"]),
        strength=Strength(**details["strength"]),
        usage=Usage(**details["usage"]),
        notices=tuple(AnswerNotice(**each) for each in details["notices"]),
        passages=tuple(_passage(each) for each in kept.passages),
        sentences=tuple(
            Sentence(**{**each, "citations": tuple(each["citations"])}) for each in kept.sentences
        ),
        stored=True,
    )


def _passage_json(passage: PassageGiven) -> JSON:
    return {
        **vars(passage),
        "chunk_ids": [str(chunk_id) for chunk_id in passage.chunk_ids],
        "document": {**asdict(passage.document), "id": str(passage.document.id)},
        "heading_path": list(passage.heading_path),
        "scores": dict(passage.scores),
        "removed_at": passage.removed_at and passage.removed_at.isoformat(),
    }


def _sentence_json(sentence: Sentence) -> JSON:
    return {**vars(sentence), "citations": list(sentence.citations)}


def _moment(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)


def _passage(row: JSON) -> PassageGiven:
    return PassageGiven(
        **{
            **row,
            "chunk_ids": tuple(UUID(chunk_id) for chunk_id in row["chunk_ids"]),
            "document": DocumentRef(**{**row["document"], "id": UUID(row["document"]["id"])}),
            "heading_path": tuple(row["heading_path"]),
            # Answers that were kept before documents could be removed from them say nothing.
            "removed_at": _moment(row.get("removed_at")),
        }
    )
