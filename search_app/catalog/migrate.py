"""Migrations: Alembic driven from Python, so that an installed wheel needs no alembic.ini."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy.exc
from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text

from search_app.errors import CatalogUnavailableError, SchemaError

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic takes as long to import as everything else, and only a migration needs it; every start
# asks no more than whether the database is at this revision. A test holds it to be the last one.
HEAD = "0025"

MIGRATIONS = Path(__file__).parent / "migrations"

# Any number that only this product locks; two processes may start at once.
_MIGRATION_LOCK = 7_236_117_461

OLDEST_POSTGRES = 14
OLDEST_PGVECTOR = (0, 8)


def current(database_url: str) -> str | None:
    """Name the revision that the database is at; None before the first migration.

    Raises:
        CatalogUnavailableError: no server answers.
    """
    with _connected(database_url) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return None if found is None else str(found)


def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the schema up to a revision; does nothing when it is there.

    Raises:
        CatalogUnavailableError: no server answers.
        SchemaError: the server or its pgvector is too old, or the schema is newer than this code.
    """
    import alembic.command

    with _connected(database_url) as connection:
        _check_server(connection)
        with _configured(connection) as config:
            alembic.command.upgrade(config, revision)


def downgrade(database_url: str, revision: str) -> None:
    """Take the schema down to a revision; ``base`` removes every table of the catalog."""
    import alembic.command

    with _connected(database_url) as connection, _configured(connection) as config:
        alembic.command.downgrade(config, revision)


def move(database_url: str, revision: str) -> None:
    """Bring the schema to a revision, up or down.

    Raises:
        SchemaError: there is no such revision, or see ``upgrade``.
    """
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(MIGRATIONS))
    at = current(database_url)
    below = {step.revision for step in script.walk_revisions("base", at)} if at else set()
    if revision == "base" or (revision in below and revision != at):
        downgrade(database_url, revision)
    else:
        upgrade(database_url, revision)


def check(database_url: str) -> None:
    """Compare the migrated schema with the declared tables.

    Raises:
        SchemaError: they differ; says how.
    """
    import alembic.command

    with _connected(database_url) as connection, _configured(connection) as config:
        alembic.command.check(config)


@contextmanager
def _connected(database_url: str) -> Iterator[Connection]:
    engine: Engine = create_engine(
        make_url(database_url).set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": 10, "application_name": "unmoved migrate"},
    )
    try:
        with engine.connect() as connection:
            yield connection
    except sqlalchemy.exc.OperationalError as exc:
        reason = str(exc.orig).strip().splitlines()[0]
        raise CatalogUnavailableError(f"the database cannot be reached: {reason}") from exc
    except sqlalchemy.exc.DBAPIError as exc:
        reason = str(exc.orig).strip().splitlines()[0]
        raise SchemaError(f"the migration was refused: {reason}") from exc
    finally:
        engine.dispose()


@contextmanager
def _configured(connection: Connection) -> Iterator["Config"]:
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config(stdout=io.StringIO(), output_buffer=io.StringIO())
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    connection.commit()
    try:
        yield config
        connection.commit()
    except CommandError as exc:
        raise SchemaError(
            f"the schema cannot be migrated: {exc}; was it made by a newer version of unmoved?"
        ) from exc
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _MIGRATION_LOCK})
        connection.commit()


def _check_server(connection: Connection) -> None:
    number = connection.execute(text("SHOW server_version_num")).scalar_one()
    if int(number) < OLDEST_POSTGRES * 10_000:
        raise SchemaError(
            f"PostgreSQL {int(number) // 10_000} is too old; {OLDEST_POSTGRES} or newer is needed"
        )
    query = text("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
    version = connection.execute(query).scalar_one_or_none()
    connection.rollback()
    if version is None:
        raise SchemaError("this PostgreSQL has no pgvector; install pgvector 0.8 or newer on it")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PGVECTOR:
        raise SchemaError(f"pgvector {version} is too old; 0.8 or newer is needed")
