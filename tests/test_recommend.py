"""Recommendations by examples and for groups, whole: in both stores, by API, page and command."""

import json
import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from bs4 import BeautifulSoup
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import text

from ingest.pipeline import IngestRequest, ingest
from search_app.access.principal import Principal, acting_as
from search_app.access.scopes import Scope
from search_app.bootstrap import Services, open_services
from search_app.catalog import lexicons
from search_app.catalog.engine import reading
from search_app.config import Settings, load_settings
from search_app.errors import InvalidInputError, NotFoundError
from search_app.groups import GroupRequest, Groups
from search_app.lexical import analyse
from search_app.likeness import Example, find_seeds
from search_app.retrieval import Recommendation, RecommendRequest
from search_app.web.app import create_app
from search_app.web.recommend_examples import EXAMPLES

HOST = "http://localhost"
STORES = ("pgvector", "qdrant")

SUBJECTS = {
    "tea": ("green tea leaves", "steamed", "rolled", "dried", "a bowl of tea", "bitter", "whisk"),
    "ships": ("the ferry", "harbour", "anchor", "tide", "the crew", "cargo", "lighthouse"),
    "stars": ("a telescope", "planets", "orbit", "comet", "night sky", "nebula", "moon"),
}


def records() -> list[dict[str, Any]]:
    """Write texts of three subjects; their words come in another order each time."""
    found = []
    for subject, words in SUBJECTS.items():
        for number in range(8):
            turned = [*words[number % 7 :], *words[: number % 7]]
            found.append(
                {
                    "id": f"{subject}-{number}",
                    "title": f"{subject} {number}",
                    "text": f"Notes on {', '.join(turned)} and then {turned[0]} number {number}.",
                    "subject": subject,
                    "year": 2000 + number,
                    "tags": ["odd"] if number % 2 else ["even", "all"],
                    "author": f"author of {subject} {number // 2}",
                }
            )
    return found


@pytest.fixture
def both_settings(database_url: str, tmp_path: Path) -> Settings:
    return load_settings(
        DATABASE_URL=database_url,
        data_dir=tmp_path / "data",
        embedder="hashing:64",
        qdrant_url=f"local:{tmp_path / 'qdrant'}",
    )


@pytest.fixture
async def services(both_settings: Settings, tmp_path: Path) -> AsyncIterator[Services]:
    folder = tmp_path / "in"
    folder.mkdir()
    lines = [json.dumps(record) for record in records()]
    (folder / "notes.jsonl").write_text("\n".join(lines), encoding="utf-8")
    async with open_services(both_settings) as opened:
        await put(opened, tmp_path, "pgvector")
        yield opened


@pytest.fixture
async def both(services: Services, tmp_path: Path) -> Services:
    """Have the same in the other store."""
    await put(services, tmp_path, "qdrant")
    return services


async def put(services: Services, tmp_path: Path, store: str) -> None:
    request = IngestRequest(arguments=[str(tmp_path / "in")], collection=f"in-{store}", store=store)
    assert not (await ingest(services, request)).errors


async def ids(services: Services, collection: str) -> dict[str, tuple[UUID, UUID]]:
    """Give passage and document of each record of a collection by the title."""
    async with reading(services.engine) as connection:
        rows = await connection.execute(
            text(
                "SELECT title, chunks.id, document_id FROM chunks JOIN documents ON"
                " documents.id = document_id JOIN collections ON collections.id = collection_id"
                " WHERE collections.name = :name"
            ),
            {"name": collection},
        )
        return {row.title: (row.id, row.document_id) for row in rows}


def passages(known: dict[str, tuple[UUID, UUID]], *titles: str) -> list[Example]:
    return [Example(kind="passage", id=known[title][0]) for title in titles]


async def recommended(services: Services, **wanted: Any) -> Recommendation:
    return await services.searcher.recommend(RecommendRequest(**wanted))


def titles(found: Recommendation) -> list[str]:
    return [hit.document.title for hit in found.result.hits]


SIDES: Sequence[tuple[Sequence[str], Sequence[str]]] = (
    (["tea 0"], []),
    (["tea 0", "tea 3", "tea 5"], []),
    (["tea 0", "ships 1"], ["stars 2"]),
    (["tea 0", "stars 4"], ["ships 2", "tea 7"]),
)


