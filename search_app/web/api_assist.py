"""The JSON API of what helps around searches: suggestions, feedback, similar passages."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator

from search_app.bootstrap import Services
from search_app.catalog import collections, feedback
from search_app.catalog.engine import transaction
from search_app.catalog.feedback import NOT_KEPT, Verdict
from search_app.errors import InvalidInputError
from search_app.likeness import Example
from search_app.retrieval import LONGEST_QUERY, RecommendRequest
from search_app.stores.base import MAX_K
from search_app.types import Mode, SearchResult
from search_app.web.answers import described
from search_app.web.api import hit_json, json_only
from search_app.web.assist_schemas import (
    FeedbackAnswer,
    FeedbackBody,
    SimilarAnswer,
    SuggestionJson,
    Suggestions,
)
from search_app.web.deps import ServicesDep, SuggesterDep
from search_app.web.problems import Kind
from search_app.web.schemas import NoticeJson

MOST_SUGGESTIONS = 20

router = APIRouter(prefix="/api/v1", tags=["v1"])


def _typable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("has a NUL; remove it")
    return text


Typed = Annotated[
    str,
    Query(max_length=LONGEST_QUERY, description="What was typed so far"),
    AfterValidator(_typable),
]
Wanted = Annotated[int, Query(ge=1, le=MAX_K, description="How many hits are wanted")]
Filters = Annotated[tuple[str, ...], Query(alias="filter", description="As often as needed")]
ModeWanted = Annotated[
    Mode | None, Query(description="By meaning and words, by meaning, or by words")
]

_SIMILAR = described(Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY, Kind.STORE_UNAVAILABLE)


@router.get(
    "/suggest",
    name="suggest",
    responses=described(Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY),
)
async def suggest(
    services: ServicesDep,
    suggester: SuggesterDep,
    q: Typed = "",
    collection: Annotated[
        str | None, Query(description="Left out: the server's default collection")
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=MOST_SUGGESTIONS, description="Most suggestions wanted")
    ] = 8,
) -> Suggestions:
    """Offer past queries, titles and headings that go on from what was typed."""
    name = services.settings.collection if collection is None else collection
    async with transaction(services.engine) as connection:
        known = await collections.get(connection, name)
    found = await suggester.suggest(known, q, limit)
    return Suggestions(suggestions=[SuggestionJson.model_validate(phrase) for phrase in found])


@router.post(
    "/feedback",
    name="feedback",
    dependencies=[Depends(json_only)],
    responses=described(
        Kind.INVALID_INPUT,
        Kind.CROSS_ORIGIN,
        Kind.NOT_FOUND,
        Kind.TOO_LARGE,
        Kind.NOT_JSON,
        Kind.INVALID_BODY,
    ),
)
async def give_feedback(services: ServicesDep, body: FeedbackBody) -> FeedbackAnswer:
    """Say whether a hit was what was looked for; golden sets are made of it."""
    position = await judge(services, body.search_id, body.chunk_id, body.verdict)
    return FeedbackAnswer(
        search_id=body.search_id,
        chunk_id=body.chunk_id,
        verdict=body.verdict,
        position=position,
    )


async def judge(services: Services, search_id: UUID, chunk_id: UUID, verdict: Verdict) -> int:
    """Keep a verdict on a hit, and give the rank of the hit.

    Raises:
        NotFoundError: no such search or no such hit of it.
        InvalidInputError: the texts of searches are not kept.
    """
    if not services.settings.query_log:
        raise InvalidInputError(NOT_KEPT)
    async with transaction(services.engine) as connection:
        return await feedback.give(connection, search_id, chunk_id, verdict)


@router.get("/chunks/{chunk_id}/similar", name="similar_to_chunk", responses=_SIMILAR)
async def similar_to_chunk(
    services: ServicesDep,
    chunk_id: UUID,
    *,
    k: Wanted = 10,
    filters: Filters = (),
    mode: ModeWanted = None,
    exact: Annotated[bool, Query(description="Compare with every vector")] = False,
) -> SimilarAnswer:
    """Find passages like one passage, in its collection."""
    like = [Example(kind="passage", id=chunk_id)]
    found = await services.searcher.recommend(
        RecommendRequest(like=like, k=k, filters=filters, mode=mode, exact=exact)
    )
    return _answer(found.result)


@router.get("/documents/{document_id}/similar", name="similar_to_document", responses=_SIMILAR)
async def similar_to_document(
    services: ServicesDep,
    document_id: UUID,
    *,
    k: Wanted = 10,
    filters: Filters = (),
    mode: ModeWanted = None,
    exact: Annotated[bool, Query(description="Compare with every vector")] = False,
) -> SimilarAnswer:
    """Find passages of other documents that are like a document, in its collection."""
    like = [Example(kind="document", id=document_id)]
    found = await services.searcher.recommend(
        RecommendRequest(like=like, k=k, filters=filters, mode=mode, exact=exact)
    )
    return _answer(found.result)


def _answer(result: SearchResult) -> SimilarAnswer:
    return SimilarAnswer(
        hits=[hit_json(hit) for hit in result.hits],
        mode=result.mode,
        notices=[NoticeJson.model_validate(notice) for notice in result.notices],
        collection=result.collection,
        index_id=result.index_id,
        model_version_id=result.model_version_id,
        model=result.model,
        exact=result.exact,
        more=result.more,
        took_ms=round(result.took_ms, 3),
    )
