"""Databases of the tests: an empty one for a module, and what becomes of those no longer needed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url

KEPT = 250
"""Databases that may be left before they are dropped, of 10 MB each and what a test put in."""

_discarded: dict[str, list[str]] = {}


def discard(postgres_url: str, *names: str) -> None:
    """Shut databases to everybody, and drop them when there are many.

    A file system that keeps inodes of deleted files out of use for some minutes (ext4) looks at
    each of them whenever a file is made. A database has 500 files; dropped one by one, the next
    took ten times as long to make.
    """
    left = _discarded.setdefault(postgres_url, [])
    with _administrator(postgres_url) as connection:
        for name in names:
            shut = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false")
            connection.execute(shut.format(sql.Identifier(name)))
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            left.append(name)
        if len(left) < KEPT and not os.environ.get("UNMOVED_TEST_DATABASE_URL"):
            return  # the whole server is removed at the end
        for name in _discarded.pop(postgres_url):
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))


@contextmanager
def own_database(postgres_url: str) -> Iterator[str]:
    """Create an empty database beside the given one, give its address, discard it at the end."""
    name = f"test_{uuid4().hex}"
    with _administrator(postgres_url) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    discard(postgres_url, name)


def _administrator(postgres_url: str) -> psycopg.Connection:
    url = make_url(postgres_url).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)
