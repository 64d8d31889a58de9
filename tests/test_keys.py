"""Keys on a real database: made, found, rotated, revoked, expired; what is kept of them."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text, update

from search_app.access.rates import Rates, neighbourhood
from search_app.access.scopes import Scope, read_scopes
from search_app.access.secret import LONGEST, Key, new_key, read_key
from search_app.bootstrap import Services
from search_app.catalog import collections, keys, trail
from search_app.catalog.engine import reading, transaction
from search_app.catalog.keys import KeyRecord
from search_app.catalog.tables import api_keys
from search_app.errors import InvalidInputError, NotFoundError, UnmovedError

READ = frozenset({Scope.READ})


def test_a_key_reads_as_itself_and_shows_no_secret() -> None:
    key = new_key()
    assert read_key(key.text) == key
    assert key.text.startswith(key.label + "_")
    assert key.text[len(key.label) :] not in repr(key)
    assert new_key().text != key.text


@given(st.text(max_size=2 * LONGEST))
def test_what_is_no_key_is_none(anything: str) -> None:
    found = read_key(anything)
    assert found is None or found.text == anything


@pytest.mark.parametrize("change", [lambda text: text + "\n", lambda text: text[:-1], str.upper])
def test_a_key_that_was_altered_is_none(change: object) -> None:
    assert callable(change)
    assert read_key(change(new_key().text)) is None


def test_scopes_are_read_and_admin_is_all_of_them() -> None:
    assert read_scopes([" Read", "INGEST"]) == {Scope.READ, Scope.INGEST}
    for wrong in (["write"], []):
        with pytest.raises(InvalidInputError, match="read, ingest, admin"):
            read_scopes(wrong)


async def make(
    services: Services,
    *names: str,
    days: int | None = None,
    scopes: frozenset[Scope] = READ,
) -> tuple[KeyRecord, Key]:
    async with transaction(services.engine) as connection:
        for name in names:
            await collections.get_or_create(connection, name)
        return await keys.create(
            connection, name="robot", scopes=scopes, collection_names=names or None, days=days
        )


async def identified(services: Services, key: Key) -> KeyRecord | None:
    async with reading(services.engine) as connection:
        return await keys.identify(connection, key)


async def test_a_key_is_found_by_its_secret_which_is_kept_nowhere(services: Services) -> None:
    record, key = await make(services, "one")
    found = await identified(services, key)
    assert found is not None
    assert record.collections is not None
    assert found.principal.collections == frozenset(each.id for each in record.collections)
    assert await identified(services, new_key()) is None
    forged = Key(label=key.label, text=new_key().text)
    assert await identified(services, forged) is None
    async with reading(services.engine) as connection:
        kept = (await connection.execute(text("SELECT api_keys::text FROM api_keys"))).scalars()
        secret = key.text.rpartition(key.label)[2]
        assert all(secret not in row for row in kept)


async def test_its_last_use_is_noted_once_a_minute(services: Services) -> None:
    _, key = await make(services)
    await identified(services, key)
    first = await identified(services, key)
    again = await identified(services, key)
    assert first is not None
    assert again is not None
    assert first.last_used_at is not None
    assert again.last_used_at == first.last_used_at
    async with transaction(services.engine) as connection:
        await connection.execute(
            update(api_keys).values(last_used_at=datetime(2020, 1, 1, tzinfo=UTC))
        )
    await identified(services, key)
    later = await identified(services, key)
    assert later is not None
    assert later.last_used_at is not None
    assert later.last_used_at >= first.last_used_at


async def test_of_two_rotations_at_once_one_is_refused(services: Services) -> None:
    record, key = await make(services, "one", days=30)

    async def rotated() -> tuple[KeyRecord, Key]:
        async with transaction(services.engine) as connection:
            return await keys.rotate(connection, record.label, overlap=timedelta(hours=1))

    outcomes = await asyncio.gather(rotated(), rotated(), return_exceptions=True)
    made = [each for each in outcomes if not isinstance(each, BaseException)]
    refused = [each for each in outcomes if isinstance(each, UnmovedError)]
    assert (len(made), len(refused)) == (1, 1)
    successor, new = made[0]
    assert successor.label in str(refused[0])
    assert (successor.scopes, successor.collections) == (record.scopes, record.collections)
    old = await identified(services, key)
    assert old is not None
    assert old.state == "valid"
    assert old.expires_at is not None
    assert old.expires_at < datetime.now(UTC) + timedelta(hours=1, minutes=1)
    assert successor.expires_at == record.expires_at
    assert (await identified(services, new)) is not None


async def test_a_rotation_without_overlap_ends_the_old_key(services: Services) -> None:
    record, key = await make(services)
    async with transaction(services.engine) as connection:
        await keys.rotate(connection, key.text, overlap=timedelta())
    old = await identified(services, key)
    assert old is not None
    assert old.state == "expired"
    with pytest.raises(InvalidInputError, match=f"{record.label} is expired"):
        async with transaction(services.engine) as connection:
            await keys.rotate(connection, record.label, overlap=timedelta())


async def test_a_revoked_key_ends_its_sessions(services: Services) -> None:
    record, key = await make(services)
    async with transaction(services.engine) as connection:
        token, _ = await keys.open_session(connection, record, timedelta(hours=1))
        assert await keys.of_session(connection, token) is not None
        assert await keys.of_session(connection, token + "x") is None
        revoked = await keys.revoke(connection, record.label)
        assert revoked.state == "revoked"
        assert await keys.of_session(connection, token) is None
        assert await keys.any_made(connection)
        assert not await keys.any_valid(connection)
    found = await identified(services, key)
    assert found is not None
    assert found.state == "revoked"


async def test_a_session_ends_with_its_key_and_when_it_is_ended(services: Services) -> None:
    record, _ = await make(services, days=1)
    async with transaction(services.engine) as connection:
        token, ends = await keys.open_session(connection, record, timedelta(days=9))
        assert ends == record.expires_at
        await keys.end_session(connection, token)
        assert await keys.of_session(connection, token) is None


async def test_a_key_for_a_collection_that_is_gone_is_for_none(services: Services) -> None:
    _, key = await make(services, "one")
    async with transaction(services.engine) as connection:
        await connection.execute(text("DELETE FROM collections"))
        await collections.get_or_create(connection, "one")
    found = await identified(services, key)
    assert found is not None
    assert found.collections == []
    assert found.principal.collections == frozenset()


async def test_what_cannot_be_meant_is_refused(services: Services) -> None:
    async with transaction(services.engine) as connection:
        for name, days in (("", None), ("x" * 101, None), ("a\nb", None), ("a", 0), ("a", 10**6)):
            with pytest.raises(InvalidInputError):
                await keys.create(
                    connection, name=name, scopes=READ, collection_names=None, days=days
                )
        for names in (["nowhere"], []):
            with pytest.raises(InvalidInputError):
                await keys.create(connection, name="a", scopes=READ, collection_names=names)
        for wrong in ("", "unm_nothing", "\0", "\ud800", new_key().text):
            with pytest.raises(NotFoundError) as caught:
                await keys.find(connection, wrong)
            assert wrong[17:] not in str(caught.value) or len(wrong) < 18


async def test_the_trail_keeps_what_was_done_as_one_clean_line(services: Services) -> None:
    change = trail.Change(
        who="a\x00b", via="api", action="remove", target="x" * 1000, outcome="done\n"
    )
    async with transaction(services.engine) as connection:
        await trail.record(connection, change)
        await trail.record(
            connection, trail.Change(who="c", via="page", action="add", target="", outcome="done")
        )
        found = await trail.listing(connection)
        assert [each.who for each in found] == ["c", "a\ufffdb"]
        assert len(found[1].target) == trail.LONGEST
        assert [each.action for each in await trail.listing(connection, who="c")] == ["add"]
        assert await trail.listing(connection, action="nothing") == []
        await connection.execute(
            text("UPDATE audit_events SET created_at = now() - interval '9 days' WHERE who = 'c'")
        )
        assert await trail.forget(connection, 8) == 1


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills_again() -> None:
    clock = Clock()
    rates = Rates(60, clock=clock)
    assert [rates.take("a") for _ in range(61)] == [0] * 60 + [1]
    assert rates.take("b") == 0
    clock.now = 1.5
    assert (rates.wait("a"), rates.take("a"), rates.take("a")) == (0, 0, 1)
    clock.now = 10_000
    assert [rates.take("a") for _ in range(61)] == [0] * 60 + [1]


def test_a_slow_rate_says_how_long_to_wait() -> None:
    rates = Rates(2, clock=Clock())
    assert [rates.take("a") for _ in range(3)] == [0, 0, 30]


def test_no_rate_is_no_limit_and_takes_no_memory() -> None:
    rates = Rates(0)
    assert not any(rates.take(str(number)) for number in range(1000))
    assert len(rates) == 0


@given(st.lists(st.text(max_size=3), max_size=200))
def test_the_buckets_are_bounded(names: list[str]) -> None:
    rates = Rates(1, most=5)
    for name in names:
        rates.take(name)
    assert len(rates) <= 5


@pytest.mark.parametrize(
    ("host", "stands"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_neighbours_are_counted_together(host: str, stands: str) -> None:
    assert neighbourhood(host) == stands