async def test_both_stores_recommend_the_same(both: Services) -> None:
    known = {store: await ids(both, f"in-{store}") for store in STORES}
    options: Sequence[dict[str, Any]] = (
        {"mode": "hybrid"},
        {"mode": "keyword"},
        {"mode": "semantic"},
        {"mode": "semantic", "filters": ["meta.year>=2003"]},
        {"mode": "semantic", "mmr": 0.5},
        {"mode": "hybrid", "per_document": 1},
    )
    for like, unlike in SIDES:
        for more in options:
            ours, theirs = [
                await recommended(
                    both,
                    like=passages(known[store], *like),
                    unlike=passages(known[store], *unlike),
                    k=30,
                    **more,
                )
                for store in STORES
            ]
            assert len(ours.result.hits) > 3
            assert scores_of(ours) == pytest.approx(scores_of(theirs), abs=1e-5)
            assert not {*like, *unlike} & set(titles(ours))
            if "mmr" not in more:
                # Equal scores are ordered by id, and ids differ between collections.
                ranked = [scores_of(theirs)[title] for title in titles(ours)]
                assert ranked == pytest.approx(sorted(ranked, reverse=True), abs=1e-5)


def scores_of(found: Recommendation) -> dict[str, float]:
    return {hit.document.title: hit.score for hit in found.result.hits}


async def test_what_is_wanted_comes_first_and_what_is_not_comes_last(services: Services) -> None:
    known = await ids(services, "in-pgvector")
    found = await recommended(
        services,
        like=passages(known, "tea 0", "ships 0"),
        unlike=passages(known, "ships 1", "ships 2"),
        k=30,
        mode="semantic",
    )
    subjects = [title.partition(" ")[0] for title in titles(found)]
    assert subjects[:5] == ["tea"] * 5
    assert subjects[-3:] == ["ships"] * 3
    for hit in found.result.hits:
        reason = found.reasons[hit.chunk_id]
        assert reason.like in passages(known, "tea 0", "ships 0")
        assert reason.unlike in passages(known, "ships 1", "ships 2")


async def test_the_order_of_examples_does_not_matter(services: Services) -> None:
    known = await ids(services, "in-pgvector")
    like, unlike = ["tea 0", "ships 3", "stars 5"], ["tea 6", "stars 1"]
    one = await recommended(services, like=passages(known, *like), unlike=passages(known, *unlike))
    other = await recommended(
        services,
        like=passages(known, *reversed(like), "tea 0"),
        unlike=passages(known, *reversed(unlike)),
    )
    assert one.result.hits == other.result.hits
    assert one.reasons == other.reasons


async def test_texts_are_examples_and_documents_are_left_out_whole(services: Services) -> None:
    known = await ids(services, "in-pgvector")
    told = Example(kind="text", text="green tea leaves steamed and dried")
    found = await recommended(services, like=[told], otherwise="in-pgvector", k=8)
    assert {title.partition(" ")[0] for title in titles(found)[:5]} == {"tea"}
    document = Example(kind="document", id=known["tea 1"][1])
    found = await recommended(services, like=[told, document], k=30)
    assert "tea 1" not in titles(found)
    assert found.result.collection == "in-pgvector"
    passage = passages(known, "tea 1")
    found = await recommended(services, like=passage, other_documents=True, k=30)
    assert "tea 1" not in titles(found)


async def test_of_a_document_so_many_passages_and_no_more(
    services: Services, tmp_path: Path
) -> None:
    sections = "\n\n".join(f"## Night {n}\n\nNight {n}, star {n}. " * 40 for n in range(40))
    (tmp_path / "log.md").write_text(f"# Log\n\n{sections}", encoding="utf-8")
    (tmp_path / "sky.md").write_text("# Sky\n\nNight after night, a star.\n", encoding="utf-8")
    for name in ("log", "sky"):
        await ingest(services, IngestRequest(arguments=[str(tmp_path / f"{name}.md")]))
    told = [Example(kind="text", text="night star")]
    for most in (1, 3):
        found = await recommended(services, like=told, per_document=most, k=20)
        assert titles(found).count("Log") == most
        assert titles(found).count("Sky") == 1
    with pytest.raises(InvalidInputError, match="0 passages of one document"):
        await recommended(services, like=told, per_document=0)


