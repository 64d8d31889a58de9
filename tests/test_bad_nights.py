"""Bad nights: whatever goes wrong, a check says so, is never stable, and leaves nothing half."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import text

from ingest.pipeline import IngestRequest, ingest, remove
from search_app.bootstrap import Services
from search_app.catalog.engine import transaction
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.consistency.types import CheckReport, FindingKind, Verdict
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import StoreUnavailableError
from search_app.stores.pgvector import PgvectorStore
from search_app.types import Kind, Matrix, ModelIdentity, Point

DOCUMENTS = 60


class Model(HashingEmbedder):
    """The model of the index; ``broken`` changes its answers, ``before`` runs before each."""

    def __init__(self) -> None:
        super().__init__(64)
        self.broken: Any = None
        self.before: Any = None
        self.libraries: dict[str, str] = {}

    async def describe(self) -> ModelIdentity:
        return replace(await super().describe(), library_versions=self.libraries)

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        if self.before is not None:
            await self.before()
        vectors = await super().embed(texts, kind)
        return vectors if self.broken is None else self.broken(vectors)


class FailingStore(PgvectorStore):
    """A store that is gone after so many pages."""

    pages = 1_000_000

    async def scan(
        self, index_id: UUID, *, after: UUID | None = None, limit: int = 1000, vectors: bool = False
    ) -> list[Point]:
        self.pages -= 1
        if self.pages < 0:
            raise StoreUnavailableError("the store went away")
        return await super().scan(index_id, after=after, limit=limit, vectors=vectors)


@pytest.fixture
async def model(services: Services, tmp_path: Path) -> Model:
    """Give the model of an index whose references are set."""
    services._embedders["hashing:64"] = planted = Model()
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(DOCUMENTS):
        words = " ".join(f"word{number * place % 97}" for place in range(1, 30))
        (folder / f"{number}.md").write_text(f"# Note {number}\n\n{words}\n")
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    await night(services)
    return planted


async def night(services: Services) -> CheckReport:
    return await check(services, CheckRequest(collection="default", seed=3))


def kinds(report: CheckReport) -> set[FindingKind]:
    return {finding.kind for finding in report.findings}


async def checks_kept(services: Services) -> int:
    async with transaction(services.engine) as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM checks")) or 0)


def not_numbers(vectors: Matrix) -> Matrix:
    return np.full_like(vectors, np.nan)


def some_not_numbers(vectors: Matrix) -> Matrix:
    broken = vectors.copy()
    broken[0, 3] = np.inf
    return broken


def too_few(vectors: Matrix) -> Matrix:
    return vectors[:-1]


@pytest.mark.parametrize("broken", [not_numbers, some_not_numbers, too_few])
async def test_garbage_is_an_answer_that_says_nothing(
    services: Services, model: Model, broken: Any
) -> None:
    model.broken = broken
    report = await night(services)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert FindingKind.UNREACHABLE in kinds(report)
    assert any("answered" in reason for reason in report.not_checked)


async def test_vectors_of_other_dimensions_are_another_model(
    services: Services, model: Model
) -> None:
    model.broken = lambda vectors: vectors[:, :48]
    report = await night(services)
    assert report.verdict is not Verdict.STABLE


async def test_a_store_that_goes_away_in_the_middle_is_not_an_empty_one(
    services: Services, model: Model
) -> None:
    services._stores["pgvector"] = store = FailingStore(services.engine)
    store.pages = 1
    report = await night(services)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert any("the store went away" in reason for reason in report.not_checked)
    found = report.layers.integrity
    assert found is None or not found.faults
    store.pages = 1_000_000
    assert (await night(services)).verdict is Verdict.STABLE
    assert model.broken is None


async def test_an_empty_collection_is_not_healthy(services: Services, model: Model) -> None:
    async with transaction(services.engine) as connection:
        uris = list(await connection.scalars(text("SELECT uri FROM sources")))
    await remove(services, sources=uris, collection="default")
    report = await night(services)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.layers.integrity is not None
    assert report.layers.integrity.scanned == 0
    assert model.broken is None


async def test_documents_that_come_and_go_meanwhile_are_no_fault(
    services: Services, model: Model, tmp_path: Path
) -> None:
    new = tmp_path / "new.md"
    new.write_text("# New\n\nA note that came in the middle of a check.\n")
    sent = 0

    async def change() -> None:
        nonlocal sent
        sent += 1
        if sent == 40:
            model.before = None
            await ingest(services, IngestRequest(arguments=[str(new)]))
            await remove(services, sources=[str(tmp_path / "notes" / "7.md")], collection="default")
            model.before = change

    model.before = change
    report = await night(services)
    assert sent > 40
    assert report.verdict is Verdict.STABLE
    assert (await night(services)).verdict is Verdict.STABLE


async def test_a_package_that_was_upgraded_is_told_and_canaries_decide(
    services: Services, model: Model
) -> None:
    model.libraries = {"numerics": "2.0"}
    report = await night(services)
    assert report.verdict is Verdict.STABLE
    assert report.layers.canaries is not None
    assert report.layers.canaries.upgraded == {"numerics": "none to 2.0"}
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(64, 64)))[0]
    model.broken = lambda vectors: np.asarray(vectors + 0.01 * (vectors @ turn), np.float32)
    report = await night(services)
    assert FindingKind.NEW_BUILD in kinds(report)
    (cause,) = [cause for cause in report.causes if cause.name == "precision or build"]
    assert "numerics none to 2.0" in cause.evidence


async def test_a_check_that_is_killed_half_way_leaves_nothing(
    services: Services, model: Model
) -> None:
    before = await checks_kept(services)
    reached = asyncio.Event()

    async def hang() -> None:
        reached.set()
        await asyncio.sleep(3600)

    model.before = hang
    under_way = asyncio.create_task(night(services))
    await reached.wait()
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    assert await checks_kept(services) == before
    model.before = None
    assert (await night(services)).verdict is Verdict.STABLE
    assert await checks_kept(services) == before + 1
