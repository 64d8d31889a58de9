"""The JSON API of questions and answers, streamed where that is asked for."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from search_app.answering.keeping import from_kept
from search_app.answering.stability import Stability, compare_indexes, compare_with_now
from search_app.answering.types import Question, Turn
from search_app.bootstrap import Services
from search_app.catalog import answers
from search_app.catalog.engine import reading
from search_app.web.answers import described
from search_app.web.api import Limit, Offset, json_only
from search_app.web.ask_events import HEADERS, MEDIA_TYPE, answer_json, streamed
from search_app.web.ask_examples import STREAM
from search_app.web.ask_schemas import (
    AnswerJson,
    Answers,
    AskBody,
    ComparingBody,
    ListedAnswerJson,
    PlaceJson,
    StabilityJson,
)
from search_app.web.deps import ServicesDep
from search_app.web.problems import Kind

_ASKING = (
    Kind.INVALID_INPUT,
    Kind.CROSS_ORIGIN,
    Kind.NOT_FOUND,
    Kind.TOO_LARGE,
    Kind.NOT_JSON,
    Kind.INVALID_BODY,
    Kind.EMBEDDER_REFUSED,
    Kind.EMBEDDER_UNAVAILABLE,
    Kind.STORE_UNAVAILABLE,
    Kind.MODEL_MISMATCH,
)

_OF_BODIES = (Kind.CROSS_ORIGIN, Kind.TOO_LARGE, Kind.NOT_JSON)

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, or with Accept: text/event-stream its events: retrieved, "
        "sentence, failed, done; error where it cannot go on",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": STREAM}},
    }
}

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.post(
    "/ask",
    name="ask",
    operation_id="ask",
    dependencies=[Depends(json_only)],
    response_model=AnswerJson,
    responses=_STREAM | described(*_ASKING),
)
async def ask(request: Request, services: ServicesDep, body: AskBody) -> AnswerJson | Response:
    """Answer a question from the passages of one collection, each sentence with its sources.

    With `Accept: text/event-stream` the passages come first and then every sentence once it is
    written. Hanging up stops the model. Where the model fails, the passages are quoted instead.
    """
    question = Question(
        **_common(services, body),
        index=body.index,
        generator=body.generator,
        conversation=tuple(
            Turn(question=turn.question, answer=turn.answer) for turn in body.conversation
        ),
    )
    if MEDIA_TYPE not in request.headers.get("accept", ""):
        return answer_json(await services.answerer.answer(question))
    events = services.answerer.ask(question)
    # What is wrong with the question is told with its own status, before the stream begins.
    first = await anext(events)
    return StreamingResponse(
        streamed(first, events, request.url.path, closing=request.app.state.closing),
        media_type=MEDIA_TYPE,
        headers=HEADERS,
    )


@router.post(
    "/ask/compare",
    name="ask_compare",
    operation_id="ask_compare",
    dependencies=[Depends(json_only)],
    responses=described(*_ASKING),
)
async def ask_compare(services: ServicesDep, body: ComparingBody) -> StabilityJson:
    """Ask a question of the active index and of another one: do both cite the same places?"""
    question = Question(**_common(services, body), generator="extractive")
    return _stability(await compare_indexes(services.answerer, question, body.index))


@router.get(
    "/answers", name="answers", operation_id="answers", responses=described(Kind.INVALID_BODY)
)
async def list_answers(
    services: ServicesDep,
    collection: Annotated[
        str | None, Query(description="Only answers from that collection")
    ] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Answers:
    """List the answers that are kept, newest first."""
    async with reading(services.engine) as connection:
        found = await answers.listing(
            connection, collection=collection, limit=limit + 1, offset=offset
        )
    listed = [ListedAnswerJson.model_validate(each, strict=False) for each in found[:limit]]
    return Answers(answers=listed, more=len(found) > limit)


@router.get(
    "/answers/{answer_id}",
    name="answer",
    operation_id="answer",
    responses=described(Kind.NOT_FOUND, Kind.INVALID_BODY),
)
async def get_answer(services: ServicesDep, answer_id: UUID) -> AnswerJson:
    """Get an answer exactly as it was given, with the passages that it was made of."""
    async with reading(services.engine) as connection:
        kept = await answers.get(connection, answer_id)
    return answer_json(from_kept(kept))


@router.get(
    "/answers/{answer_id}/compare",
    name="answer_compare",
    operation_id="answer_compare",
    responses=described(*(kind for kind in _ASKING if kind not in _OF_BODIES)),
)
async def compare_answer(
    services: ServicesDep,
    answer_id: UUID,
    index: Annotated[
        str | None, Query(description="Ask that index; left out: the active one")
    ] = None,
) -> StabilityJson:
    """Ask the question of a kept answer again, in the same way: does it cite the same places?"""
    async with reading(services.engine) as connection:
        kept = from_kept(await answers.get(connection, answer_id))
    return _stability(await compare_with_now(services.answerer, kept, index=index))


def _common(services: Services, body: AskBody | ComparingBody) -> dict[str, Any]:
    named = body.collection
    return {
        "text": body.question,
        "collection": services.settings.collection if named is None else named,
        "filters": body.filters,
        "mode": body.mode,
        "passages": body.passages,
        "client": "api",
    }


def _stability(found: Stability) -> StabilityJson:
    return StabilityJson(
        changed=found.changed,
        kept=[PlaceJson.model_validate(place, strict=False) for place in found.kept],
        gone=[PlaceJson.model_validate(place, strict=False) for place in found.gone],
        new=[PlaceJson.model_validate(place, strict=False) for place in found.new],
        a=answer_json(found.a),
        b=answer_json(found.b),
    )
