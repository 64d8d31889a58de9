"""Switching between indexes: only to one that is fit, back again, and letting go of one."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ingest import retiring
from ingest.gate import check_gate
from ingest.pipeline import IngestRequest, ingest
from ingest.reindex import ReindexRequest, reindex
from ingest.report import IngestReport
from search_app import switching
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.errors import InvalidInputError, NotFoundError
from search_app.retrieval import Searcher, SearchRequest
from search_app.switching import Switched, UnfitIndexError
from search_app.types import Index, IndexState, SearchResult
from tests.catalog_dump import connect

TEXTS = {
    "light.md": "The lighthouse keeper writes the weather into a blue book every evening.",
    "stone.md": "Granite from the quarry went by barge to the harbour of the capital.",
    "music.md": "The orchestra rehearses the second symphony on Thursday afternoon.",
    "図書館.md": "図書館は毎週月曜日に休館します。返却は入口の箱をご利用ください。",
}


def address(services: Services) -> str:
    assert services.settings.database_url is not None
    return services.settings.database_url.get_secret_value()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a few documents."""
    root = tmp_path / "docs"
    root.mkdir()
    for name, text in TEXTS.items():
        (root / name).write_text(text * 3, encoding="utf-8")
    return root


async def add(services: Services, folder: Path) -> IngestReport:
    return await ingest(services, IngestRequest(arguments=[str(folder)], prune=True))


async def build(services: Services, embedder: str | None = "hashing:32", **wishes: Any) -> Index:
    report = await reindex(services, ReindexRequest(embedder=embedder, **wishes))
    return await get(services, report.index_id)


async def get(services: Services, index_id: UUID) -> Index:
    async with transaction(services.engine) as connection:
        return await indexes.get(connection, index_id)


async def activate(services: Services, index: Index) -> Switched:
    return await switching.activate(services.engine, services.store, index)


async def rollback(services: Services) -> Switched:
    return await switching.rollback(services.engine, services.store, "default")


async def retire(services: Services, index: Index) -> Index:
    return await retiring.retire(services, index, waiting=lambda: None)


async def find(services: Services, query: str, **how: Any) -> SearchResult:
    return await services.searcher.search(SearchRequest(query=query, **how))


def answered_by(result: SearchResult) -> set[UUID]:
    """Name every index that any part of an answer says it is from."""
    return {result.index_id, *(hit.index_id for hit in result.hits)}


async def test_a_switch_and_the_way_back(services: Services, folder: Path) -> None:
    first = await add(services, folder)
    second = await build(services)
    assert answered_by(await find(services, "orchestra")) == {first.index_id}
    switched = await activate(services, second)
    assert switched.left is not None
    assert switched.left.id == first.index_id
    assert switched.passages == first.chunks.embedded
    after = await find(services, "orchestra")
    assert answered_by(after) == {second.id}
    assert len(after.hits) == len(TEXTS)
    # What is ingested now is in both, so that the way back loses nothing.
    (folder / "new.md").write_text("A comet was seen above the observatory.", encoding="utf-8")
    (folder / "stone.md").unlink()
    await add(services, folder)
    assert (await activate(services, second)).left is None
    back = await rollback(services)
    assert (back.index.id, back.passages) == (first.index_id, first.chunks.embedded)
    found = await find(services, "comet observatory")
    assert answered_by(found) == {first.index_id}
    names = [Path(hit.document.uri).name for hit in found.hits]
    assert names[0] == "new.md"
    assert "stone.md" not in names
    # And back to where one came from.
    assert (await rollback(services)).index.id == second.id


async def test_any_kept_index_can_be_asked(services: Services, folder: Path) -> None:
    first = await add(services, folder)
    second = await build(services)
    name = str(second.id)
    assert answered_by(await find(services, "orchestra", index=name)) == {second.id}
    assert answered_by(await find(services, "orchestra", index=name[:13])) == {second.id}
    assert answered_by(await find(services, "orchestra")) == {first.index_id}
    await ingest(services, IngestRequest(arguments=[str(folder)], collection="other"))
    with pytest.raises(InvalidInputError, match="not one of collection 'other'"):
        await find(services, "orchestra", index=name, collection="other")
    with pytest.raises(NotFoundError, match="no index 'beef'"):
        await find(services, "orchestra", index="beef")
    await retire(services, second)
    with pytest.raises(InvalidInputError, match="is retired"):
        await find(services, "orchestra", index=name)


async def spoil(services: Services, statement: str) -> None:
    with connect(address(services)) as connection:
        connection.execute(statement)


SOME = "(SELECT max(id::text)::uuid FROM chunks)"
FAULTS = {
    "record": "DELETE FROM vector_records WHERE index_id = '{id}' AND chunk_id = {some}",
    "vector": "DELETE FROM vectors.index_{hex} WHERE chunk_id = {some}",
    "state": "UPDATE indexes SET state = 'building' WHERE id = '{id}'",
}
REASONS = {
    "record": "1 of 4 passages have no vector",
    "vector": "should have 4 vectors by its records, and pgvector holds 3",
    "state": "is still being built",
}


