"""Answers as server-sent events: what was retrieved, each sentence, the whole."""

import asyncio
import json
from collections.abc import AsyncGenerator

import structlog

from search_app.answering.types import Answer, Done, Event, Failed, Retrieved, Written
from search_app.types import JSON
from search_app.web.ask_schemas import AnswerJson, PassageJson, SentenceJson, StrengthJson
from search_app.web.problems import Kind, problem_of

MEDIA_TYPE = "text/event-stream"

HEARTBEAT_S = 10.0
"""Seconds of silence after which a comment is sent, so that nobody takes the line for dead."""

HEADERS = {
    "Cache-Control": "no-store",
    # Proxies that gather what they pass on would show a stream at its end.
    "X-Accel-Buffering": "no",
}

_END = None

log = structlog.get_logger()


async def streamed(first: Event, events: AsyncGenerator[Event], path: str) -> AsyncGenerator[str]:
    """Write events as they come, and signs of life between them; ends with the last of them.

    When whoever listens hangs up, this is cancelled or closed, and with it the model.
    """
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    queue.put_nowait(_written(first))
    reader = asyncio.create_task(_read(events, queue, path))
    try:
        while True:
            try:
                text = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
            except TimeoutError:
                yield ": waiting\n\n"
                continue
            if text is _END:
                return
            yield text
    finally:
        # Not awaited: whoever is cancelled may wait for nothing any more.
        reader.cancel()


async def _read(
    events: AsyncGenerator[Event], queue: "asyncio.Queue[str | None]", path: str
) -> None:
    try:
        async for event in events:
            await queue.put(_written(event))
    except Exception as exc:
        problem = problem_of(exc)
        if problem.kind is Kind.INTERNAL:
            log.exception("request failed", path=path)
        await queue.put(_event("error", problem.as_json(path)))
    finally:
        queue.put_nowait(_END)
        await events.aclose()


def answer_json(answer: Answer) -> AnswerJson:
    """Give an answer as JSON."""
    return AnswerJson.model_validate(
        {
            **{name: getattr(answer, name) for name in AnswerJson.model_fields},
            "conversation": list(answer.conversation),
            "filters": list(answer.filters),
            "passages": [passage_json(passage) for passage in answer.passages],
            "sentences": [sentence_json(sentence) for sentence in answer.sentences],
            "times": dict(answer.times),
            "notices": list(answer.notices),
        }
    )


def passage_json(passage: object) -> PassageJson:
    """Give a passage as JSON."""
    return PassageJson.model_validate(passage, strict=False)


def sentence_json(sentence: object) -> SentenceJson:
    """Give a sentence as JSON."""
    return SentenceJson.model_validate(sentence, strict=False)


def _written(event: Event) -> str:
    match event:
        case Retrieved():
            return _event("retrieved", _retrieved(event))
        case Written():
            sentence = sentence_json(event.sentence).model_dump(mode="json")
            return _event("sentence", {"place": event.place, "sentence": sentence})
        case Failed():
            return _event("failed", {"reason": event.reason, "instead": event.instead})
        case Done():
            return _event("done", answer_json(event.answer).model_dump(mode="json"))


def _retrieved(event: Retrieved) -> JSON:
    return {
        "answer_id": str(event.answer_id),
        "query": event.query,
        "rewriter": event.rewriter,
        "collection": event.collection,
        "index_id": str(event.index_id),
        "model": event.model,
        "mode": event.mode,
        "generator": event.generator,
        "strength": StrengthJson.model_validate(event.strength).model_dump(mode="json"),
        "passages": [passage_json(each).model_dump(mode="json") for each in event.passages],
        "notices": [{"kind": each.kind, "reason": each.reason} for each in event.notices],
    }


def _event(name: str, data: JSON) -> str:
    # JSON has no line breaks of its own, so one line is all of it.
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
