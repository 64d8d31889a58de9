"""Analyses of whole indexes as they are kept: what was asked, what came of it, who is in what."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Select, Text, cast, delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import (
    analyses,
    analysis_members,
    chunks,
    collections,
    documents,
    label_suggestions,
    model_versions,
)
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import JSON

CLUSTERS, OUTLIERS, DIVERSITY, LABELS = "clusters", "outliers", "diversity", "labels"
MAP = "map"
"""The kinds of analyses."""

KINDS = (CLUSTERS, OUTLIERS, DIVERSITY, LABELS, MAP)

KEPT = 20
"""Analyses of one kind that are kept of a collection, besides those whose labels are in use."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """An analysis as it is kept. ``numbers`` has what was found, in the shape of the API."""

    id: UUID
    collection: str
    index_id: UUID
    model_version_id: UUID
    model: str
    kind: str
    parameters: Mapping[str, JSON]
    seed: int
    numbers: Mapping[str, JSON]
    seconds: float
    job_id: int | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Member:
    """A passage, its cluster, and its cosine to the centre of that."""

    chunk_id: UUID
    cluster: int
    score: float


def _select() -> Select[Any]:
    return (
        select(
            *analyses.c,
            collections.c.name.label("collection"),
            (model_versions.c.provider + "/" + model_versions.c.model).label("model"),
        )
        .join(collections, collections.c.id == analyses.c.collection_id)
        .join(model_versions, model_versions.c.id == analyses.c.model_version_id)
        .where(collections.c.state == "live")
    )


def _analysis(row: Any) -> Analysis:
    return Analysis(**{name: getattr(row, name) for name in Analysis.__dataclass_fields__})


async def add(
    connection: AsyncConnection,
    *,
    collection_id: UUID,
    index_id: UUID,
    model_version_id: UUID,
    kind: str,
    parameters: Mapping[str, JSON],
    seed: int,
    numbers: Mapping[str, JSON],
    seconds: float,
    job_id: int | None = None,
) -> UUID:
    """Keep an analysis and give its id; the oldest of its kind go where there are too many."""
    analysis_id = uuid4()
    await connection.execute(
        insert(analyses).values(
            id=analysis_id,
            collection_id=collection_id,
            index_id=index_id,
            model_version_id=model_version_id,
            kind=kind,
            parameters=dict(parameters),
            seed=seed,
            numbers=dict(numbers),
            seconds=seconds,
            job_id=job_id,
        )
    )
    newest = (
        select(analyses.c.id)
        .where(analyses.c.collection_id == collection_id, analyses.c.kind == kind)
        .order_by(analyses.c.created_at.desc(), analyses.c.id)
        .limit(KEPT)
    )
    await connection.execute(
        delete(analyses)
        .where(analyses.c.collection_id == collection_id, analyses.c.kind == kind)
        .where(analyses.c.id.not_in(newest), analyses.c.id != analysis_id)
        .where(analyses.c.id.not_in(select(label_suggestions.c.analysis_id)))
    )
    return analysis_id


_ADD_MEMBERS = text("""
    INSERT INTO analysis_members (analysis_id, chunk_id, cluster, score)
    SELECT CAST(:analysis_id AS uuid), member.* FROM unnest(
        CAST(:ids AS uuid[]), CAST(:clusters AS int[]), CAST(:scores AS real[])
    ) AS member (chunk_id, cluster, score)
    -- One may have been removed meanwhile.
    WHERE EXISTS (SELECT FROM chunks WHERE chunks.id = member.chunk_id)
