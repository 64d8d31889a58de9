"""What may keep an installation from working, looked at from outside in, and what to do about it.

Nothing is changed: no database is made, no schema migrated, no vector written.
"""

import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app import identity
from search_app.bootstrap import Services, make_embedder, open_database
from search_app.catalog import collections, migrate, models
from search_app.catalog.collections import CollectionSummary
from search_app.catalog.engine import create_engine, reading, transaction
from search_app.config import Settings
from search_app.errors import UnmovedError
from search_app.identity import Outcome

LITTLE_DISK = 2_000_000_000
"""Bytes of free disk below which an ingest may end half-way."""

LITTLE_MEMORY = 1_000_000_000
"""Bytes of available memory below which model, server and parsers get into each other's way."""


class Health(StrEnum):
    """How a part is."""

    GOOD = "good"
    NOTE = "note"
    """Works, and something about it should be known."""
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one part, and what to do about it where something should be done."""

    part: str
    health: Health
    found: str
    advice: str = ""


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Look at one part after the other; a part that fails is a finding, never an exception."""
    yield _program()
    yield _disk(settings.data_dir)
    yield _memory()
    if settings.database_url is None and not (settings.data_dir / "postgres").exists():
        yield Finding(
            part="database",
            health=Health.NOTE,
            found=f"none yet in {settings.data_dir}",
            advice="the first ingest makes it; if you expected one, check UNMOVED_DATA_DIR",
        )
        yield await _embedder(settings)
        return
    try:
        async with open_database(settings) as url:
            async for finding in _examine_database(settings, url):
                yield finding
    except UnmovedError as exc:
        yield Finding(
            part="database", health=Health.BAD, found=str(exc), advice=_database_advice(settings)
        )


def _program() -> Finding:
    version = importlib.metadata.version("unmoved")
    return Finding(
        part="program",
        health=Health.GOOD,
        found=f"unmoved {version} on Python {platform.python_version()}, "
        f"{os.cpu_count() or 1} cores",
    )


def _disk(data_dir: Path) -> Finding:
    folder = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    if not os.access(folder, os.W_OK):
        return Finding(
            part="disk",
            health=Health.BAD,
            found=f"{folder} cannot be written to",
            advice="change its owner, or choose another folder with UNMOVED_DATA_DIR",
        )
    free = shutil.disk_usage(folder).free
    return Finding(
        part="disk",
        health=Health.NOTE if free < LITTLE_DISK else Health.GOOD,
        found=f"{free / 1e9:,.1f} GB free for {data_dir}",
        advice="free some: a chunk of 384 dimensions takes about 6 kB with its text and index"
        if free < LITTLE_DISK
        else "",
    )


def _memory() -> Finding:
    available = psutil.virtual_memory().available
    return Finding(
        part="memory",
        health=Health.NOTE if available < LITTLE_MEMORY else Health.GOOD,
        found=f"{available / 1e9:,.1f} GB available",
        advice="end other programs, or lower UNMOVED_PARSERS and UNMOVED_PARSE_MEMORY_MB"
        if available < LITTLE_MEMORY
        else "",
    )


def _database_advice(settings: Settings) -> str:
    if settings.database_url is not None:
        return "check DATABASE_URL, and that the server runs and lets this user in"
    return f"see {settings.data_dir / 'postgres.log'}"


async def _examine_database(settings: Settings, url: str) -> AsyncIterator[Finding]:
    engine = create_engine(url)
    services = Services(settings, engine)
    try:
        yield await _server(engine, embedded=settings.database_url is None)
        schema = _schema(url, embedded=settings.database_url is None)
        yield schema
        if schema.health is Health.BAD:
            return
        async with transaction(engine) as connection:
            found = await collections.summaries(connection)
        for store in sorted({entry.store for entry in found if entry.store} | {settings.store}):
            yield await _store(services, store)
        proved = False
        async for finding in _models(services, found):
            proved = True
            yield finding
        if not proved:
            yield await _embedder(settings)
        for finding in _unfinished(found):
            yield finding
    finally:
        await services.aclose()
        await engine.dispose()


