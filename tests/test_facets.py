"""Facets: every number is that of the documents which pass, counted one by one."""

import json
from collections import Counter as Tally
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from starlette.testclient import TestClient

from ingest.pipeline import IngestRequest, ingest, remove
from search_app.bootstrap import Services
from search_app.catalog import collections
from search_app.catalog.columns import ABSENT, Columns, id_bytes, labels_of, make_column
from search_app.catalog.engine import transaction
from search_app.catalog.facets import MOST_METADATA, MOST_VALUES, choose, metadata_fields
from search_app.catalog.tables import documents
from search_app.config import Settings
from search_app.errors import InvalidInputError
from search_app.filters import FIELDS, Condition, Filter, field_values, passes
from search_app.grammar import parse_filter
from search_app.types import JSON, Collection
from search_app.web.app import create_app
from search_app.web.counting import Counter
from tests import test_filters

# Columns

COLUMNS = (*FIELDS, "meta.a", "meta.a.b", "meta.")


def columns_of(held: Sequence[Mapping[str, JSON]], ids: Sequence[UUID]) -> Columns:
    return Columns(
        id_bytes(ids),
        [make_column(field, [written(fields, field) for fields in held]) for field in COLUMNS],
    )


def written(fields: Mapping[str, JSON], field: str) -> str:
    value: JSON = fields
    for name in field.split(".", 1):
        if not isinstance(value, Mapping) or name not in value:
            return ABSENT
        value = value[name]
    return json.dumps(value)


asked = st.sampled_from(COLUMNS)
conditions = test_filters.conditions_on(asked)


@settings(deadline=None)
@given(st.lists(test_filters.documents, max_size=6), conditions, st.data())
def test_columns_mean_what_filters_mean(
    held: list[Mapping[str, JSON]], condition: Condition, data: st.DataObject
) -> None:
    # The last bytes may be zeros.
    ids = [UUID(int=number << 120) for number in data.draw(st.permutations(range(len(held))))]
    columns = columns_of(held, ids)
    wanted = Filter(conditions=(condition,))
    assert columns.cover(condition)
    mask = columns.passing(condition)
    assert mask.tolist() == [passes(fields, wanted) for fields in held]
    assert columns.documents(id_bytes([*ids[::2], uuid4()])).sum() == len(ids[::2])
    for field in COLUMNS:
        expected = Tally(
            label
            for fields in held
            if passes(fields, wanted)
            for label in labels_of(field, field_values(fields, field))
        )
        assert columns.counts(field, mask) == dict(expected)


def test_a_document_is_counted_once_under_a_label() -> None:
    assert labels_of("meta.x", ["a", "a", 1, "1", 1.0, True, 1.5, None, "", " ", 10**15, {}]) == [
        *("a", "1", "true"),
    ]
    assert labels_of("date", ["2024-05-01"]) == ["2024"]


def test_ids_that_are_unknown_are_passed_over() -> None:
    ids = [uuid4() for _ in range(5)]
    columns = columns_of([{} for _ in ids], ids)
    meant = columns.documents(id_bytes({ids[1], ids[4], uuid4()}))
    assert meant.tolist() == [False, True, False, False, True]
    nothing = columns_of([], [])
    assert nothing.documents(id_bytes(ids)).tolist() == []
    assert nothing.counts("type", nothing.all()) == {}


# Which metadata is offered


def test_metadata_is_offered_that_many_documents_share() -> None:
    metas: list[JSON] = [
        {
            "author": f"Author {number % 7}",
            "draft": number % 2 == 0,
            "tags": [f"tag {number % 3}", "all"],
            "id": number,
            "page": f"page {number // 2 % (MOST_VALUES + 1)}",
            "price": number % 3 + 0.5,
            "site": "the same for all",
            "prose": "x" * 81,
            "day": f"2024-05-0{number % 4 + 1}",
            "mixed": {"in": "side"},
            **({"rare": "x"} if number < 5 else {}),
            **({"some": "x"} if number < 20 else {}),
        }
        for number in range(200)
    ]
    assert choose(metas) == ["author", "draft", "tags", "some"]
    assert choose([*metas, None, "no object"]) == ["author", "draft", "site", "tags", "some"]
    assert choose([]) == []
    assert choose([{"author": "only one"}]) == []
    many: list[JSON] = [{f"m{name}": number % 2 for name in range(9)} for number in range(9)]
    assert choose(many) == [f"m{name}" for name in range(MOST_METADATA)]


