"""A world: real documents in a real index, made with a model that answers in a certain way."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
from sqlalchemy import make_url, text

from benchmarks.faults.clients import Answer, Generator, Planted
from benchmarks.faults.stored import Stored, read
from ingest.loaders import LoadOptions
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services, open_services
from search_app.catalog import collections, indexes, migrate, references
from search_app.catalog.engine import transaction
from search_app.catalog.references import Reference
from search_app.config import load_settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.consistency.types import CheckReport
from search_app.stores.pgvector import PgvectorStore
from search_app.types import Kind

HNSW_FROM = 100
LONGEST = 6_000
"""Characters of a newsgroup post that are taken."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents as one file and questions as a golden set, in folders of their own."""

    documents: Path
    golden: Path


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How the model of a world answers; ``healthy`` makes its answer from a source of chance."""

    name: str
    healthy: Callable[[Generator], Answer]
    prefixes: Mapping[Kind, str]
    paid: bool = True


class World:
    """An index whose references are set, in a database of its own."""

    def __init__(
        self, services: Services, setting: Setting, planted: Planted, stored: Stored
    ) -> None:
        """Take what ``opened`` made."""
        self.services = services
        self.setting = setting
        self.planted = planted
        self.stored = stored
        self.references: Sequence[Reference] = ()

    async def begin(self, seed: int) -> Generator:
        """Forget earlier nights, answer as a healthy model does; gives the episode's chance."""
        await self.stored.restore()
        async with transaction(self.services.engine) as connection:
            await connection.execute(text("DELETE FROM checks"))
        draw = np.random.default_rng(seed)
        self.planted.answer = self.setting.healthy(draw)
        return draw

    async def night(self, seed: int) -> CheckReport:
        """Check, blind."""
        return await check(self.services, CheckRequest(collection="default", seed=seed))


def write_corpus(data: Path, folder: Path, each: int) -> Corpus:
    """Write a corpus of three kinds of documents, ``each`` of a kind, and questions about them."""
    golden = folder / "golden"
    golden.mkdir(parents=True)
    rows = [
        *_rows(data / "golden" / "ja_jsquad" / "corpus.jsonl", each),
        *_rows(data / "golden" / "en_cranfield" / "corpus.jsonl", each),
        *_rows(data / "newsgroups20" / "train_stripped.jsonl.gz", each),
    ]
    # All columns but these would become fields to filter by.
    kept = [
        {"id": str(number), "title": row.get("title", ""), "text": row["text"][:LONGEST]}
        for number, row in enumerate(rows)
    ]
    _write(folder / "documents.jsonl", kept)
    half = [
        list(_rows(data / "golden" / name / "queries.jsonl", 300))
        for name in ("ja_jsquad", "en_cranfield")
    ]
    questions = [row["text"] for pair in zip(*half, strict=False) for row in pair]
    _write(golden / "queries.jsonl", [{"text": question} for question in questions])
    return Corpus(documents=folder / "documents.jsonl", golden=golden)


def _rows(path: Path, most: int) -> Iterator[dict[str, str]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        found = 0
        for line in file:
            row = json.loads(line)
            if row["text"].strip():
                yield row
                found += 1
            if found == most:
                return


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@asynccontextmanager
async def opened(
    server: str, data: Path, corpus: Corpus, setting: Setting, number: int
) -> AsyncIterator[World]:
    """Make a world: ingest with its model, then one night that sets the references."""
    url = await _database(server, f"world_{number}")
    settings = load_settings(data_dir=data, DATABASE_URL=url, embedder="hashing:8")
    planted = Planted(setting.name, setting.prefixes, paid=setting.paid)
    planted.answer = setting.healthy(np.random.default_rng(number))
    async with open_services(settings) as services:
        services._embedders[planted.spec] = planted
        services._stores["pgvector"] = PgvectorStore(services.engine, hnsw_from=HNSW_FROM)
        report = await ingest(
            services,
            IngestRequest(
                arguments=[str(corpus.documents)],
                embedder=planted.spec,
                load=LoadOptions(text_fields=("text",), meta_fields=(), title_field="title"),
            ),
        )
        assert not report.errors, report.errors
        async with transaction(services.engine) as connection:
            collection = await collections.get(connection, "default")
            index = await indexes.active(connection, collection)
        world = World(services, setting, planted, await read(services.engine, index))
        await world.stored.keep()
        await check(services, CheckRequest(collection="default", golden=corpus.golden, seed=0))
        async with transaction(services.engine) as connection:
            world.references = await references.listing(connection, index.id)
        yield world


async def _database(server: str, name: str) -> str:
    url = make_url(server)

    def make() -> None:
        address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')

    await asyncio.to_thread(make)
    own = url.set(database=name).render_as_string(hide_password=False)
    await asyncio.to_thread(migrate.upgrade, own)
    return own