async def _server(engine: AsyncEngine, *, embedded: bool) -> Finding:
    async with reading(engine) as connection:
        version = (await connection.execute(text("SHOW server_version"))).scalar_one()
        vector = (
            await connection.execute(
                text("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
            )
        ).scalar_one_or_none()
        memory = (await connection.execute(text("SHOW maintenance_work_mem"))).scalar_one()
        where = "embedded" if embedded else "configured"
    return Finding(
        part="database",
        health=Health.GOOD,
        found=f"PostgreSQL {version} ({where}), pgvector {vector or 'not made yet'}, "
        f"maintenance_work_mem {memory}",
    )


def _schema(url: str, *, embedded: bool) -> Finding:
    at = migrate.current(url)
    if at == migrate.HEAD:
        return Finding(part="schema", health=Health.GOOD, found=f"revision {at}, the one needed")
    advice = "the next command migrates it" if embedded else "run: search-app migrate"
    return Finding(
        part="schema",
        health=Health.BAD,
        found=f"revision {at or 'none'}, this code needs {migrate.HEAD}",
        advice=advice,
    )


async def _store(services: Services, name: str) -> Finding:
    started = time.perf_counter()
    try:
        await services.store(name).ping()
    except UnmovedError as exc:
        return Finding(
            part="store",
            health=Health.BAD,
            found=f"{name}: {exc}",
            advice="searches and ingests of its collections fail until it answers",
        )
    took = (time.perf_counter() - started) * 1000
    return Finding(part="store", health=Health.GOOD, found=f"{name} answers in {took:.0f} ms")


async def _embedder(settings: Settings) -> Finding:
    """See that the embedder of new collections answers; there is nothing to compare it with."""
    try:
        embedder = make_embedder(settings.embedder, settings)
        try:
            found = await embedder.describe()
        finally:
            await embedder.aclose()
    except UnmovedError as exc:
        return Finding(
            part="model",
            health=Health.BAD,
            found=f"{settings.embedder}: {exc}",
            advice="new collections cannot be made with it; see UNMOVED_EMBEDDER",
        )
    return Finding(
        part="model",
        health=Health.GOOD,
        found=f"{found.provider}/{found.model} answers with {found.dimensions} dimensions",
    )


async def _models(services: Services, found: Sequence[CollectionSummary]) -> AsyncIterator[Finding]:
    """Let the model of every active index prove itself, once each."""
    async with transaction(services.engine) as connection:
        versions = {version.id: version for version in await models.listing(connection)}
        canaries = {
            version_id: await models.canaries(connection, version_id) for version_id in versions
        }
    used: dict[object, list[str]] = {}
    for entry in found:
        if entry.model_version_id is not None:
            used.setdefault(entry.model_version_id, []).append(entry.name)
    for version_id, version in versions.items():
        names = ", ".join(used.get(version_id, []))
        if not names:
            continue
        if version.unverified:
            yield Finding(
                part="model",
                health=Health.NOTE,
                found=f"{version.name} is said to have made {names}; nobody could ask it yet",
                advice=f"once it answers: ingest models verify {str(version_id)[:8]}",
            )
            continue
        try:
            proof = await identity.prove(
                services.embedder(version.spec), version, canaries[version_id]
            )
        except UnmovedError as exc:
            yield Finding(
                part="model",
                health=Health.BAD,
                found=f"{version.name}: {exc}",
                advice=f"until it answers, nothing new can be embedded for: {names}",
            )
            continue
        yield _proved(version.name, proof, names)


def _proved(model: str, proof: identity.Proof, names: str) -> Finding:
    cosine = f"lowest canary cosine {proof.lowest_cosine:.8f}"
    match proof.outcome:
        case Outcome.SAME:
            return Finding(
                part="model", health=Health.GOOD, found=f"{model} made {names}; {cosine}"
            )
        case Outcome.NEW_BUILD:
            return Finding(
                part="model",
                health=Health.NOTE,
                found=f"{model} is a new build of the model that made {names}; "
                f"{cosine} ({proof.canary})",
                advice="rankings may move within noise; new vectors fit the old ones",
            )
        case Outcome.OTHER_MODEL:
            return Finding(
                part="model",
                health=Health.BAD,
                found=f"{model} is not the model that made {names}; {cosine} ({proof.canary})",
                advice="bring that model back, or ingest into a new collection with this one",
            )


def _unfinished(found: Sequence[CollectionSummary]) -> Iterator[Finding]:
    for entry in found:
        if entry.pending_documents:
            yield Finding(
                part="documents",
                health=Health.NOTE,
                found=f"{entry.pending_documents:,} unfinished in {entry.name}",
                advice=f"the next ingest into {entry.name} finishes them",
            )
