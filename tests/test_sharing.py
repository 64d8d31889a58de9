"""One ingest shared by several workers, in one process: each takes parts, all make one run."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from ingest import writing
from ingest.pages import Found
from ingest.pipeline import IngestRequest, ingest, retry
from ingest.report import IngestReport
from ingest.sharing import (
    PART_BYTES,
    PART_SOURCES,
    Aside,
    Assignment,
    Helped,
    help_with,
    in_parts,
)
from ingest.types import LoadOptions, PageRef, Skipped, SourceRef
from search_app import jobs
from search_app.bootstrap import Services, open_services
from search_app.catalog import collections, locks, parts, runs
from search_app.catalog.engine import transaction
from search_app.config import load_settings
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import EmbedderUnavailableError, SourceError
from search_app.types import Failure, Kind, Matrix, Run, RunStatus
from tests.catalog_dump import connect, differences, dump
from tests.conftest import Clone

FILES = 300
QUEUE = "documents"


def write(folder: Path, *, files: int = FILES, bad: Sequence[int] = ()) -> Path:
    """Write small files, of which some cannot be read; the last one holds many records."""
    folder.mkdir(exist_ok=True)
    for number in range(files):
        body = f"# Light {number}\n\nThe keeper of light {number} saw {number * 7} ships."
        if number in bad:
            (folder / f"{number:04}.jsonl").write_text("{broken", encoding="utf-8")
        else:
            (folder / f"{number:04}.md").write_text(body, encoding="utf-8")
    rows = [json.dumps({"id": row, "text": f"Row {row} of the log."}) for row in range(90)]
    (folder / "z.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder


def address(services: Services) -> str:
    assert services.settings.database_url is not None
    return services.settings.database_url.get_secret_value()


async def assignments(services: Services) -> list[Assignment]:
    """Read what helpers are asked for, as a worker does that fetches their jobs."""
    async with transaction(services.engine) as connection:
        rows = await connection.execute(
            text("SELECT args FROM procrastinate_jobs WHERE task_name = 'part' ORDER BY id")
        )
        found = [row.args for row in rows]
    return [
        Assignment(
            run_id=UUID(args["run"]),
            collection=args["collection"],
            queue=QUEUE,
            load=LoadOptions().with_kept(args["load"]),
            force=args["force"],
            as_before=args["as_before"],
            embedder=args["embedder"],
        )
        for args in found
    ]


async def asked(services: Services) -> Assignment:
    """Wait until helpers are asked for."""
    while True:
        if found := await assignments(services):
            return found[0]
        await asyncio.sleep(0.01)


async def never() -> bool:
    return False


@asynccontextmanager
async def colleague(services: Services) -> AsyncIterator[Services]:
    """Open the services of another worker on the same database."""
    async with open_services(services.settings) as opened:
        yield opened


async def share(
    services: Services, folder: Path, *helpers: Services, **more: object
) -> IngestReport:
    """Ingest a folder as a job does, while others help."""
    request = IngestRequest(arguments=[str(folder)], **more)  # type: ignore[arg-type] # as written below
    running = asyncio.create_task(ingest(services, request, queue=QUEUE))
    helping = [asyncio.create_task(help_out(services, other)) for other in helpers]
    report = await running
    await asyncio.gather(*helping)
    return report


async def help_out(services: Services, other: Services) -> Helped:
    return await help_with(other, await asked(services), never)


async def shares_of(services: Services, report: IngestReport) -> list[Run]:
    async with transaction(services.engine) as connection:
        return await runs.parts(connection, report.run_id)


async def run_of(services: Services, report: IngestReport) -> Run:
    async with transaction(services.engine) as connection:
        return await runs.get(connection, report.run_id)


async def left(services: Services) -> int:
    """Count parts, open runs and jobs that nobody needs any more."""
    async with transaction(services.engine) as connection:
        number = await connection.scalar(
            text(
                "SELECT (SELECT count(*) FROM run_parts) + "
                "(SELECT count(*) FROM runs WHERE status = 'running') + "
                "(SELECT count(*) FROM procrastinate_jobs)"
            )
        )
    return number or 0


async def undisturbed(
    clone: Clone, services: Services, folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """Ingest the folder by one process into a database of its own."""
    url = clone()
    settings = load_settings(
        DATABASE_URL=url,
        data_dir=services.settings.data_dir,
        embedder=services.settings.embedder,
    )
    async with open_services(settings) as alone:
        await ingest(alone, IngestRequest(arguments=[str(folder)]))
    return dump(url)


# --- Parts ------------------------------------------------------------------------------------


def source(number: int, size: int) -> SourceRef:
    path = Path(f"/f/{number}.md")
    return SourceRef(uri=str(path), path=path, name=path.name, root="/f", size=size, mtime_ns=0)


@given(
    st.lists(st.one_of(st.integers(0, 2 * PART_BYTES), st.sampled_from(["page", "skip", "bad"])))
)
def test_every_file_is_in_one_part_and_all_else_is_aside(found: list[int | str]) -> None:
    items: list[Found] = []
    for number, what in enumerate(found):
        match what:
            case int():
                items.append(source(number, what))
            case "page":
                items.append(PageRef(uri=f"https://e.org/{number}", root="https://e.org"))
            case "skip":
                items.append(Skipped(uri=f"/f/{number}", kind=".png"))
            case _:
                items.append(SourceError(f"/f/{number}", "no"))
    aside = Aside()
    made = list(in_parts(items, aside))
    assert [ref for part in made for ref in part] == [
        item for item in items if isinstance(item, SourceRef)
    ]
    for part in made:
        assert 1 <= len(part) <= PART_SOURCES
        assert len(part) == 1 or sum(ref.size for ref in part) <= PART_BYTES
    assert aside.skipped[".png"] == sum(isinstance(item, Skipped) for item in items)
    assert aside.others == [item for item in items if isinstance(item, PageRef | SourceError)]


# --- Sharing ----------------------------------------------------------------------------------


async def test_many_share_an_ingest_and_it_is_as_if_one_had_done_it(
    services: Services, clone: Clone, tmp_path: Path
) -> None:
    folder = write(tmp_path / "papers", bad=(3, 150, 290))
    async with colleague(services) as one, colleague(services) as two:
        report = await share(services, folder, one, two)
    expected = await undisturbed(clone, services, folder)
    assert differences(dump(address(services)), expected) == []
    assert (report.documents.added, report.documents.failed) == (FILES - 3 + 90, 3)
    assert report.documents.unchanged == 0
    assert sorted(Path(failure.source).name for failure in report.errors) == [
        "0003.jsonl#1",
        "0150.jsonl#1",
        "0290.jsonl#1",
    ]
    run = await run_of(services, report)
    assert run.status is RunStatus.PARTIAL
    assert run.errors == 3
    assert run.progress["sources_read"] == run.progress["sources_found"] == FILES + 1
    assert (
        run.progress["chunks_written"] == run.progress["chunks_planned"] == report.chunks.embedded
    )
    shares = await shares_of(services, report)
    assert len(shares) == 3
    for share_of_one in shares:
        assert share_of_one.counts["documents"]["added"] > 0
    # Getting to know the model, and what was not shared, is the run's own.
    own = sum(share_of_one.counts["sent"]["tokens"] for share_of_one in shares)
    assert report.sent.tokens == run.counts["sent"]["tokens"] > own > 0
    assert report.sent.texts >= report.chunks.embedded
    assert await left(services) == 0
    async with transaction(services.engine) as connection:
        assert [found.id for found in await runs.listing(connection)] == [report.run_id]


async def test_who_keeps_to_a_budget_works_alone(services: Services, tmp_path: Path) -> None:
    folder = write(tmp_path / "papers")
    report = await share(services, folder, budget=1.0)
    assert (report.stopped, report.documents.failed) == (None, 0)
    assert await shares_of(services, report) == []


async def test_few_files_are_not_shared(services: Services, tmp_path: Path) -> None:
    folder = write(tmp_path / "papers", files=PART_SOURCES - 1)
    report = await share(services, folder)
    assert report.documents.added == PART_SOURCES - 1 + 90
    assert await shares_of(services, report) == []
    assert (await run_of(services, report)).progress["sources_found"] == PART_SOURCES


async def test_what_is_unchanged_is_counted_once_and_what_is_gone_is_pruned_once(
    services: Services, tmp_path: Path
) -> None:
    folder = write(tmp_path / "papers")
    await share(services, folder)
    for number in (0, 100, 299):
        (folder / f"{number:04}.md").unlink()
    (folder / "0001.md").write_text("# Anew\n\nAnother text.", encoding="utf-8")
    await execute(services, "DELETE FROM procrastinate_jobs")
    async with colleague(services) as other:
        report = await share(services, folder, other, prune=True)
    counted = report.documents
    assert (counted.added, counted.updated, counted.removed) == (0, 1, 3)
    assert counted.unchanged == FILES - 4 + 1


async def execute(services: Services, statement: str, **values: object) -> None:
    async with transaction(services.engine) as connection:
        await connection.execute(text(statement), values)


async def test_a_part_of_somebody_who_died_is_done_by_others_and_counted_once(
    services: Services, clone: Clone, tmp_path: Path
) -> None:
    folder = write(tmp_path / "papers", bad=(10, 200))
    async with colleague(services) as dying, colleague(services) as living:
        request = IngestRequest(arguments=[str(folder)])
        running = asyncio.create_task(ingest(services, request, queue=QUEUE))
        helping = asyncio.create_task(help_out(services, dying))
        await both_have_some(services)
        # The connection goes, and with it all that says that somebody is there.
        helping.cancel()
        with suppress(asyncio.CancelledError):
            await helping
        again = asyncio.create_task(help_out(services, living))
        report = await running
        await again
    expected = await undisturbed(clone, services, folder)
    assert differences(dump(address(services)), expected) == []
    assert (report.documents.added, report.documents.unchanged) == (FILES - 2 + 90, 0)
    assert (report.documents.failed, len(report.errors)) == (2, 2)
    assert await left(services) == 0


async def both_have_some(services: Services) -> None:
    """Wait until two take part, and both have documents in."""
    some = text(
        "SELECT count(*) FROM runs WHERE part_of IS NOT NULL "
        "AND CAST(counts->'documents'->>'added' AS int) > 0"
    )
    while True:
        async with transaction(services.engine) as connection:
            if (await connection.scalar(some) or 0) > 1:
                return
        await asyncio.sleep(0.005)


async def test_parts_that_a_dead_worker_holds_are_free_again(
    services: Services, tmp_path: Path
) -> None:
    folder = write(tmp_path / "papers")
    running = asyncio.create_task(
        ingest(services, IngestRequest(arguments=[str(folder)]), queue=QUEUE)
    )
    assignment = await asked(services)
    ghost = uuid4()
    async with transaction(services.engine) as connection:
        assert await parts.claim(connection, assignment.run_id, ghost) is not None
    report = await running
    assert report.documents.added == FILES + 90


class Broken(HashingEmbedder):
    """Answers canaries and no documents."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        if any("keeper" in each or "Row" in each for each in texts):
            raise EmbedderUnavailableError("the network of this worker is down")
        return await super().embed(texts, kind)


