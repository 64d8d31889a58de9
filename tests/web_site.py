"""A site to look at: real files, ingested by the real pipeline, served by the real application."""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from ingest.pipeline import IngestRequest, ingest
from ingest.report import IngestReport
from search_app.bootstrap import open_services
from search_app.config import Settings, load_settings
from tests.own_database import discard

T = TypeVar("T")

ATTACK = '<script>document.title="taken over"</script><img src="x" onerror="alert(1)">'

ENGLISH = """# Harbour handbook

## Opening hours

The harbour office opens at seven and closes when the last ferry has left. Ferries run hourly.

## Lighthouse

The lighthouse keeper writes the weather into a blue book every evening. Keepers change in spring.
"""

JAPANESE = """# 図書館の利用案内

## 休館日

図書館は毎週月曜日と祝日に休館します。年末年始も休みです。

## 返却

返却は入口の箱をご利用ください。雨の日はカウンターへどうぞ。
"""

HOSTILE = {
    "id": f"key {ATTACK}",
    "title": f"Notes on {ATTACK}",
    "text": f"# Heading {ATTACK}\n\nThe sentinel paragraph says {ATTACK} and nothing more.",
    "author": ATTACK,
}

CODE = '''def tide_table(port: str) -> list[float]:
    """Give the tide heights of a port in metres."""
    return [0.4, 3.1, 0.6, 2.9]
'''


def chapters(number: int) -> str:
    """Write a long document with that many sections, each a passage of its own."""
    return "# Log of the observatory\n\n" + "\n\n".join(
        f"## Night {night}\n\n" + f"Night {night}: the observatory logged star {night * 7}. " * 12
        for night in range(number)
    )


def write_corpus(folder: Path) -> None:
    """Write the files that are ingested: English, Japanese, code, a long one, a hostile one."""
    for name in ("en", "ja", "en/notes, old"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "en" / "harbour.md").write_text(ENGLISH, encoding="utf-8")
    (folder / "en" / "hostile <b>.jsonl").write_text(json.dumps(HOSTILE), encoding="utf-8")
    (folder / "en" / "tides.py").write_text(CODE, encoding="utf-8")
    (folder / "en" / "observatory.md").write_text(chapters(130), encoding="utf-8")
    (folder / "en" / "notes, old" / "quarry.txt").write_text(
        "Granite from the quarry went by barge to the harbour of the capital.\n", encoding="utf-8"
    )
    (folder / "ja" / "図書館.md").write_text(JAPANESE, encoding="utf-8")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing in it")


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop and a thread of its own, whatever runs here."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, work).result()


@contextmanager
def cloned(postgres_url: str, template: str) -> Iterator[str]:
    """Make a migrated database, give its address, discard it at the end."""
    url = make_url(postgres_url)
    name = f"test_web_{uuid4().hex}"
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        discard(postgres_url, name)


@dataclass(frozen=True, kw_only=True)
class Site:
    """What was built: settings to serve it with, its files, and the reports of both runs."""

    settings: Settings
    folder: Path
    report: IngestReport
    second: IngestReport


async def _fill(settings: Settings, folder: Path) -> tuple[IngestReport, IngestReport]:
    async with open_services(settings) as services:
        first = await ingest(services, IngestRequest(arguments=[str(folder)]))
        second = await ingest(
            services, IngestRequest(arguments=[str(folder / "ja")], collection="日本語")
        )
    return first, second


@contextmanager
def built_site(postgres_url: str, template: str, tmp_path: Path) -> Iterator[Site]:
    """Write the corpus and ingest it into a database of its own."""
    folder = tmp_path / "library"
    write_corpus(folder)
    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url, data_dir=tmp_path / "data", embedder="hashing:256"
        )
        report, second = run_apart(_fill(settings, folder))
        yield Site(settings=settings, folder=folder, report=report, second=second)
