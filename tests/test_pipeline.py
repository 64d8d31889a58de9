"""Ingest, from files to what can be found, on a real database."""

import asyncio
import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.loaders import LoadOptions
from ingest.pipeline import IngestRequest, ingest, remove
from ingest.report import IngestReport
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes, models, records, runs
from search_app.catalog.engine import transaction
from search_app.embedders.base import Embedder
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import (
    CatalogUnavailableError,
    EmbedderUnavailableError,
    InvalidInputError,
    ModelMismatchError,
    NotFoundError,
    StoreUnavailableError,
)
from search_app.retrieval import SearchRequest
from search_app.types import Kind, Matrix, ModelIdentity, RunStatus, SearchResult
from search_app.web.counting import Counter
from tests.catalog_dump import connect, dump

PARAGRAPHS = [
    "The lighthouse keeper writes the weather into a blue book every evening.",
    "Granite from the quarry went by barge to the harbour of the capital.",
    "図書館は毎週月曜日に休館します。返却は入口の箱をご利用ください。",
    "The orchestra rehearses the second symphony on Thursday afternoon.",
]


def page(*paragraphs: str, title: str = "Notes") -> str:
    """Write a Markdown page with one section a paragraph, so that each is a chunk of its own."""
    sections = [f"## Part {number}\n\n{text * 12}\n" for number, text in enumerate(paragraphs)]
    return f"# {title}\n\n" + "\n".join(sections)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with three documents."""
    root = tmp_path / "docs"
    (root / "deep").mkdir(parents=True)
    (root / "a.md").write_text(page(*PARAGRAPHS, title="Almanac"), encoding="utf-8")
    (root / "b.txt").write_text(PARAGRAPHS[1] * 5, encoding="utf-8")
    (root / "deep" / "c.md").write_text(page(PARAGRAPHS[3], title="Concert"), encoding="utf-8")
    return root


def address(services: Services) -> str:
    assert services.settings.database_url is not None
    return services.settings.database_url.get_secret_value()


async def add(services: Services, *paths: Path, prune: bool = False) -> IngestReport:
    arguments = [str(path) for path in paths]
    return await ingest(services, IngestRequest(arguments=arguments, prune=prune))


async def find(
    services: Services, query: str, filters: Sequence[str] = (), k: int = 10
) -> SearchResult:
    return await services.searcher.search(SearchRequest(query=query, filters=filters, k=k))


async def uris(services: Services) -> set[str]:
    result = await find(services, "anything at all", k=1000)
    return {Path(hit.document.uri).name for hit in result.hits}


async def test_a_folder_is_found_afterwards(services: Services, folder: Path) -> None:
    report = await add(services, folder)
    assert (report.documents.added, report.documents.failed) == (3, 0)
    assert report.chunks.embedded >= 6
    best = (await find(services, "orchestra rehearses symphony", k=3)).hits[0]
    assert "orchestra" in best.text
    assert best.run_id == report.run_id
    assert best.index_id == report.index_id
    assert best.model_version_id == report.model_version_id
    english = (await find(services, "orchestra", filters=["language=en"])).hits
    assert {Path(hit.document.uri).name for hit in english} == {"b.txt", "c.md"}


async def test_every_vector_knows_the_text_that_made_it(services: Services, folder: Path) -> None:
    report = await add(services, folder)
    hit = (await find(services, "blue book lighthouse")).hits[0]
    async with transaction(services.engine) as connection:
        record = await records.get(connection, report.index_id, hit.chunk_id)
        collection = await collections.get(connection, "default")
        index = await indexes.active(connection, collection)
    store = services.store(index.store)
    point = (await store.fetch(index.id, [hit.chunk_id]))[0]
    assert point.vector is not None
    assert sha256(point.vector.tobytes()).digest() == record.stored_hash
    embedder = HashingEmbedder("64")
    with connect(address(services)) as raw:
        row = raw.execute(
            "SELECT context, text FROM chunks WHERE id = %s", [hit.chunk_id]
        ).fetchone()
    assert row is not None
    text = f"{row['context']}\n\n{row['text'].strip()}"
    assert sha256(embedder.text_sent(text, "document").encode()).digest() == record.sent_hash
    again = await embedder.embed([text], "document")
    assert sha256(again[0].tobytes()).digest() == record.received_hash
    assert record.norm == pytest.approx(float(np.linalg.norm(again[0])))


async def test_unchanged_documents_are_skipped(services: Services, folder: Path) -> None:
    await add(services, folder)
    again = await add(services, folder)
    assert again.documents.unchanged == 3
    assert (again.documents.added, again.documents.updated) == (0, 0)
    assert (again.chunks.embedded, again.chunks.reused) == (0, 0)


async def test_an_inserted_paragraph_renames_nothing_after_it(
    services: Services, folder: Path
) -> None:
    await add(services, folder)
    before = {hit.chunk_id: hit.text for hit in (await find(services, "x", k=100)).hits}
    changed = page(PARAGRAPHS[0], "An inserted paragraph about harbour cranes.", title="Almanac")
    rest = page(*PARAGRAPHS, title="Almanac").split("## Part 1", 1)[1]
    (folder / "a.md").write_text(changed + "\n## Part 1" + rest, encoding="utf-8")
    report = await add(services, folder)
    assert (report.documents.updated, report.documents.unchanged) == (1, 2)
    assert report.chunks.embedded == 1
    after = {hit.chunk_id: hit for hit in (await find(services, "x", k=100)).hits}
    assert before.keys() <= after.keys()
    assert len(after) == len(before) + 1
    kept = [hit.ordinal for hit in after.values() if hit.document.title == "Almanac"]
    assert sorted(kept) == list(range(len(kept)))


async def test_a_changed_document_is_replaced(services: Services, folder: Path) -> None:
    await add(services, folder)
    (folder / "b.txt").write_text("Herring boats return before the tide. " * 5, encoding="utf-8")
    report = await add(services, folder)
    assert (report.documents.updated, report.chunks.removed) == (1, 1)
    texts = [hit.text for hit in (await find(services, "granite quarry barge", k=100)).hits]
    assert not any("Granite" in text and "## " not in text for text in texts)
    assert any("Herring" in text for text in texts)


async def test_removed_files_go_only_when_asked(services: Services, folder: Path) -> None:
    await add(services, folder)
    (folder / "b.txt").unlink()
    assert (await add(services, folder)).documents.removed == 0
    assert "b.txt" in await uris(services)
    report = await add(services, folder, prune=True)
    assert report.documents.removed == 1
    assert await uris(services) == {"a.md", "c.md"}


async def test_a_missing_root_prunes_nothing(services: Services, folder: Path) -> None:
    await add(services, folder)
    folder.rename(folder.with_name("elsewhere"))
    report = await add(services, folder, prune=True)
    assert (report.documents.removed, report.documents.failed) == (0, 1)
    assert await uris(services) == {"a.md", "b.txt", "c.md"}


async def test_equal_texts_are_embedded_once(services: Services, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.txt").write_text(PARAGRAPHS[0] * 4, encoding="utf-8")
    first = await add(services, tmp_path / "one.txt", tmp_path / "two.txt")
    assert (first.chunks.embedded, first.chunks.reused) == (1, 1)
    second = await add(services, tmp_path / "three.txt")
    assert (second.chunks.embedded, second.chunks.reused) == (0, 1)
    hits = (await find(services, PARAGRAPHS[0])).hits
    assert len({hit.score for hit in hits}) == 1
    assert {hit.run_id for hit in hits} == {first.run_id}


async def test_one_bad_file_does_not_stop_the_rest(services: Services, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing of the kind")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "nul.txt").write_bytes(b"a\x00b")
    report = await add(services, folder)
    assert (report.documents.added, report.documents.failed) == (3, 2)
    assert report.skipped == {"empty": 1}
    reasons = {Path(failure.source).name: failure.reason for failure in report.errors}
    assert reasons.keys() == {"broken.pdf", "nul.txt"}
    assert all(reason and "\n" not in reason for reason in reasons.values())
    async with transaction(services.engine) as connection:
        run = await runs.get(connection, report.run_id)
        kept = await runs.errors(connection, report.run_id)
    assert run.status is RunStatus.PARTIAL
    assert list(kept) == list(report.errors)


async def test_a_file_that_breaks_keeps_its_last_good_form(
    services: Services, folder: Path
) -> None:
    await add(services, folder)
    (folder / "b.txt").write_bytes(b"")
    assert (await add(services, folder, prune=True)).documents.failed == 1
    assert "b.txt" in await uris(services)
    # Still failing at the next run: a failure is not forgotten because it was reported once.
    assert (await add(services, folder)).documents.failed == 1
    (folder / "b.txt").write_text("Good again.", encoding="utf-8")
    assert (await add(services, folder)).documents.updated == 1


async def test_records_of_a_file_come_and_go(services: Services, tmp_path: Path) -> None:
    file = tmp_path / "people.jsonl"

    def write(*rows: dict[str, object]) -> None:
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    ann = {"id": "ann", "text": "Ann repairs clocks.", "year": 1990}
    bob = {"id": "bob", "text": "Bob breeds horses.", "year": 2005}
    cid = {"id": "cid", "text": "Cid paints doors.", "year": 2020}
    write(ann, bob)
    assert (await add(services, file)).documents.added == 2
    write(ann, {**bob, "text": "Bob breeds sheep."}, cid)
    report = await add(services, file)
    assert (report.documents.added, report.documents.updated, report.documents.unchanged) == (
        1,
        1,
        1,
    )
    write(cid)
    report = await add(services, file)
    assert (report.documents.removed, report.documents.unchanged) == (2, 1)
    found = (await find(services, "doors", filters=["meta.year>=2010"])).hits
    assert [hit.document.uri.rpartition("#")[2] for hit in found] == ["cid"]


async def test_changed_metadata_reaches_the_filters(services: Services, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("id,text,colour\n1,A quiet room,red\n", encoding="utf-8")
    await add(services, file)
    file.write_text("id,text,colour\n1,A quiet room,blue\n", encoding="utf-8")
    report = await add(services, file)
    assert (report.documents.updated, report.chunks.embedded) == (1, 0)
    assert not (await find(services, "room", filters=["meta.colour=red"])).hits
    assert (await find(services, "room", filters=["meta.colour=blue"])).hits


async def test_remove_takes_a_file_or_a_folder(services: Services, folder: Path) -> None:
    await add(services, folder)
    await remove(services, sources=[str(folder / "b.txt")], collection="default")
    assert await uris(services) == {"a.md", "c.md"}
    with pytest.raises(NotFoundError, match="no source"):
        await remove(services, sources=[str(folder / "b.txt")], collection="default")
    report = await remove(services, sources=[str(folder)], collection="default")
    assert report.documents.removed == 2
    assert await uris(services) == set()
    with connect(address(services)) as raw:
        for table in ("documents", "chunks", "vector_records", "sources"):
            row = raw.execute(f"SELECT count(*) AS n FROM {table}").fetchone()
            assert row == {"n": 0}, table


async def test_two_ingests_at_once_end_as_one_after_the_other(
    services: Services, folder: Path
) -> None:
    both = await asyncio.gather(add(services, folder), add(services, folder))
    assert sorted(report.documents.added for report in both) == [0, 3]
    assert sorted(report.documents.unchanged for report in both) == [0, 3]


async def test_facets_count_documents(services: Services, folder: Path) -> None:
    await add(services, folder)
    async with transaction(services.engine) as connection:
        collection = await collections.get(connection, "default")
    facets = await Counter(services.engine).facets(collection, [], ["type", "folder"])
    assert facets["type"] == {"markdown": 2, "text": 1}
    assert facets["folder"] == {"docs": 3, "docs/deep": 1}


class Swapped(Embedder):
    """The hashing embedder until ``after`` requests, then another model of the same size."""

    spec = "hashing:64"
    batch_size = 16

    def __init__(self, after: int = 0) -> None:
        self._real = HashingEmbedder("64")
        self._left = after

    async def describe(self) -> ModelIdentity:
        return await self._real.describe()

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        vectors = await self._real.embed(texts, kind)
        self._left -= 1
        return vectors if self._left >= 0 else np.ascontiguousarray(vectors[:, ::-1])

    def text_sent(self, text: str, kind: Kind) -> str:
        return self._real.text_sent(text, kind)


async def test_another_model_of_the_same_size_is_refused(services: Services, folder: Path) -> None:
    await add(services, folder)
    before = dump(address(services))
    (folder / "d.txt").write_text("Something new.", encoding="utf-8")
    services._embedders["hashing:64"] = Swapped()
    with pytest.raises(ModelMismatchError) as caught:
        await add(services, folder)
    message = str(caught.value)
    assert "lowest canary cosine" in message
    assert "hashing" in message
    assert "ingest reindex --collection" in message
    after = dump(address(services))
    assert (after["vectors"], after["records"]) == (before["vectors"], before["records"])
    assert [chunk for chunk in after["chunks"] if chunk["state"] == "live"] == before["chunks"]


async def test_a_model_that_changes_in_mid_run_leaves_nothing_visible(
    services: Services, folder: Path
) -> None:
    await add(services, folder / "b.txt")
    before = await uris(services)
    services._embedders["hashing:64"] = Swapped(after=13)
    with pytest.raises(ModelMismatchError):
        await add(services, folder)
    services._embedders.clear()
    assert await uris(services) == before
    found = dump(address(services))
    assert len(found["vectors"]) == len(found["records"]) == 1
    # The next run, with the right model again, finishes the work.
    report = await add(services, folder)
    assert report.documents.added == 2
    assert await uris(services) == {"a.md", "b.txt", "c.md"}


async def test_queries_of_another_model_are_refused(services: Services, folder: Path) -> None:
    await add(services, folder)
    services._embedders["hashing:64"] = Swapped()
    with pytest.raises(ModelMismatchError):
        await services.searcher.search(SearchRequest(query="never asked before", mode="semantic"))
    # Words are still words.
    result = await find(services, "never asked for a concert")
    assert [notice.kind for notice in result.notices] == ["not_semantic"]
    assert {name for hit in result.hits for name in hit.scores} == {"bm25"}


class Failing(Swapped):
    """The hashing embedder until ``after`` requests, then nobody answers."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        if self._left <= 0:
            raise EmbedderUnavailableError("no answer from the embedder")
        return await super().embed(texts, kind)


