"""Answers on a real database: by quotation, by a scripted model, and by a failing one."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.answering.generators.extractive import prose
from search_app.answering.keeping import from_kept
from search_app.answering.types import Answer, Done, Failed, Question, Retrieved, Turn, Written
from search_app.bootstrap import Services, open_services
from search_app.catalog import answers
from search_app.catalog.engine import reading
from search_app.config import Settings, load_settings
from search_app.errors import ConfigurationError, InvalidInputError, NotFoundError
from tests.chat_server import endless, refused, silent, streamed, written_from
from tests.scripted_endpoint import ScriptedEndpoint, body, reset, scripted_endpoint
from tests.web_site import cloned, run_apart, write_corpus

WEATHER = "Where does the lighthouse keeper write the weather?"
CLOSED = "図書館はいつ休館しますか"
SECRET = "sk-never-to-be-shown"


@pytest.fixture(scope="module")
def base(postgres_url: str, template: str, tmp_path_factory: Any) -> Any:
    folder = tmp_path_factory.mktemp("answers")
    write_corpus(folder / "library")
    with cloned(postgres_url, template) as url:
        settings = load_settings(
            DATABASE_URL=url,
            data_dir=folder / "data",
            embedder="hashing:256",
            answer_threshold=0.0,
            chat_stall_seconds=5,
        )

        async def fill() -> None:
            async with open_services(settings) as services:
                await ingest(services, IngestRequest(arguments=[str(folder / "library")]))

        run_apart(fill())
        yield settings


@pytest.fixture
async def asked(base: Settings) -> AsyncIterator[Services]:
    async with open_services(base) as services:
        yield services


@pytest.fixture
async def model() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
async def chat(base: Settings, model: ScriptedEndpoint) -> AsyncIterator[Services]:
    own = {"generator": "chat:scripted", "chat_base_url": model.url, "chat_api_key": SECRET}
    settings = base.model_copy(update=own | {"chat_api_key": load_settings(**own).chat_api_key})
    async with open_services(settings) as services:
        yield services


async def events_of(services: Services, question: Question) -> list[Any]:
    async with aclosing(services.answerer.ask(question)) as events:
        return [event async for event in events]


async def ask(services: Services, text: str, **more: Any) -> Answer:
    return await services.answerer.answer(Question(text=text, **more))


def assert_rules(answer: Answer) -> None:
    """Check what holds for every answer, whoever wrote it."""
    given = {passage.number: passage for passage in answer.passages}
    for sentence in answer.sentences:
        assert set(sentence.citations) <= given.keys()
        assert bool(sentence.citations) == (sentence.state in {"cited", "quoted"})
        if sentence.state == "quoted":
            (number,) = sentence.citations
            assert sentence.quote_start is not None
            place = slice(sentence.quote_start, sentence.quote_end)
            assert prose(given[number].text[place]) == sentence.text


@pytest.mark.parametrize(
    ("question", "words"), [(WEATHER, "blue book"), (CLOSED, "毎週月曜日と祝日に休館")]
)
async def test_without_a_model_the_best_sentences_are_quoted_word_for_word(
    asked: Services, question: str, words: str
) -> None:
    answer = await ask(asked, question)
    assert_rules(answer)
    assert answer.generator == "extractive"
    assert answer.outcome == "answered"
    assert {sentence.state for sentence in answer.sentences} == {"quoted"}
    assert words in answer.sentences[0].text
    assert answer.text.startswith(answer.sentences[0].text + "[1]")
    assert (answer.query, answer.rewriter) == (question, "question")


async def test_passages_come_first_then_sentences_then_all_of_it(asked: Services) -> None:
    events = await events_of(asked, Question(text=WEATHER))
    assert isinstance(events[0], Retrieved)
    assert isinstance(events[-1], Done)
    written = [event.sentence for event in events if isinstance(event, Written)]
    answer = events[-1].answer
    assert written == list(answer.sentences)
    assert tuple(events[0].passages) == answer.passages
    assert events[0].answer_id == answer.id
    assert [passage.number for passage in answer.passages] == list(
        range(1, len(answer.passages) + 1)
    )


async def test_an_answer_is_shown_again_exactly(asked: Services) -> None:
    answer = await ask(asked, WEATHER, conversation=(Turn(question="Who keeps the lighthouse?"),))
    assert answer.stored
    async with reading(asked.engine) as connection:
        kept = from_kept(await answers.get(connection, answer.id))
        listed = await answers.listing(connection, collection="default")
        same = await answers.find(connection, str(answer.id)[:13])
    assert kept == answer
    assert same.id == answer.id == listed[0].id
    with pytest.raises(NotFoundError):
        async with reading(asked.engine) as connection:
            await answers.get(connection, UUID(int=0))


async def test_with_the_query_log_off_nothing_is_kept(base: Settings) -> None:
    async with open_services(base.model_copy(update={"query_log": False})) as services:
        answer = await ask(services, WEATHER)
        assert not answer.stored
        with pytest.raises(NotFoundError):
            async with reading(services.engine) as connection:
                await answers.get(connection, answer.id)


async def test_old_answers_are_forgotten(asked: Services) -> None:
    answer = await ask(asked, WEATHER)
    async with asked.engine.begin() as connection:
        from sqlalchemy import text

        await connection.execute(
            text("UPDATE answers SET created_at = now() - interval '5 days' WHERE id = :id"),
            {"id": answer.id},
        )
        assert await answers.forget_old(connection, days=4, most=10) == 1
        assert await answers.forget_old(connection, days=4, most=10) == 0


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (Question(text=""), "empty"),
        (Question(text=" \n　"), "empty"),
        (Question(text="x" * 100_000), "100,000 characters; at most 2,000"),
        (Question(text="a\x00b"), "NUL"),
        (Question(text="x", passages=0), "1 to 20"),
        (Question(text="x", budget=0), "1 or more"),
        (Question(text="x", conversation=(Turn(question=" "),)), "conversation"),
        (Question(text="x", conversation=(Turn(question="a", answer="\ud800"),)), "surrogate"),
        (Question(text="x", conversation=(Turn(question="a"),) * 51), "50 turns"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    asked: Services, question: Question, says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        await asked.answerer.answer(question)


async def test_no_passages_is_an_answer(asked: Services) -> None:
    answer = await ask(asked, "harbour", filters=["type=pdf"])
    assert answer.outcome == "no_passages"
    assert [sentence.state for sentence in answer.sentences] == ["note"]
    assert not answer.passages
    japanese = await ask(asked, CLOSED, filters=["type=pdf"])
    assert japanese.text == "回答のもとになる箇所がありません。"


async def test_a_weak_match_is_said_to_be_none(base: Settings) -> None:
    async with open_services(base.model_copy(update={"answer_threshold": 0.5})) as services:
        weak = await ask(services, "zymurgy quokka xylophone gallimaufry")
        strong = await ask(services, WEATHER)
    assert weak.outcome == "not_found"
    assert weak.text == "I did not find this in the documents."
    assert weak.passages
    assert strong.outcome == "answered"
    assert strong.strength.value > weak.strength.value


async def test_documents_are_capped_and_neighbours_are_one_passage(asked: Services) -> None:
    answer = await ask(asked, "which star did the observatory log at night")
    own = [p for p in answer.passages if p.document.title.startswith("Log of")]
    assert 1 <= sum(len(passage.chunk_ids) for passage in own) <= 4
    spans = sorted((p.document.id, p.char_start, p.char_end) for p in answer.passages)
    for (one, _, end), (other, start, _) in pairwise(spans):
        assert one != other or start > end


async def test_the_budget_bounds_what_is_given(asked: Services) -> None:
    answer = await ask(asked, WEATHER, budget=60)
    assert 0 < answer.usage.passages <= 60
    whole = await ask(asked, WEATHER)
    assert whole.usage.passages > 60


async def test_a_follow_up_takes_the_rare_words_along(asked: Services) -> None:
    answer = await ask(
        asked,
        "and in spring?",
        conversation=(Turn(question="What does the lighthouse keeper do?", answer="Writes."),),
    )
    assert answer.rewriter == "words"
    assert answer.query == "and in spring? lighthouse keeper"
    assert answer.question == "and in spring?"


async def test_a_model_is_cited_and_what_it_makes_up_is_taken_out(
    chat: Services, model: ScriptedEndpoint
) -> None:
    model.script(
        streamed(
            "The lighthouse keeper writes the weather into a blue book [1]. ",
            "Nobody reads it. Ships sail at ni",
            "ne [77]. See https://evil.example/x for more [1].",
            usage={"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150},
        )
    )
    answer = await ask(chat, WEATHER)
    assert_rules(answer)
    assert [sentence.state for sentence in answer.sentences] == [
        *("cited", "unsupported", "unsupported", "cited")
    ]
    assert answer.removed_citations == 1
    assert answer.removed_links == 1
    assert "evil" not in answer.text
    assert answer.generator == "chat:scripted"
    assert answer.generator_model == "scripted"
    assert (answer.usage.prompt, answer.usage.completion) == (120, 30)
    supports = [sentence.support for sentence in answer.sentences]
    assert supports[0] is not None
    assert supports[1] is None
    assert 0 < supports[0] <= 1
    assert {notice.kind for notice in answer.notices} >= {"citations_removed", "links_removed"}
    [request] = model.received
    assert "tools" not in request.json
    assert request.headers["authorization"] == f"Bearer {SECRET}"


async def test_a_sentence_is_nearer_to_what_it_repeats_than_to_something_else(
    chat: Services, model: ScriptedEndpoint
) -> None:
    model.script(
        streamed(
            "The lighthouse keeper writes the weather into a blue book every evening [1]. "
            "Submarines dive below polar ice with nuclear engines [1]."
        )
    )
    answer = await ask(chat, WEATHER)
    near, far = (sentence.support for sentence in answer.sentences)
    assert near is not None
    assert far is not None
    assert near > 0.8 > far


async def test_a_model_that_finds_nothing_says_so_in_the_language_of_the_question(
    chat: Services, model: ScriptedEndpoint
) -> None:
    model.script(streamed("NOT_", "FOUND"))
    answer = await ask(chat, CLOSED)
    assert (answer.outcome, answer.text) == ("not_found", "文書の中には見つかりませんでした。")


async def test_a_model_makes_the_query_of_a_conversation(
    chat: Services, model: ScriptedEndpoint
) -> None:
    model.script(
        streamed("lighthouse keeper spring change"), streamed("Keepers change in spring [1].")
    )
    answer = await ask(
        chat,
        "And in spring?",
        conversation=(Turn(question="What do keepers do?", answer="Write."),),
    )
    assert answer.query == "lighthouse keeper spring change"
    assert answer.rewriter == "chat:scripted"


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (refused(401, f"Incorrect API key provided: {SECRET}"), "UNMOVED_CHAT_API_KEY"),
        (refused(404, "no such model"), "search-app answers models"),
        (refused(429, "slow down", **{"retry-after": "7"}), "it asks to wait 7 s"),
        (refused(500, "oops"), "HTTP 500: oops"),
        (body(b"<html>hello</html>"), "ended before"),
        (body(b"data: {nonsense\n\n", headers={"content-type": "text/event-stream"}), "no answer"),
        (streamed("", finish="stop"), "no sentence"),
        (streamed("*** --- !!!"), "no sentence"),
        (reset, "no answer"),
        (silent, "in time"),
    ],
    ids=["401", "404", "429", "500", "page", "nonsense", "empty", "signs", "reset", "silent"],
)
async def test_where_the_model_fails_the_passages_are_quoted_instead(
    chat: Services, model: ScriptedEndpoint, reply: Any, says: str
) -> None:
    model.script(reply)
    events = await events_of(chat, Question(text=WEATHER))
    answer = events[-1].answer
    assert_rules(answer)
    [failed] = [event for event in events if isinstance(event, Failed)]
    assert failed.instead == "extractive"
    assert says in failed.reason
    assert SECRET not in failed.reason
    assert "\n" not in failed.reason
    assert answer.generator == "extractive"
    assert answer.sentences[0].state == "note"
    assert "did not answer" in answer.sentences[0].text
    assert any("blue book" in sentence.text for sentence in answer.sentences)
    assert answer.stored
    assert SECRET not in json.dumps([notice.reason for notice in answer.notices])


async def test_what_was_written_before_the_model_broke_off_stays(
    chat: Services, model: ScriptedEndpoint
) -> None:
    model.script(streamed("It is a blue book [1]. And then the", finish=None))
    answer = await ask(chat, WEATHER)
    assert answer.outcome == "broken_off"
    assert [sentence.state for sentence in answer.sentences] == ["cited", "note"]
    assert answer.text.startswith("It is a blue book.[1]")


async def test_a_model_that_never_stops_is_cut(chat: Services, model: ScriptedEndpoint) -> None:
    model.script(endless)
    answer = await ask(chat, WEATHER)
    assert answer.outcome == "cut"
    assert 4000 < len(answer.text) < 9000
    assert answer.sentences[-1].state == "note"


async def test_a_model_stopped_at_its_own_limit_is_said_to_be_cut(
    chat: Services, model: ScriptedEndpoint
) -> None:
    model.script(streamed("It is a blue book [1]. It is", finish="length"))
    assert (await ask(chat, WEATHER)).outcome == "cut"


async def test_stopping_keeps_what_was_written_and_stops_the_model(
    chat: Services, model: ScriptedEndpoint
) -> None:
    hung_up = asyncio.Event()

    async def slow(request: Any, writer: asyncio.StreamWriter) -> None:
        try:
            await streamed(*["It is a blue book [1]. "] * 500, pause_s=0.02)(request, writer)
        except (ConnectionError, asyncio.CancelledError):
            hung_up.set()
            raise

    model.script(slow)
    retrieved = None
    async with aclosing(chat.answerer.ask(Question(text=WEATHER))) as events:
        async for event in events:
            retrieved = retrieved or event
            if isinstance(event, Written):
                break
    assert isinstance(retrieved, Retrieved)
    await chat.answerer.aclose()
    async with reading(chat.engine) as connection:
        kept = from_kept(await answers.get(connection, retrieved.answer_id))
    assert kept.outcome == "stopped"
    assert kept.sentences[0].text == "It is a blue book."
    await asyncio.wait_for(hung_up.wait(), 10)


async def test_cancelling_whoever_reads_keeps_it_too(
    chat: Services, model: ScriptedEndpoint
) -> None:
    model.script(silent)
    seen: asyncio.Queue[Any] = asyncio.Queue()

    async def read() -> None:
        async for event in chat.answerer.ask(Question(text=WEATHER)):
            await seen.put(event)

    task = asyncio.create_task(read())
    retrieved = await seen.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    await chat.answerer.aclose()
    async with reading(chat.engine) as connection:
        assert (await answers.get(connection, retrieved.answer_id)).outcome == "stopped"


async def test_an_older_server_is_asked_without_counting(
    chat: Services, model: ScriptedEndpoint
) -> None:
    model.script(refused(400, "unknown field: stream_options"), streamed("It is a blue book [1]."))
    assert (await ask(chat, WEATHER)).outcome == "answered"
    assert "stream_options" not in model.received[1].json


async def test_models_are_listed(chat: Services, model: ScriptedEndpoint) -> None:
    listed = {"object": "list", "data": [{"id": "b"}, {"id": "a"}]}
    model.script(body(json.dumps(listed).encode(), headers={"content-type": "application/json"}))
    assert await chat.generator("chat:scripted").models() == ["a", "b"]


async def test_an_absent_generator_is_no_reason_not_to_answer(base: Settings) -> None:
    settings = base.model_copy(update={"generator": "chat:none"})
    async with open_services(settings) as services:
        answer = await ask(services, WEATHER)
        assert answer.generator == "extractive"
        assert any("UNMOVED_CHAT_API_KEY" in notice.reason for notice in answer.notices)
        with pytest.raises(ConfigurationError, match="not known"):
            await ask(services, WEATHER, generator="oracle")


async def test_passages_are_data_between_marks_that_change_with_every_request(
    chat: Services, model: ScriptedEndpoint
) -> None:
    prompts: list[Sequence[Any]] = []

    def make(messages: Sequence[Any]) -> str:
        prompts.append(messages)
        return "It is a blue book [1]."

    model.script(written_from(make))
    for _ in range(2):
        await ask(chat, WEATHER)
    marks = [text["content"].split("<<<DATA ")[1].split(" ")[0] for _, text in prompts]
    assert marks[0] != marks[1]
    assert all(len(mark) == 24 for mark in marks)
    for mark, (system, user) in zip(marks, prompts, strict=True):
        assert mark in system["content"]
        assert user["content"].count(f"<<<END {mark}>>>") == user["content"].count("<<<DATA ")


async def test_an_answer_survives_the_loss_of_its_record(
    asked: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise InvalidInputError("no room")

    monkeypatch.setattr(answers, "keep", broken)
    answer = await ask(asked, WEATHER)
    assert answer.outcome == "answered"
    assert not answer.stored


async def test_keyword_mode_needs_no_model_at_all(asked: Services) -> None:
    answer = await ask(asked, WEATHER, mode="keyword")
    assert answer.strength.distance is None
    assert "blue book" in answer.text


async def test_answers_come_from_the_other_store_too(
    database_url: str, tmp_path: Path, model: ScriptedEndpoint
) -> None:
    pytest.importorskip("qdrant_client")
    write_corpus(tmp_path / "library")
    settings = load_settings(
        DATABASE_URL=database_url,
        data_dir=tmp_path / "data",
        embedder="hashing:256",
        store="qdrant",
        qdrant_url=f"local:{tmp_path / 'qdrant'}",
        answer_threshold=0.01,
        generator="chat:scripted",
        chat_base_url=model.url,
    )
    model.script(streamed("The lighthouse keeper writes the weather into a blue book [1]."))
    async with open_services(settings) as services:
        await ingest(services, IngestRequest(arguments=[str(tmp_path / "library")]))
        answer = await ask(services, WEATHER)
        quoted = await ask(services, WEATHER, generator="extractive")
    assert answer.outcome == quoted.outcome == "answered"
    assert answer.strength.distance is not None
    assert answer.sentences[0].support is not None
    assert "blue book" in quoted.sentences[0].text
