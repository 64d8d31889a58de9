"""The JSON API on a real database: answers, problems, limits, and who may ask."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from search_app.bootstrap import Services
from search_app.catalog import models
from search_app.catalog.engine import create_engine
from search_app.config import Settings, load_settings
from search_app.errors import (
    CatalogError,
    CatalogUnavailableError,
    ConfigurationError,
    EmbedderRefusedError,
    EmbedderUnavailableError,
    InvalidInputError,
    ModelMismatchError,
    NotFoundError,
    SourceError,
    StoreRefusedError,
    StoreUnavailableError,
    UnmovedError,
)
from search_app.grammar import LONGEST_FILTER, MOST_FILTERS
from search_app.retrieval import LONGEST_QUERY, Searcher
from search_app.web.app import create_app
from search_app.web.examples import DETAILS, EXAMPLES
from search_app.web.guard import LARGEST_BODY
from search_app.web.problems import Kind, problem_of
from tests.web_site import Site, built_site

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


def search(client: TestClient, **body: Any) -> Any:
    return client.post("/api/v1/search", json=body)


def problem(response: Any, status: int) -> Any:
    """Check that a response is a whole problem, and give its members."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["type"].startswith("/docs#")
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in response.text
    return body


def test_a_search_answers_with_everything_that_made_it(client: TestClient, site: Site) -> None:
    response = search(client, query="lighthouse keeper weather", k=2)
    assert response.status_code == 200
    body = response.json()
    assert [hit["rank"] for hit in body["hits"]] == [1, 2]
    best = body["hits"][0]
    assert "blue book" in best["text"]
    assert best["document"]["uri"] == str(site.folder / "en" / "harbour.md")
    assert best["document"]["title"] == "Harbour handbook"
    assert best["document"]["language"] == "en"
    assert best["heading_path"] == ["Harbour handbook"]
    assert best["page"] is None
    assert best["score"] == best["scores"]["fused"] > body["hits"][1]["score"]
    assert best["run_id"] == str(site.report.run_id)
    assert best["index_id"] == body["index_id"] == str(site.report.index_id)
    assert best["model_version_id"] == body["model_version_id"] == str(site.report.model_version_id)
    assert body["collection"] == "default"
    assert body["model"].startswith("hashing/")
    assert body["exact"] is False
    assert body["more"] is True
    assert body["took_ms"] > 0


def test_japanese_comes_back_as_itself(client: TestClient) -> None:
    response = search(client, query="図書館の休館日はいつ", k=1)
    assert "図書館は毎週月曜日と祝日に休館します" in response.json()["hits"][0]["text"]
    assert "図書館" in response.text


def test_pages_join_without_gap_or_overlap(client: TestClient) -> None:
    whole = search(client, query="night star", k=30).json()["hits"]
    parts = [
        hit
        for first in (1, 11, 21)
        for hit in search(client, query="night star", k=10, first_rank=first).json()["hits"]
    ]
    assert [hit["rank"] for hit in parts] == list(range(1, 31))
    assert [hit["chunk_id"] for hit in parts] == [hit["chunk_id"] for hit in whole]


def test_filters_and_exactness_are_used(client: TestClient) -> None:
    body = search(client, query="harbour", filters=["language=ja"], exact=True).json()
    assert body["exact"] is True
    assert {hit["document"]["language"] for hit in body["hits"]} == {"ja"}


def test_another_collection_can_be_asked(client: TestClient, site: Site) -> None:
    body = search(client, query="返却", collection="日本語").json()
    assert body["collection"] == "日本語"
    assert body["index_id"] == str(site.second.index_id)