async def test_an_embedder_that_goes_away_loses_nothing(services: Services, folder: Path) -> None:
    await add(services, folder / "b.txt")
    services._embedders["hashing:64"] = Failing(after=13)
    with pytest.raises(EmbedderUnavailableError):
        await add(services, folder)
    async with transaction(services.engine) as connection:
        run = (await runs.listing(connection))[0]
    assert run.status is RunStatus.FAILED
    assert run.reason == "no answer from the embedder"
    services._embedders.clear()
    assert await uris(services) == {"b.txt"}
    # Another folder is ingested next, and what was left of this one is finished on the way.
    other = folder.with_name("other.txt")
    other.write_text("Another document.", encoding="utf-8")
    report = await add(services, other)
    assert report.documents.added == 3
    assert await uris(services) == {"a.md", "b.txt", "c.md", "other.txt"}


async def test_the_same_model_under_two_collections_is_one_version(
    services: Services, folder: Path
) -> None:
    for name in ("first", "second"):
        await ingest(services, IngestRequest(arguments=[str(folder)], collection=name))
    async with transaction(services.engine) as connection:
        known = await models.listing(connection)
    assert len(known) == 1


async def test_another_embedder_makes_another_version(services: Services, folder: Path) -> None:
    await add(services, folder)
    await ingest(
        services,
        IngestRequest(arguments=[str(folder)], collection="wide", embedder="hashing:128"),
    )
    async with transaction(services.engine) as connection:
        known = await models.listing(connection)
    assert [version.identity.dimensions for version in known] == [64, 128]
    # Also where nothing is to be embedded: what was asked for is not what the index has.
    with pytest.raises(ModelMismatchError, match="128 dimensions instead of 64"):
        await ingest(services, IngestRequest(arguments=[str(folder)], embedder="hashing:128"))