async def test_what_a_helper_cannot_do_the_others_do(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "papers")
    async with colleague(services) as other:
        monkeypatch.setattr(other, "embedder", lambda _: Broken(64))
        running = asyncio.create_task(
            ingest(services, IngestRequest(arguments=[str(folder)]), queue=QUEUE)
        )
        with pytest.raises(EmbedderUnavailableError, match="network of this worker"):
            await help_out(services, other)
        report = await running
    assert report.documents.added == FILES + 90
    failed = [run for run in await shares_of(services, report) if run.status is RunStatus.FAILED]
    assert [run.reason for run in failed] == ["the network of this worker is down"]
    assert (await run_of(services, report)).status is RunStatus.SUCCEEDED


async def test_a_run_whose_embedder_is_away_fails_and_its_helpers_stop(
    services: Services, clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "papers")
    with monkeypatch.context() as away:
        away.setattr(services, "embedder", lambda _: Broken(64))
        with pytest.raises(EmbedderUnavailableError):
            await share(services, folder)
    async with colleague(services) as other:
        assert (await help_out_late(services, other)).counts.documents.added == 0
    assert await left(services) == 0
    report = await share(services, folder)
    assert report.documents.added + report.documents.unchanged == FILES + 90
    assert differences(dump(address(services)), await undisturbed(clone, services, folder)) == []


