"""Analyses of a collection: by command, by job, over the API and on pages."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from bs4 import BeautifulSoup
from starlette.testclient import TestClient
from typer.testing import CliRunner

from ingest.analysing.asking import analyse
from ingest.analysing.labelling import withdraw_label
from ingest.cli import app as commands
from ingest.pipeline import IngestRequest, ingest
from ingest.reconcile import reconcile
from search_app.analysis.vectors import load
from search_app.bootstrap import Services, open_services
from search_app.catalog import analyses
from search_app.catalog.engine import reading
from search_app.config import Settings, load_settings
from search_app.errors import InvalidInputError
from search_app.retrieval import SearchRequest
from search_app.web.app import create_app
from search_app.web.csrf import FIELD
from search_app.web.translation import COOKIE as LANGUAGE
from tests.web_site import ATTACK, cloned, run_apart

HOST = "http://localhost"
TOPICS = {
    topic: words.split()
    for topic, words in (
        ("harbour", "ferry harbour barge quay anchor sailor tide port ship mast"),
        ("sky", "telescope star night comet planet orbit moon galaxy dome lens"),
        ("kitchen", "bread oven flour butter knife soup onion salt stove spoon"),
    )
}


pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None,
    reason="needs scikit-learn: pip install 'unmoved[analysis]'",
)


def write(folder: Path) -> None:
    """Write 36 notes on three topics, every third without its topic, and some that stand out."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for place in range(36):
        topic = list(TOPICS)[place % 3]
        words = TOPICS[topic]
        text = " ".join(words[(place + step * 3) % len(words)] for step in range(8))
        row: dict[str, Any] = {
            "id": f"note {place}",
            "title": f"{topic} {ATTACK}",
            "text": f"{text} {place}",
        }
        row["weight"] = float(place % 3)
        row["date"] = f"20{20 + place % 2}-01-0{1 + place % 9}"
        if place % 4:
            row["topic"] = topic
        rows.append(row)
    rows += [
        {"id": f"footer {n}", "title": "Footer", "text": "All rights reserved by the city."}
        for n in range(3)
    ]
    rows.append({"id": "hello", "title": "Hello", "text": "Hi,"})
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "notes.jsonl").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A collection with topics, one with a single note, one with equal notes; analyses of each."""
    folder = tmp_path_factory.mktemp("notes")
    write(folder)
    (folder / "one.md").write_text("A single note.", encoding="utf-8")

    async def fill(settings: Settings) -> None:
        async with open_services(settings) as services:
            path = folder / "notes.jsonl"
            await ingest(services, IngestRequest(arguments=[str(path)]))
            await ingest(
                services, IngestRequest(arguments=[str(folder / "one.md")], collection="one")
            )
            await analyse(services, "default", "clusters", {"number": 3, "field": "meta.topic"})
            await analyse(services, "default", "outliers", {"k": 3})
            await analyse(services, "default", "labels", {"name": "topic", "method": "knn"})
            await analyse(services, "default", "labels", {"name": "weight", "method": "ridge"})

    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url,
            data_dir=tmp_path_factory.mktemp("data"),
            embedder="hashing:256",
        )
        run_apart(fill(settings))
        yield settings


@pytest.fixture
def client(site: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(site), base_url=HOST, follow_redirects=False) as opened:
        yield opened


def done(settings: Settings, kind: str, collection: str = "default", **options: Any) -> Any:
    async def work() -> Any:
        async with open_services(settings) as services:
            return await analyse(services, collection, kind, options)

    return run_apart(work())


def made(client: TestClient, kind: str, **parameters: Any) -> dict[str, Any]:
    """Give the analysis that the site was built with, as the API has it."""
    listed = client.get("/api/v1/analyses", params={"kind": kind, "limit": 200}).json()["analyses"]
    oldest = next(
        each for each in reversed(listed) if parameters.items() <= each["parameters"].items()
    )
    found: dict[str, Any] = client.get(f"/api/v1/analyses/{oldest['id']}").json()
    return found


def test_topics_become_clusters_with_names_and_stability(client: TestClient) -> None:
    numbers = made(client, "clusters")["numbers"]
    assert numbers["number"] == 3
    assert numbers["passages"] == 40
    assert numbers["agreement"]["ari"] > 0.5
    assert sum(each["size"] for each in numbers["clusters"]) == 40
    terms = {term["text"] for each in numbers["clusters"] for term in each["terms"]}
    assert set(TOPICS) <= terms
    assert all(0 <= each["stability_resampling"] <= 1 for each in numbers["clusters"])
    # The embedder answers the same to the bit.
    assert numbers["noise"] == 0
    assert numbers["stability"]["noise"]["ari"] == 1


def test_the_same_seed_gives_the_same_clusters(site: Settings) -> None:
    first, second = (done(site, "clusters", number=3, seed=4, repeats=2) for _ in range(2))
    assert first.numbers == second.numbers
    assert first.id != second.id


def test_members_of_a_cluster_are_listed_nearest_first(client: TestClient) -> None:
    found = made(client, "clusters")
    pages = [
        client.get(
            f"/api/v1/analyses/{found['id']}/members",
            params={"cluster": 0, "limit": 5, "offset": offset},
        ).json()
        for offset in (0, 5)
    ]
    scores = [each["score"] for page in pages for each in page["members"]]
    assert scores == sorted(scores, reverse=True)
    assert pages[0]["more"] is True
    assert {each["cluster"] for each in pages[0]["members"]} == {0}


def test_what_stands_out_is_listed(client: TestClient) -> None:
    numbers = made(client, "outliers")["numbers"]
    (footer,) = numbers["boilerplate"]
    assert footer["documents"] == 3
    assert "rights" in footer["text"]
    assert [each["letters"] for each in numbers["empty"]] == [2]
    assert any(group["size"] == 3 and group["same_text"] for group in numbers["groups"])


def test_suggestions_are_for_documents_without_a_value_and_change_none(
    client: TestClient,
) -> None:
    numbers = made(client, "labels", method="ridge")["numbers"]
    assert numbers["r2"]["value"] > 0.5
    listed = client.get("/api/v1/suggestions", params={"name": "topic", "limit": 100}).json()
    suggested = listed["suggestions"]
    assert len(suggested) == 9 + 4
    assert {each["field"] for each in suggested} == {"suggested.topic"}
    sure = [each for each in suggested if each["title"].split()[0] in TOPICS]
    right = [each["value"] == each["title"].split()[0] for each in sure]
    assert sum(right) >= 8
    probabilities = [each["probability"] for each in suggested]
    assert probabilities == sorted(probabilities)
    found = client.post(
        "/api/v1/search",
        json={"query": "star", "mode": "keyword", "k": 50, "filters": ["meta.topic=sky"]},
    ).json()
    hits = {hit["document"]["id"] for hit in found["hits"]}
    assert hits
    assert not hits & {each["document_id"] for each in suggested}
    one = client.get("/api/v1/suggestions", params={"document_id": suggested[0]["document_id"]})
    assert one.json()["suggestions"][0] == suggested[0]


def test_suggestions_are_withdrawn_and_replaced(site: Settings) -> None:
    labels = ["boats: ferry harbour quay ship", "stars: telescope planet galaxy moon"]

    async def work() -> tuple[int, int, set[Any]]:
        async with open_services(site) as services:
            for _ in range(2):
                await analyse(
                    services,
                    "default",
                    "labels",
                    {"name": "about", "method": "zero-shot", "labels": labels},
                )
            async with reading(services.engine) as connection:
                found = await analyses.suggestions(connection, name="about", limit=100)
            gone = await withdraw_label(services, "default", "about")
            return len(found), gone, {each.value for each in found}

    number, gone, values = run_apart(work())
    assert (number, gone) == (40, 40)
    assert values == {"boats", "stars"}


def test_searches_filter_by_what_is_suggested_apart_from_what_is_given(
    site: Settings, client: TestClient
) -> None:
    def titles(*filters: str, mode: str = "semantic") -> set[str]:
        body = {"query": "star", "mode": mode, "k": 50, "filters": list(filters)}
        answer = client.post("/api/v1/search", json=body)
        assert answer.status_code == 200, answer.text
        return {hit["document"]["id"] for hit in answer.json()["hits"]}

    listed = client.get("/api/v1/suggestions", params={"name": "topic", "limit": 100}).json()
    of_sky = {each["document_id"] for each in listed["suggestions"] if each["value"] == "sky"}
    assert of_sky
    assert titles("suggested.topic=sky") == of_sky
    given = titles("meta.topic=sky")
    assert given
    assert not given & of_sky
    assert titles("suggested.topic=sky or meta.topic=sky") == given | of_sky
    facets = client.get("/api/v1/facets").json()
    assert not any("suggested" in facet["field"] for facet in facets["facets"])
    counted = {facet["field"]: facet for facet in facets["facets"]}["meta.topic"]
    assert sum(value["documents"] for value in counted["values"]) == 27
    narrowed = client.get("/api/v1/facets", params={"filter": "suggested.topic=sky"}).json()
    assert narrowed["documents"] == len(of_sky)
    page = client.get("/", params={"q": "star", "filter": "suggested.topic=sky"})
    assert page.status_code == 200

    async def audited() -> tuple[int, int]:
        async with open_services(site) as services:
            assert (await reconcile(services)).faults == 0
            await analyse(services, "default", "labels", {"name": "spare", **_ZERO_SHOT})
            assert (await reconcile(services)).faults == 0
            many = len(await found(services, "suggested.spare=boats,stars"))
            await withdraw_label(services, "default", "spare")
            assert (await reconcile(services)).faults == 0
            return many, len(await found(services, "suggested.spare=boats,stars"))

    async def found(services: Services, written: str) -> list[Any]:
        request = SearchRequest(query="star", mode="semantic", k=100, filters=[written])
        return list((await services.searcher.search(request)).hits)

    assert run_apart(audited()) == (40, 0)
    assert titles("suggested.topic=sky") == of_sky


def test_a_document_read_again_keeps_what_is_suggested(
    postgres_url: str, template: str, tmp_path: Path
) -> None:
    write(tmp_path)
    path = tmp_path / "notes.jsonl"

    async def work(settings: Settings) -> list[int]:
        numbers = []
        async with open_services(settings) as services:
            await ingest(services, IngestRequest(arguments=[str(path)]))
            await analyse(services, "default", "labels", {"name": "about", **_ZERO_SHOT})
            for old, new in (("", ""), ('"ferry', '"The ferry'), ('"weight"', '"mass"')):
                path.write_text(path.read_text(encoding="utf-8").replace(old, new), "utf-8")
                await ingest(services, IngestRequest(arguments=[str(path)], force=True))
                request = SearchRequest(
                    query="star", mode="semantic", k=100, filters=["suggested.about=boats,stars"]
                )
                numbers.append(len((await services.searcher.search(request)).hits))
                assert (await reconcile(services)).faults == 0
        return numbers

    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url, data_dir=tmp_path / "data", embedder="hashing:64"
        )
        assert run_apart(work(settings)) == [40, 40, 40]


_ZERO_SHOT = {
    "method": "zero-shot",
    "labels": ["boats: ferry harbour quay ship", "stars: telescope planet galaxy moon"],
}


def test_diversity_of_all_of_a_search_and_of_years(site: Settings) -> None:
    everything = done(site, "diversity", by="year").numbers
    assert [group["name"] for group in everything["groups"]] == ["2020", "2021"]
    found = done(site, "diversity", query="telescope", k=12).numbers
    varied = done(site, "diversity", query="telescope", k=12, mmr=0.1).numbers
    assert found["vendi"] < varied["vendi"] <= everything["vendi"]


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("clusters", "one", {}, "3 passages or more and there is 1 passage"),
    ("outliers", "one", {}, "3 passages or more"),
    ("clusters", "one", {"method": "hdbscan"}, "3 passages or more and there is 1 passage"),
    ("labels", "one", {"name": "topic", "method": "ridge"}, "has the field 'meta.topic'"),
    ("outliers", "default", {"filters": ["suggested.none=x"]}, "there is no passage"),
    ("diversity", "default", {"filters": ["language=xx"]}, "there is no passage"),
    ("labels", "default", {"name": "topic", "filters": ["language=xx"]}, "there is no passage"),
    ("diversity", "one", {}, "2 passages or more"),
    ("labels", "one", {"name": "topic"}, "no document of collection 'one' has the field"),
    ("clusters", "default", {"field": "meta.none"}, "has the field 'meta.none'; there are"),
    ("clusters", "default", {"filters": ["language=xx"]}, "there is no passage"),
    ("clusters", "default", {"method": "magic"}, "method 'magic' is not known"),
    ("clusters", "default", {"number": 1}, "write a number from 2 to 500"),
    ("clusters", "default", {"repeats": 99}, "write a number from 0 to 50"),
    ("clusters", "default", {"seed": -1}, "the seed is -1"),
    ("clusters", "default", {"colour": "red"}, "no such option"),
    ("outliers", "default", {"cosine": 2.0}, "a cosine above 0"),
    ("labels", "default", {"name": "meta.topic"}, "without meta."),
    ("labels", "default", {"name": "topic", "labels": ["a", "b"]}, "only zero-shot takes"),
    ("labels", "default", {"name": "topic", "method": "ridge"}, "0 documents have a number"),
    ("diversity", "default", {"by": "meta.none"}, "has the field 'meta.none'"),
    ("weather", "default", {}, "analysis 'weather' is not known"),
]


def test_what_cannot_be_done_is_said_in_a_sentence(site: Settings) -> None:
    async def work() -> None:
        async with open_services(site) as services:
            for kind, collection, options, words in REFUSED:
                with pytest.raises(InvalidInputError, match=words):
                    await analyse(services, collection, kind, options)

    run_apart(work())


def test_examples_of_another_index_are_refused(site: Settings) -> None:
    async def work(services: Services) -> None:
        loaded = await load(services.engine, services.store, collection="one")
        assert loaded.rows_of(loaded.chunk_ids).shape == (1, 256)
        with pytest.raises(InvalidInputError, match="examples must be of the index"):
            loaded.rows_of([uuid4()])

    async def opened() -> None:
        async with open_services(site) as services:
            await work(services)

    run_apart(opened())


def test_a_sample_is_drawn_by_its_seed(site: Settings) -> None:
    async def work(seed: int) -> Any:
        async with open_services(site) as services:
            return await load(
                services.engine, services.store, collection="default", most=10, seed=seed
            )

    first, again, other = (run_apart(work(seed)) for seed in (1, 1, 2))
    assert (len(first), first.available, first.sampled) == (10, 40, True)
    assert first.chunk_ids == again.chunk_ids
    assert first.chunk_ids != other.chunk_ids


def test_only_the_latest_analyses_are_kept(site: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyses, "KEPT", 2)
    ids = [done(site, "diversity").id for _ in range(4)]

    async def kept() -> set[UUID]:
        async with open_services(site) as services, reading(services.engine) as connection:
            return {each.id for each in await analyses.listing(connection, kind="diversity")}

    assert run_apart(kept()) == set(ids[-2:])


def test_varied_search_gives_the_same_hits_in_another_order(site: Settings) -> None:
    async def ask(**options: Any) -> list[UUID]:
        async with open_services(site) as services:
            request = SearchRequest(query="telescope star", mode="semantic", **options)
            return [hit.chunk_id for hit in (await services.searcher.search(request)).hits]

    plain = run_apart(ask(k=40))
    assert run_apart(ask(k=40, mmr=1.0)) == plain
    varied = run_apart(ask(k=40, mmr=0.3))
    assert varied != plain
    assert set(varied) == set(plain)
    pages = [*run_apart(ask(k=5, mmr=0.3)), *run_apart(ask(k=5, first_rank=6, mmr=0.3))]
    assert pages == varied[:10]
    with pytest.raises(InvalidInputError, match="mmr is 2"):
        run_apart(ask(mmr=2))


def test_a_job_is_asked_for_and_its_options_are_checked(client: TestClient) -> None:
    body = {"collection": "default", "kind": "outliers", "k": 5}
    answer = client.post("/api/v1/analyses", json=body)
    assert answer.status_code == 202
    assert (answer.json()["kind"], answer.json()["arguments"]) == ("analyse", ["outliers"])
    again = client.post("/api/v1/analyses", json=body)
    assert again.json()["id"] == answer.json()["id"]
    wrong = client.post("/api/v1/analyses", json={**body, "method": "k-means"})
    assert wrong.status_code == 400
    assert "outliers have no option method" in wrong.json()["detail"]
    nameless = client.post("/api/v1/analyses", json={"collection": "default", "kind": "labels"})
    assert nameless.status_code == 400
    assert client.get("/api/v1/analyses/0123").status_code == 404


@pytest.mark.parametrize("language", ["en", "ja"])
def test_pages_show_what_the_api_says(client: TestClient, language: str) -> None:
    client.cookies.set(LANGUAGE, language)
    clusters, outliers = (made(client, kind) for kind in ("clusters", "outliers"))
    labels = made(client, "labels", method="ridge")
    assert f"/clusters/{clusters['id']}" in client.get("/clusters").text
    page = BeautifulSoup(client.get(f"/clusters/{clusters['id']}").text, "html.parser")
    text = page.get_text()
    assert all(each["name"] in text for each in clusters["numbers"]["clusters"])
    assert f"{clusters['numbers']['silhouette']:.3f}" in text
    members = client.get(f"/clusters/{clusters['id']}?cluster=0")
    assert members.status_code == 200
    assert ATTACK not in members.text
    shown = client.get(f"/outliers?analysis={outliers['id']}")
    assert "All rights reserved" in shown.text
    assert 'name="passage"' in shown.text
    assert 'formaction="/exclusions"' in shown.text
    assert f"{labels['numbers']['r2']['value']:.3f}" in client.get(f"/labels/{labels['id']}").text
    suggested = client.get("/api/v1/suggestions?name=topic").json()["suggestions"][0]
    listed = client.get("/labels")
    assert f"/documents/{suggested['document_id']}" in listed.text
    document = client.get(f"/documents/{suggested['document_id']}")
    assert f"/labels/{suggested['analysis_id']}" in document.text
    for path in ("/clusters/zz", "/labels/0123", "/clusters?collection=nobody"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_page_of_diversity_shows_what_the_api_says(
    site: Settings, client: TestClient, language: str
) -> None:
    client.cookies.set(LANGUAGE, language)
    measured = done(site, "diversity", by="year")
    numbers = client.get(f"/api/v1/analyses/{measured.id}").json()["numbers"]
    for address in ("/diversity", f"/diversity?analysis={measured.id}"):
        text = client.get(address).text
        assert f"{numbers['mean_distance']:.4f}" in text
        for group in numbers["groups"]:
            assert f"{group['vendi_at_size']:.2f}" in text
    page = BeautifulSoup(client.get("/diversity").text, "html.parser")
    field = page.find("input", {"name": FIELD})
    assert field is not None
    form = {"collection": "default", "query": "star", "by": "", FIELD: str(field["value"])}
    answer = client.post("/diversity", data=form)
    assert answer.headers["location"].startswith("/jobs/")
    for kind in ("clusters", "outliers", "diversity", "labels"):
        assert client.get(f"/{kind}?collection=one").status_code == 200


def test_a_report_of_labels_shows_its_matrix(client: TestClient) -> None:
    knn = made(client, "labels", method="knn")
    page = BeautifulSoup(client.get(f"/labels/{knn['id']}").text, "html.parser")
    headings = [each.get_text() for each in page.find_all("h2")]
    assert "Confusion matrix" in headings
    assert {"harbour", "sky", "kitchen"} <= {cell.get_text() for cell in page.find_all("th")}


def test_suggestions_are_paged_and_groups_are_told_by_a_title(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search_app.web.analysis_pages.PASSAGES_ON_A_PAGE", 4)
    seen: list[str] = []
    address: str | None = "/labels?name=topic"
    while address is not None:
        page = BeautifulSoup(client.get(address).text, "html.parser")
        table = page.find_all("table")[-1]
        seen += [str(link["href"]) for link in table.select("th[scope=row] a")]
        later = page.select_one("nav a[rel=next][href*=further]")
        address = None if later is None else str(later["href"])
    listed = client.get("/api/v1/suggestions", params={"name": "topic", "limit": 100}).json()
    assert seen == [f"/documents/{each['document_id']}" for each in listed["suggestions"]]
    page = BeautifulSoup(client.get("/outliers").text, "html.parser")
    assert "Footer · 3 passages" in [
        " ".join(each.get_text().split())[: len("Footer · 3 passages")]
        for each in page.select("details summary")
    ]


def test_a_page_asks_for_work_with_its_token_only(client: TestClient) -> None:
    page = BeautifulSoup(client.get("/labels").text, "html.parser")
    field = page.find("input", {"name": FIELD})
    assert field is not None
    form = {"collection": "default", "name": "topic", "method": "knn"}
    assert client.post("/labels", data=form).status_code == 403
    answer = client.post("/labels", data={**form, FIELD: str(field["value"])})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/jobs/")
    waiting = client.get("/labels?collection=default")
    assert answer.headers["location"] in waiting.text


def test_commands_print_what_was_found(
    site: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ingest.cli.analysis.load_settings", lambda: site)
    monkeypatch.setattr("ingest.cli.analysis.wait_for", lambda work, _: run_apart(work))
    del capsys
    runner = CliRunner()
    for arguments, words in (
        (["cluster", "-n", "3", "--field", "meta.topic", "--repeats", "1"], "k-means: 3 clusters"),
        (["outliers", "--k", "3"], "boilerplate: 1"),
        (["diversity", "--by", "year"], "Vendi"),
        (["label", "topic", "--method", "knn", "--dry-run"], "cross-validation: accuracy"),
        (["label", "weight", "--method", "ridge", "--dry-run"], "R²"),
    ):
        result = runner.invoke(commands, arguments)
        assert result.exit_code == 0, result.output
        assert words in result.output
    result = runner.invoke(commands, ["diversity", "--json"])
    assert json.loads(result.output)["numbers"]["n"] == 40
