"""Fixtures that all tests share."""

import os
from collections.abc import Iterator

import pytest


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
    yield server.start()
    server.destroy()