@pytest.mark.parametrize("fault", list(FAULTS))
async def test_an_index_that_lacks_something_is_refused(
    services: Services,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    monkeypatch.setattr(switching, "AGREE_S", 0.3)
    first = await add(services, folder)
    second = await build(services)
    await spoil(services, FAULTS[fault].format(id=second.id, hex=second.id.hex, some=SOME))
    with pytest.raises(UnfitIndexError, match=REASONS[fault]):
        await activate(services, await get(services, second.id))
    assert answered_by(await find(services, "orchestra")) == {first.index_id}
    # The same wish again puts right what the catalog knows to be missing.
    if fault != "vector":
        await build(services)
        await activate(services, await get(services, second.id))
        assert answered_by(await find(services, "orchestra")) == {second.id}


async def test_two_who_activate_at_once_end_with_one(services: Services, folder: Path) -> None:
    first = await add(services, folder)
    made = [await build(services, f"hashing:{size}") for size in (16, 32, 48)]
    await asyncio.gather(
        *(activate(services, index) for _ in range(3) for index in made),
        *(find(services, "orchestra") for _ in range(10)),
    )
    async with transaction(services.engine) as connection:
        collection = await collections.get(connection, "default")
        found = await indexes.every(connection, collection)
    states = {index.id: index.state for index in found}
    assert list(states.values()).count(IndexState.ACTIVE) == 1
    assert states[first.index_id] is IndexState.STANDBY
    active = next(key for key, state in states.items() if state is IndexState.ACTIVE)
    assert answered_by(await find(services, "orchestra")) == {active}


def write_golden(folder: Path, documents: Path, answers: dict[str, str]) -> None:
    """Write a golden set whose documents are named as those of feedback are: by their uris."""
    folder.mkdir()
    corpus = [
        {"_id": str(documents / name), "title": "", "text": text} for name, text in TEXTS.items()
    ]
    queries = [{"_id": f"q{place}", "text": query} for place, query in enumerate(answers)]
    qrels = [f"q{place}\t{documents / name}\t1" for place, name in enumerate(answers.values())]
    for name, rows in (("corpus.jsonl", corpus), ("queries.jsonl", queries)):
        (folder / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "qrels.tsv").write_text(
        "\n".join(["query-id\tcorpus-id\tscore", *qrels]), encoding="utf-8"
    )


async def test_the_golden_gate_asks_known_questions(
    services: Services, folder: Path, tmp_path: Path
) -> None:
    await add(services, folder)
    second = await build(services)
    assert await check_gate(services, second) is None
    right = {"orchestra symphony": "music.md", "図書館 休館": "図書館.md"}
    write_golden(tmp_path / "right", folder, right)
    write_golden(
        tmp_path / "wrong", folder, dict(zip(right, reversed(right.values()), strict=True))
    )

    def gated(name: str) -> Services:
        settings = services.settings.model_copy(
            update={"golden_gate": tmp_path / name, "golden_gate_ndcg": 0.9}
        )
        return Services(settings, services.engine)

    assert await check_gate(gated("right"), second) == pytest.approx(1.0)
    with pytest.raises(UnfitIndexError, match=r"reaches nDCG@10 0\.\d+ .* 0\.9000 is wanted"):
        await check_gate(gated("wrong"), second)


async def test_a_retired_index_leaves_its_history_only(services: Services, folder: Path) -> None:
    first = await add(services, folder)
    second = await build(services)
    with pytest.raises(InvalidInputError, match="is active"):
        await retire(services, await get(services, first.index_id))
    await retire(services, second)
    with connect(address(services)) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'vectors'"
        ).fetchall()
        left = [
            connection.execute(
                f"SELECT count(*) AS n FROM {table} WHERE index_id = %s", [second.id]
            ).fetchall()[0]["n"]
            for table in ("vector_records", "lexicons", "term_frequencies")
        ]
        events = connection.execute(
            "SELECT event FROM index_events WHERE index_id = %s ORDER BY id", [second.id]
        ).fetchall()
    assert {table["table_name"] for table in tables} == {
        f"index_{first.index_id.hex}",
        f"index_{first.index_id.hex}_terms",
    }
    assert left == [0, 0, 0]
    assert [event["event"] for event in events] == ["created", "ready", "retired", "cleared"]
    (folder / "new.md").write_text("A comet was seen above the observatory.", encoding="utf-8")
    assert (await add(services, folder)).chunks.embedded == 1
    # Once more, it is only cleared away; and it can be built anew.
    await retire(services, second)
    assert (await build(services)).id != second.id
    with pytest.raises(UnfitIndexError, match="is retired"):
        await activate(services, await get(services, second.id))


async def test_what_stood_by_for_long_is_retired(
    services: Services, folder: Path, settings: Settings
) -> None:
    first = await add(services, folder)
    await activate(services, await build(services))
    after = Services(settings.model_copy(update={"retire_after_days": 30}), services.engine)
    assert await retiring.retire_old(services) == 0
    assert await retiring.retire_old(after) == 0
    await spoil(services, "UPDATE index_events SET created_at = created_at - interval '31 days'")
    assert await retiring.retire_old(after) == 1
    assert (await get(services, first.index_id)).state is IndexState.RETIRED
    assert await retiring.clear_retired(after) == 1
    assert await retiring.clear_retired(after) == 0
    with pytest.raises(NotFoundError, match="no index to go back to"):
        await rollback(services)


async def test_a_search_whose_index_goes_is_answered_by_the_next(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await add(services, folder)
    second = await build(services)
    prepare: Callable[..., Any] = Searcher._prepare

    async def slowly(self: Searcher, *arguments: Any) -> Any:
        prepared = await prepare(self, *arguments)
        if (await get(services, first.index_id)).state is IndexState.ACTIVE:
            await activate(services, second)
            await retire(services, await get(services, first.index_id))
        return prepared

    monkeypatch.setattr(Searcher, "_prepare", slowly)
    found = await find(services, "orchestra")
    assert answered_by(found) == {second.id}
    assert len(found.hits) == len(TEXTS)