def test_nothing_found_is_an_answer(client: TestClient) -> None:
    body = search(client, query="harbour", filters=["type=pdf"]).json()
    assert (body["hits"], body["more"]) == ([], False)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"query": ""}, 400, "empty"),
        ({"query": " \n\t　"}, 400, "empty"),
        ({"query": "x" * 100_000}, 400, f"{LONGEST_QUERY:,}"),
        ({"query": "a\x00b"}, 400, "NUL"),
        ({"query": "x", "k": 0}, 422, "k: "),
        ({"query": "x", "k": -1}, 422, "k: "),
        ({"query": "x", "k": 10**9}, 422, "1000"),
        ({"query": "x", "k": 10**30}, 422, "1000"),
        ({"query": "x", "k": "ten"}, 422, "k: "),
        ({"query": "x", "k": 2.5}, 422, "k: "),
        ({"query": "x", "k": True}, 422, "k: "),
        ({"query": "x", "first_rank": 0}, 422, "first_rank: "),
        ({"query": "x", "first_rank": 999, "k": 10}, 400, "1000"),
        ({"query": "x", "exact": "maybe"}, 422, "exact: "),
        ({"query": 5}, 422, "query: "),
        ({"query": None}, 422, "query: "),
        ({}, 422, "query: "),
        ([], 422, "body"),
        ({"query": "x", "filter": ["language=ja"]}, 422, "filter: "),
        ({"query": "x", "filters": "language=ja"}, 422, "filters: "),
        ({"query": "x", "filters": ["language"]}, 400, "language=ja"),
        ({"query": "x", "filters": ["colour=red"]}, 400, "meta.NAME"),
        ({"query": "x", "filters": ["language="]}, 400, "VALUE"),
        ({"query": "x", "filters": ["meta.a\x00b=1"]}, 400, "NUL"),
        ({"query": "x", "filters": ["language=ja"] * (MOST_FILTERS + 1)}, 400, "too many"),
        ({"query": "x", "filters": ["source=" + "x" * LONGEST_FILTER]}, 400, "characters"),
        ({"query": "x", "collection": "nowhere"}, 404, "'default'"),
        ({"query": "x", "collection": ""}, 400, "printable"),
        ({"query": "x", "collection": "a\x00b"}, 400, "printable"),
        ({"query": "x", "collection": "x" * 10_000}, 400, "printable"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(
    client: TestClient, body: Any, status: int, says: str
) -> None:
    found = problem(client.post("/api/v1/search", json=body), status)
    assert says in found["detail"]
    assert len(found["detail"]) < 500
    assert found["instance"] == "/api/v1/search"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"nonsense", 422),
        (b"\xff\xfe", 422),
        (b'{"query": "x", "k": NaN}', 422),
        (b'{"query": "x", "k": Infinity}', 422),
        (b'{"query": "x", "k": 1e400}', 422),
        (b'{"query": "x", "k": ' + b"9" * 5000 + b"}", 400),
        (b"[" * 100_000, 400),
        (b'{"query": "\\ud800"}', 400),
        (b'{"query": "x", "\\udfff": 1}', 422),
        (b'{"query": "x", "collection": "\\ud800"}', 400),
        (b'{"query": "x", "filters": ["source=\\ud800"]}', 400),
        (b'{"query": "x", "filters": [NaN]}', 422),
    ],
)
def test_broken_json_is_refused_and_never_breaks_the_answer(
    client: TestClient, content: bytes, status: int
) -> None:
    response = client.post(
        "/api/v1/search", content=content, headers={"content-type": "application/json"}
    )
    problem(response, status)


