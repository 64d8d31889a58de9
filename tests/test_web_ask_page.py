"""The page that answers questions, without a browser: forms, statuses, hostile texts, the list."""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from search_app.answering.types import Sentence
from search_app.web.app import create_app
from search_app.web.ask_view import block_of
from search_app.web.csrf import FIELD
from tests.web_site import ATTACK, Site, built_site

HOST = "http://localhost"
PAGE = {"accept": "text/html"}
SSE = {"accept": "text/event-stream"}
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
    with TestClient(create_app(settings), base_url=HOST, headers=PAGE) as opened:
        yield opened


@pytest.fixture(scope="module")
def forgetful(site: Site) -> Iterator[TestClient]:
    """Serve the site without a log of queries."""
    settings = site.settings.model_copy(update={"answer_threshold": 0.0, "query_log": False})
    with TestClient(create_app(settings), base_url=HOST, headers=PAGE) as opened:
        yield opened


def token_of(client: TestClient) -> str:
    found = re.search(r'name="token" value="([0-9a-f]+)"', client.get("/ask").text)
    assert found is not None
    return found[1]


def ask(client: TestClient, question: str, headers: Any = None, **fields: Any) -> Any:
    data = {FIELD: token_of(client), "q": question, **fields}
    return client.post("/ask", data=data, headers=headers)


def events_of(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.split("\n\n"):
        if block and not block.startswith(":"):
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def turn(text: str) -> str:
    return text[text.index('<article class="turn"') : text.index("</article>")]


def test_a_form_leads_to_the_answer_which_is_shown_again_exactly(client: TestClient) -> None:
    response = ask(client, WEATHER)
    assert [each.status_code for each in response.history] == [303]
    assert response.url.path.startswith("/answers/")
    assert "blue book" in turn(response.text)
    assert turn(client.get(response.url.path).text) == turn(response.text)
    listed = client.get("/answers")
    assert response.url.path in listed.text
    only = client.get("/answers", params={"collection": "日本語"})
    assert response.url.path not in only.text


def test_the_stream_ends_with_what_the_page_shows(client: TestClient) -> None:
    response = ask(client, WEATHER, SSE)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response.text)
    names = [name for name, _ in events]
    assert (names[0], names[-1], set(names[1:-1])) == ("retrieved", "done", {"sentence"})
    assert "passage-1" in events[0][1]["html"]
    assert "blockquote" not in events[0][1]["html"]
    done = events[-1][1]
    assert done["address"] == events[0][1]["address"]
    assert turn(client.get(done["address"]).text) == turn(done["html"])


def test_without_the_log_answers_are_shown_once_and_go_along(forgetful: TestClient) -> None:
    response = ask(forgetful, WEATHER)
    assert response.history == []
    assert response.status_code == 200
    assert "/answers/" not in response.text
    assert f'name="asked" value="{WEATHER}"' in response.text
    follow = ask(forgetful, "and in spring?", asked=[WEATHER], answered=["In a blue book."])
    assert "lighthouse" in turn(follow.text)
    assert "In a blue book." in follow.text
    assert "UNMOVED_QUERY_LOG" in forgetful.get("/answers").text
    assert events_of(ask(forgetful, WEATHER, SSE).text)[-1][1]["address"] == ""


@pytest.mark.parametrize("headers", [PAGE, SSE], ids=["page", "stream"])
@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"q": ""}, 400, "empty"),
        ({"q": "x" * 3000}, 400, "2,000"),
        ({"q": "x", "collection": "nowhere"}, 404, "nowhere"),
        ({"q": "x", "filter": "nonsense"}, 400, "nonsense"),
        ({"q": "x", "choice": "nonsense"}, 400, "nonsense"),
        ({"q": "x", "asked": "", "answered": "x"}, 400, "conversation"),
    ],
    ids=["empty", "long", "collection", "filter", "choice", "conversation"],
)
def test_what_cannot_be_asked_has_a_status_and_is_told(
    client: TestClient, headers: Any, fields: dict[str, str], status: int, says: str
) -> None:
    response = client.post("/ask", data={FIELD: token_of(client), **fields}, headers=headers)
    assert response.status_code == status, response.text
    text = events_of(response.text)[0][1]["html"] if headers is SSE else response.text
    assert says in text
    assert 'role="alert"' in text