""")


async def add_members(
    connection: AsyncConnection,
    analysis_id: UUID,
    chunk_ids: Sequence[UUID],
    clusters: Sequence[int],
    scores: Sequence[float],
) -> None:
    """Keep which passage is in which cluster."""
    values = {"ids": list(chunk_ids), "clusters": list(clusters), "scores": list(scores)}
    await connection.execute(_ADD_MEMBERS, {"analysis_id": analysis_id, **values})


async def listing(
    connection: AsyncConnection,
    *,
    kind: str | None = None,
    collection: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Analysis]:
    """List analyses, newest first."""
    statement = _select().order_by(analyses.c.created_at.desc(), analyses.c.id)
    if kind is not None:
        statement = statement.where(analyses.c.kind == kind)
    if collection is not None:
        statement = statement.where(collections.c.name == collection)
    rows = await connection.execute(statement.limit(limit).offset(offset))
    return [_analysis(row) for row in rows]


async def find(connection: AsyncConnection, beginning: str, *, kind: str | None = None) -> Analysis:
    """Get an analysis by its id, or by as much of its beginning as names one only.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: several begin so.
    """
    wanted = beginning.strip().lower()
    if not wanted or set(wanted) - set("0123456789abcdef-"):
        raise NotFoundError(f"no analysis {beginning[:50]!r}")
    statement = _select().where(cast(analyses.c.id, Text).startswith(wanted, autoescape=True))
    if kind is not None:
        statement = statement.where(analyses.c.kind == kind)
    rows = (await connection.execute(statement.limit(2))).all()
    if not rows:
        raise NotFoundError(f"no analysis {beginning[:50]!r}; the oldest are not kept for good")
    if len(rows) > 1:
        raise InvalidInputError(f"several analyses begin with {beginning!r}; write more of the id")
    return _analysis(rows[0])


async def remove(connection: AsyncConnection, analysis_id: UUID) -> None:
    """Forget an analysis, with its members and the labels that it suggested."""
    await connection.execute(delete(analyses).where(analyses.c.id == analysis_id))


async def members(
    connection: AsyncConnection,
    analysis_id: UUID,
    *,
    cluster: int | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Member]:
    """List passages, of one cluster or all, those nearest to their centre first."""
    statement = select(analysis_members).where(analysis_members.c.analysis_id == analysis_id)
    if cluster is not None:
        statement = statement.where(analysis_members.c.cluster == cluster)
    statement = statement.order_by(
        analysis_members.c.cluster,
        analysis_members.c.score.desc(),
        analysis_members.c.chunk_id,
    )
    rows = await connection.execute(statement.limit(limit).offset(offset))
    return [Member(chunk_id=row.chunk_id, cluster=row.cluster, score=row.score) for row in rows]


async def live_among(connection: AsyncConnection, chunk_ids: Sequence[UUID]) -> set[UUID]:
    """Say which of the passages can be found."""
    statement = (
        select(chunks.c.id)
        .join(documents, documents.c.id == chunks.c.document_id)
        .where(chunks.c.id == func.any(list(chunk_ids)))
        .where(chunks.c.state == "live", documents.c.state == "indexed")
    )
    return set(await connection.scalars(statement))


async def titles_of(connection: AsyncConnection, document_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Give the titles of documents; those that are gone are left out."""
    statement = select(documents.c.id, documents.c.title).where(
        documents.c.id == func.any(list(document_ids))
    )
    return {row.id: row.title for row in await connection.execute(statement)}


async def sources_of(connection: AsyncConnection, document_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Give the ids of the sources of documents; those that are gone are left out."""
    statement = select(documents.c.id, documents.c.source_id).where(
        documents.c.id == func.any(list(document_ids)), documents.c.state == "indexed"
    )
    return {row.id: row.source_id for row in await connection.execute(statement)}


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """A text that is a passage of several documents, with one of its passages."""

    chunk_id: UUID
    documents: int
    characters: int


_REPEATED = text("""
    SELECT min(CAST(chunks.id AS text)) AS chunk_id,
        count(DISTINCT chunks.document_id) AS documents,
        max(char_length(btrim(chunks.text, E' \\t\\r\\n'))) AS characters
    FROM vector_records JOIN chunks ON chunks.id = vector_records.chunk_id
    WHERE vector_records.index_id = :index_id AND chunks.state = 'live'
    GROUP BY md5(btrim(chunks.text, E' \\t\\r\\n'))
    HAVING count(DISTINCT chunks.document_id) >= :least
    ORDER BY 2 DESC, 1 LIMIT :most
""")


async def repeated_texts(
    connection: AsyncConnection, index_id: UUID, *, least: int, most: int
) -> list[Repeated]:
    """List texts that are passages of so many documents or more, the commonest first."""
    rows = await connection.execute(_REPEATED, {"index_id": index_id, "least": least, "most": most})
    return [
        Repeated(chunk_id=UUID(row.chunk_id), documents=row.documents, characters=row.characters)
        for row in rows
    ]


_NEARLY_EMPTY = text("""
    SELECT chunks.id, char_length(regexp_replace(chunks.text, '[^[:alnum:]]', '', 'g')) AS letters
    FROM vector_records JOIN chunks ON chunks.id = vector_records.chunk_id
    WHERE vector_records.index_id = :index_id AND chunks.state = 'live'
        AND char_length(regexp_replace(chunks.text, '[^[:alnum:]]', '', 'g')) < :least
    ORDER BY letters, chunks.id LIMIT :most
""")


async def nearly_empty(
    connection: AsyncConnection, index_id: UUID, *, least: int, most: int
) -> dict[UUID, int]:
    """Give passages with fewer letters and digits than ``least``, and how many they have."""
    rows = await connection.execute(
        _NEARLY_EMPTY, {"index_id": index_id, "least": least, "most": most}
    )
    return {row.id: row.letters for row in rows}


@dataclass(frozen=True, kw_only=True)
class Suggested:
    """A label that is suggested for a document; where it is from is in the analysis.

    ``probability`` is None of a predicted number.
    """

    document_id: UUID
    title: str
    name: str
    value: JSON
    probability: float | None
    method: str
    analysis_id: UUID
    model_version_id: UUID
    model: str
    created_at: datetime


_SUGGEST = text("""
    INSERT INTO label_suggestions
        (document_id, name, value, probability, method, analysis_id)
    SELECT given.document_id, :name, given.value, given.probability, :method, :analysis_id
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:labels AS jsonb[]), CAST(:probabilities AS double precision[])
    ) AS given (document_id, value, probability)
    WHERE EXISTS (SELECT FROM documents WHERE documents.id = given.document_id)