# The whole, on documents that were ingested

RECORDS = [
    {
        "id": number,
        "text": f"Record {number} tells of granite.",
        "author": ["Sato, Ken", "O'Brien", 'the "third"'][number % 3],
        "year": 2020 + number % 4,
        "Page count": number % 2,
        "note": f"of its own {number}",
        **({"date": f"20{20 + number // 7 % 3}-0{1 + number % 9}-15"} if number % 5 else {}),
    }
    for number in range(60)
]


@pytest.fixture
async def counter(services: Services) -> Counter:
    return Counter(services.engine)


@pytest.fixture
async def shelf(services: Services, tmp_path: Path) -> AsyncIterator[Collection]:
    folder = tmp_path / "shelf"
    (folder / "notes").mkdir(parents=True)
    (folder / "records.jsonl").write_text(
        "\n".join(json.dumps(record) for record in RECORDS), encoding="utf-8"
    )
    (folder / "notes" / "a.md").write_text("# 花崗岩\n\n花崗岩についての短い覚え書きです。\n")
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    async with transaction(services.engine) as connection:
        yield await collections.get(connection, "default")


async def held(services: Services) -> dict[UUID, Mapping[str, JSON]]:
    async with transaction(services.engine) as connection:
        rows = await connection.execute(select(documents.c.id, documents.c.fields))
        return {row.id: row.fields for row in rows}


def tally(found: Sequence[Mapping[str, JSON]], field: str) -> dict[str, int]:
    return dict(
        Tally(label for fields in found for label in labels_of(field, field_values(fields, field)))
    )


FILTERS: Sequence[Sequence[str]] = (
    [],
    ["language=en"],
    ["meta.year>=2022", "type=jsonl"],
    ["date=2021"],
    ["date>=2021-03-01 and date<2022-02-01"],
    ['not (meta.author="Sato, Ken" or meta.year=2020,2021)'],
    # Metadata that there is no column of.
    ['meta.note="of its own 7","of its own 8"'],
    ['meta.note>"of its own 3" and language=en', "folder=shelf"],
    ["source!=nowhere"],
    ["meta.author=nobody"],
)


async def test_counts_are_those_of_the_documents_that_pass(
    services: Services, counter: Counter, shelf: Collection
) -> None:
    everything = await held(services)
    assert len(everything) == len(RECORDS) + 1
    among = set(list(everything)[::3]) | {uuid4()}
    for ids in (None, among, set[UUID]()):
        offered = await counter.choices(shelf, [], ids)
        assert list(offered) == [
            *("language", "type", "folder", "date"),
            *("meta.Page count", "meta.author", "meta.year"),
        ]
        for filters in FILTERS:
            wanted = parse_filter(filters)
            left = [
                fields
                for key, fields in everything.items()
                if passes(fields, wanted) and (ids is None or key in ids)
            ]
            assert await counter.documents(shelf, filters, ids) == len(left), filters
            counted = await counter.facets(shelf, filters, list(offered), ids)
            assert counted == {field: tally(left, field) for field in offered}, filters


async def test_a_choice_does_not_narrow_its_own_field(
    services: Services, counter: Counter, shelf: Collection
) -> None:
    everything = list((await held(services)).values())
    filters = ["date=2021", "meta.author=O'Brien", "meta.year>=2021"]
    counted = await counter.choices(shelf, filters)
    for field, own in (("date", "date=2021"), ("meta.author", "meta.author=O'Brien"), ("type", "")):
        others = parse_filter([text for text in filters if text != own])
        assert counted[field] == tally([each for each in everything if passes(each, others)], field)
    assert set(counted["date"]) == {"2020", "2021", "2022"}
    # A month is no value of the list of years, so that it narrows them.
    assert set((await counter.choices(shelf, ["date=2021-03"]))["date"]) == {"2021"}


async def test_only_what_is_offered_can_be_counted_by(counter: Counter, shelf: Collection) -> None:
    with pytest.raises(InvalidInputError, match=r"no facet 'meta\.note'; there are language"):
        await counter.facets(shelf, [], ["meta.note"])
    with pytest.raises(InvalidInputError, match="too many"):
        await counter.choices(shelf, ["type=a"] * 21)