async def test_examples_that_cannot_be_compared_are_refused_in_a_sentence(
    both: Services,
) -> None:
    services = both
    known = {store: await ids(services, f"in-{store}") for store in STORES}
    here, there = (passages(known[store], "tea 0") for store in STORES)
    with pytest.raises(InvalidInputError, match="examples must be of one collection"):
        await recommended(services, like=here, unlike=there)
    with pytest.raises(InvalidInputError, match="but the search is in 'in-qdrant'"):
        await recommended(services, like=here, collection="in-qdrant")
    with pytest.raises(InvalidInputError, match="only examples against"):
        await recommended(services, like=[], unlike=here)
    with pytest.raises(InvalidInputError, match="both for and against"):
        await recommended(services, like=here, unlike=here)
    with pytest.raises(NotFoundError, match="no passage"):
        await recommended(services, like=[*here, Example(kind="passage", id=uuid4())])
    with pytest.raises(NotFoundError):
        await recommended(services, like=[Example(kind="document", id=uuid4())])
    with pytest.raises(NotFoundError, match="nowhere"):
        await recommended(services, like=[Example(kind="text", text="tea")], otherwise="nowhere")
    with pytest.raises(InvalidInputError, match="mmr is 7"):
        await recommended(services, like=here, mmr=7)


async def test_few_passages_and_equal_ones(services: Services, tmp_path: Path) -> None:
    def write(*names: str) -> list[str]:
        for name in names:
            (tmp_path / name).write_text("The same words in every file.\n", encoding="utf-8")
        return [str(tmp_path / name) for name in names]

    await ingest(services, IngestRequest(arguments=write("one.txt"), collection="few"))
    (known,) = (await ids(services, "few")).values()
    alone = [Example(kind="passage", id=known[0])]
    found = await recommended(services, like=alone)
    assert not found.result.hits
    assert not found.result.notices
    await ingest(services, IngestRequest(arguments=write("two.txt", "three.txt"), collection="few"))
    found = await recommended(services, like=alone, mode="semantic")
    # The path stands above a text without a title and is embedded with it, or it is not.
    assert len(found.result.hits) == 2
    vectors = {round(hit.score, 6) for hit in found.result.hits}
    kinds = [notice.kind for notice in found.result.notices]
    assert kinds == (["all_alike"] if len(vectors) == 1 else [])


# Groups


async def test_groups_are_the_same_in_both_stores(both: Services) -> None:
    groups = Groups(both)
    for field in ("meta.subject", "meta.tags", "meta.year", "type"):
        ours, theirs = [await groups.of(f"in-{store}", field) for store in STORES]
        assert [(each.value, each.documents, each.passages) for each in ours.groups] == [
            (each.value, each.documents, each.passages) for each in theirs.groups
        ]
        assert [each.length for each in ours.groups] == pytest.approx(
            [each.length for each in theirs.groups]
        )
    subjects = await groups.of("in-pgvector", "meta.subject")
    assert {group.value for group in subjects.groups} == set(SUBJECTS)
    assert all(group.length > group.by_chance > subjects.length for group in subjects.groups)
    # A document whose field is a list is in each of its groups.
    tags = await groups.of("in-pgvector", "meta.tags")
    assert {group.value: group.documents for group in tags.groups} == {
        "odd": 12,
        "even": 12,
        "all": 12,
    }
    assert [group.label for group in (await groups.of("in-pgvector", "meta.year")).groups][:1] == [
        "2000"
    ]


