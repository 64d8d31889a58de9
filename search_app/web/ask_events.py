"""Answers as server-sent events: what was retrieved, each sentence, the whole."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import structlog

from search_app.answering.types import Answer, Done, Event, Failed, Retrieved, Written
from search_app.types import JSON
from search_app.web.ask_schemas import AnswerJson, PassageJson, SentenceJson, StrengthJson
from search_app.web.examples import DETAILS
from search_app.web.problems import Kind, Problem, problem_of

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


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How events are written, and a problem that occurs at a path."""

    event: Callable[[Event], str]
    problem: Callable[[Problem, str], str]


async def streamed(
    first: Event,
    events: AsyncGenerator[Event],
    path: str,
    writing: Writing | None = None,
    *,
    closing: asyncio.Event | None = None,
) -> AsyncGenerator[str]:
    """Write events as they come, and signs of life between them; ends with the last of them.

    When whoever listens hangs up, this is cancelled or closed, and with it the model. When
    ``closing`` is set, as the server does when it is stopped, the last event says so.
    """
    writing = writing or _AS_JSON
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    queue.put_nowait(writing.event(first))
    reader = asyncio.create_task(_read(events, queue, path, writing))
    ending = asyncio.create_task(_end(closing or asyncio.Event(), queue, path, writing))
    try:
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    text = await queue.get()
            except TimeoutError:
                yield ": waiting\n\n"
                continue
            if text is _END:
                return
            yield text
    finally:
        # Not awaited: whoever is cancelled may wait for nothing any more.
        reader.cancel()
        ending.cancel()


async def _read(
    events: AsyncGenerator[Event],
    queue: "asyncio.Queue[str | None]",
    path: str,
    writing: Writing,
) -> None:
    try:
        async for event in events:
            await queue.put(writing.event(event))
    except Exception as exc:
        problem = problem_of(exc)
        if problem.kind is Kind.INTERNAL:
            log.exception("request failed", path=path)
        await queue.put(writing.problem(problem, path))
    finally:
        queue.put_nowait(_END)
        await events.aclose()


async def _end(
    closing: asyncio.Event, queue: "asyncio.Queue[str | None]", path: str, writing: Writing
) -> None:
    await closing.wait()
    problem = Problem(kind=Kind.STOPPING, detail=DETAILS[Kind.STOPPING.slug])
    queue.put_nowait(writing.problem(problem, path))
    queue.put_nowait(_END)


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
            return written_event("retrieved", _retrieved(event))
        case Written():
            sentence = sentence_json(event.sentence).model_dump(mode="json")
            return written_event("sentence", {"place": event.place, "sentence": sentence})
        case Failed():
            return written_event("failed", {"reason": event.reason, "instead": event.instead})
        case Done():
            return written_event("done", answer_json(event.answer).model_dump(mode="json"))


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


def written_event(name: str, data: JSON) -> str:
    """Write an event with its name and data."""
    # JSON has no line breaks of its own, so one line is all of it.
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


_AS_JSON = Writing(
    event=_written,
    problem=lambda problem, path: written_event("error", problem.as_json(path)),
)
