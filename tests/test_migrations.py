"""The schema goes up, down and up again, and is what the code declares."""

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from search_app.catalog import migrate
from search_app.catalog.tables import metadata
from search_app.errors import CatalogUnavailableError, SchemaError
from tests.catalog_dump import connect


def tables(database_url: str) -> set[str]:
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
    return {row["table_name"] for row in rows} - {"alembic_version"}


def declared(found: set[str]) -> set[str]:
    """Leave out the queue's tables, which procrastinate declares."""
    return {name for name in found if not name.startswith("procrastinate_")}


def test_the_code_knows_the_last_revision() -> None:
    assert ScriptDirectory(str(migrate.MIGRATIONS)).get_current_head() == migrate.HEAD


def test_up_down_and_up_again(database_url: str) -> None:
    assert migrate.current(database_url) == migrate.HEAD
    assert declared(tables(database_url)) == set(metadata.tables)
    migrate.move(database_url, "base")
    assert migrate.current(database_url) is None
    assert tables(database_url) == set()
    migrate.move(database_url, "head")
    assert migrate.current(database_url) == migrate.HEAD
    assert declared(tables(database_url)) == set(metadata.tables)


def test_the_declared_tables_are_the_migrated_ones(database_url: str) -> None:
    migrate.check(database_url)
    with connect(database_url) as connection:
        connection.execute("ALTER TABLE chunks ADD COLUMN stray int")
    with pytest.raises(SchemaError, match="stray"):
        migrate.check(database_url)


def test_a_schema_from_the_future_is_refused(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="newer version"):
        migrate.upgrade(database_url)


def test_an_unreachable_server_is_said_to_be_so() -> None:
    with pytest.raises(CatalogUnavailableError, match="cannot be reached"):
        migrate.upgrade("postgresql://nobody@127.0.0.1:1/nothing")


def test_an_unknown_revision_is_refused(database_url: str) -> None:
    with pytest.raises(SchemaError):
        migrate.move(database_url, "no-such-revision")


def test_at_most_one_index_of_a_collection_is_active(database_url: str) -> None:
    url = make_url(database_url)
    assert url.database is not None
    with connect(database_url) as connection:
        connection.execute("INSERT INTO collections (id, name) VALUES (gen_random_uuid(), 'one')")
        connection.execute(
            "INSERT INTO model_versions SELECT gen_random_uuid(), 's', 'p', 'm', '', 4, 1, '', '',"
            " '{}', '{}', 0, true, now()"
        )
        add = """
            INSERT INTO indexes
                (id, collection_id, model_version_id, chunking, store, precision, state)
            SELECT gen_random_uuid(), collections.id, model_versions.id, '{}', 'pgvector',
                'float16', 'active'
            FROM collections, model_versions
        """
        connection.execute(add)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(add)
