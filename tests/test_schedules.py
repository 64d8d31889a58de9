"""Sources that are ingested again and again: when, exactly once, and what is said of it."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from ingest.deletion import delete_collection
from search_app import jobs
from search_app.bootstrap import Services
from search_app.catalog import collections
from search_app.catalog.engine import transaction
from search_app.errors import InvalidInputError, NotFoundError
from search_app.jobs import JobStatus, schedules
from search_app.jobs.schedules import MOST, Timing, interval_text, parse_timing
from search_app.web.app import create_app

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


# --- When -------------------------------------------------------------------------------------


@given(st.builds(timedelta, minutes=st.integers(1, 60 * 24 * 366)), st.integers(-(10**6), 10**6))
def test_intervals_keep_step_and_missed_ones_are_not_made_up_for(
    every: timedelta, late_s: int
) -> None:
    timing = parse_timing(every=interval_text(every), cron=None)
    assert timing.every == every
    due = NOW - timedelta(seconds=late_s)
    following = timing.after(NOW, due)
    assert following > NOW
    assert following in (due + every, NOW + every)
    if due + every > NOW:
        assert following == due + every


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    zone=st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York", "Asia/Kathmandu"]),
    after=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds of hypothesis are naive
)
def test_a_cron_line_is_read_in_its_time_zone(
    minute: int, hour: int, zone: str, after: datetime
) -> None:
    timing = parse_timing(every=None, cron=f"{minute} {hour} * * *", timezone=zone)
    following = timing.after(after)
    assert after < following <= after + timedelta(hours=26)
    there = following.astimezone(ZoneInfo(zone))
    # Where clocks are put forward, a time may not exist that day.
    if zone != "America/New_York":
        assert (there.hour, there.minute) == (hour, minute)
        assert following - after <= timedelta(days=1)


@pytest.mark.parametrize(
    ("every", "cron", "zone", "said"),
    [
        (None, None, "UTC", "either"),
        ("6h", "0 3 * * *", "UTC", "either"),
        ("6", None, "UTC", "cannot be read"),
        ("six hours", None, "UTC", "cannot be read"),
        ("0m", None, "UTC", "out of range"),
        ("999999999w", None, "UTC", "out of range"),
        ("30s", None, "UTC", "out of range"),
        (None, "0 3 * *", "UTC", "minute, hour"),
        (None, "61 3 * * *", "UTC", "cannot be read"),
        (None, "0 3 * * * *", "UTC", "cannot be read"),
        (None, "@daily", "UTC", "cannot be read"),
        (None, "0 3 * * *", "Mars/Olympus", "time zone"),
        (None, "0 3 * * *", "../etc/passwd", "time zone"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    every: str | None, cron: str | None, zone: str, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        parse_timing(every=every, cron=cron, timezone=zone)


def test_intervals_are_written_as_short_as_they_can_be() -> None:
    texts = {interval_text(timedelta(minutes=n)) for n in (1, 90, 120, 1440, 1441)}
    assert texts == {"1m", "90m", "2h", "1d", "1441m"}
    assert interval_text(MOST) == "366d"


# --- Exactly once -----------------------------------------------------------------------------


async def add(services: Services, *, collection: str = "default", every: str = "6h") -> int:
    made = await schedules.add(
        services.engine,
        collection=collection,
        arguments=["/papers"],
        timing=parse_timing(every=every, cron=None),
        prune=True,
    )
    return made.id


async def make_due(services: Services) -> None:
    async with transaction(services.engine) as connection:
        await connection.execute(text("UPDATE schedules SET next_at = now() - interval '1 day'"))


async def test_what_is_due_is_asked_for_once_however_many_look(services: Services) -> None:
    for collection in ("one", "two", "three"):
        await add(services, collection=collection)
    found = await asyncio.gather(*(schedules.enqueue_due(services.engine) for _ in range(8)))
    asked = [job for some in found for job in some]
    assert sorted(job.collection for job in asked) == ["one", "three", "two"]
    assert {(job.kind, job.prune, tuple(job.arguments)) for job in asked} == {
        ("ingest", True, ("/papers",))
    }
    assert await schedules.enqueue_due(services.engine) == []
    for known in await schedules.listing(services.engine):
        assert known.last_at is not None
        assert known.next_at > known.last_at
        assert known.last_job_id in {job.id for job in asked}


async def test_what_still_waits_is_not_asked_for_again(services: Services) -> None:
    await add(services)
    (first,) = await schedules.enqueue_due(services.engine)
    await make_due(services)
    (second,) = await schedules.enqueue_due(services.engine)
    assert second.id == first.id
    await jobs.cancel(services.engine, first.id)
    await make_due(services)
    (third,) = await schedules.enqueue_due(services.engine)
    assert third.id > first.id
    # Missed for a day: asked for once, and then in its time.
    assert await schedules.enqueue_due(services.engine) == []


async def test_a_schedule_goes_with_its_collection_and_its_name(services: Services) -> None:
    await add(services, collection="old")
    await jobs.rename_collection(services.engine, old="old", new="new")
    (job,) = await schedules.enqueue_due(services.engine)
    assert job.collection == "new"
    await jobs.cancel(services.engine, job.id)
    await delete_collection(services, "new", waiting=lambda: None)
    assert await schedules.listing(services.engine) == []


async def test_a_schedule_that_is_removed_is_gone(services: Services) -> None:
    number = await add(services)
    assert (await schedules.remove(services.engine, number)).id == number
    assert await schedules.enqueue_due(services.engine) == []
    for missing in (number, 0, -1, 2**63):
        with pytest.raises(NotFoundError, match="no schedule"):
            await schedules.remove(services.engine, missing)


async def test_what_no_worker_could_do_is_not_scheduled(services: Services) -> None:
    for bad in ([], ["relative"], ["https://me:pw@example.org/"]):
        with pytest.raises(InvalidInputError):
            await schedules.add(
                services.engine, collection="a", arguments=bad, timing=Timing(every=MOST)
            )
    assert await schedules.listing(services.engine) == []


# --- Over the API and on the page ---------------------------------------------------------------


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(create_app(services.settings), base_url="http://127.0.0.1") as opened:
        yield opened


async def test_schedules_over_the_api(services: Services, client: TestClient) -> None:
    async with transaction(services.engine) as connection:
        await collections.get_or_create(connection, "default")
    body = {"arguments": ["https://example.org/a.html"], "cron": "0 3 * * *"}
    made = client.post("/api/v1/collections/default/schedules", json=body)
    assert made.status_code == 201, made.text
    assert (made.json()["cron"], made.json()["every"]) == ("0 3 * * *", None)
    listed = client.get("/api/v1/schedules").json()["schedules"]
    assert [entry["id"] for entry in listed] == [made.json()["id"]]
    assert client.get("/api/v1/schedules?collection=other").json() == {"schedules": []}
    for bad in (
        {**body, "every": "6h"},
        {**body, "cron": "nonsense"},
        {**body, "arguments": ["relative"]},
    ):
        answer = client.post("/api/v1/collections/default/schedules", json=bad)
        assert answer.status_code in {400, 403, 422}, answer.text
    gone = client.delete(f"/api/v1/schedules/{made.json()['id']}")
    assert gone.status_code == 200
    assert client.delete(f"/api/v1/schedules/{made.json()['id']}").status_code == 404


async def test_the_page_of_a_collection_shows_its_schedules_and_removes_them(
    services: Services, client: TestClient
) -> None:
    number = await add(services)
    page = client.get("/collections/default").text
    assert "/papers" in page
    assert "every 6h" in page
    action = f"/collections/default/schedules/{number}/remove"
    assert action in page
    assert client.post(action, data={"token": "wrong"}).status_code == 403
    token = page.split('name="token" value="')[1].split('"')[0]
    answer = client.post(action, data={"token": token}, follow_redirects=False)
    assert answer.status_code == 303
    assert await schedules.listing(services.engine) == []


async def test_a_job_that_failed_can_be_asked_for_again(
    services: Services, client: TestClient, tmp_path: Path
) -> None:
    job = await jobs.enqueue_ingest(
        services.engine,
        collection="default",
        arguments=[str(tmp_path)],
        prune=True,
        load={"exclude": ["*.log"]},
        queue="slow",
    )
    early = client.post(f"/api/v1/jobs/{job.id}/retry", json={})
    assert early.status_code == 400
    await jobs.cancel(services.engine, job.id)
    again = client.post(f"/api/v1/jobs/{job.id}/retry", json={})
    assert again.status_code == 202, again.text
    assert again.json()["id"] > job.id
    assert (again.json()["prune"], again.json()["queue"]) == (True, "slow")
    async with transaction(services.engine) as connection:
        kept = await connection.scalar(
            text("SELECT args->'load' FROM procrastinate_jobs WHERE id = :id"),
            {"id": again.json()["id"]},
        )
    assert kept == {"exclude": ["*.log"]}
    assert client.post("/api/v1/jobs/999/retry", json={}).status_code == 404
    page = client.get(f"/jobs/{job.id}").text
    assert f"/jobs/{job.id}/retry" in page
    token = page.split('name="token" value="')[1].split('"')[0]
    answer = client.post(f"/jobs/{job.id}/retry", data={"token": token}, follow_redirects=False)
    # What waits is what was wished for.
    assert answer.headers["location"] == f"/jobs/{again.json()['id']}"
    waiting = await jobs.get(services.engine, again.json()["id"])
    assert waiting.status is JobStatus.WAITING