async def test_a_nameless_collection_is_refused(services: Services, folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="printable"):
        await ingest(services, IngestRequest(arguments=[str(folder)], collection=" "))


async def test_a_path_beyond_what_an_index_takes_is_one_failure(
    services: Services, tmp_path: Path
) -> None:
    deep = tmp_path / "deep"
    inner = deep
    for _ in range(14):
        inner /= "d" * 200
    # In steps, because one call takes no path of this length.
    for part in (deep, *reversed(inner.relative_to(deep).parents)):
        (deep / part).mkdir(exist_ok=True)
    inner.mkdir()
    (inner / "far.txt").write_text("Far down.", encoding="utf-8")
    (deep / "near.txt").write_text("Near the top.", encoding="utf-8")
    report = await add(services, deep)
    assert (report.documents.added, report.documents.failed) == (1, 1)
    assert "at most 2,500" in report.errors[0].reason


async def test_a_table_is_finished_with_the_columns_it_was_begun_with(
    services: Services, tmp_path: Path
) -> None:
    folder = tmp_path / "papers" / "deep"
    folder.mkdir(parents=True)
    table = folder / "table.csv"
    table.write_text("id,story,note\n1,The fox sleeps.,x\n2,The owl wakes.,y\n", encoding="utf-8")
    chosen = IngestRequest(
        arguments=[str(tmp_path / "papers")], load=LoadOptions(text_fields=("story",))
    )
    services._embedders["hashing:64"] = Failing(after=37)
    with pytest.raises(EmbedderUnavailableError):
        await ingest(services, chosen)
    services._embedders.clear()
    other = tmp_path / "other.txt"
    other.write_text("Another document.", encoding="utf-8")
    report = await add(services, other)
    assert (report.documents.added, report.documents.failed) == (3, 0)
    found = (await find(services, "fox owl", filters=["folder=papers/deep"])).hits
    assert {hit.text for hit in found} == {"The fox sleeps.", "The owl wakes."}