def test_a_large_body_is_refused_whether_or_not_it_says_its_length(client: TestClient) -> None:
    body = json.dumps({"query": "x" * LARGEST_BODY}).encode()
    headers = {"content-type": "application/json"}
    problem(client.post("/api/v1/search", content=body, headers=headers), 413)

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    problem(client.post("/api/v1/search", content=chunks(), headers=headers), 413)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_content_types_are_refused(client: TestClient, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    response = client.post("/api/v1/search", content=b'{"query": "x"}', headers=headers)
    assert "application/json" in problem(response, 415)["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:9999"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_may_not_ask(client: TestClient, headers: dict[str, str]) -> None:
    problem(client.post("/api/v1/search", json={"query": "x"}, headers=headers), 403)


@pytest.mark.parametrize(
    "headers", [{}, {"origin": HOST}, {"origin": HOST, "sec-fetch-site": "same-origin"}]
)
def test_programs_and_own_pages_may_ask(client: TestClient, headers: dict[str, str]) -> None:
    assert search(client, query="harbour").status_code == 200
    response = client.post("/api/v1/search", json={"query": "harbour"}, headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8020", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8020"]
)
def test_loopback_names_are_served(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost@evil.example:80", "", "[", "a b"]
)
def test_other_host_names_are_refused(client: TestClient, host: str) -> None:
    found = problem(client.get("/api/v1/models", headers={"host": host}), 400)
    assert "UNMOVED_ALLOWED_HOSTS" in found["detail"]


def test_a_host_name_can_be_allowed(site: Site) -> None:
    settings = site.settings.model_copy(update={"allowed_hosts": "search.example, other.example"})
    with TestClient(create_app(settings), base_url="http://other.example:8080") as opened:
        assert opened.get("/healthz").status_code == 200


def test_collections_say_what_is_in_them(client: TestClient, site: Site) -> None:
    listed = client.get("/api/v1/collections").json()["collections"]
    assert [entry["name"] for entry in listed] == ["default", "日本語"]
    assert listed[0]["documents"] == 6
    assert listed[0]["chunks"] == site.report.chunks.embedded + site.report.chunks.reused
    assert listed[0]["index_id"] == str(site.report.index_id)


def test_a_document_is_paged_in_reading_order(client: TestClient) -> None:
    hit = search(client, query="observatory night star", k=1).json()["hits"][0]
    address = f"/api/v1/documents/{hit['document']['id']}"
    whole: list[Any] = []
    while True:
        page = client.get(address, params={"first_ordinal": len(whole), "limit": 100}).json()
        whole += page["chunks"]
        if not page["more"]:
            break
    assert page["title"] == "Log of the observatory"
    assert page["type"] == "markdown"
    assert page["chunks_total"] == len(whole) > 100
    assert [chunk["ordinal"] for chunk in whole] == list(range(len(whole)))
    text = "".join(chunk["text"] for chunk in whole)
    assert text.index("Night 3:") < text.index("Night 129:")


def test_provenance_names_the_record_of_a_vector(client: TestClient, site: Site) -> None:
    hit = search(client, query="lighthouse", k=1).json()["hits"][0]
    found = client.get(f"/api/v1/chunks/{hit['chunk_id']}/provenance").json()
    assert found["run_id"] == hit["run_id"] == str(site.report.run_id)
    assert found["index_id"] == hit["index_id"]
    assert found["store"] == "pgvector"
    for name in ("sent_hash", "received_hash", "stored_hash"):
        assert len(bytes.fromhex(found[name])) == 32
    assert found["norm"] > 0
    assert 0 <= found["batch_position"] < found["batch_size"]
    assert found["embedded_at"]


def test_runs_are_listed_newest_first_and_shown_with_failures(
    client: TestClient, site: Site
) -> None:
    listed = client.get("/api/v1/runs").json()
    assert [run["id"] for run in listed["runs"]] == [
        str(site.second.run_id),
        str(site.report.run_id),
    ]
    assert client.get("/api/v1/runs", params={"limit": 1}).json()["more"] is True
    shown = client.get(f"/api/v1/runs/{site.report.run_id}").json()
    assert shown["status"] == "partial"
    assert shown["errors"] == len(shown["failures"]) == 1
    assert shown["failures"][0]["source"].endswith("broken.pdf")
    assert shown["counts"]["documents"]["added"] == 6


def test_models_say_what_was_observed(client: TestClient, site: Site) -> None:
    (model,) = client.get("/api/v1/models").json()["models"]
    assert model["id"] == str(site.report.model_version_id)
    assert model["dimensions"] == 256
    assert model["bit_stable"] is True


@pytest.mark.parametrize(
    "address",
    ["/api/v1/documents/{}", "/api/v1/chunks/{}/provenance", "/api/v1/runs/{}"],
)
def test_ids_that_are_none_or_unknown_are_said_so(client: TestClient, address: str) -> None:
    unknown = uuid4()
    assert str(unknown) in problem(client.get(address.format(unknown)), 404)["detail"]
    for wrong in ("1", "%00", "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz"):
        problem(client.get(address.format(wrong)), 422)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=100000", "limit=x", "offset=-1", f"offset={10**20}"]
)
def test_lists_cannot_be_asked_for_nonsense(client: TestClient, query: str) -> None:
    problem(client.get(f"/api/v1/runs?{query}"), 422)


def test_unknown_addresses_and_methods_are_problems(client: TestClient) -> None:
    problem(client.get("/api/v1/nothing"), 404)
    response = client.get("/api/v1/search")
    assert "POST" in problem(response, 405)["detail"]
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("address", ["/api/v1/models", "/", "/nowhere", "/static/app.css"])
def test_every_answer_carries_the_security_headers(client: TestClient, address: str) -> None:
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


class Failing(Searcher):
    """A searcher that raises what it was told to."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def search(self, request: Any) -> Any:
        del request
        raise self._error


@pytest.fixture
async def services(site: Site) -> AsyncIterator[Services]:
    engine = create_engine(str(site.settings.database_url.get_secret_value()))  # type: ignore[union-attr] # set above
    yield Services(site.settings, engine)
    await engine.dispose()


SECRET = "postgresql://user:hunter2@10.0.0.1/catalog"


@pytest.mark.parametrize(
    ("error", "status", "slug", "retry"),
    [
        (InvalidInputError("write more"), 400, "invalid-input", False),
        (NotFoundError("not here"), 404, "not-found", False),
        (EmbedderUnavailableError("no answer"), 503, "embedder-unavailable", True),
        (EmbedderRefusedError("wrong key"), 502, "embedder-refused", False),
        (ModelMismatchError("another model answers"), 503, "model-mismatch", False),
        (StoreUnavailableError("store away"), 503, "store-unavailable", True),
        (CatalogUnavailableError("database away"), 503, "catalog-unavailable", True),
        (StoreRefusedError(SECRET), 500, "internal", False),
        (CatalogError(SECRET), 500, "internal", False),
        (ConfigurationError(SECRET), 500, "internal", False),
        (RuntimeError(SECRET), 500, "internal", False),
        (UnicodeEncodeError("utf-8", SECRET, 0, 1, "boom"), 500, "internal", False),
    ],
)
def test_each_branch_of_errors_has_its_problem(
    services: Services,
    error: Exception,
    status: int,
    slug: str,
    retry: bool,  # noqa: FBT001 - a column of the table
) -> None:
    services.searcher = Failing(error)
    with (
        capture_logs() as logs,
        TestClient(create_app(services.settings, services), base_url=HOST) as opened,
    ):
        response = search(opened, query="x")
    found = problem(response, status)
    assert found["type"] == f"/docs#{slug}"
    assert ("retry-after" in response.headers) is retry
    assert SECRET not in response.text
    if slug == "internal":
        failed = [entry for entry in logs if entry["log_level"] == "error"]
        assert [entry["exc_info"] for entry in failed] == [error]
    else:
        assert found["detail"] == str(error)


def test_every_error_of_ours_is_mapped() -> None:
    def branches(base: type[UnmovedError]) -> Iterator[type[UnmovedError]]:
        for branch in base.__subclasses__():
            yield branch
            yield from branches(branch)

    for branch in branches(UnmovedError):
        error = branch("a", "b") if issubclass(branch, SourceError) else branch("a")
        assert problem_of(error).kind.status >= 400


async def test_readiness_says_which_part_is_down(services: Services, site: Site) -> None:
    with TestClient(create_app(site.settings, services), base_url=HOST) as opened:
        assert opened.get("/readyz").json() == {"status": "ready"}
    down = Services(site.settings, create_engine("postgresql://nobody@127.0.0.1:9/none"))
    with TestClient(create_app(site.settings, down), base_url=HOST) as opened:
        assert opened.get("/healthz").status_code == 200
        response = opened.get("/readyz")
        assert problem(response, 503)["type"] == "/docs#catalog-unavailable"
        assert response.headers["retry-after"]
        problem(search(opened, query="x"), 503)


async def test_another_model_behind_the_index_is_told(services: Services, site: Site) -> None:
    version = await _version(services, site.report.model_version_id)
    services._embedders[version.spec] = services.embedder("hashing:64")
    with TestClient(create_app(site.settings, services), base_url=HOST) as opened:
        found = problem(search(opened, query=f"never asked {uuid4()}", mode="semantic"), 503)
        both = search(opened, query=f"harbour {uuid4()}").json()
    assert found["type"] == "/docs#model-mismatch"
    assert "another model answers" in found["detail"]
    assert both["hits"]
    assert all(hit["scores"].keys() == {"bm25"} for hit in both["hits"])
    [notice] = [notice for notice in both["notices"] if notice["kind"] == "not_semantic"]
    assert "another model answers" in notice["reason"]


async def _version(services: Services, version_id: UUID) -> Any:
    async with services.engine.connect() as connection:
        return await models.get(connection, version_id)


@pytest.fixture(scope="module")
def description(site: Site) -> Any:
    app: FastAPI = create_app(site.settings)
    return app.openapi()


def test_openapi_has_an_example_of_everything(description: Any) -> None:
    shapes = description["components"]["schemas"]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], path
            for status, response in operation["responses"].items():
                if status == "304":
                    assert "content" not in response
                    continue
                contents = dict(response["content"])
                if (stream := contents.pop("text/event-stream", None)) is not None:
                    assert stream["example"], path
                (content,) = contents.items()
                media_type, shape = content
                if media_type in ("text/html", "application/octet-stream"):
                    assert shape["example"]
                    continue
                if status in ("200", "201", "202"):
                    assert "example" in shapes[shape["schema"]["$ref"].rpartition("/")[2]]
                else:
                    assert media_type == "application/problem+json", (method, path, status)
                    assert shape["examples"]
    assert "HTTPValidationError" not in shapes


def test_the_examples_are_real(client: TestClient) -> None:
    response = search(client, **EXAMPLES["search"])
    assert response.status_code == 200
    answer, example = response.json(), EXAMPLES["answer"]
    assert answer.keys() == example.keys()
    assert answer["hits"][0].keys() == example["hits"][0].keys()
    assert {kind.slug for kind in Kind} == DETAILS.keys()


def test_a_configured_key_is_used_and_a_missing_one_is_made_for_the_owner_alone(
    site: Site, tmp_path: Any
) -> None:
    from search_app.web.keys import FILE, load_key

    made = load_key(load_settings(data_dir=tmp_path / "deep" / "data"))
    path = tmp_path / "deep" / "data" / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(load_settings(data_dir=tmp_path / "deep" / "data")) == made
    assert [entry.name for entry in path.parent.iterdir()] == [FILE]
    configured: Settings = load_settings(data_dir=tmp_path, secret_key="configured")
    assert load_key(configured) == b"configured"
    path.write_text("not hexadecimal")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        load_key(load_settings(data_dir=tmp_path / "deep" / "data"))
    assert load_key(site.settings) == load_key(site.settings)


_ANY = st.text(st.characters(codec=None, categories=None), max_size=30)
_FILTERS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["language", "source", "folder", "type", "meta.a", "meta."]) | _ANY,
    st.sampled_from(["=", "!=", ">=", "<", ""]),
    _ANY | st.sampled_from(["1", "1e5", "-0", "9" * 15, "9" * 40, "true", "a,b", ",", '"', "\\"]),
)


@settings_of_hypothesis(max_examples=150, deadline=None)
@given(query=_ANY, filters=st.lists(_FILTERS, max_size=3), collection=_ANY | st.just("default"))
def test_no_text_makes_the_server_fail(
    client: TestClient, query: str, filters: list[str], collection: str
) -> None:
    body = json.dumps({"query": query, "filters": filters, "collection": collection})
    response = client.post(
        "/api/v1/search", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code in (200, 400, 404), response.text


@pytest.mark.skipif(not NAUGHTY.exists(), reason="the list of naughty strings is not here")
def test_naughty_strings_are_answered(client: TestClient) -> None:
    for text in json.loads(NAUGHTY.read_text(encoding="utf-8")):
        response = search(client, query=text, filters=[f"source={text}"])
        assert response.status_code in (200, 400), text
