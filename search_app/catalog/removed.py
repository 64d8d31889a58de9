"""What was kept of documents that are removed: their words go, that they were there stays.

Answers say where something was removed; analyses show nothing there. What models made of documents
otherwise, as the names of clusters, says nothing of a single one and stays.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import analyses, answers
from search_app.types import JSON


async def everywhere(connection: AsyncConnection, document_ids: Sequence[UUID]) -> None:
    """Take what documents say out of everything that is kept."""
    await from_answers(connection, document_ids)
    await from_analyses(connection, document_ids)


def documents_of(passages: Sequence[JSON]) -> set[UUID]:
    """Name the documents of the passages of an answer."""
    return {UUID(str(passage["document"]["id"])) for passage in objects(passages)}


def objects(values: Sequence[JSON]) -> list[dict[str, Any]]:
    """Give those of the values that are objects."""
    return [dict(value) for value in values if isinstance(value, Mapping)]


async def from_answers(connection: AsyncConnection, document_ids: Sequence[UUID]) -> None:
    """Take what documents say out of kept answers: their passages, and sentences that cite these.

    Answers that were given in the same conversation later hold the answer too.
    """
    statement = (
        select(answers.c.id, answers.c.passages, answers.c.sentences, answers.c.text)
        .where(answers.c.document_ids.op("&&")(literal(list(document_ids), ARRAY(Uuid))))
        .with_for_update(of=answers)
    )
    at = datetime.now(UTC).isoformat()
    gone_ids = {str(document_id) for document_id in document_ids}
    for row in (await connection.execute(statement)).all():
        passages = [_without(passage, gone_ids, at) for passage in objects(row.passages)]
        gone = {passage["number"] for passage in passages if passage.get("removed_at")}
        sentences = [_unsaid(sentence, gone) for sentence in objects(row.sentences)]
        left = "".join(map(_as_written, sentences)).strip()
        await connection.execute(
            update(answers)
            .where(answers.c.id == row.id)
            .values(passages=passages, sentences=sentences, text=left)
        )
        if left != row.text:
            await connection.execute(_CARRIED_ON, {"before": row.text, "after": left})


_CARRIED_ON = text(
    """
    UPDATE answers SET details = jsonb_set(details, '{conversation}', (
        SELECT jsonb_agg(
            CASE WHEN turn->>'answer' = :before
            THEN jsonb_set(turn, '{answer}', to_jsonb(CAST(:after AS text))) ELSE turn END
            ORDER BY place
        )
        FROM jsonb_array_elements(details->'conversation') WITH ORDINALITY AS turns (turn, place)
    ))
    WHERE details->'conversation' @> jsonb_build_array(
        jsonb_build_object('answer', CAST(:before AS text))
    )
    """
)


def _without(passage: dict[str, Any], gone: AbstractSet[str], at: str) -> dict[str, Any]:
    if passage["document"]["id"] not in gone or passage.get("removed_at"):
        return passage
    document = {**passage["document"], "title": "", "uri": "", "source": ""}
    return {**passage, "document": document, "text": "", "heading_path": [], "removed_at": at}


def _unsaid(sentence: dict[str, Any], gone: AbstractSet[int]) -> dict[str, Any]:
    """Empty a sentence that rests on a passage that is gone; its citations stay."""
    if not gone & set(sentence["citations"]):
        return sentence
    return {**sentence, "text": "", "state": "removed", "quote_start": None, "quote_end": None}


def _as_written(sentence: Mapping[str, Any]) -> str:
    if sentence["state"] == "removed":
        return ""
    marks = "".join(f"[{number}]" for number in sentence["citations"])
    return f"{sentence['lead']}{sentence['text']}{marks}"


async def from_analyses(connection: AsyncConnection, document_ids: Sequence[UUID]) -> None:
    """Take passages and titles of documents out of kept analyses."""
    gone = {str(document_id) for document_id in document_ids}
    rows = await connection.execute(_NAMING, {"ids": sorted(gone)})
    for row in rows.all():
        await connection.execute(
            update(analyses)
            .where(analyses.c.id == row.id)
            .values(numbers=_emptied(row.numbers, gone))
        )


_NAMING = text(
    """
    SELECT id, numbers FROM analyses WHERE EXISTS (
        SELECT FROM jsonb_path_query(numbers, '$.**.document_id') AS named
        WHERE named #>> '{}' = ANY(CAST(:ids AS text[]))
    ) FOR UPDATE OF analyses
    """
)


def _emptied(value: Any, gone: AbstractSet[str]) -> Any:
    if isinstance(value, list):
        return [_emptied(each, gone) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("document_id") in gone:
        # Passages that are gone look so in new analyses too.
        named = {"document_id": None} if "text" in value else {}
        return {**value, **{name: "" for name in ("title", "text") if name in value}, **named}
    return {name: _emptied(each, gone) for name, each in value.items()}
