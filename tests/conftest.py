"""Fixtures that all tests share."""

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
import structlog
from sqlalchemy import make_url

from search_app.catalog import migrate
from search_app.config import Settings, load_settings
from tests.own_database import discard

if TYPE_CHECKING:
    from search_app.bootstrap import Services

# A shell starts what it puts into the background with SIGINT ignored, and so would be every
# command that a test starts and stops with Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = (
    "test_worker.py",
    "test_recommend.py",
    "test_store_parity.py",
    "test_reindex_kill.py",
    "test_kill_postgres.py",
    "test_kill.py",
    "test_naughty.py",
    "test_swap.py",
    "test_probing.py",
    "test_kill_workers.py",
    "test_nightly.py",
    "test_cli_indexes.py",
    "test_translation.py",
    "test_web_collections.py",
)
"""Modules that take longest for their few tests, which begin with them: two processes that run
tests shall end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first, then those with the most tests."""
    many = Counter(item.path for item in items)
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: (places.get(item.path.name, len(LONG)), -many[item.path]))


@pytest.fixture(autouse=True)
def _logging_as_at_the_start() -> None:
    """Undo what a command configured before: it sets up logging for its whole process."""
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a PostgreSQL with pgvector; its database `unmoved` starts empty.

    `UNMOVED_TEST_DATABASE_URL` names an existing server; without it an embedded one is started
    for the session and removed at its end.
    """
    given = os.environ.get("UNMOVED_TEST_DATABASE_URL")
    if given:
        scheme, _, rest = given.partition("://")
        yield given if "+" in scheme else f"postgresql+psycopg://{rest}"
        return
    from search_app.catalog.embedded import EmbeddedPostgres

    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    url = server.start()
    # Its data need not outlive the machine; tests that kill a server have one of their own.
    _administer(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    yield url
    server.destroy()


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """Migrate one database to head; every test's own database is cloned from it."""
    name = "unmoved_template"
    _administer(postgres_url, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    migrate.upgrade(_named(postgres_url, name))
    return name


Clone = Callable[[], str]
"""Makes a migrated database of its own and gives its address."""


@pytest.fixture
def clone(postgres_url: str, template: str) -> Iterator[Clone]:
    """Make migrated databases that belong to this test alone."""
    made = []

    def make() -> str:
        name = f"test_{uuid4().hex}"
        _administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}")
        made.append(name)
        return _named(postgres_url, name)

    yield make
    discard(postgres_url, *made)


@pytest.fixture
def database_url(clone: Clone) -> str:
    """Give the address of a migrated database that belongs to this test alone."""
    return clone()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Give settings for a database of its own and the fast embedder that separates texts."""
    return load_settings(
        DATABASE_URL=database_url, data_dir=tmp_path / "data", embedder="hashing:64"
    )


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator["Services"]:
    """Open the services of one process."""
    from search_app.bootstrap import open_services

    async with open_services(settings) as opened:
        yield opened


def _named(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _administer(url: str, *statements: str) -> None:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