async def test_going_back_after_a_cut_leaves_nothing_behind(
    services: Services, tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    first = "id,text,colour\n1,A quiet room,red\n"
    table.write_text(first, encoding="utf-8")
    await add(services, table)
    before = dump(address(services))
    table.write_text("id,text,colour\n1,A loud room,blue\n", encoding="utf-8")
    # Cut short after the vectors are in the store and before the catalog knows.
    services._embedders["hashing:64"] = HashingEmbedder("64")
    store = services.store("pgvector")
    real = store.upsert

    async def cut(*arguments: Any) -> None:
        await real(*arguments)
        raise StoreUnavailableError("cut")

    store.upsert = cut  # type: ignore[method-assign, assignment] # the fault
    with pytest.raises(StoreUnavailableError):
        await add(services, table)
    store.upsert = real  # type: ignore[method-assign] # and its end
    table.write_text(first, encoding="utf-8")
    await add(services, table)
    assert dump(address(services)) == before
    assert (await find(services, "room", filters=["meta.colour=red"])).hits


async def test_a_file_added_again_by_itself_keeps_its_folder(
    services: Services, folder: Path
) -> None:
    inner = folder / "deep" / "c.md"
    await add(services, inner)
    await add(services, folder)
    assert (await find(services, "orchestra", filters=["folder=docs/deep"])).hits
    inner.write_text(page(PARAGRAPHS[0], title="Concert"), encoding="utf-8")
    await add(services, inner)
    assert (await find(services, "lighthouse", filters=["folder=docs/deep"])).hits


async def test_a_record_and_a_file_of_one_name_do_not_meet(
    services: Services, tmp_path: Path
) -> None:
    (tmp_path / "d.csv").write_text("id,text\n1.md,From the table\n", encoding="utf-8")
    (tmp_path / "d.csv#1.md").write_text("From the file", encoding="utf-8")
    for _ in range(2):
        report = await add(services, tmp_path)
        assert report.documents.failed == 1
        assert "record of another file" in report.errors[0].reason


async def test_a_lost_lock_stops_the_run(services: Services, folder: Path) -> None:
    await add(services, folder / "b.txt")
    (folder / "b.txt").write_text("Changed.", encoding="utf-8")

    class Thief(Swapped):
        async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
            with connect(address(services)) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                )
            return await HashingEmbedder("64").embed(texts, kind)

    services._embedders["hashing:64"] = Thief()
    with pytest.raises(CatalogUnavailableError):
        await add(services, folder)
    services._embedders.clear()
    assert (await add(services, folder)).documents.failed == 0
