"""Every night: when it is, that each collection is checked once, and what becomes of bad nights."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from ingest.nightly import check_all, check_for_job
from ingest.pipeline import IngestRequest, ingest
from search_app import jobs
from search_app.bootstrap import Services
from search_app.catalog import checks, collections, indexes
from search_app.catalog.engine import create_engine, reading, transaction
from search_app.config import load_settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.errors import CheckUnderWayError
from search_app.jobs import JobStatus
from search_app.jobs.nightly import Nightly, enqueue_checks, nightly_of
from search_app.web.app import create_app
from tests.catalog_dump import connect
from tests.hook_server import HookServer, hook_server
from tests.worker_process import until, worker

BIN = Path(sys.executable).parent
NIGHTLY = Nightly(cron=f"0 {(datetime.now(UTC).hour + 12) % 24} * * *", timezone="UTC")
"""Half a day away, so that it never comes in the middle of a test."""


@pytest.fixture
async def notes(services: Services, tmp_path: Path) -> Services:
    """Give two collections that were never checked."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.md").write_text(f"# Note {number}\n\nTides of day {number}.\n")
    for name in ("notes", "papers"):
        await ingest(services, IngestRequest(arguments=[str(folder)], collection=name))
    async with transaction(services.engine) as connection:
        # Nothing was ingested into it, so there is nothing to check.
        await collections.get_or_create(connection, "none")
    return services


def address(services: Services) -> str:
    url = services.settings.database_url
    assert url is not None
    return url.get_secret_value()


def change(services: Services, statement: str) -> None:
    with connect(address(services)) as connection:
        connection.execute(statement)


def environment(services: Services, **more: str) -> dict[str, str]:
    return {
        "DATABASE_URL": address(services),
        "UNMOVED_DATA_DIR": str(services.settings.data_dir),
        "UNMOVED_CHECK_AT": "off",
        "NO_COLOR": "1",
        **more,
    }


async def listed(services: Services) -> list[checks.Check]:
    async with reading(services.engine) as connection:
        return await checks.listing(connection)


