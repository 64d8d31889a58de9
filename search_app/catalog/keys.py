"""API keys and the sessions of browsers that were opened with them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy import RowMapping, Select, delete, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.access.principal import Principal
from search_app.access.scopes import Scope, read_scopes
from search_app.access.secret import PREFIX, Key, hash_of, new_key, same
from search_app.catalog import collections
from search_app.catalog.tables import api_keys, key_collections, web_sessions
from search_app.catalog.tables import collections as collection_table
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import Collection

LONGEST_NAME = 100
USE_NOTED_EVERY = timedelta(minutes=1)
"""The time of a key's last use is as exact as this, so that searching does not write each time."""

MOST_DAYS = 3_650

State = Literal["valid", "expired", "revoked"]


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """What is known of a key but its secret; ``collections`` None: all, also those to come."""

    id: UUID
    name: str
    label: str
    scopes: frozenset[Scope]
    collections: Sequence[Collection] | None
    rotated_from: UUID | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def state(self) -> State:
        """Whether it can be used now."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            return "expired"
        return "valid"

    @property
    def principal(self) -> Principal:
        """On whose behalf its bearer acts."""
        seen = self.collections
        return Principal(
            key_label=self.label,
            name=self.name,
            scopes=self.scopes,
            collections=None if seen is None else frozenset(each.id for each in seen),
        )


async def create(
    connection: AsyncConnection,
    *,
    name: str,
    scopes: frozenset[Scope],
    collection_names: Sequence[str] | None,
    days: int | None = None,
) -> tuple[KeyRecord, Key]:
    """Make a key; its text is given here and never again.

    ``collection_names`` None: for all collections, also those to come. ``days`` None: for ever.

    Raises:
        InvalidInputError: the name, the scopes, the days or an empty list cannot be meant.
        NotFoundError: a collection is not there.
    """
    named = _checked_name(name)
    if not scopes:
        raise InvalidInputError(f"a key needs a scope; name one or more of {', '.join(Scope)}")
    if collection_names is not None and not collection_names:
        raise InvalidInputError("a key for no collection is of no use; name one or more")
    seen = None
    if collection_names is not None:
        found = [await collections.get(connection, each) for each in collection_names]
        seen = list(dict.fromkeys(each.id for each in found))
    expires = None if days is None else datetime.now(UTC) + timedelta(days=_checked_days(days))
    return await _add(connection, named, scopes, seen, expires_at=expires)


async def rotate(
    connection: AsyncConnection, text: str, *, overlap: timedelta
) -> tuple[KeyRecord, Key]:
    """Make a key that takes the place of another; that one works on for a while.

    Of two rotations at once, one is refused: it would leave a key that nobody knows of.

    Raises:
        NotFoundError: there is no such key.
        InvalidInputError: it does not work any more, or was rotated already.
    """
    found = await find(connection, text)
    await connection.execute(
        select(api_keys.c.id).where(api_keys.c.id == found.id).with_for_update(of=api_keys)
    )
    old = await find(connection, str(found.id))
    if old.state != "valid":
        raise InvalidInputError(f"key {old.label} is {old.state}; create another one")
    successor = await connection.scalar(
        select(api_keys.c.label).where(api_keys.c.rotated_from == old.id)
    )
    if successor is not None:
        raise InvalidInputError(
            f"key {old.label} was rotated already, {successor} takes its place; rotate that one"
        )
    seen = None if old.collections is None else [each.id for each in old.collections]
    made = await _add(
        connection, old.name, old.scopes, seen, expires_at=old.expires_at, rotated_from=old.id
    )
    end = datetime.now(UTC) + max(overlap, timedelta())
    await connection.execute(
        update(api_keys)
        .where(api_keys.c.id == old.id)
        .values(expires_at=func.least(api_keys.c.expires_at, end))
    )
    return made


async def revoke(connection: AsyncConnection, text: str) -> KeyRecord:
    """Have a key work no more, at once, with the sessions that were opened with it.

    Raises:
        NotFoundError: there is no such key.
    """
    found = await find(connection, text)
    await connection.execute(
        update(api_keys)
        .where(api_keys.c.id == found.id)
        .where(api_keys.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    await connection.execute(delete(web_sessions).where(web_sessions.c.key_id == found.id))
    return await find(connection, str(found.id))


async def listing(connection: AsyncConnection) -> list[KeyRecord]:
    """List all keys that were ever made, newest first."""
    rows = await connection.execute(_RECORDS.order_by(api_keys.c.created_at.desc(), api_keys.c.id))
    return [_record(row) for row in rows.mappings()]


async def find(connection: AsyncConnection, text: str) -> KeyRecord:
    """Find a key by its label, with or without what all begin with, or by its id.

    Raises:
        NotFoundError: there is none.
    """
    wanted = text.strip()
    try:
        condition = api_keys.c.id == UUID(wanted)
    except ValueError:
        # Whoever pastes the whole key is not to find it in a message or a log.
        label = PREFIX + wanted.removeprefix(PREFIX)[:12]
        condition = api_keys.c.label == label
        wanted = label
    if "\0" in wanted or any("\ud800" <= character <= "\udfff" for character in wanted):
        raise NotFoundError("no such key; search-app keys list shows all")
    row = (await connection.execute(_RECORDS.where(condition))).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"no key {wanted!r}; search-app keys list shows all")
    return _record(row)


async def any_made(connection: AsyncConnection) -> bool:
    """Say whether any key was ever made, be it revoked since."""
    return bool(await connection.scalar(select(select(api_keys.c.id).exists())))


async def any_valid(connection: AsyncConnection) -> bool:
    """Say whether there is a key that can be used now."""
    return bool(await connection.scalar(select(select(api_keys.c.id).where(_VALID).exists())))


async def identify(connection: AsyncConnection, key: Key) -> KeyRecord | None:
    """Find what a key is for, whatever its state; None where it is none of ours.

    Of a key that is not there and of one whose secret is wrong nothing differs.
    """
    rows = await connection.execute(_RECORDS.where(api_keys.c.label == key.label))
    row = rows.mappings().one_or_none()
    if not same(None if row is None else row["hash"], key.hash):
        return None
    return None if row is None else await _used(connection, _record(row))


async def open_session(
    connection: AsyncConnection, key: KeyRecord, lifetime: timedelta
) -> tuple[str, datetime]:
    """Begin a session with a key; give what the browser keeps, and when it ends at the latest."""
    token = secrets.token_urlsafe(32)
    ends = datetime.now(UTC) + lifetime
    if key.expires_at is not None:
        ends = min(ends, key.expires_at)
    await connection.execute(delete(web_sessions).where(web_sessions.c.expires_at < func.now()))
    await connection.execute(
        insert(web_sessions).values(hash=hash_of(token), key_id=key.id, expires_at=ends)
    )
    return token, ends


async def of_session(connection: AsyncConnection, token: str) -> KeyRecord | None:
    """Find the key of a session; None where it is over, or its key does not work any more."""
    rows = await connection.execute(
        _RECORDS.join(web_sessions, web_sessions.c.key_id == api_keys.c.id)
        .where(web_sessions.c.hash == hash_of(token))
        .where(web_sessions.c.expires_at > func.now())
        .where(_VALID)
    )
    row = rows.mappings().one_or_none()
    return None if row is None else await _used(connection, _record(row))


async def end_session(connection: AsyncConnection, token: str) -> None:
    """End a session; one that is over stays so."""
    await connection.execute(delete(web_sessions).where(web_sessions.c.hash == hash_of(token)))


_SEEN = (
    select(
        func.array_agg(collection_table.c.id).label("ids"),
        func.array_agg(collection_table.c.name).label("names"),
    )
    .select_from(key_collections)
    .join(collection_table, collection_table.c.id == key_collections.c.collection_id)
    .where(key_collections.c.key_id == api_keys.c.id)
    .where(collections.IS_LIVE)
    .lateral("seen")
)
_RECORDS: Select[Any] = (
    select(*api_keys.c, _SEEN.c.ids, _SEEN.c.names).select_from(api_keys).join(_SEEN, true())
)
_VALID = api_keys.c.revoked_at.is_(None) & (
    api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > func.now())
)


def _record(row: RowMapping) -> KeyRecord:
    named = sorted(zip(row["names"] or (), row["ids"] or (), strict=True))
    seen = [Collection(id=identity, name=name) for name, identity in named]
    return KeyRecord(
        id=row["id"],
        name=row["name"],
        label=row["label"],
        scopes=read_scopes(row["scopes"]),
        collections=None if row["all_collections"] else seen,
        rotated_from=row["rotated_from"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )


async def _add(
    connection: AsyncConnection,
    name: str,
    scopes: frozenset[Scope],
    seen: Sequence[UUID] | None,
    *,
    expires_at: datetime | None,
    rotated_from: UUID | None = None,
) -> tuple[KeyRecord, Key]:
    key, identity = new_key(), uuid4()
    await connection.execute(
        insert(api_keys).values(
            id=identity,
            name=name,
            label=key.label,
            hash=key.hash,
            scopes=sorted(scopes),
            all_collections=seen is None,
            rotated_from=rotated_from,
            expires_at=expires_at,
        )
    )
    if seen:
        await connection.execute(
            insert(key_collections), [{"key_id": identity, "collection_id": each} for each in seen]
        )
    return await find(connection, str(identity)), key


async def _used(connection: AsyncConnection, found: KeyRecord) -> KeyRecord:
    before = datetime.now(UTC) - USE_NOTED_EVERY
    if found.state == "valid" and (found.last_used_at is None or found.last_used_at < before):
        await connection.execute(
            update(api_keys).where(api_keys.c.id == found.id).values(last_used_at=func.now())
        )
    return found


def _checked_name(name: str) -> str:
    text = name.strip()
    if not text or len(text) > LONGEST_NAME or not text.isprintable():
        raise InvalidInputError(
            f"key {text[:40]!r}: a name is 1 to {LONGEST_NAME} printable characters"
        )
    return text


def _checked_days(days: int) -> int:
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInputError(f"a key expires after 1 to {MOST_DAYS:,} days, not {days}")
    return days