async def test_counts_follow_the_collection(
    services: Services, counter: Counter, shelf: Collection, tmp_path: Path
) -> None:
    note = tmp_path / "shelf" / "notes" / "b.md"
    assert await counter.documents(shelf, ["folder=shelf/notes"]) == 1
    note.write_text("A second note on granite.\n")
    await ingest(services, IngestRequest(arguments=[str(tmp_path / "shelf")]))
    assert await counter.documents(shelf, ["folder=shelf/notes"]) == 2
    counted = await counter.facets(shelf, ["type=markdown"], ["folder"])
    assert counted["folder"] == {"shelf": 2, "shelf/notes": 2}
    await remove(services, sources=[str(note)], collection="default")
    assert await counter.documents(shelf, ["type=markdown"]) == 1
    async with transaction(services.engine) as connection:
        empty = await collections.get_or_create(connection, "empty")
    assert await counter.documents(empty, ["type=markdown"]) == 0
    assert await counter.choices(empty, []) == {
        field: {} for field in ("language", "type", "folder", "date")
    }


async def test_what_a_sample_missed_is_no_facet(
    services: Services, counter: Counter, shelf: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search_app.catalog.facets._SAMPLE", 8)
    async with transaction(services.engine) as connection:
        await connection.execute(
            text(
                "UPDATE documents SET fields = jsonb_set(fields, '{meta,author}', to_jsonb("
                "CASE WHEN id IN (SELECT id FROM documents ORDER BY id LIMIT 8) "
                "THEN 'in the sample' ELSE uri END)) "
                "WHERE id <> (SELECT id FROM documents ORDER BY id LIMIT 1)"
            )
        )
        assert "author" in await metadata_fields(connection, shelf)
    assert len(RECORDS) - 8 > MOST_VALUES
    assert "meta.author" not in await counter.choices(shelf, [])


# API and page


@pytest.mark.usefixtures("shelf")
def test_the_api_counts_and_gives_the_filter_of_every_value(settings: Settings) -> None:
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        found = client.get("/api/v1/facets", params={"filter": ["type=jsonl", "meta.year=2020"]})
        assert found.status_code == 200
        answer = found.json()
        assert (answer["collection"], answer["documents"]) == ("default", 15)
        facets = {facet["field"]: facet["values"] for facet in answer["facets"]}
        assert {"value": "Sato, Ken", "documents": 5, "filter": 'meta.author="Sato, Ken"'} in (
            facets["meta.author"]
        )
        assert facets["meta.Page count"][0]["filter"] == 'meta."Page count"=0'
        assert [value["documents"] for value in facets["meta.year"]] == [15, 15, 15, 15]
        for field, values in facets.items():
            for value in values:
                others = [each for each in ("type=jsonl", "meta.year=2020") if field not in each]
                alone = client.get(
                    "/api/v1/facets", params={"filter": [*others, value["filter"]], "limit": 1}
                )
                assert alone.json()["documents"] == value["documents"]
                assert all(len(facet["values"]) == 1 for facet in alone.json()["facets"])
        assert client.get("/api/v1/facets", params={"filter": "colour=red"}).status_code == 400
        assert client.get("/api/v1/facets", params={"collection": "none"}).status_code == 404
        assert client.get("/api/v1/facets", params={"limit": 0}).status_code == 422


@pytest.mark.usefixtures("shelf")
def test_the_page_offers_metadata_and_years(settings: Settings) -> None:
    with TestClient(
        create_app(settings), base_url="http://localhost", headers={"accept": "text/html"}
    ) as client:
        soup = BeautifulSoup(client.get("/?q=granite").text, "html.parser")
        headings = [" ".join(each.get_text().split()) for each in soup.select(".facet > h2")]
        assert headings == [
            *("Language", "Type", "Folder", "Year"),
            *("Page count", "author", "year", "Your own"),
        ]
        sections = dict(zip(headings, soup.select(".facet"), strict=True))
        years = [each.get_text() for each in sections["Year"].select(".choice-label")]
        assert years == ["2022", "2021", "2020"]
        for section in sections.values():
            for choice in section.select("a.choice"):
                address = str(choice["href"])
                narrowed = BeautifulSoup(client.get(address).text, "html.parser")
                count = choice.select_one(".choice-count")
                assert count is not None
                number = narrowed.select("#count span")[-1].get_text(" ", strip=True)
                assert number.split()[0] == count.get_text(), address
                assert dict(parse_qsl(urlsplit(address).query))["q"] == "granite"
