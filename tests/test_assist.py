"""What helps around searches: suggestions, spelling, feedback, similar passages, forgetting."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import numpy as np
import pytest
from bs4 import BeautifulSoup
from httpx2 import ASGITransport, AsyncClient
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from sqlalchemy import text
from starlette.testclient import TestClient

from ingest import pipeline, worker
from ingest.pipeline import IngestRequest, ingest
from search_app.bm25 import Weighting
from search_app.bootstrap import Services, open_services
from search_app.catalog import collections, suggestions
from search_app.catalog.engine import reading, transaction
from search_app.catalog.lexicons import Lexicon
from search_app.config import Settings
from search_app.errors import InvalidInputError, NotFoundError
from search_app.likeness import MOST_TERMS, Example, strongest
from search_app.phrases import Phrase, Phrases, evened
from search_app.retrieval import RecommendRequest, SearchRequest
from search_app.spelling import Vocabulary, replaced
from search_app.types import Mode, SearchResult
from search_app.web.app import create_app
from search_app.web.examples import EXAMPLES
from search_app.web.suggesting import Suggester
from tests.web_site import JAPANESE, Site, built_site

HOST = "http://localhost"
NAUGHTY = Path(__file__).parents[2] / "shared" / "data" / "naughty" / "blns.json"


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with built_site(postgres_url, template, tmp_path_factory.mktemp("site")) as built:
        yield built


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[TestClient]:
    with TestClient(create_app(site.settings), base_url=HOST) as opened:
        yield opened


@asynccontextmanager
async def served(services: Services) -> AsyncIterator[AsyncClient]:
    """Serve services of this loop."""
    app = create_app(services.settings, services)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url=HOST) as client,
    ):
        yield client


async def add(services: Services, folder: Path, collection: str = "default") -> None:
    await ingest(services, IngestRequest(arguments=[str(folder)], collection=collection))


async def remove(services: Services, path: Path, collection: str = "default") -> None:
    await pipeline.remove(services, sources=[str(path)], collection=collection)


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in texts.items():
        (folder / f"{name}.md").write_text(content, encoding="utf-8")
    return folder


def offered(client: TestClient, q: str, **more: Any) -> list[tuple[str, str]]:
    response = client.get("/api/v1/suggest", params={"q": q, **more})
    assert response.status_code == 200, response.text
    return [(each["kind"], each["text"]) for each in response.json()["suggestions"]]


def searched(client: TestClient, query: str, **more: Any) -> Any:
    response = client.post("/api/v1/search", json={"query": query, **more})
    assert response.status_code == 200, response.text
    return response.json()


# Phrases


def going_on(typed: str, *texts: str, beginnings_first: bool = True) -> list[str]:
    phrases = Phrases(
        [Phrase(text=each, kind="title") for each in texts], beginnings_first=beginnings_first
    )
    found = [phrase.text for _, phrase in phrases.going_on(evened(typed))]
    return list(dict.fromkeys(found))


def test_phrases_go_on_from_the_beginning_of_any_word() -> None:
    texts = ["Opening hours", "Harbour office: opening", "Reopening", "The open sea"]
    assert going_on("open", *texts) == ["Opening hours", "Harbour office: opening", "The open sea"]
    assert going_on("opening h", *texts) == ["Opening hours"]
    assert going_on("opening ", *texts) == ["Opening hours"]
    assert going_on("pening", *texts) == []
    assert going_on("office op", *texts) == ["Harbour office: opening"]


def test_what_matches_first_comes_first_unless_the_order_says_all() -> None:
    texts = ["The open sea", "Open water"]
    assert going_on("open", *texts) == ["Open water", "The open sea"]
    assert going_on("open", *texts, beginnings_first=False) == texts


def test_case_width_accents_and_marks_make_no_difference() -> None:
    texts = ["Café Crème", "ＡＰＩ　設計", "ガイドブック", "snake_case"]
    assert going_on("CAFE cr", *texts) == ["Café Crème"]
    assert going_on("café", *texts) == ["Café Crème"]
    assert going_on("api", *texts) == ["ＡＰＩ　設計"]
    assert going_on("ｶﾞｲﾄﾞ", *texts) == ["ガイドブック"]
    assert going_on("snake-c", *texts) == ["snake_case"]
    assert going_on("がい", *texts) == []


def test_japanese_matches_inside_from_two_characters() -> None:
    texts = ["図書館の利用案内", "利用者登録", "市の案内"]
    assert going_on("利用", *texts) == ["利用者登録", "図書館の利用案内"]
    assert going_on("館", *texts) == []
    assert going_on("図", *texts) == ["図書館の利用案内"]
    assert going_on("用案", *texts) == ["図書館の利用案内"]
    assert going_on("PDFを", "社内のPDFを開く") == ["社内のPDFを開く"]


def test_the_same_phrase_is_there_once_and_what_was_typed_whole_not_at_all() -> None:
    assert going_on("tea", "Tea time", "TEA  time", "Tea") == ["Tea time"]
    assert going_on("tea time", "Tea time") == []
    assert going_on("c++", "C++ basics", "Cats") == ["C++ basics"]
    for nothing in ("", "   ", "😀", "---"):
        assert going_on(nothing, "Tea") == []


_WORDS = st.text(st.sampled_from("abÀ é図書館のカ12-_.'+# 　\n\t"), max_size=12)


@settings_of_hypothesis(max_examples=500, deadline=None)
@given(beginning=_WORDS, rest=_WORDS)
def test_the_evened_form_of_a_beginning_is_a_beginning(beginning: str, rest: str) -> None:
    assert evened(beginning + rest).startswith(evened(beginning))


@settings_of_hypothesis(max_examples=300, deadline=None)
@given(texts=st.lists(_WORDS, max_size=8), cut=st.integers(1, 12))
def test_every_phrase_is_found_by_its_beginning(texts: list[str], cut: int) -> None:
    phrases = Phrases([Phrase(text=each, kind="title") for each in texts], beginnings_first=True)
    for each in texts:
        whole, typed = evened(each).rstrip(), evened(each[:cut])
        keys = [key for key, _ in phrases.going_on(typed)]
        assert all(f" {typed.strip()}" in key or typed.strip() in key for key in keys)
        if typed.strip() and typed.rstrip() != whole and whole.startswith(typed):
            assert whole in keys


# Suggestions


def test_suggestions_are_past_queries_titles_and_headings(client: TestClient) -> None:
    assert offered(client, "harb") == [("title", "Harbour handbook")]
    assert offered(client, "LIGHT") == [("heading", "Lighthouse")]
    assert offered(client, "利用", collection="日本語") == [("title", "図書館の利用案内")]
    assert offered(client, "休館", collection="日本語") == [("heading", "休館日")]
    assert len(offered(client, "night", limit=5)) == 5


def test_nothing_of_another_collection_is_suggested(client: TestClient) -> None:
    assert offered(client, "harb", collection="日本語") == []


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"q": ""}, 200),
        ({}, 200),
        ({"q": "  "}, 200),
        ({"q": "x" * 2000}, 200),
        ({"q": "x" * 2001}, 422),
        # Longer ones the HTTP server refuses by itself.
        ({"q": "x" * 60_000}, 422),
        ({"q": "a\x00b"}, 422),
        ({"q": "a", "limit": "0"}, 422),
        ({"q": "a", "limit": "21"}, 422),
        ({"q": "a", "limit": "many"}, 422),
        ({"q": "a", "collection": "none"}, 404),
        ({"q": "a", "collection": "a\x00b"}, 400),
    ],
)
def test_what_may_be_asked_for(client: TestClient, parameters: dict[str, str], status: int) -> None:
    response = client.get("/api/v1/suggest", params=parameters)
    assert response.status_code == status, response.text
    if status == 200:
        assert response.json() == {"suggestions": []}
    else:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["detail"]


async def test_past_queries_with_hits_come_first_the_most_frequent_at_the_top(
    services: Services, tmp_path: Path
) -> None:
    await add(services, write(tmp_path / "a", tea="# Tea ceremony\n\nGreen tea is steamed."))
    for query in ("tea leaves", "tea pots", "TEA pots", "tea pots"):
        await services.searcher.search(SearchRequest(query=query))
    # Leafing on, finding nothing and evaluating are no questions to repeat.
    await services.searcher.search(SearchRequest(query="tea far", first_rank=5))
    await services.searcher.search(SearchRequest(query="tea in Mars", filters=["language=xx"]))
    await services.searcher.search(SearchRequest(query="tea judged", client="eval"))
    async with served(services) as client:
        answer = await client.get("/api/v1/suggest", params={"q": "tea"})
    assert [each["text"] for each in answer.json()["suggestions"]] == [
        "tea pots",
        "tea leaves",
        "Tea ceremony",
    ]


async def test_without_a_log_no_past_query_is_suggested(services: Services, tmp_path: Path) -> None:
    await add(services, write(tmp_path / "a", tea="# Tea ceremony\n\nGreen tea is steamed."))
    await services.searcher.search(SearchRequest(query="tea leaves"))
    collection = await _collection(services, "default")
    found = await Suggester(services.engine, past=False).suggest(collection, "tea", 8)
    assert [phrase.text for phrase in found] == ["Tea ceremony"]


async def _collection(services: Services, name: str) -> Any:
    async with reading(services.engine) as connection:
        return await collections.get(connection, name)


async def test_what_is_removed_or_renamed_is_suggested_no_more(
    services: Services, tmp_path: Path
) -> None:
    folder = write(
        tmp_path / "a",
        tea="# Tea ceremony\n\n## Tea bowls\n\nBowls are turned twice.",
        wine="# Teak wood\n\nTeak is oily.",
    )
    await add(services, folder)
    collection = await _collection(services, "default")
    suggester = Suggester(services.engine, past=True)

    async def texts() -> list[str]:
        return [phrase.text for phrase in await suggester.suggest(collection, "tea", 8)]

    assert await texts() == ["Teak wood", "Tea ceremony", "Tea bowls"]
    write(folder, tea="# Tea rooms\n\n## Tea cups\n\nBowls are turned twice.")
    await add(services, folder)
    assert await texts() == ["Tea rooms", "Teak wood", "Tea cups"]
    await remove(services, folder / "tea.md")
    assert await texts() == ["Teak wood"]


async def test_what_goes_during_a_run_is_suggested_no_more_at_once(
    services: Services, tmp_path: Path
) -> None:
    await add(services, write(tmp_path / "a", tea="# Tea ceremony\n\n## Tea bowls\n\nBowls turn."))
    collection = await _collection(services, "default")
    suggester = Suggester(services.engine, past=True)
    assert len(await suggester.suggest(collection, "tea", 8)) == 2
    # Kept as they are while a run goes on, and looked up before they are offered.
    for change in (
        "UPDATE runs SET status = 'running'",
        "UPDATE chunks SET state = 'deleting'",
    ):
        async with transaction(services.engine) as connection:
            await connection.execute(text(change))
    found = await suggester.suggest(collection, "tea", 8)
    assert [phrase.text for phrase in found] == ["Tea ceremony"]
    async with transaction(services.engine) as connection:
        await connection.execute(text("UPDATE documents SET state = 'deleting'"))
    assert await suggester.suggest(collection, "tea", 8) == []


async def test_long_titles_are_not_offered(services: Services, tmp_path: Path) -> None:
    await add(services, write(tmp_path / "a", tea=f"# Tea {'x' * 130}\n\nText."))
    async with reading(services.engine) as connection:
        found = await suggestions.titles(connection, await _collection(services, "default"))
    assert found == []


# Spelling

WORDS = [
    ("lighthouse", 3),
    ("lighthouses", 1),
    ("keepers", 5),
    ("keeper's", 9),
    ("tide", 4),
    ("tile", 7),
    ("harbor", 2),
    ("été", 1),
]


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("lighthuose", "lighthouse"),
        ("lihgthuose", "lighthouse"),
        ("lighthousse", "lighthouse"),
        ("xxghthouse", "lighthouse"),
        ("xxxhthouse", None),
        ("harbr", "harbor"),
        ("habrr", None),
        ("kepper", "keeper"),
        ("tife", "tile"),
        ("tid", None),
        ("xyzzy", None),
        ("x" * 41, None),
    ],
)
def test_near_words_are_found(word: str, near: str | None) -> None:
    assert Vocabulary(WORDS).nearest(word) == near


@settings_of_hypothesis(max_examples=300, deadline=None)
@given(
    words=st.lists(st.text("abc", min_size=3, max_size=9), max_size=20, unique=True),
    word=st.text("abc", min_size=4, max_size=9),
)
def test_no_nearer_word_is_missed(words: list[str], word: str) -> None:
    found = Vocabulary([(each, 1) for each in words]).nearest(word)
    allowed = 1 if len(word) < 8 else 2
    distances = {each: _distance(word, each) for each in words}
    if found is None:
        assert all(distance > allowed for distance in distances.values())
    elif min(distances.values()) <= allowed:
        assert distances[found] == min(distances.values())


def _distance(one: str, other: str) -> int:
    """Damerau and Levenshtein's distance by its definition, with a table of all beginnings."""
    far = len(one) + len(other)
    table = {(-1, -1): far}
    for row in range(len(one) + 1):
        table[row, -1], table[row, 0] = far, row
    for column in range(len(other) + 1):
        table[-1, column], table[0, column] = far, column
    last_row: dict[str, int] = {}
    for row in range(1, len(one) + 1):
        last_column = 0
        for column in range(1, len(other) + 1):
            same = one[row - 1] == other[column - 1]
            above, left = last_row.get(other[column - 1], 0), last_column
            if same:
                last_column = column
            table[row, column] = min(
                table[row - 1, column - 1] + (not same),
                table[row, column - 1] + 1,
                table[row - 1, column] + 1,
                table[above - 1, left - 1] + (row - above - 1) + 1 + (column - left - 1),
            )
        last_row[one[row - 1]] = row
    return table[len(one), len(other)]