async def help_out_late(services: Services, other: Services) -> Helped:
    async with transaction(services.engine) as connection:
        run_id = await connection.scalar(text("SELECT id FROM runs WHERE part_of IS NULL"))
    assignment = Assignment(
        run_id=run_id, collection="default", queue=QUEUE, load=LoadOptions(), as_before=False
    )
    return await help_with(other, assignment, never)


async def test_whoever_writes_next_waits_for_helpers_of_a_run_that_died_and_they_stop(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "papers", files=900)
    monkeypatch.setattr(writing, "SEGMENT", 64)
    async with colleague(services) as leading, colleague(services) as other:
        running = asyncio.create_task(
            ingest(leading, IngestRequest(arguments=[str(folder)]), queue=QUEUE)
        )
        helping = asyncio.create_task(help_out(services, other))
        await both_have_some(services)
        async with transaction(services.engine) as connection:
            collection = await collections.get(connection, "default")
            # As if the process were gone: its lock is.
            await connection.execute(text(END_LOCK), {"key": collection.id.int >> 64 & 2**63 - 1})
        async with locks.writing(services.engine, collection, lambda: None):
            before = dump(address(services))
            await asyncio.sleep(0.5)
            assert dump(address(services)) == before
        assert (await helping).parts_left == 0
        with pytest.raises(Exception, match=r"database|ended by somebody else"):
            await running
    async with transaction(services.engine) as connection:
        assert {run.status for run in await runs.listing(connection)} <= {
            RunStatus.INTERRUPTED,
            RunStatus.FAILED,
        }
    report = await ingest(services, IngestRequest(arguments=[str(folder)]))
    assert report.documents.added + report.documents.unchanged == 900 + 90


