"""An empty database for one test module."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url


@contextmanager
def own_database(postgres_url: str) -> Iterator[str]:
    """Create an empty database beside the given one, give its address, drop it at the end."""
    url = make_url(postgres_url)
    name = f"test_{uuid4().hex}"
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield url.set(database=name).render_as_string(hide_password=False)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