@pytest.mark.parametrize("store", STORES)
async def test_a_group_finds_its_like_and_documents_it_does_not_have(
    both: Services, store: str
) -> None:
    groups = Groups(both)
    request = GroupRequest(
        field="meta.author", value="author of tea 1", collection=f"in-{store}", k=5
    )
    about = await groups.about(request)
    assert [each.group.label.split()[2] for each in about.similar[:3]] == ["tea"] * 3
    assert [hit.document.title.split()[0] for hit in about.result.hits] == ["tea"] * 5
    assert not {"tea 2", "tea 3"} & {hit.document.title for hit in about.result.hits}
    assert about.known.basis == "passages"
    own = await groups.about(GroupRequest(**{**vars(request), "own": True}))
    assert {"tea 2", "tea 3"} <= {hit.document.title for hit in own.result.hits}
    filtered = GroupRequest(**{**vars(request), "filters": ["meta.subject=ships"]})
    about = await groups.about(filtered)
    assert {hit.document.title.split()[0] for hit in about.result.hits} == {"ships"}


async def test_a_new_group_is_known_by_its_description_or_not_at_all(services: Services) -> None:
    groups = Groups(services)
    unknown = GroupRequest(field="meta.author", value="nobody", collection="in-pgvector", k=5)
    with pytest.raises(NotFoundError, match="nothing is known of 'nobody'"):
        await groups.about(unknown)
    about = await groups.about(
        GroupRequest(**{**vars(unknown), "describe": "a telescope, comet and nebula"})
    )
    assert about.group is None
    assert about.known.basis == "description"
    assert about.result.hits[0].document.title.startswith("stars")
    assert about.similar[0].group.label.startswith("author of stars")
    with pytest.raises(InvalidInputError, match=r"has the field 'meta.none'.*meta.author"):
        await groups.of("in-pgvector", "meta.none")
    with pytest.raises(InvalidInputError):
        await groups.of("in-pgvector", "meta.a\x00b")


@pytest.mark.parametrize("field", ["meta.subject", "meta.tags"])
async def test_a_group_is_the_mean_of_all_its_passages_however_few_are_read_at_a_time(
    both: Services, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    # Groups go over several readings, and readings over several groups.
    monkeypatch.setattr("search_app.groups._BATCH", 5)
    for store in STORES:
        found = await Groups(both).of(f"in-{store}", field)
        known = await ids(both, f"in-{store}")
        for group in found.groups:
            own = [
                known[record["title"]][0]
                for record in records()
                if group.value in [record["subject"], *record["tags"]]
            ]
            assert group.drawn == group.passages == len(own) >= 8
            points = await both.store(store).fetch(found.target.index.id, own)
            rows = [point.vector for point in points if point.vector is not None]
            mean = np.mean(np.stack(rows), axis=0, dtype=np.float64)
            np.testing.assert_allclose(group.mean, mean, atol=1e-6)


async def test_a_group_leaves_out_passages_without_a_vector_and_says_so(
    services: Services,
) -> None:
    known = await ids(services, "in-pgvector")
    target = (await Groups(services).of("in-pgvector", "meta.subject")).target
    await services.store("pgvector").delete(target.index.id, [known["tea 1"][0]])
    found = await Groups(services).of("in-pgvector", "meta.subject")
    tea = found.find("tea")
    assert tea is not None
    assert (tea.passages, tea.drawn) == (8, 7)


async def test_whoever_may_see_one_collection_sees_its_groups_alone(both: Services) -> None:
    every = await Groups(both).of("in-pgvector", "meta.subject")
    own = every.target.collection.id
    reader = Principal(name="reader", scopes=frozenset({Scope.READ}), collections=frozenset({own}))
    with acting_as(reader):
        groups = Groups(both)
        found = await groups.of("in-pgvector", "meta.subject")
        with pytest.raises(NotFoundError):
            await groups.of("in-qdrant", "meta.subject")
    assert [(each.value, each.drawn) for each in found.groups] == [
        (each.value, each.drawn) for each in every.groups
    ]
    for ours, theirs in zip(found.groups, every.groups, strict=True):
        np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-7)


