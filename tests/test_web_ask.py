"""Questions over the JSON API: answers whole and streamed, kept ones, and two compared."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from search_app.answering.types import Event, Sentence, Written
from search_app.errors import StoreUnavailableError
from search_app.web import ask_events
from search_app.web.app import create_app
from search_app.web.ask_events import streamed
from search_app.web.ask_examples import EXAMPLES
from tests.web_site import Site, built_site

HOST = "http://localhost"
SSE = {"accept": "text/event-stream"}
_SENTENCE = Sentence(text="It is so.", citations=(1,), state="cited")
WEATHER = "Where does the lighthouse keeper write the weather?"


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with built_site(postgres_url, template, tmp_path_factory.mktemp("site")) as built:
        yield built


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[TestClient]:
    settings = site.settings.model_copy(update={"answer_threshold": 0.0})
    with TestClient(create_app(settings), base_url=HOST) as opened:
        yield opened


def ask(client: TestClient, question: str, headers: Any = None, **body: Any) -> Any:
    return client.post("/api/v1/ask", json={"question": question, **body}, headers=headers)


def events_of(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.split("\n\n"):
        if block and not block.startswith(":"):
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_an_answer_has_everything_that_made_it(client: TestClient, site: Site) -> None:
    response = ask(client, WEATHER)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body.keys() == EXAMPLES["answered"].keys()
    assert body["passages"][0].keys() == EXAMPLES["answered"]["passages"][0].keys()
    assert body["sentences"][0].keys() == EXAMPLES["answered"]["sentences"][0].keys()
    assert "blue book" in body["text"]
    assert body["index_id"] == str(site.report.index_id)
    assert body["generator"] == "extractive"
    assert body["stored"] is True
    again = client.get(f"/api/v1/answers/{body['id']}")
    assert again.json() == body
    listed = client.get("/api/v1/answers", params={"collection": "default"}).json()
    assert body["id"] in [each["id"] for each in listed["answers"]]
    assert listed.keys() == EXAMPLES["answers"].keys()


def test_an_answer_is_streamed_where_that_is_asked_for(client: TestClient) -> None:
    response = ask(client, WEATHER, SSE)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    events = events_of(response.text)
    names = [name for name, _ in events]
    assert names[0] == "retrieved"
    assert names[-1] == "done"
    assert set(names[1:-1]) == {"sentence"}
    done = events[-1][1]
    assert [data["sentence"] for name, data in events if name == "sentence"] == done["sentences"]
    assert events[0][1]["passages"] == done["passages"]
    assert events[0][1]["answer_id"] == done["id"]


@pytest.mark.parametrize("headers", [None, SSE])
@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"question": ""}, 400, "empty"),
        ({"question": "x" * 100_000}, 400, "2,000"),
        ({"question": "x", "collection": "none"}, 404, "none"),
        ({"question": "x", "passages": 0}, 422, "passages"),
        ({"question": "x", "generator": "chat:gpt"}, 422, "generator"),
        ({"question": "x", "conversation": [{"question": ""}]}, 400, "conversation"),
        ({"question": "x", "filters": ["nonsense"]}, 400, "filter"),
        ({}, 422, "question"),
    ],
)
def test_bad_questions_have_a_status_of_their_own(
    client: TestClient, headers: Any, body: Any, status: int, says: str
) -> None:
    response = client.post("/api/v1/ask", json=body, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert says in response.json()["detail"]


def test_conversations_are_rewritten_and_shown(client: TestClient) -> None:
    turns = [{"question": "What does the lighthouse keeper do?", "answer": "Writes."}]
    body = ask(client, "and in spring?", conversation=turns).json()
    assert body["rewriter"] == "words"
    assert "lighthouse" in body["query"]
    assert body["conversation"] == turns


def test_the_same_index_cites_the_same_places(client: TestClient, site: Site) -> None:
    index = str(site.report.index_id)
    response = client.post("/api/v1/ask/compare", json={"question": WEATHER, "index": index})
    body = response.json()
    assert response.status_code == 200, response.text
    assert body.keys() == EXAMPLES["stability"].keys()
    assert body["changed"] is False
    assert body["kept"]
    assert body["kept"][0].keys() == EXAMPLES["stability"]["kept"][0].keys()
    answer = ask(client, WEATHER).json()
    now = client.get(f"/api/v1/answers/{answer['id']}/compare").json()
    assert now["changed"] is False
    assert now["a"]["id"] == answer["id"]


def test_answers_that_are_not_kept_are_not_there(client: TestClient) -> None:
    assert client.get(f"/api/v1/answers/{uuid4()}").status_code == 404
    assert client.get(f"/api/v1/answers/{uuid4()}/compare").status_code == 404
    assert client.get("/api/v1/answers/nonsense").status_code == 422


async def slow(closed: asyncio.Event, *, fail: bool = False) -> AsyncGenerator[Event]:
    try:
        yield Written(place=0, sentence=_SENTENCE)
        if fail:
            raise StoreUnavailableError("the vector store cannot be reached: gone")
        await asyncio.Event().wait()
    finally:
        closed.set()


async def test_silence_is_filled_and_hanging_up_ends_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ask_events, "HEARTBEAT_S", 0.01)
    closed = asyncio.Event()
    events = slow(closed)
    texts = streamed(await anext(events), events, "/api/v1/ask")
    assert (await anext(texts)).startswith("event: sentence\ndata: {")
    assert await anext(texts) == ": waiting\n\n"
    await texts.aclose()
    await asyncio.wait_for(closed.wait(), 5)


async def test_what_fails_in_mid_stream_is_told_as_a_problem() -> None:
    closed = asyncio.Event()
    events = slow(closed, fail=True)
    texts = [text async for text in streamed(await anext(events), events, "/api/v1/ask")]
    [(name, data)] = events_of(texts[-1])
    assert name == "error"
    assert data["type"] == "/docs#store-unavailable"
    assert closed.is_set()
