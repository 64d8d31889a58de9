"""The queue as those see it who ask for work, and collections that are deleted and renamed."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from ingest.deletion import delete_collection
from ingest.pipeline import IngestRequest, ingest, remove, retry
from ingest.report import IngestReport
from ingest.tasks import LONGEST_PAUSE_S, pause_before_retry
from search_app import jobs
from search_app.bootstrap import Services
from search_app.catalog import collections, locks, migrate, overview, runs
from search_app.catalog.engine import transaction
from search_app.errors import (
    CatalogUnavailableError,
    EmbedderUnavailableError,
    InvalidInputError,
    ModelMismatchError,
    NotFoundError,
    StoreUnavailableError,
)
from search_app.jobs import JobStatus
from search_app.jobs.types import MOST_ATTEMPTS
from search_app.jobs.upkeep import forget_old, note_failure, take_over
from search_app.retrieval import SearchRequest
from search_app.types import Collection, RunStatus
from search_app.uploads import upload_folder
from tests.catalog_dump import connect


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "a.md").write_text("# A\n\nThe keeper lights the lamp.", encoding="utf-8")
    (folder / "b.md").write_text("# B\n\nThe ship comes home.", encoding="utf-8")
    return folder


async def add(services: Services, *paths: Path, to: str = "default") -> IngestReport:
    arguments = [str(path) for path in paths]
    return await ingest(services, IngestRequest(arguments=arguments, collection=to))


async def names(services: Services) -> list[str]:
    async with transaction(services.engine) as connection:
        return [found.name for found in await overview.collection_names(connection)]


async def execute(services: Services, statement: str, **values: object) -> None:
    async with transaction(services.engine) as connection:
        await connection.execute(text(statement), values)


async def tables_of_vectors(services: Services) -> int:
    async with transaction(services.engine) as connection:
        found = await connection.scalar(
            text("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'vectors'")
        )
    return found or 0


# --- Asking -----------------------------------------------------------------------------------


async def test_what_is_asked_for_waits_and_says_everything(services: Services) -> None:
    engine = services.engine
    job = await jobs.enqueue_ingest(
        engine, collection="日本", arguments=["/a", "https://example.org/b"], force=True
    )
    assert (job.kind, job.collection, job.status) == ("ingest", "日本", JobStatus.WAITING)
    assert list(job.arguments) == ["/a", "https://example.org/b"]
    assert (job.force, job.prune, job.ended, job.attempts) == (True, False, False, 0)
    assert (job.run_id, job.counts, job.progress, job.reason) == (None, {}, {}, None)
    assert await jobs.get(engine, job.id) == job
    assert await jobs.listing(engine, collection="日本") == [job]
    assert await jobs.listing(engine, collection="other") == []
    assert not await jobs.worker_alive(engine)


async def test_the_same_wish_twice_is_one_job_while_it_waits(services: Services) -> None:
    engine = services.engine
    wish = {"collection": "a", "arguments": ["/x"]}
    first, second = await asyncio.gather(
        *(jobs.enqueue_ingest(engine, **wish) for _ in range(2))  # type: ignore[arg-type] # as written above
    )
    assert first.id == second.id
    other = await jobs.enqueue_ingest(engine, collection="a", arguments=["/x"], force=True)
    assert other.id != first.id
    await execute(
        services, "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = :id", id=first.id
    )
    # What runs may have passed by what changed since.
    assert (await jobs.enqueue_ingest(engine, collection="a", arguments=["/x"])).id > other.id


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing is named"),
        (["relative/path"], "relative"),
        ([""], "relative"),
        (["/a\0b"], "NUL"),
        (["/\ud800"], "surrogate"),
        (["/a", "https://me:hunter2@example.org/"], "^an address has a name or password"),
    ],
)
async def test_what_no_worker_could_do_is_refused(
    services: Services, arguments: Sequence[str], said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        await jobs.enqueue_ingest(services.engine, collection="a", arguments=arguments)
    with pytest.raises(InvalidInputError):
        await jobs.enqueue_ingest(services.engine, collection="", arguments=["/a"])
    assert await jobs.listing(services.engine) == []


async def test_only_an_ingest_may_name_a_new_collection(services: Services) -> None:
    engine = services.engine
    with pytest.raises(NotFoundError):
        await jobs.enqueue_retry(engine, collection="new")
    with pytest.raises(NotFoundError):
        await jobs.enqueue_remove(engine, collection="new", sources=["/a"])
    with pytest.raises(NotFoundError):
        await jobs.enqueue_delete(engine, collection="new")
    for job_id in (1, 0, -1, 2**63):
        with pytest.raises(NotFoundError):
            await jobs.get(engine, job_id)


async def test_a_job_can_be_taken_back_once(services: Services) -> None:
    job = await jobs.enqueue_ingest(services.engine, collection="a", arguments=["/x"])
    cancelled = await jobs.cancel(services.engine, job.id)
    assert (cancelled.status, cancelled.ended) == (JobStatus.CANCELLED, True)
    with pytest.raises(InvalidInputError, match="has ended"):
        await jobs.cancel(services.engine, job.id)


# --- Upkeep -----------------------------------------------------------------------------------


async def test_the_job_of_a_dead_worker_is_taken_over_until_it_was_begun_too_often(
    services: Services,
) -> None:
    engine = services.engine
    job = await jobs.enqueue_ingest(engine, collection="a", arguments=["/x"])
    await execute(services, "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now())")
    doing = (
        "UPDATE procrastinate_jobs SET status = 'doing', "
        "worker_id = (SELECT id FROM procrastinate_workers)"
    )
    await execute(services, doing)
    async with transaction(engine) as connection:
        assert await take_over(connection) == []
    assert (await jobs.get(engine, job.id)).status is JobStatus.RUNNING
    assert await jobs.worker_alive(engine)

    silent = "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 minute'"
    await execute(services, silent)
    assert not await jobs.worker_alive(engine)
    assert (await jobs.get(engine, job.id)).status is JobStatus.WAITING
    for attempt in range(1, MOST_ATTEMPTS):
        async with transaction(engine) as connection:
            assert [taken.status for taken in await take_over(connection)] == [JobStatus.WAITING]
        assert (await jobs.get(engine, job.id)).attempts == attempt
        await execute(services, doing)
    async with transaction(engine) as connection:
        assert [taken.status for taken in await take_over(connection)] == [JobStatus.FAILED]
    given_up = await jobs.get(engine, job.id)
    assert given_up.status is JobStatus.FAILED
    assert "never ended" in (given_up.reason or "")


async def test_jobs_that_ended_long_ago_are_forgotten(services: Services) -> None:
    engine = services.engine
    old = await jobs.enqueue_ingest(engine, collection="a", arguments=["/old"])
    await jobs.cancel(engine, old.id)
    async with transaction(engine) as connection:
        await note_failure(connection, old.id, "a reason")
    await execute(services, "UPDATE procrastinate_events SET at = now() - interval '31 days'")
    new = await jobs.enqueue_ingest(engine, collection="a", arguments=["/new"])
    async with transaction(engine) as connection:
        await forget_old(connection)
        assert await connection.scalar(text("SELECT count(*) FROM job_failures")) == 0
    assert [job.id for job in await jobs.listing(engine)] == [new.id]


def test_only_what_waiting_may_mend_is_tried_again_and_not_for_ever() -> None:
    for error in (
        CatalogUnavailableError("x"),
        StoreUnavailableError("x"),
        EmbedderUnavailableError("x"),
    ):
        pauses = [pause_before_retry(error, attempts) for attempts in range(MOST_ATTEMPTS)]
        assert pauses[-1] is None
        known = [pause for pause in pauses if pause is not None]
        assert len(known) == MOST_ATTEMPTS - 1
        assert known == sorted(known)
        assert known[-1] == LONGEST_PAUSE_S
    for lasting in (ModelMismatchError("x"), NotFoundError("x"), ValueError("x")):
        assert pause_before_retry(lasting, 0) is None


# --- Retrying and removing --------------------------------------------------------------------


async def test_a_retry_reads_only_what_failed_with_the_options_it_had(
    services: Services, folder: Path
) -> None:
    bad = folder / "rows.jsonl"
    bad.write_text("{broken", encoding="utf-8")
    first = await add(services, folder)
    assert (first.documents.added, first.documents.failed) == (2, 1)
    (folder / "new.md").write_text("# New\n\nNot asked for.", encoding="utf-8")
    bad.write_text('{"text": "The lamp is out."}', encoding="utf-8")
    again = await retry(services, collection="default")
    assert (again.documents.added, again.documents.failed) == (1, 0)
    async with transaction(services.engine) as connection:
        run = await runs.get(connection, again.run_id)
    assert (run.kind, run.status, run.progress["sources_found"]) == ("retry", "succeeded", 1)
    nothing = await retry(services, collection="default")
    assert not any(
        (nothing.documents.added, nothing.documents.updated, nothing.documents.unchanged)
    )


async def test_a_retry_of_what_is_gone_says_so(services: Services, folder: Path) -> None:
    (folder / "bad.pdf").write_bytes(b"%PDF no")
    await add(services, folder)
    (folder / "bad.pdf").unlink()
    report = await retry(services, collection="default")
    assert [failure.reason for failure in report.errors] == [
        "gone since it was last read; ingest rm removes what is left of it"
    ]


async def test_a_forced_ingest_reads_again_and_embeds_nothing_again(
    services: Services, folder: Path
) -> None:
    await add(services, folder)
    request = IngestRequest(arguments=[str(folder)], force=True)
    before = await add(services, folder)
    forced = await ingest(services, request)
    assert before.documents.unchanged == forced.documents.unchanged == 2
    assert (forced.chunks.embedded, forced.chunks.removed) == (0, 0)
    # Only the forced one opens its sources, and so would notice what a new reader makes of them.
    await execute(services, "UPDATE documents SET content_hash = NULL")
    assert (await add(services, folder)).documents.unchanged == 2
    assert (await ingest(services, request)).documents.updated == 2


async def test_several_sources_are_removed_all_or_none(services: Services, folder: Path) -> None:
    await add(services, folder)
    with pytest.raises(NotFoundError, match=r"nope\.md"):
        await remove(
            services,
            sources=[str(folder / "a.md"), str(folder / "nope.md")],
            collection="default",
        )
    report = await remove(
        services, sources=[str(folder / "a.md"), str(folder / "b.md")], collection="default"
    )
    assert report.documents.removed == 2


# --- How a run counts -------------------------------------------------------------------------


async def test_a_run_in_which_everything_failed_counts_as_failed(
    services: Services, folder: Path, tmp_path: Path
) -> None:
    await add(services, folder)
    report = await add(services, tmp_path / "none.md")
    async with transaction(services.engine) as connection:
        run = await runs.get(connection, report.run_id)
    assert run.status is RunStatus.FAILED
    assert "none.md" in (run.reason or "")


async def test_an_ingest_of_nothing_leaves_no_collection(
    services: Services, tmp_path: Path
) -> None:
    (tmp_path / "bad.pdf").write_bytes(b"%PDF no")
    for path in (tmp_path / "none.md", tmp_path / "bad.pdf"):
        report = await add(services, path, to="typo")
        assert await names(services) == []
        async with transaction(services.engine) as connection:
            run = await runs.find(connection, str(report.run_id)[:8])
            assert run.collection == "typo"
            assert len(await runs.errors(connection, run.id)) == 1
    assert await tables_of_vectors(services) == 0
    request = IngestRequest(arguments=[str(tmp_path)], collection="typo", embedder="openai:none")
    with pytest.raises(Exception, match="UNMOVED_OPENAI_BASE_URL"):
        await ingest(services, request)
    assert await names(services) == []


# --- Deleting and renaming --------------------------------------------------------------------


async def test_a_deleted_collection_leaves_nothing_but_its_runs(
    services: Services, folder: Path
) -> None:
    first = await add(services, folder)
    async with transaction(services.engine) as connection:
        collection = await collections.get(connection, "default")
    kept = upload_folder(services.settings, collection.id)
    kept.mkdir(parents=True)
    (kept / "upload.md").write_text("# Up\n\nLoaded.", encoding="utf-8")
    await services.searcher.search(SearchRequest(query="lamp"))
    waiting = await jobs.enqueue_ingest(
        services.engine, collection="default", arguments=[str(folder)]
    )
    deleted = await delete_collection(services, "default", waiting=lambda: None)
    assert (deleted.documents, deleted.indexes) == (2, 1)
    assert await names(services) == []
    assert await tables_of_vectors(services) == 0
    assert not kept.exists()
    assert (folder / "a.md").exists()
    assert (await jobs.get(services.engine, waiting.id)).status is JobStatus.CANCELLED
    async with transaction(services.engine) as connection:
        for table in ("documents", "sources", "chunks", "vector_records", "indexes", "query_log"):
            assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0, table
        run = await runs.get(connection, first.run_id)
        assert (run.collection, run.index_id) == ("default", None)
        assert [found.id for found in await runs.listing(connection, collection="default")]
    again = await add(services, folder)
    assert again.documents.added == 2
    with pytest.raises(NotFoundError):
        await delete_collection(services, "other", waiting=lambda: None)


async def test_vectors_copied_elsewhere_keep_the_run_that_made_them(
    services: Services, folder: Path
) -> None:
    first = await add(services, folder, to="one")
    second = await add(services, folder, to="two")
    assert second.chunks.reused == 2
    await delete_collection(services, "one", waiting=lambda: None)
    hit = (await services.searcher.search(SearchRequest(query="lamp", collection="two"))).hits[0]
    assert hit.run_id == first.run_id
    async with transaction(services.engine) as connection:
        assert (await runs.get(connection, first.run_id)).collection == "one"


async def test_a_deletion_cut_short_hides_the_collection_and_is_finished_later(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(services, folder)
    store = services.store("pgvector")

    async def unreachable(index_id: UUID) -> None:
        raise StoreUnavailableError(f"cannot be reached for {index_id}")

    with monkeypatch.context() as cut:
        cut.setattr(store, "drop", unreachable)
        with pytest.raises(StoreUnavailableError):
            await delete_collection(services, "default", waiting=lambda: None)
    assert await names(services) == []
    with pytest.raises(NotFoundError, match="being deleted"):
        await services.searcher.search(SearchRequest(query="lamp"))
    with pytest.raises(NotFoundError, match="being deleted"):
        await add(services, folder)
    with pytest.raises(NotFoundError, match="being deleted"):
        await jobs.enqueue_ingest(services.engine, collection="default", arguments=["/a"])
    await delete_collection(services, "default", waiting=lambda: None)
    assert await tables_of_vectors(services) == 0
    assert (await add(services, folder)).documents.added == 2


async def test_an_ingest_that_waited_for_a_deletion_begins_anew(
    services: Services, folder: Path
) -> None:
    await add(services, folder)
    async with transaction(services.engine) as connection:
        collection = await collections.get(connection, "default")
    async with locks.writing(services.engine, collection, lambda: None):
        deleting = asyncio.create_task(delete_collection(services, "default", waiting=lambda: None))
        adding = asyncio.create_task(add(services, folder))
        await asyncio.sleep(0.1)
    deleted, added = await asyncio.gather(deleting, adding)
    assert deleted.documents == 2
    # Whichever came first: nothing is lost, and nothing failed.
    assert added.documents.added + added.documents.unchanged == 2
    assert await names(services) in (["default"], [])


async def test_a_renamed_collection_keeps_everything_and_its_name_is_free_again(
    services: Services, folder: Path
) -> None:
    await add(services, folder, to="old")
    waiting = await jobs.enqueue_ingest(services.engine, collection="old", arguments=[str(folder)])
    renamed = await jobs.rename_collection(services.engine, old="old", new="new")
    assert await names(services) == ["new"]
    assert (await jobs.get(services.engine, waiting.id)).collection == "new"
    hits = (await services.searcher.search(SearchRequest(query="lamp", collection="new"))).hits
    assert len(hits) == 2
    assert (await add(services, folder, to="old")).chunks.reused == 2
    async with transaction(services.engine) as connection:
        assert (await collections.get(connection, "old")).id != renamed.id
    assert (await add(services, folder, to="new")).documents.unchanged == 2


async def test_a_rename_waits_for_nobody_and_takes_no_name(
    services: Services, folder: Path
) -> None:
    await add(services, folder, to="one")
    await add(services, folder, to="two")
    with pytest.raises(InvalidInputError, match="already"):
        await jobs.rename_collection(services.engine, old="one", new="two")
    with pytest.raises(InvalidInputError, match="printable"):
        await jobs.rename_collection(services.engine, old="one", new="")
    with pytest.raises(NotFoundError):
        await jobs.rename_collection(services.engine, old="three", new="four")
    async with transaction(services.engine) as connection:
        one: Collection = await collections.get(connection, "one")
    async with locks.writing(services.engine, one, lambda: None):
        with pytest.raises(InvalidInputError, match="is writing"):
            await jobs.rename_collection(services.engine, old="one", new="four")
    await jobs.rename_collection(services.engine, old="one", new="four")


# --- Schema -----------------------------------------------------------------------------------


def test_going_down_leaves_nothing_of_the_queue(database_url: str) -> None:
    migrate.move(database_url, "0002")
    with connect(database_url) as connection:
        for kind, column in (("class", "relname"), ("proc", "proname"), ("type", "typname")):
            left = connection.execute(
                f"SELECT {column} AS name FROM pg_{kind} WHERE {column} LIKE '%procrastinate%'"
            ).fetchall()
            assert left == [], kind
    migrate.move(database_url, "head")
    migrate.check(database_url)