def test_forms_of_elsewhere_are_refused(client: TestClient) -> None:
    for headers in (PAGE, SSE):
        response = client.post("/ask", data={"q": WEATHER}, headers=headers)
        assert response.status_code == 403


def test_an_address_fills_the_form_and_asks_nothing(client: TestClient) -> None:
    before = client.get("/answers").text
    response = client.get(
        "/ask", params={"q": ATTACK, "filter": ["language=ja", "folder=en"], "collection": "日本語"}
    )
    assert response.status_code == 200
    assert ATTACK not in response.text
    assert "&lt;script&gt;" in response.text
    assert re.search(r'name="choice" value="language=ja" checked', response.text)
    assert client.get("/answers").text == before
    assert client.get("/ask", params={"collection": "nowhere"}).status_code == 404
    assert client.get("/ask", params={"collection": ATTACK}).status_code in (400, 404)


def test_ticked_values_of_a_field_are_one_filter(client: TestClient) -> None:
    response = ask(client, "lighthouse", choice=["language=ja", "language=en", "type=markdown"])
    assert "<code>language=ja,en</code><code>type=markdown</code>" in response.text


@pytest.mark.parametrize("headers", [PAGE, SSE], ids=["page", "stream"])
def test_hostile_texts_stay_texts(client: TestClient, headers: Any) -> None:
    response = ask(
        client,
        f"What does the sentinel paragraph say? {ATTACK}",
        headers,
        asked=[f"sentinel {ATTACK}"],
        answered=[ATTACK],
    )
    assert response.status_code == 200
    text = response.text
    if headers is SSE:
        text = "".join(data["html"] for _, data in events_of(text))
    assert "sentinel paragraph says" in text
    assert "<img" not in text
    assert "taken over" in text
    assert not re.search(r"<script>(?!</)", text)
    assert "javascript:" not in text
    said = text[text.rindex('id="said"') :]
    said = said[: said.index('class="removed"')]
    assert set(re.findall(r'href="([^"]{1,7})', said)) <= {"#quote-", "#passag"}


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("state", ["cited", "unsupported", "note"])
def test_sentences_of_every_kind_are_escaped(client: TestClient, language: str, state: Any) -> None:
    numbers = (1,) if state == "cited" else ()
    sentence = Sentence(text=ATTACK, citations=numbers, state=state, support=0.5)
    block = block_of(0, sentence, "question", {1: "en"}, whole=True)
    renderer = client.app.state.renderer  # type: ignore[attr-defined] # Starlette's type knows no state
    text = renderer.text("said.html", language, {"block_shown": block})
    assert ATTACK not in text
    assert "&lt;script&gt;" in text
    assert (("出典なし" if language == "ja" else "no source") in text) is (state == "unsupported")


def test_answers_that_are_not_kept_are_not_there(client: TestClient) -> None:
    for name in (str(uuid4()), "nonsense", ATTACK.replace("/", "")):
        response = client.get(f"/answers/{name}")
        assert response.status_code == 404
        assert ATTACK not in response.text
    assert client.get("/answers", params={"page": "99"}).status_code == 200


def test_a_document_leads_back_to_its_answer(client: TestClient) -> None:
    text = ask(client, WEATHER).text
    found = re.search(r'href="(/documents/[^"#]+)', turn(text))
    assert found is not None
    address = found[1].replace("&amp;", "&")
    page = client.get(address)
    answer = re.search(r"answer=([0-9a-f-]{36})", address)
    assert answer is not None
    assert f'href="/answers/{answer[1]}"' in page.text
    assert "Back to the answer" not in client.get(address.replace(answer[1], "//evil")).text
