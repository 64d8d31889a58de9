"""A site with two collections, one of which a limited key may not see, and requests to it all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import make_url
from starlette.testclient import TestClient

from ingest.analysing.asking import analyse
from ingest.pipeline import IngestRequest, ingest
from ingest.reindex import ReindexRequest, reindex
from search_app import jobs
from search_app.access.scopes import Scope
from search_app.bootstrap import Services, open_services
from search_app.catalog import analyses, collections, keys
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.jobs import schedules
from search_app.jobs.schedules import Timing
from search_app.retrieval import SearchRequest

OWN, SECRET = "handbook", "vault"
WORD = "zanzibar"
"""Stands in every text, title and path of the secret collection, and nowhere else."""

OF_A_COLLECTION = frozenset(
    {
        "/ask",
        "/checks",
        "/upload",
        "/feedback",
        "/clusters",
        "/map",
        "/outliers",
        "/diversity",
        "/labels",
        "/exclusions",
    }
)
"""Pages whose forms name a collection, or something of one."""

ROLES: Mapping[str, frozenset[Scope]] = {
    "read": frozenset({Scope.READ}),
    "ingest": frozenset({Scope.INGEST}),
    "admin": frozenset({Scope.ADMIN}),
}
OTHER = "other collection"


@dataclass(frozen=True, kw_only=True)
class Things:
    """What there is of one collection: a value for each name in the path of a route."""

    collection: str
    ids: Mapping[str, str]
    search_id: str


@dataclass(frozen=True, kw_only=True)
class KeyedSite:
    """What was built, and keys by their roles: three for everything, one for OWN alone."""

    settings: Settings
    keys: Mapping[str, str]
    own: Things
    secret: Things


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request; ``named`` says whether it names something of a collection."""

    method: str
    path: str
    url: str
    options: Mapping[str, Any]
    named: bool


async def build(settings: Settings, folder: Path) -> KeyedSite:
    """Ingest both collections, check them, queue work for them, and make the keys."""
    async with open_services(settings) as services:
        own = await _fill(services, folder / "own", OWN, "lighthouse", "bundle")
        secret = await _fill(services, folder / WORD, SECRET, WORD, "hashing:32")
        made = {}
        async with transaction(services.engine) as connection:
            for name, scopes in ROLES.items():
                made[name] = await keys.create(
                    connection, name=name, scopes=scopes, collection_names=None
                )
            made[OTHER] = await keys.create(
                connection,
                name=OTHER,
                scopes=frozenset(Scope),
                collection_names=[OWN],
            )
        texts = {role: key.text for role, (_, key) in made.items()}
        label = made["read"][0].label
    return KeyedSite(
        settings=settings,
        keys=texts,
        own=_with(own, "key", label),
        secret=_with(secret, "key", label),
    )


def answered(site: KeyedSite, client: TestClient) -> KeyedSite:
    """Ask for an answer out of each collection, so that there are some to look at."""
    headers = {"Authorization": f"Bearer {site.keys['admin']}"}
    things = []
    for each in (site.own, site.secret):
        word = WORD if each is site.secret else "lighthouse"
        body = {"question": f"{word} number 1?", "collection": each.collection}
        response = client.post("/api/v1/ask", json=body, headers=headers)
        assert response.status_code == 200, response.text
        things.append(_with(each, "answer_id", response.json()["id"]))
    return replace(site, own=things[0], secret=things[1])


def _with(things: Things, name: str, value: str) -> Things:
    return replace(things, ids={**things.ids, name: value})