@pytest.mark.parametrize(
    ("query", "suggestion"),
    [
        ('"lighthuose" -habror kepper', '"lighthouse" -habror keeper'),
        ("Lighthuose LIGHTHUOSE", "Lighthouse LIGHTHOUSE"),
        ("日本のlighthuose", "日本のlighthouse"),
        ("ｌｉｇｈｔｈｕｏｓｅ", "ｌｉｇｈｔｈｕｏｓｅ"),
        ("the keepers", "the keepers"),
        ("lighthuose_kepper", "lighthouse_keeper"),
    ],
)
def test_only_unknown_words_are_replaced(query: str, suggestion: str) -> None:
    unknown = ["lighthuose", "kepper"]
    assert replaced(query, unknown, Vocabulary(WORDS), "bigram") == suggestion


async def test_a_search_suggests_what_the_index_has(services: Services, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", tea="# Tea\n\nThe lighthouse keepers drink gyokuro.")
    await add(services, folder)

    async def suggested(query: str, mode: Mode = "hybrid") -> str | None:
        result = await services.searcher.search(SearchRequest(query=query, mode=mode))
        return result.suggestion

    assert await suggested("lighthuose keeper") == "lighthouse keeper"
    assert await suggested('-tea "gyokuru" lihgthouse') == '-tea "gyokuro" lighthouse'
    assert await suggested("lighthouse keeper") is None
    assert await suggested("qwertyuiop") is None
    assert await suggested("lighthuose", "semantic") is None
    # As many passages, other words.
    write(folder, tea="# Tea\n\nThe quarrymen drink sencha.")
    await add(services, folder)
    assert await suggested("lighthuose") is None
    assert await suggested("quarymen") == "quarrymen"


async def test_no_collection_spells_for_another(services: Services, tmp_path: Path) -> None:
    await add(services, write(tmp_path / "a", tea="# Tea\n\nThe lighthouse."), "one")
    await add(services, write(tmp_path / "b", tea="# Tea\n\nThe quarry."), "two")
    request = SearchRequest(query="lighthuose", collection="two")
    assert (await services.searcher.search(request)).suggestion is None


def test_the_api_tells_the_suggestion(client: TestClient) -> None:
    found = searched(client, "lighthuose keeper")
    assert found["unknown_words"] == ["lighthuose"]
    assert found["suggestion"] == "lighthouse keeper"


# Feedback


def judged(client: TestClient, search_id: Any, chunk_id: Any, verdict: Any) -> Any:
    body = {"search_id": search_id, "chunk_id": chunk_id, "verdict": verdict}
    return client.post("/api/v1/feedback", json=body)


def rows(site: Site, search_id: str) -> list[tuple[int, int]]:
    from tests.catalog_dump import connect

    assert site.settings.database_url is not None
    with connect(site.settings.database_url.get_secret_value()) as connection:
        found = connection.execute(
            "SELECT position, verdict FROM feedback WHERE search_id = %s ORDER BY position",
            [search_id],
        ).fetchall()
    return [(row["position"], row["verdict"]) for row in found]


def test_a_verdict_is_kept_changed_and_taken_back(client: TestClient, site: Site) -> None:
    found = searched(client, "night star", k=3, first_rank=4)
    search_id, hits = found["search_id"], found["hits"]
    answer = judged(client, search_id, hits[1]["chunk_id"], 1)
    assert answer.json() == {
        "search_id": search_id,
        "chunk_id": hits[1]["chunk_id"],
        "verdict": 1,
        "position": 5,
    }
    judged(client, search_id, hits[2]["chunk_id"], -1)
    assert rows(site, search_id) == [(5, 1), (6, -1)]
    judged(client, search_id, hits[1]["chunk_id"], -1)
    assert rows(site, search_id) == [(5, -1), (6, -1)]
    assert judged(client, search_id, hits[1]["chunk_id"], 0).json()["verdict"] == 0
    judged(client, search_id, hits[1]["chunk_id"], 0)
    assert rows(site, search_id) == [(6, -1)]


def test_only_hits_of_a_known_search_can_be_judged(client: TestClient) -> None:
    one, other = searched(client, "harbour", k=1), searched(client, "night star", k=1)
    chunk_id = other["hits"][0]["chunk_id"]
    for search_id, chunk in (
        (one["search_id"], chunk_id),
        (one["search_id"], str(uuid4())),
        (str(uuid4()), chunk_id),
    ):
        refused = judged(client, search_id, chunk, 1)
        assert (refused.status_code, refused.json()["type"]) == (404, "/docs#not-found")
        assert search_id in refused.json()["detail"]


@pytest.mark.parametrize("verdict", [2, -2, 0.5, "1", True, None, [], 10**30])
def test_other_verdicts_are_refused(client: TestClient, verdict: Any) -> None:
    found = searched(client, "harbour", k=1)
    refused = judged(client, found["search_id"], found["hits"][0]["chunk_id"], verdict)
    assert (refused.status_code, refused.json()["type"]) == (422, "/docs#invalid-body")


def test_foreign_sites_and_forms_cannot_judge(client: TestClient) -> None:
    found = searched(client, "harbour", k=1)
    body = json.dumps(
        {"search_id": found["search_id"], "chunk_id": found["hits"][0]["chunk_id"], "verdict": 1}
    )
    plain = {"content-type": "text/plain"}
    foreign = {"content-type": "application/json", "origin": "http://evil.example"}
    assert client.post("/api/v1/feedback", content=body, headers=plain).status_code == 415
    assert client.post("/api/v1/feedback", content=body, headers=foreign).status_code == 403


async def test_without_texts_feedback_is_refused_with_the_reason(
    settings: Settings, tmp_path: Path
) -> None:
    off = settings.model_copy(update={"query_log": False})
    async with open_services(off) as services:
        await add(services, write(tmp_path / "a", tea="# Tea\n\nGreen tea."))
        result = await services.searcher.search(SearchRequest(query="tea"))
        body = {
            "search_id": str(result.search_id),
            "chunk_id": str(result.hits[0].chunk_id),
            "verdict": 1,
        }
        async with served(services) as client:
            refused = await client.post("/api/v1/feedback", json=body)
    assert (refused.status_code, refused.json()["type"]) == (400, "/docs#invalid-input")
    assert "UNMOVED_QUERY_LOG" in refused.json()["detail"]
    # Switched on since: this search still has no text.
    async with open_services(settings) as services, served(services) as client:
        refused = await client.post("/api/v1/feedback", json=body)
        assert (refused.status_code, refused.json()["type"]) == (400, "/docs#invalid-input")


async def test_a_passage_that_is_gone_is_not_judged(services: Services, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", tea="# Tea\n\nGreen tea.", ink="# Ink\n\nBlue ink.")
    await add(services, folder)
    result = await services.searcher.search(SearchRequest(query="green tea", k=1))
    await remove(services, folder / "tea.md")
    body = {"search_id": str(result.search_id), "chunk_id": str(result.hits[0].chunk_id)}
    async with served(services) as client:
        refused = await client.post("/api/v1/feedback", json=body | {"verdict": 1})
        taken_back = await client.post("/api/v1/feedback", json=body | {"verdict": 0})
    assert refused.status_code == 404
    assert "may have changed" in refused.json()["detail"]
    assert taken_back.status_code == 200


@pytest.fixture
def token(client: TestClient) -> str:
    page = client.get("/", headers={"accept": "text/html"})
    field = BeautifulSoup(page.text, "html.parser").select_one("input[name=token]")
    assert field is not None
    return str(field["value"])


def posted(client: TestClient, fields: dict[str, str], referer: str | None = None) -> Any:
    headers = {"accept": "text/html"} | ({} if referer is None else {"referer": referer})
    return client.post("/feedback", data=fields, headers=headers, follow_redirects=False)


def test_the_form_returns_to_the_search_and_nowhere_else(
    client: TestClient, site: Site, token: str
) -> None:
    found = searched(client, "night star", k=10, first_rank=11, filters=["language=en"])
    fields = {
        "token": token,
        "search": found["search_id"],
        "chunk": found["hits"][0]["chunk_id"],
        "verdict": "1",
    }
    response = posted(client, fields, f"{HOST}/?q=night+star&page=2")
    assert (response.status_code, response.headers["location"]) == (303, "/?q=night+star&page=2")
    assert rows(site, found["search_id"]) == [(11, 1)]
    for referer in (None, "http://evil.example/?q=x", "http://[", f"{HOST}@evil.example/"):
        location = posted(client, fields | {"verdict": "0"}, referer).headers["location"]
        parts = urlsplit(location)
        assert (parts.scheme, parts.netloc, parts.path) == ("", "", "/"), location
        assert parse_qs(parts.query)["q"] == ["night star"]
        assert parse_qs(parts.query)["page"] == ["2"]
        assert parse_qs(parts.query)["filter"] == ["language=en"]
    assert posted(client, fields, f"{HOST}//evil.example/").headers["location"] == "/evil.example/"
    assert client.get(location).status_code == 200


def test_the_form_wants_its_token_and_whole_fields(client: TestClient, token: str) -> None:
    found = searched(client, "harbour", k=1)
    fields = {
        "token": token,
        "search": found["search_id"],
        "chunk": found["hits"][0]["chunk_id"],
        "verdict": "1",
    }
    assert posted(client, fields | {"token": "x"}).status_code == 403
    for name in ("search", "chunk", "verdict"):
        assert posted(client, fields | {name: "x"}).status_code == 400
        assert (
            posted(client, {key: fields[key] for key in fields if key != name}).status_code == 400
        )
    assert posted(client, fields | {"search": str(uuid4())}).status_code == 404
    assert posted(client, fields).status_code == 303


async def test_verdicts_come_back_when_the_same_is_asked_again(
    services: Services, tmp_path: Path
) -> None:
    from search_app.catalog import feedback

    await add(services, write(tmp_path / "a", tea="# Tea\n\nGreen tea.", ink="# Ink\n\nInk."))
    search = services.searcher.search
    first = await search(SearchRequest(query="tea"))
    again, other = await search(SearchRequest(query="tea")), await search(SearchRequest(query="te"))
    chunk_id = first.hits[0].chunk_id
    async with transaction(services.engine) as connection:
        await feedback.give(connection, first.search_id, chunk_id, 1)
        for asked, number in ((first, 1), (again, 1), (other, 0)):
            given = await feedback.given(connection, asked.search_id)
            assert len(given) == number
        assert given == {}
        given = await feedback.given(connection, again.search_id)
        assert (given[chunk_id].search_id, given[chunk_id].verdict) == (first.search_id, 1)


# Similar passages

NOTES = {
    "tea": "# Green tea\n\nGreen tea leaves are steamed, rolled and dried in the tea factory.",
    "steam": "# Tea leaves\n\nSteamed green tea leaves are dried and rolled twice.",
    "ship": "# Ferry\n\nThe ferry crosses the harbour every hour until midnight.",
    "boat": "# Boats\n\nSmall boats and the ferry leave the harbour in the evening.",
}


@pytest.fixture
async def notes(services: Services, tmp_path: Path) -> Services:
    await add(services, write(tmp_path / "notes", **NOTES))
    return services


async def chunk_of(services: Services, name: str) -> tuple[UUID, UUID]:
    """Give the first passage of a document and the document."""
    async with reading(services.engine) as connection:
        row = (
            await connection.execute(
                text(
                    "SELECT chunks.id, document_id FROM chunks JOIN documents "
                    "ON documents.id = document_id WHERE uri LIKE '%/' || :name ORDER BY ordinal"
                ),
                {"name": f"{name}.md"},
            )
        ).first()
    assert row is not None
    return row[0], row[1]


def passage(chunk_id: UUID) -> list[Example]:
    return [Example(kind="passage", id=chunk_id)]


def document(document_id: UUID) -> list[Example]:
    return [Example(kind="document", id=document_id)]


async def similar(services: Services, like: list[Example], **more: Any) -> SearchResult:
    found = await services.searcher.recommend(RecommendRequest(like=like, **more))
    return found.result


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
@pytest.mark.parametrize(("name", "like"), [("tea", "steam"), ("boat", "ship")])
async def test_what_is_most_like_comes_first_and_never_itself(
    notes: Services, name: str, like: str, mode: Mode
) -> None:
    chunk_id, document_id = await chunk_of(notes, name)
    for like_it in (passage(chunk_id), document(document_id)):
        result = await similar(notes, like_it, mode=mode)
        assert result.hits[0].document.uri.endswith(f"/{like}.md")
        assert chunk_id not in {hit.chunk_id for hit in result.hits}
        assert result.mode == mode
        assert [hit.rank for hit in result.hits] == list(range(1, len(result.hits) + 1))


async def test_a_passages_neighbours_are_those_of_its_vector(notes: Services) -> None:
    chunk_id, _ = await chunk_of(notes, "tea")
    result = await similar(notes, passage(chunk_id), mode="semantic", k=3)
    store = notes.store("pgvector")
    (point,) = await store.fetch(result.index_id, [chunk_id])
    assert point.vector is not None
    expected = await store.search(result.index_id, point.vector, k=4, exact=True)
    assert expected[0].chunk_id == chunk_id
    assert [hit.chunk_id for hit in result.hits] == [each.chunk_id for each in expected[1:]]
    assert [hit.score for hit in result.hits] == [each.score for each in expected[1:]]


async def test_a_long_document_is_left_out_whole(services: Services, tmp_path: Path) -> None:
    sections = "\n\n".join(f"## Night {n}\n\nNight {n}, star {n}. " * 60 for n in range(130))
    numbers = " ".join(f"star {n}" for n in range(130))
    await add(
        services, write(tmp_path / "a", log=f"# Log\n\n{sections}", tea=f"# Tea\n\n{numbers}")
    )
    chunk_id, document_id = await chunk_of(services, "log")
    modes: list[Mode] = ["hybrid", "semantic", "keyword"]
    for mode in modes:
        result = await similar(services, document(document_id), k=50, mode=mode)
        assert {hit.document.title for hit in result.hits} == {"Tea"}, mode
        assert not result.more
    result = await similar(services, passage(chunk_id), k=50)
    assert len(result.hits) == 50
    assert result.more


async def test_similar_passages_pass_the_filters_and_are_not_logged(
    notes: Services, tmp_path: Path
) -> None:
    await add(notes, write(tmp_path / "ja", library=JAPANESE))
    chunk_id, _ = await chunk_of(notes, "tea")
    result = await similar(notes, passage(chunk_id), filters=["language=ja"])
    assert {hit.document.language for hit in result.hits} == {"ja"}
    async with reading(notes.engine) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM query_log")) == 0


async def test_what_cannot_be_compared_is_said_to_be_so(notes: Services) -> None:
    chunk_id, document_id = await chunk_of(notes, "tea")
    with pytest.raises(InvalidInputError, match="there is no example"):
        await similar(notes, [])
    for nothing in (passage(document_id), document(chunk_id)):
        with pytest.raises(NotFoundError):
            await similar(notes, nothing)
    with pytest.raises(InvalidInputError, match="k is 0"):
        await similar(notes, passage(chunk_id), k=0)
    async with transaction(notes.engine) as connection:
        await connection.execute(text("UPDATE lexicons SET complete = false"))
    result = await similar(notes, passage(chunk_id))
    assert [notice.kind for notice in result.notices] == ["not_keyword"]
    assert set(result.hits[0].scores) == {"dense"}
    with pytest.raises(InvalidInputError, match="before there was keyword search"):
        await similar(notes, passage(chunk_id), mode="keyword")


def test_the_strongest_terms_are_frequent_here_and_rare_elsewhere() -> None:
    weighting = Weighting(analyzer="bigram", version=1, k1=1.2, b=0.75, average_length=100.0)
    lexicon = Lexicon(weighting=weighting, passages=1000, complete=True)
    counts = dict.fromkeys(range(100, 160), 1) | {7: 5, 900: 1, 55: 5, 1: 1}
    frequencies = dict.fromkeys(range(100, 160), 900) | {7: 3, 900: 2, 55: 800}
    query = strongest(counts, frequencies, lexicon)
    assert len(query.ids) == MOST_TERMS
    assert np.all(np.diff(query.ids) > 0)
    weights = dict(zip(query.ids.tolist(), query.weights.tolist(), strict=True))
    assert max(weights, key=lambda term: weights[term]) == 7
    assert weights[900] > weights[55]
    assert 1 not in weights
    assert len(strongest({}, {}, lexicon).ids) == 0


def test_similar_over_http(client: TestClient) -> None:
    hit = searched(client, "lighthouse keeper", k=1)["hits"][0]
    for address in (f"chunks/{hit['chunk_id']}", f"documents/{hit['document']['id']}"):
        answer = client.get(f"/api/v1/{address}/similar", params={"k": 3, "mode": "semantic"})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body["hits"]) == 3
        assert body["mode"] == "semantic"
        assert body.keys() == (
            EXAMPLES["answer"].keys()
            - {"search_id", "kind", "unknown_words", "suggestion", "noise"}
        )
        filtered = client.get(
            f"/api/v1/{address}/similar",
            params={"filter": ["language=en", "type=python"], "exact": "true"},
        ).json()
        assert {each["document"]["title"] for each in filtered["hits"]} == {"tides.py"}
        assert filtered["exact"]
        for wrong, status in (
            ({"k": 0}, 422),
            ({"k": 1001}, 422),
            ({"mode": "magic"}, 422),
            ({"filter": "language"}, 400),
        ):
            refused = client.get(f"/api/v1/{address}/similar", params=wrong)
            assert refused.status_code == status, refused.text
    for kind in ("chunks", "documents"):
        assert client.get(f"/api/v1/{kind}/{uuid4()}/similar").status_code == 404
        assert client.get(f"/api/v1/{kind}/x/similar").status_code == 422


# The query log


async def test_old_searches_go_with_their_feedback(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search_app.catalog import feedback

    await add(services, write(tmp_path / "a", tea="# Tea\n\nGreen tea."), "one")
    await add(services, write(tmp_path / "b", ink="# Ink\n\nBlue ink."), "two")
    kept = []
    for number in range(12):
        collection = "one" if number % 3 else "two"
        result = await services.searcher.search(
            SearchRequest(query=f"tea {number}", collection=collection)
        )
        async with transaction(services.engine) as connection:
            await feedback.give(connection, result.search_id, result.hits[0].chunk_id, 1)
            days = 91 if number < 9 else 89
            await connection.execute(
                text(
                    "UPDATE query_log SET created_at = now() - make_interval(days => :days) "
                    "WHERE id = :id"
                ),
                {"days": days, "id": result.search_id},
            )
        kept += [result.search_id] if number >= 9 else []
    monkeypatch.setattr(worker, "FORGOTTEN_AT_ONCE", 2)
    for_ever = services.settings.model_copy(update={"query_log_days": 0})
    services.settings, usual = for_ever, services.settings
    assert await worker.forget_searches(services) == 0
    services.settings = usual
    assert usual.query_log_days == 90
    assert await worker.forget_searches(services) == 9
    assert await worker.forget_searches(services) == 0
    async with reading(services.engine) as connection:
        left = await connection.scalars(text("SELECT id FROM query_log"))
        assert set(left) == set(kept)
        left = await connection.scalars(text("SELECT search_id FROM feedback"))
        assert set(left) == set(kept)


# Hostile input

_ANY = st.text(st.characters(codec=None, categories=None), max_size=30)


@settings_of_hypothesis(max_examples=100, deadline=None)
@given(q=st.text(max_size=30), collection=st.text(max_size=20) | st.just("default"))
def test_no_text_makes_suggestions_fail(client: TestClient, q: str, collection: str) -> None:
    response = client.get("/api/v1/suggest", params={"q": q, "collection": collection})
    assert response.status_code in (200, 400, 404, 422), response.text


@settings_of_hypothesis(max_examples=100, deadline=None)
@given(search_id=_ANY, chunk_id=_ANY, verdict=_ANY | st.integers() | st.none() | st.floats())
def test_no_body_makes_feedback_fail(
    client: TestClient, search_id: str, chunk_id: str, verdict: Any
) -> None:
    body = json.dumps({"search_id": search_id, "chunk_id": chunk_id, "verdict": verdict})
    response = client.post(
        "/api/v1/feedback", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 422, response.text


@pytest.mark.skipif(not NAUGHTY.exists(), reason="the list of naughty strings is not here")
def test_naughty_strings_are_answered(client: TestClient, token: str) -> None:
    found = searched(client, "harbour", k=1)
    chunk_id = found["hits"][0]["chunk_id"]
    checks: list[Callable[[str], Any]] = [
        lambda naughty: client.get("/api/v1/suggest", params={"q": naughty}),
        lambda naughty: client.get("/api/v1/suggest", params={"q": "a", "collection": naughty}),
        lambda naughty: judged(client, naughty, chunk_id, 1),
        lambda naughty: client.get(
            f"/api/v1/chunks/{chunk_id}/similar", params={"filter": f"source={naughty}"}
        ),
        lambda naughty: posted(
            client, {"token": token, "search": naughty, "chunk": chunk_id, "verdict": naughty}
        ),
    ]
    for number, naughty in enumerate(json.loads(NAUGHTY.read_text(encoding="utf-8"))):
        for check in (checks[0], checks[number % len(checks)]):
            response = check(naughty)
            assert response.status_code in (200, 400, 404, 422), naughty