def test_times_of_day_cron_lines_and_off_are_read() -> None:
    def of(check_at: str, zone: str = "UTC") -> Nightly | None:
        return nightly_of(load_settings(check_at=check_at, check_timezone=zone))

    assert of("off") is None
    assert of(" OFF ") is None
    assert of("03:00") == Nightly(cron="0 3 * * *", timezone="UTC")
    assert of("23:5 9".replace(" ", "")) == Nightly(cron="59 23 * * *", timezone="UTC")
    assert of("0 3  * * 1-5", "Asia/Tokyo") == Nightly(cron="0 3 * * 1-5", timezone="Asia/Tokyo")
    assert nightly_of(load_settings()) == Nightly(cron="0 3 * * *")


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
def test_local_time_follows_the_clock_on_the_wall() -> None:
    three = Nightly(cron="0 3 * * *")
    assert three.after(datetime(2026, 1, 10, 12, tzinfo=UTC)) == datetime(
        2026, 1, 11, 2, tzinfo=UTC
    )
    assert three.after(datetime(2026, 7, 10, 12, tzinfo=UTC)) == datetime(
        2026, 7, 11, 1, tzinfo=UTC
    )
    # Half past two is shown twice in the night of 25 October, and not at all on 29 March.
    half_past = Nightly(cron="30 2 * * *")
    first = half_past.after(datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert half_past.after(first).date().isoformat() == "2026-10-26"
    nights = [datetime(2026, 3, 27, 12, tzinfo=UTC)]
    for _ in range(4):
        nights.append(half_past.after(nights[-1]))
    assert [night.day for night in nights[1:]] == [28, 29, 30, 31]


@given(
    moment=st.datetimes(
        min_value=datetime(2024, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(2034, 1, 1),  # noqa: DTZ001 - likewise
        timezones=st.just(UTC),
    ),
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    zone=st.sampled_from(["", "UTC", "Asia/Tokyo", "America/New_York", "Pacific/Chatham"]),
)
def test_every_night_has_its_time_and_it_lies_ahead(
    moment: datetime, minute: int, hour: int, zone: str
) -> None:
    nightly = Nightly(cron=f"{minute} {hour} * * *", timezone=zone)
    following = nightly.after(moment)
    assert moment < following <= moment + timedelta(hours=26)
    if zone in {"UTC", "Asia/Tokyo"}:
        there = following.astimezone(ZoneInfo(zone))
        assert (there.hour, there.minute) == (hour, minute)


async def asked(services: Services) -> list[str]:
    return [job.collection for job in await enqueue_checks(services.engine, NIGHTLY)]


async def test_each_night_asks_once_for_every_collection_with_an_index(notes: Services) -> None:
    # The first look only learns when the next night is.
    assert await asked(notes) == []
    assert await asked(notes) == []
    change(notes, "UPDATE check_nights SET next_at = now() - interval '9 days'")
    # Nine nights without a worker are made good by one.
    assert await asked(notes) == ["notes", "papers"]
    assert await asked(notes) == []
    found = await jobs.listing(notes.engine)
    assert {(job.kind, job.collection, job.status) for job in found[:2]} == {
        ("check", "notes", JobStatus.WAITING),
        ("check", "papers", JobStatus.WAITING),
    }
    # What waits still is not asked for twice.
    change(notes, "UPDATE check_nights SET next_at = now() - interval '1 minute'")
    assert await asked(notes) == ["notes", "papers"]
    assert len(await jobs.listing(notes.engine)) == len(found)


async def test_many_workers_ask_once(notes: Services) -> None:
    await asked(notes)
    change(notes, "UPDATE check_nights SET next_at = now()")
    engines = [create_engine(address(notes)) for _ in range(4)]
    try:
        found = await asyncio.gather(*(enqueue_checks(engine, NIGHTLY) for engine in engines))
    finally:
        for engine in engines:
            await engine.dispose()
    assert sorted(len(each) for each in found) == [0, 0, 0, 2]


async def test_a_clock_that_was_wrong_costs_no_more_than_one_night(notes: Services) -> None:
    await asked(notes)

    def next_at() -> datetime:
        with connect(address(notes)) as connection:
            row = connection.execute("SELECT next_at FROM check_nights").fetchone()
        assert row is not None
        found: datetime = row["next_at"]
        return found

    usual = next_at()
    # Asked an hour ago by a clock that has gone back since: not again in the same night.
    change(notes, "UPDATE check_nights SET next_at = next_at + interval '1 day'")
    assert await asked(notes) == []
    assert next_at() == usual + timedelta(days=1)
    change(notes, "UPDATE check_nights SET next_at = now() + interval '400 days'")
    assert await asked(notes) == []
    assert next_at() == usual


async def test_workers_with_different_times_do_not_undo_each_other(notes: Services) -> None:
    other = Nightly(cron=f"3{NIGHTLY.cron}", timezone="UTC")
    for _ in range(2):
        assert await asked(notes) == []
        assert await enqueue_checks(notes.engine, other) == []
    change(notes, "UPDATE check_nights SET next_at = now() WHERE timing LIKE '0 %'")
    assert await enqueue_checks(notes.engine, other) == []
    assert await asked(notes) == ["notes", "papers"]


async def test_a_job_is_shown_with_the_check_it_came_to(notes: Services) -> None:
    job = await jobs.enqueue_check(notes.engine, collection="notes")
    checked = await check_for_job(notes, "notes", job_id=job.id, attempts=0)
    (made,) = await listed(notes)
    assert checked.check_id == made.id
    shown = await jobs.get(notes.engine, job.id)
    assert (shown.check_id, shown.verdict) == (made.id, "inconclusive")
    with TestClient(create_app(notes.settings), base_url="http://localhost") as client:
        for page in (f"/jobs/{job.id}", "/jobs"):
            assert f'href="/checks/{made.id}"' in client.get(page).text
        answered = client.get(f"/api/v1/jobs/{job.id}").json()
    assert (answered["check_id"], answered["verdict"]) == (str(made.id), "inconclusive")


async def test_a_job_that_is_tried_again_is_content_with_a_check_made_meanwhile(
    notes: Services,
) -> None:
    before = await check(notes, CheckRequest(collection="notes"))
    job = await jobs.enqueue_check(notes.engine, collection="notes")
    first = await check_for_job(notes, "notes", job_id=job.id, attempts=1)
    assert first.check_id != before.check_id
    again = await check_for_job(notes, "notes", job_id=job.id, attempts=2)
    assert again == first
    assert len(await listed(notes)) == 2


async def test_waiting_checks_follow_and_go_with_their_collection(notes: Services) -> None:
    job = await jobs.enqueue_check(notes.engine, collection="notes")
    await jobs.rename_collection(notes.engine, old="notes", new="memos")
    assert (await jobs.get(notes.engine, job.id)).collection == "memos"
    async with transaction(notes.engine) as connection:
        assert await jobs.cancel_waiting(connection, "memos") == 1
    assert (await jobs.get(notes.engine, job.id)).status is JobStatus.CANCELLED


HOLD = "SELECT pg_advisory_lock(hashtextextended('check ' || id, 0)) FROM indexes WHERE id = %s"


async def index_of(services: Services, name: str) -> Any:
    async with reading(services.engine) as connection:
        collection = await collections.get(connection, name)
        return (await indexes.active(connection, collection)).id


async def command(services: Services, *words: str) -> tuple[int, str, str]:
    def done() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "ingest", *words],
            env={**os.environ, **environment(services)},
            check=False,
            capture_output=True,
            text=True,
        )

    ended = await asyncio.to_thread(done)
    return ended.returncode, ended.stdout, ended.stderr