""")

# Beside what is given, as filters.py has it, so that searches can filter by them.
_SHOW = text("""
    UPDATE documents SET fields = jsonb_set(
        CASE WHEN jsonb_exists(fields, 'suggested') THEN fields
            ELSE fields || CAST('{"suggested": {}}' AS jsonb) END,
        ARRAY['suggested', CAST(:name AS text)], given.value
    )
    FROM unnest(CAST(:ids AS uuid[]), CAST(:labels AS jsonb[])) AS given (document_id, value)
    WHERE documents.id = given.document_id
""")
_HIDE = text("""
    UPDATE documents SET fields = CASE
        WHEN (fields->'suggested') - CAST(:name AS text) = CAST('{}' AS jsonb)
            THEN fields - 'suggested'
        ELSE jsonb_set(fields, '{suggested}', (fields->'suggested') - CAST(:name AS text)) END
    WHERE collection_id = :collection_id AND jsonb_exists(fields->'suggested', :name)
""")


async def suggest(
    connection: AsyncConnection,
    *,
    collection_id: UUID,
    name: str,
    method: str,
    analysis_id: UUID,
    labels: Mapping[UUID, tuple[JSON, float | None]],
) -> list[UUID]:
    """Keep labels for documents, in place of all that were suggested under that name before.

    Given metadata is elsewhere and stays as it is.

    Returns:
        The documents that had one before.
    """
    before = await withdraw(connection, collection_id, name)
    values = {
        "name": name,
        "ids": list(labels),
        "labels": [json.dumps(value) for value, _ in labels.values()],
    }
    await connection.execute(
        _SUGGEST,
        {
            **values,
            "method": method,
            "analysis_id": analysis_id,
            "probabilities": [probability for _, probability in labels.values()],
        },
    )
    await connection.execute(_SHOW, values)
    return before


async def withdraw(connection: AsyncConnection, collection_id: UUID, name: str) -> list[UUID]:
    """Take back all that is suggested under a name in a collection; say for which documents."""
    own = select(documents.c.id).where(documents.c.collection_id == collection_id)
    result = await connection.execute(
        delete(label_suggestions)
        .where(label_suggestions.c.name == name, label_suggestions.c.document_id.in_(own))
        .returning(label_suggestions.c.document_id)
    )
    await connection.execute(_HIDE, {"collection_id": collection_id, "name": name})
    return list(result.scalars())


async def suggestions(
    connection: AsyncConnection,
    *,
    collection: str | None = None,
    document_id: UUID | None = None,
    name: str | None = None,
    value: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Suggested]:
    """List suggested labels, the least probable first: those are what a person should look at.

    Nothing can be suggested under a name, or as a value, that holds what no database does.
    """
    if any(_UNSTORABLE.search(text) for text in (name, value) if text is not None):
        return []
    statement = (
        select(
            *label_suggestions.c,
            documents.c.title,
            analyses.c.model_version_id,
            (model_versions.c.provider + "/" + model_versions.c.model).label("model"),
        )
        .join(documents, documents.c.id == label_suggestions.c.document_id)
        .join(collections, collections.c.id == documents.c.collection_id)
        .join(analyses, analyses.c.id == label_suggestions.c.analysis_id)
        .join(model_versions, model_versions.c.id == analyses.c.model_version_id)
        .where(documents.c.state == "indexed")
        .order_by(
            label_suggestions.c.probability.nulls_last(),
            label_suggestions.c.document_id,
            label_suggestions.c.name,
        )
    )
    if collection is not None:
        statement = statement.where(collections.c.name == collection)
    if document_id is not None:
        statement = statement.where(label_suggestions.c.document_id == document_id)
    if name is not None:
        statement = statement.where(label_suggestions.c.name == name)
    if value is not None:
        statement = statement.where(label_suggestions.c.value == func.to_jsonb(cast(value, Text)))
    rows = await connection.execute(statement.limit(limit).offset(offset))
    return [
        Suggested(**{each: getattr(row, each) for each in Suggested.__dataclass_fields__})
        for row in rows
    ]