async def test_the_catalog_names_the_terms_that_stand_out_most(services: Services) -> None:
    seeds = await find_seeds(
        services.engine, passages(await ids(services, "in-pgvector"), "tea 0"), []
    )
    index_id, lexicon = seeds.target.index.id, seeds.target.lexicon
    assert lexicon is not None
    texts = [record["text"] for record in records()]
    every = list(dict.fromkeys(term for text in texts for term in analyse(text).counts))
    weights = {term: 0.5 + place % 7 for place, term in enumerate([*every, 999_999_999])}
    async with reading(services.engine) as connection:
        known = await lexicons.frequencies(connection, index_id, weights)
        several = [
            await lexicons.outstanding(
                connection, index_id, weights, passages=lexicon.passages, most=most
            )
            for most in (1, 6, 1000)
        ]

    def standing_out(term: int) -> float:
        having = known[term]
        return weights[term] * math.log1p((lexicon.passages - having + 0.5) / (having + 0.5))

    assert len(known) > 10
    ranked = sorted(known, key=lambda term: (-standing_out(term), term))
    assert several[0] == {ranked[0]: known[ranked[0]]}
    assert several[1] == {term: known[term] for term in ranked[:6]}
    assert several[2] == known


async def test_words_recommend_the_same_whether_their_texts_were_met_before(
    services: Services,
) -> None:
    known = await ids(services, "in-pgvector")
    wanted: dict[str, Any] = {
        "like": passages(known, "tea 0", "ships 1"),
        "unlike": passages(known, "ships 2"),
        "mode": "keyword",
    }
    first = await recommended(services, **wanted)
    # Another question between them, with the same passage on the other side.
    await recommended(services, like=passages(known, "ships 2"), mode="keyword")
    again = await recommended(services, **wanted)
    assert first.result.hits == again.result.hits
    assert len(first.result.hits) > 3


async def test_groups_are_read_anew_once_documents_change(
    services: Services, tmp_path: Path
) -> None:
    groups = Groups(services)
    assert len((await groups.of("in-pgvector", "meta.subject")).groups) == 3
    more = {"id": "new", "title": "wool", "text": "Spinning wool at home.", "subject": "wool"}
    (tmp_path / "more.jsonl").write_text(json.dumps(more), encoding="utf-8")
    await ingest(
        services,
        IngestRequest(arguments=[str(tmp_path / "more.jsonl")], collection="in-pgvector"),
    )
    found = await groups.of("in-pgvector", "meta.subject")
    wool = found.find("wool")
    assert wool is not None
    assert wool.passages == 1
    assert [wool.length, wool.by_chance] == pytest.approx([1, 1])


# API and pages


@pytest.fixture
async def client(services: Services) -> AsyncIterator[AsyncClient]:
    app = create_app(services.settings, services)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url=HOST) as opened,
    ):
        yield opened