async def test_of_two_checks_at_once_the_second_says_so_in_one_line(notes: Services) -> None:
    with connect(address(notes)) as holding:
        holding.execute(HOLD, [await index_of(notes, "notes")])
        code, output, errors = await command(notes, "check", "--collection", "notes")
        assert (code, output, errors.count("\n")) == (4, "", 1)
        assert "is under way; wait for it" in errors
        code, output, errors = await command(notes, "check", "--all")
        # The other collection is checked nevertheless, for the first time.
        assert code == 3
        assert "== papers" in output
        assert "collection 'notes' could not be checked" in errors
    found = [one async for one in check_all(notes, CheckRequest(collection=""))]
    assert [one.collection for one in found] == ["notes", "papers"]
    assert all(one.report is not None for one in found)
    with connect(address(notes)) as holding:
        holding.execute(HOLD, [await index_of(notes, "papers")])
        with pytest.raises(CheckUnderWayError):
            await check(notes, CheckRequest(collection="papers"))


@pytest.mark.slow
async def test_a_worker_waits_for_a_check_that_is_under_way(notes: Services) -> None:
    with worker(environment(notes)) as working:
        with connect(address(notes)) as holding:
            holding.execute(HOLD, [await index_of(notes, "notes")])
            job = await jobs.enqueue_check(notes.engine, collection="notes")
            told = await asyncio.to_thread(working.wait_for, "postponed", job.id)
            assert "is under way; wait for it; tried again in 5 s" in told["reason"]
        told = await asyncio.to_thread(working.wait_for, "succeeded", job.id)
    (made,) = await listed(notes)
    assert told["counts"] == {"check": str(made.id), "verdict": made.verdict}


@pytest.mark.slow
async def test_a_worker_that_is_killed_in_a_check_leaves_it_to_the_next(notes: Services) -> None:
    job = await jobs.enqueue_check(notes.engine, collection="notes")
    with connect(address(notes)) as blocking:
        blocking.autocommit = False
        blocking.execute("LOCK TABLE checks IN EXCLUSIVE MODE")
        with worker(environment(notes)) as first:
            await asyncio.to_thread(first.wait_for, "started", job.id)

            def waits() -> bool:
                with connect(address(notes)) as connection:
                    return bool(
                        connection.execute(
                            "SELECT FROM pg_locks WHERE NOT granted "
                            "AND relation = CAST('checks' AS regclass)"
                        ).fetchall()
                    )

            # All is found out, and about to be written.
            await asyncio.to_thread(until, waits)
            first.stop(signal.SIGKILL)
        blocking.rollback()
    assert await listed(notes) == []
    with connect(address(notes)) as connection:
        assert connection.execute("SELECT FROM check_sends").fetchall() == []
    with worker(environment(notes)) as second:
        await asyncio.to_thread(second.wait_for, "succeeded", job.id)
        await asyncio.to_thread(until, lambda: ended(notes))
    (made,) = await listed(notes)
    shown = await jobs.get(notes.engine, job.id)
    assert (shown.status, shown.check_id) == (JobStatus.SUCCEEDED, made.id)


def ended(services: Services) -> bool:
    with connect(address(services)) as connection:
        waits = "SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        return not connection.execute(waits).fetchall()


@pytest.fixture
def hook() -> Iterator[HookServer]:
    with hook_server() as server:
        yield server


@pytest.mark.slow
async def test_a_night_is_checked_and_told_of_by_the_worker(
    notes: Services, hook: HookServer
) -> None:
    # Nothing that was written is what its record says.
    change(notes, "UPDATE vector_records SET stored_hash = sent_hash")
    surroundings = environment(
        notes,
        UNMOVED_CHECK_AT=NIGHTLY.cron,
        UNMOVED_CHECK_TIMEZONE=NIGHTLY.timezone,
        UNMOVED_ALERT_WEBHOOK_URL=hook.url,
    )
    await asked(notes)
    change(notes, "UPDATE check_nights SET next_at = now()")
    with worker(surroundings) as working:
        await asyncio.to_thread(working.wait_for, "succeeded", times=2)
        due = [event for event in working.events if event["event"] == "due"]
        assert [(event["kind"], event["collection"]) for event in due] == [
            ("check", "notes"),
            ("check", "papers"),
        ]
        await asyncio.to_thread(until, lambda: len(hook.posted) == 2)
    assert {each.payload["collection"] for each in hook.posted} == {"notes", "papers"}
    assert {each.payload["verdict"] for each in hook.posted} == {"fail"}


@contextmanager
def server_alone(surroundings: dict[str, str]) -> Iterator[None]:
    server = subprocess.Popen(
        [BIN / "search-app", "serve", "--no-worker", "--port", "0"],
        env={**os.environ, **surroundings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        server.terminate()
        server.wait(60)


@pytest.mark.slow
async def test_a_server_without_a_worker_says_that_nothing_is_checked(
    notes: Services, hook: HookServer
) -> None:
    change(notes, "UPDATE indexes SET activated_at = now() - interval '3 days'")
    change(notes, "DELETE FROM collections WHERE name = 'none'")
    surroundings = environment(notes, UNMOVED_ALERT_WEBHOOK_URL=hook.url)
    with server_alone(surroundings):
        await asyncio.to_thread(until, lambda: len(hook.posted) == 2)
    assert {each.payload["kind"] for each in hook.posted} == {"no_check"}
    assert {each.payload["collection"] for each in hook.posted} == {"notes", "papers"}
