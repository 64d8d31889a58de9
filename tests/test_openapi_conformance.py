"""Whatever fits the description of the API, or just not, is answered as the description says."""

import asyncio
import re
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import uvicorn
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy

from search_app.access.scopes import Scope
from search_app.bootstrap import open_services
from search_app.catalog import keys
from search_app.catalog.engine import transaction
from search_app.config import Settings, load_settings
from search_app.web.app import create_app
from tests.web_site import built_site, run_apart

with warnings.catch_warnings():
    # Of its own making, when it is imported.
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.result import Ok
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 5
"""Requests to each operation that fit, and as many that do not."""

IN_PATH = re.compile(r"\{(collection|run_id|model_id|document_id|chunk_id)\}")

SCHEMA = schemathesis.openapi.from_dict(create_app(load_settings()).openapi())
OPERATIONS = {
    f"{operation.method.upper()} {operation.path}": operation
    for operation in (found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok))
}


@dataclass(frozen=True, kw_only=True)
class Served:
    address: str
    key: str
    there: Mapping[str, str]


@pytest.fixture(scope="module")
def served(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    with built_site(postgres_url, template, tmp_path_factory.mktemp("site")) as site:
        # With a key from the start, since some requests make keys.
        key = run_apart(_key(site.settings))
        settings = site.settings.model_copy(update={"rate_per_key": 0, "rate_per_address": 0})
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(settings), ws="none", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=asyncio.run, args=(server.serve(sockets=[listener]),), daemon=True
        )
        thread.start()
        try:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            there = {
                "collection": "default",
                "run_id": str(site.report.run_id),
                "model_id": str(site.report.model_version_id),
                **_found(address, key),
            }
            yield Served(address=address, key=key, there=there)
        finally:
            server.should_exit = True
            thread.join(30)
            listener.close()


async def _key(settings: Settings) -> str:
    async with open_services(settings) as services, transaction(services.engine) as connection:
        _, key = await keys.create(
            connection, name="all", scopes=frozenset({Scope.ADMIN}), collection_names=None
        )
    return key.text


def _found(address: str, key: str) -> dict[str, str]:
    """Give the ids of a document and of a passage that are there."""
    response = requests.post(
        f"{address}/api/v1/search",
        json={"query": "harbour"},
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )
    hit = response.json()["hits"][0]
    return {"document_id": hit["document"]["id"], "chunk_id": hit["chunk_id"]}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_answers_are_as_described(served: Served, name: str, mode: str) -> None:
    _try(served, name, OPERATIONS[name].as_strategy(generation_mode=GenerationMode(mode)))


@pytest.mark.parametrize("name", sorted(name for name in OPERATIONS if IN_PATH.search(name)))
def test_answers_about_what_is_there_are_as_described(served: Served, name: str) -> None:
    there = {each: served.there[each] for each in IN_PATH.findall(name)}
    _try(served, name, OPERATIONS[name].as_strategy(path_parameters=there))


def _try(served: Served, name: str, cases: SearchStrategy[Any]) -> None:
    """Send some requests, and compare every answer with the description."""
    session = requests.Session()

    @settings_of_hypothesis(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def send(case: Any) -> None:
        headers = {"Authorization": f"Bearer {served.key}"}
        response = case.call(base_url=served.address, session=session, headers=headers)
        case.validate_response(response, checks=CHECKS)

    try:
        send()
    except Unsatisfiable:
        pytest.skip(f"{name} takes nothing that could be wrong")
    finally:
        session.close()