async def test_recommendations_over_http(client: AsyncClient, services: Services) -> None:
    known = await ids(services, "in-pgvector")
    body: dict[str, Any] = {
        "like": [str(known["tea 0"][0]), "text:the ferry leaves the harbour"],
        "unlike": [f"document:{known['stars 1'][1]}"],
        "filters": ["meta.year<2006"],
        "k": 5,
        "per_document": 1,
    }
    answer = await client.post("/api/v1/recommendations", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found.keys() == EXAMPLES["recommended"].keys()
    assert found["collection"] == "in-pgvector"
    assert len(found["hits"]) == 5
    for hit in found["hits"]:
        assert hit["reason"]["like"] in body["like"]
        assert hit["reason"]["unlike"] == body["unlike"][0]
    for wrong, status in (
        ({"like": []}, 400),
        ({"like": ["nothing"]}, 400),
        ({"like": [str(uuid4())]}, 404),
        ({"like": body["like"], "unlike": body["like"][:1]}, 400),
        ({"like": body["like"], "mmr": 2}, 422),
        ({"unlike": body["unlike"]}, 422),
        ({"like": ["text:a\x00b"], "collection": "in-pgvector"}, 400),
    ):
        refused = await client.post("/api/v1/recommendations", json=wrong)
        assert refused.status_code == status, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["detail"]


async def test_groups_over_http(client: AsyncClient) -> None:
    asked = {"collection": "in-pgvector", "field": "meta.author"}
    answer = await client.get("/api/v1/groups", params={**asked, "limit": "5"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found.keys() == EXAMPLES["groups"].keys()
    assert len(found["groups"]) == 5
    assert found["more"]
    rest = await client.get("/api/v1/groups", params={**asked, "limit": "50", "offset": "5"})
    assert len(rest.json()["groups"]) == 7
    assert not rest.json()["more"]
    about = await client.get(
        "/api/v1/groups/recommendations",
        params={**asked, "value": "author of stars 0", "k": "3"},
    )
    assert about.status_code == 200, about.text
    assert about.json().keys() == EXAMPLES["group"].keys()
    assert len(about.json()["similar"]) == len(about.json()["hits"]) == 3
    for wrong, status in (
        ({**asked, "field": "meta.none"}, 400),
        ({**asked, "collection": "none"}, 404),
        ({"collection": "in-pgvector"}, 422),
    ):
        assert (await client.get("/api/v1/groups", params=wrong)).status_code == status
    nobody = await client.get("/api/v1/groups/recommendations", params={**asked, "value": "x"})
    assert nobody.status_code == 404
    assert "nothing is known" in nobody.json()["detail"]


async def soup(client: AsyncClient, address: str, status: int = 200) -> BeautifulSoup:
    answer = await client.get(address)
    assert answer.status_code == status, answer.text
    return BeautifulSoup(answer.text, "html.parser")


async def test_examples_are_collected_by_links_alone(client: AsyncClient) -> None:
    page = await soup(client, "/?q=green+tea&collection=in-pgvector")
    first, *_ = page.select(".hits > li")
    more, less = first.select("a.like")
    assert more.text == "More like this"
    assert less.text == "Less like this"
    page = await soup(client, str(more["href"]))
    assert page.h1
    assert page.h1.text == "Passages like this one"
    page = await soup(client, str(page.select(".hits > li")[2].select("a.like")[0]["href"]))
    assert len(page.select(".example")) == 2
    page = await soup(client, str(page.select(".hits > li")[-1].select("a.like")[1]["href"]))
    assert len(page.select(".examples-against .example")) == 1
    assert len(page.select(".reason")) == len(page.select(".hits > li"))
    assert page.select(".back a")[0]["href"] == "/?q=green+tea&collection=in-pgvector"
    turn, away = page.select(".examples-against .example-tools a")
    assert len((await soup(client, str(turn["href"]))).select(".example")) == 3
    assert len((await soup(client, str(away["href"]))).select(".example")) == 2
    page = await soup(client, str(less["href"]))
    assert "green tea" in page.select(".example-text")[0].text


async def test_the_page_says_what_is_wrong_beside_the_examples(
    client: AsyncClient, services: Services
) -> None:
    known = await ids(services, "in-pgvector")
    chunk_id = known["tea 0"][0]
    page = await soup(client, "/recommend")
    assert not page.select(".hits")
    for address, status, said in (
        (f"/recommend?unlike={chunk_id}", 400, "only examples against"),
        (f"/recommend?like={chunk_id}&unlike={chunk_id}", 400, "both for and against"),
        ("/recommend?like=what", 400, "cannot be read"),
        (f"/recommend?like={uuid4()}", 404, "no passage"),
        (f"/recommend?like={chunk_id}&mode=magic", 400, "mode 'magic'"),
    ):
        page = await soup(client, address, status)
        assert said in page.select(".notice-problem")[0].text
        assert page.select(".example")
    page = await soup(client, "/recommend?like_text=harbour+tide&collection=in-pgvector&each=1")
    assert len(page.select(".hits > li")) == 20


async def test_the_page_of_groups(client: AsyncClient) -> None:
    page = await soup(client, "/groups?collection=in-pgvector")
    assert "meta.subject" in {link.text for link in page.select("p.muted a")}
    page = await soup(client, "/groups?collection=in-pgvector&field=meta.subject")
    links = page.select("tbody th a")
    assert {link.text for link in links} == set(SUBJECTS)
    page = await soup(client, str(links[0]["href"]))
    assert len(page.select(".alike-groups li")) == 2
    assert page.select(".hits > li")
    assert "sets the mean of its 8 passages apart" in page.select(".known")[0].text
    page = await soup(client, "/groups?collection=in-pgvector&field=meta.none", 400)
    assert "has the field" in page.select(".notice-problem")[0].text
    page = await soup(client, "/groups?collection=in-pgvector&field=meta.subject&value=x", 404)
    assert "nothing is known" in page.select(".notice-problem")[0].text
    assert page.select("input[name=describe]")