async def _fill(
    services: Services, folder: Path, collection: str, word: str, embedder: str
) -> Things:
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{word}-{number}.md").write_text(
            f"# {word} {number}\n\nOf {word} number {number}, section {number}.\n", encoding="utf-8"
        )
    (folder / f"{word}.pdf").write_bytes(b"%PDF-1.7 nothing in it")
    chosen = None if embedder == "bundle" else embedder
    report = await ingest(
        services,
        IngestRequest(arguments=[str(folder)], collection=collection, embedder=chosen),
    )
    again = await ingest(services, IngestRequest(arguments=[str(folder)], collection=collection))
    checked = await check(services, CheckRequest(collection=collection))
    found = await services.searcher.search(SearchRequest(query=word, collection=collection))
    job = await jobs.enqueue_retry(services.engine, collection=collection)
    timing = Timing(every=timedelta(days=9))
    scheduled = await schedules.add(
        services.engine,
        collection=collection,
        arguments=[f"https://{word}.example/"],
        timing=timing,
    )
    built = await reindex(services, ReindexRequest(collection=collection, force=True))
    async with transaction(services.engine) as connection:
        analysis = await analyses.add(
            connection,
            collection_id=(await collections.get(connection, collection)).id,
            index_id=built.index_id,
            model_version_id=found.model_version_id,
            kind="diversity",
            parameters={},
            seed=0,
            numbers={},
            seconds=0.1,
        )
    made = await analyse(services, collection, "map", {"method": "pca"})
    hit = found.hits[0]
    index = str(report.index_id)
    ids = {
        "document_id": str(hit.document.id),
        "chunk_id": str(hit.chunk_id),
        "collection": quote(collection),
        "address": quote(collection),
        "run_id": str(report.run_id),
        "other_run": str(again.run_id),
        "other_index": str(built.index_id),
        "model_id": str(report.model_version_id),
        "index": index,
        "check": str(checked.check_id),
        "analysis": str(analysis),
        "map_id": str(made.id),
        "job": str(job.id),
        "job_id": str(job.id),
        "schedule": str(scheduled.id),
    }
    return Things(collection=collection, ids=ids, search_id=str(found.search_id))


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Give method and path of every route of an application but static files."""
    found = []
    for route in iter_route_contexts(app.routes):
        path = str(route.path)
        found += [(method, path) for method in sorted(route.methods or {"GET"})]
    return [(method, path) for method, path in found if method != "HEAD" and path != "/static"]


def ask(app: FastAPI, method: str, path: str, things: Things) -> Asked:
    """Make the request to a route that is about the things of one collection."""
    url = path.format_map(things.ids)
    options: dict[str, Any] = {}
    named = url != path
    query = _queries(things).get(f"{method} {path}")
    if query is not None:
        options["params"] = query
        named = True
    body = _body(app, method, path, things)
    if method != "GET" and path.startswith("/api/") and not path.endswith("}/documents"):
        options["headers"] = {"Content-Type": "application/json"}
    if body is not None:
        options["json"] = body
        of_it = (things.collection, things.search_id, things.ids["document_id"])
        named = named or any(each in str(body) for each in of_it)
    form = _form(method, path, things)
    if form is not None:
        options["data"] = form
        named = named or path in OF_A_COLLECTION
    if path in ("/api/v1/collections/{collection}/documents", "/upload") and method == "POST":
        options["files"] = [("file", ("new.md", b"# New\n\nNothing.\n", "text/markdown"))]
    return Asked(method=method, path=path, url=url, options=options, named=named)


def _queries(things: Things) -> dict[str, dict[str, str]]:
    ids, name = things.ids, things.collection
    runs = {"a": ids["run_id"], "b": ids["other_run"]}
    why = {"q": WORD, "collection": name, "document": ids["document_id"]}
    indexes = {"a": ids["index"], "b": ids["other_index"], "q": WORD}
    groups = {"collection": name, "field": "type"}
    return {
        "GET /recommend": {"like": ids["chunk_id"], "collection": name},
        "GET /groups": groups,
        "GET /api/v1/groups": groups,
        "GET /api/v1/groups/recommendations": {**groups, "value": "markdown"},
        "GET /": {"q": WORD, "collection": name},
        "GET /ask": {"q": WORD, "collection": name},
        "GET /answers": {"collection": name},
        "GET /api/v1/facets": {"collection": name},
        "GET /api/v1/suggest": {"q": WORD[:3], "collection": name},
        "GET /runs/diff": runs,
        "GET /api/v1/runs/diff": runs,
        "GET /why": why,
        "GET /api/v1/why": why,
        "GET /compare": indexes,
        "GET /api/v1/compare": indexes,
        "GET /map": {"collection": name},
        "GET /map/table": {"analysis": ids["map_id"]},
        "GET /api/v1/maps/{map_id}/query": {"q": WORD},
        "GET /failures": {"collection": name},
        "GET /exclusions": {"collection": name},
        "GET /api/v1/exclusions": {"collection": name},
        "DELETE /api/v1/exclusions": {"document_id": ids["document_id"]},
        "GET /api/v1/failures": {"collection": name},
    }


def _body(app: FastAPI, method: str, path: str, things: Things) -> Any:
    """Give the example of the body, with the things of the collection in its place."""
    operation = app.openapi()["paths"].get(path, {}).get(method.lower(), {})
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    shape = app.openapi()["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    body = dict(shape["example"])
    changes = {
        "collection": things.collection,
        "search_id": things.search_id,
        "chunk_id": things.ids["chunk_id"],
        "document_id": things.ids["document_id"],
        "like": [things.ids["chunk_id"]],
        "unlike": [],
        "chunk_ids": [things.ids["chunk_id"]],
        "filters": [],
        "documents": [things.ids["document_id"]],
        "passages": [things.ids["chunk_id"]],
        "collections": [things.collection],
        "arguments": [f"https://{things.collection}.example/page"],
    }
    # What is a number there, as the most passages of an answer, names nothing.
    properties = shape["properties"].items()
    named = {name for name, value in properties if value.get("type") != "integer"}
    return body | {name: value for name, value in changes.items() if name in named}


def _form(method: str, path: str, things: Things) -> dict[str, str] | None:
    if method != "POST" or path.startswith("/api/"):
        return None
    if path == "/upload":
        return {"collection": things.collection}
    return {
        "collection": things.collection,
        "search": things.search_id,
        "chunk": things.ids["chunk_id"],
        "verdict": "1",
        "url": f"https://{things.collection}.example/page",
        "q": f"{WORD} number 1?",
        "document": things.ids["document_id"],
        "exclude_document": things.ids["document_id"],
        "action": "remove",
        "theme": "dark",
        "language": "ja",
        "name": "a key",
        "scope": "read",
        "reach": "all",
    }


def contents(settings: Settings) -> dict[str, Sequence[Any]]:
    """Read what a collection that nobody may touch consists of, the use of its keys excepted."""
    url = settings.database_url
    assert url is not None
    address = make_url(url.get_secret_value()).set(drivername="postgresql")
    found: dict[str, Sequence[Any]] = {}
    with psycopg.connect(address.render_as_string(hide_password=False)) as connection:
        row = connection.execute("SELECT id FROM collections WHERE name = %s", (SECRET,)).fetchone()
        assert row is not None
        for table in _TABLES:
            condition = _CONDITIONS.get(table, "collection_id = %(id)s")
            found[table] = connection.execute(
                f"SELECT {table}::text FROM {table} WHERE {condition} ORDER BY 1",
                {"id": row[0], "name": SECRET},
            ).fetchall()
    return found


_TABLES = (
    "collections",
    "indexes",
    "documents",
    "sources",
    "runs",
    "checks",
    "schedules",
    "query_log",
    "feedback",
    "answers",
    "document_events",
    "vector_records",
    "index_events",
    "procrastinate_jobs",
    "exclusions",
)
_CONDITIONS = {
    "collections": "id = %(id)s",
    "feedback": "search_id IN (SELECT id FROM query_log WHERE collection_id = %(id)s)",
    "vector_records": "index_id IN (SELECT id FROM indexes WHERE collection_id = %(id)s)",
    "index_events": "index_id IN (SELECT id FROM indexes WHERE collection_id = %(id)s)",
    "procrastinate_jobs": "args->>'collection' = %(name)s",
}