END_LOCK = """
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND (CAST(classid AS bigint) << 32 | CAST(objid AS bigint)) = :key
        AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def test_two_sources_that_have_a_document_of_one_name_are_not_mixed(
    services: Services, tmp_path: Path
) -> None:
    folder = tmp_path / "papers"
    write(folder)
    # The record with the key 1 of a table, and a file that is called so; in parts far apart.
    (folder / "aa.jsonl").write_text('{"id": "1.md", "text": "A record."}', encoding="utf-8")
    (folder / "aa.jsonl#1.md").write_text("A file.", encoding="utf-8")
    async with colleague(services) as other:
        report = await share(services, folder, other)
    assert [failure.reason for failure in report.errors] == [
        "its name is that of a record of another file; rename it"
    ]
    with connect(address(services)) as connection:
        rows = connection.execute(
            "SELECT documents.state, sources.uri AS source, chunks.text FROM documents "
            "JOIN sources ON sources.id = documents.source_id "
            "JOIN chunks ON chunks.document_id = documents.id WHERE documents.uri LIKE '%%#1.md'"
        ).fetchall()
    assert len(rows) == 1
    assert rows[0]["state"] == "indexed"
    assert rows[0]["text"].strip() == (
        "A record." if rows[0]["source"].endswith(".jsonl") else "A file."
    )


async def test_a_retry_is_shared_too(services: Services, tmp_path: Path) -> None:
    bad = range(0, FILES, 2)
    folder = write(tmp_path / "papers", bad=bad)
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    for number in bad:
        (folder / f"{number:04}.jsonl").write_text(json.dumps({"text": f"Mended {number}"}))
    running = asyncio.create_task(retry(services, collection="default", queue=QUEUE))
    async with colleague(services) as other:
        await help_out(services, other)
    report = await running
    assert (report.documents.added, report.documents.failed) == (len(bad), 0)
    assert len(await shares_of(services, report)) == 2


async def test_a_helper_gives_way_to_other_work(services: Services, tmp_path: Path) -> None:
    folder = write(tmp_path / "papers", files=900)
    running = asyncio.create_task(
        ingest(services, IngestRequest(arguments=[str(folder)]), queue=QUEUE)
    )
    assignment = await asked(services)
    assert not await jobs.others_wait(services.engine, [QUEUE])
    await jobs.enqueue_ingest(services.engine, collection="other", arguments=["/x"])
    assert await jobs.others_wait(services.engine, [QUEUE])
    assert not await jobs.others_wait(services.engine, ["another"])
    times = iter([False, True])

    async def give_way() -> bool:
        return next(times)

    async with colleague(services) as other:
        helped = await help_with(other, assignment, give_way)
    assert helped.counts.documents.added == PART_SOURCES
    assert helped.parts_left > 0
    assert (await running).documents.added == 900 + 90


# --- Sums -------------------------------------------------------------------------------------


async def test_failures_of_workers_are_gathered_once_each(
    services: Services, tmp_path: Path
) -> None:
    report = await share(services, write(tmp_path / "papers", files=3))
    async with transaction(services.engine) as connection:
        collection = await collections.get(connection, "default")

        async def begin(part_of: UUID | None) -> UUID:
            return await runs.start(
                connection,
                kind="ingest",
                collection=collection,
                configuration={},
                code_version="1",
                library_versions={},
                part_of=part_of,
            )

        run_id = await begin(None)
        first, second = await begin(run_id), await begin(run_id)
        same = Failure(source="/a", reason="broken")
        await runs.add_errors(connection, run_id, 0, [Failure(source="/own", reason="x")])
        await runs.add_errors(connection, first, 0, [same, Failure(source="/b", reason="y")])
        assert await parts.gather_errors(connection, run_id) == 2
        await runs.add_errors(connection, second, 0, [same, Failure(source="/a", reason="z")])
        assert await parts.gather_errors(connection, run_id) == 3
        assert await parts.gather_errors(connection, run_id) == 3
        found = [(each.source, each.reason) for each in await runs.errors(connection, run_id)]
        assert found == [("/own", "x"), ("/a", "broken"), ("/b", "y"), ("/a", "z")]
        assert await runs.errors(connection, first) == []
        assert (await runs.get(connection, report.run_id)).errors == 0
