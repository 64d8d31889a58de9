"""Vectors of a model that does not answer: imported as declared, and verified once it does."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import text as sql
from starlette.testclient import TestClient

from ingest.cli import models as command
from ingest.cli.models import standing
from ingest.doctor import Health, examine
from ingest.importing import ImportReport, ImportRequest, import_vectors
from ingest.pipeline import IngestRequest, ingest
from ingest.verifying import verify
from search_app import exporting
from search_app.bootstrap import Services
from search_app.catalog import collections, embedding_cache, indexes, models, statistics
from search_app.catalog.engine import reading
from search_app.config import Settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.consistency.types import FindingKind, Verdict
from search_app.embedders.base import Embedder
from search_app.errors import (
    EmbedderUnavailableError,
    InvalidInputError,
    ModelMismatchError,
)
from search_app.identity import CANARIES
from search_app.retrieval import SearchRequest
from search_app.types import Collection, IndexState, Kind, Matrix, ModelIdentity, ModelVersion
from search_app.web.app import create_app
from tests.test_importing import PASSAGES, collection, made

__all__ = ["collection"]

SPEC = "hashing:128"


class Distant(Embedder):
    """An embedder that answers while somebody lets it."""

    def __init__(self, inner: Embedder) -> None:
        self.inner = inner
        self.spec = inner.spec
        self.batch_size = inner.batch_size
        self.answers = False

    async def describe(self) -> ModelIdentity:
        self._check()
        return await self.inner.describe()

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        self._check()
        return await self.inner.embed(texts, kind)

    def text_sent(self, text: str, kind: Kind) -> str:
        return self.inner.text_sent(text, kind)

    def _check(self) -> None:
        if not self.answers:
            raise EmbedderUnavailableError("nobody is at home")


@pytest.fixture
def distant(services: Services) -> Distant:
    """The model that makes the vectors of these tests, which does not answer until it is let."""
    embedder = Distant(services.embedder(SPEC))
    services._embedders[SPEC] = embedder
    return embedder


async def imported(
    services: Services, distant: Distant, path: Path, *, wrong: bool = False
) -> ImportReport:
    """Import vectors of the model, or of another one, while it does not answer."""

    def change(_: list[str], vectors: list[list[float]]) -> None:
        if wrong:
            vectors[:] = [vector[::-1] for vector in vectors]

    distant.answers = True
    file = await made(services, path, change)
    distant.answers = False
    return await import_vectors(
        services, ImportRequest(file=file, collection="notes", embedder=SPEC)
    )


async def version_of(services: Services, report: ImportReport) -> ModelVersion:
    async with reading(services.engine) as connection:
        return await models.get(connection, report.model_version_id)


async def asked(services: Services, report: ImportReport) -> list[str]:
    request = SearchRequest(
        query="ferry 3 island",
        collection="notes",
        index=str(report.built.index_id),
        mode="semantic",
        logged=False,
    )
    return [hit.document.title for hit in (await services.searcher.search(request)).hits]


async def test_vectors_are_taken_over_and_said_to_be_unverified(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    report = await imported(services, distant, tmp_path / "in.csv")
    assert report.unverified == "nobody is at home"
    assert (report.furthest, report.allowed) == (None, None)
    assert (report.built.state, report.built.copied) == (IndexState.READY, PASSAGES)
    version = await version_of(services, report)
    assert version.unverified
    assert version.name == "hashing/hashing:128"
    async with reading(services.engine) as connection:
        built = await indexes.get(connection, report.built.index_id)
        uses = await statistics.index_uses(connection, collection=collection)
        sample = await models.canaries(connection, version.id)
        kept = await embedding_cache.kept(connection, version.id)
        texts = await connection.scalars(sql("SELECT text FROM canary_vectors"))
        copied = [text for text in texts if "Ferry" in text]
    assert {use.index.id for use in uses if use.unverified} == {built.id}
    assert len(sample) == PASSAGES
    assert all("Ferry" in canary.text for canary in sample)
    # Texts of users are kept as passages alone, and go with them.
    assert not copied
    assert not kept
    export = await exporting.prepare(services, collection, index=built, kind="csv")
    rows = [row async for page in exporting.pages(services, export) for row in page.rows]
    assert {row["run_id"] for row in rows} == {str(report.run_id)}
    assert len(rows) == PASSAGES


async def test_a_model_that_was_never_met_is_told_by_its_name(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    del collection
    distant.answers = True

    def change(_: list[str], vectors: list[list[float]]) -> None:
        vectors[:] = [vector[:96] for vector in vectors]

    file = await made(services, tmp_path / "in.csv", change)
    stranger = Distant(services.embedder("hashing:96"))
    services._embedders[stranger.spec] = stranger
    report = await import_vectors(
        services, ImportRequest(file=file, collection="notes", embedder=stranger.spec)
    )
    version = await version_of(services, report)
    assert (version.name, version.identity.dimensions) == ("hashing/96", 96)
    assert version.unverified


async def test_no_query_is_trusted_before_the_model_verified_the_vectors(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    del collection
    report = await imported(services, distant, tmp_path / "in.csv")
    with pytest.raises(EmbedderUnavailableError, match="nobody is at home"):
        await asked(services, report)
    assert (await version_of(services, report)).unverified
    distant.answers = True
    services.prover._failed.clear()
    assert (await asked(services, report))[0] == "Note 3"
    version = await version_of(services, report)
    assert version.verified_at is not None
    assert version.bit_stable
    async with reading(services.engine) as connection:
        canaries = await models.canaries(connection, version.id)
    assert {canary.name for canary in canaries} == {canary.name for canary in CANARIES}


async def test_a_model_that_answers_otherwise_is_not_searched_with(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    del collection
    report = await imported(services, distant, tmp_path / "in.csv", wrong=True)
    distant.answers = True
    told = "that were imported as those of hashing/hashing:128 are not what hashing:128 answers"
    with pytest.raises(ModelMismatchError, match=told):
        await asked(services, report)
    with pytest.raises(ModelMismatchError, match=told):
        await verify(services, str(report.model_version_id))
    assert (await version_of(services, report)).unverified


async def test_a_model_of_other_dimensions_is_not_searched_with(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    del collection
    report = await imported(services, distant, tmp_path / "in.csv")
    distant.answers, distant.inner = True, services.embedder("hashing:64")
    with pytest.raises(ModelMismatchError, match="are not what hashing:128 answers"):
        await asked(services, report)
    assert (await version_of(services, report)).unverified


async def test_a_check_finds_nothing_healthy_before_they_are_verified(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    del collection
    report = await imported(services, distant, tmp_path / "in.csv")
    request = CheckRequest(collection="notes", index=str(report.built.index_id), seed=1)
    found = await check(services, request)
    assert found.verdict is Verdict.INCONCLUSIVE
    told = [finding.sentence for finding in found.findings]
    assert any("which was never verified" in sentence for sentence in told)
    distant.answers = True
    found = await check(services, request)
    assert FindingKind.UNREACHABLE not in {finding.kind for finding in found.findings}
    assert found.layers.canaries is not None
    assert found.layers.canaries.outcome == "same"
    assert not (await version_of(services, report)).unverified


async def test_a_check_says_where_another_model_made_them(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    del collection
    report = await imported(services, distant, tmp_path / "in.csv", wrong=True)
    distant.answers = True
    request = CheckRequest(collection="notes", index=str(report.built.index_id), seed=1)
    found = await check(services, request)
    assert FindingKind.MODEL_CHANGED in {finding.kind for finding in found.findings}
    assert (await version_of(services, report)).unverified


async def test_a_check_that_may_send_nothing_is_not_healthy(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    del collection
    report = await imported(services, distant, tmp_path / "in.csv")
    distant.answers = True
    found = await check(
        services,
        CheckRequest(collection="notes", index=str(report.built.index_id), most_texts=1),
    )
    assert found.verdict is Verdict.INCONCLUSIVE


async def test_an_ingest_that_reaches_the_model_verifies_them_first(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    del collection
    report = await imported(services, distant, tmp_path / "in.csv")
    distant.answers = True
    (tmp_path / "notes" / "note9.md").write_text("# Note 9\n\nA new one.", encoding="utf-8")
    request = IngestRequest(arguments=[str(tmp_path / "notes")], collection="notes")
    await ingest(services, request)
    assert not (await version_of(services, report)).unverified
    assert "Note 9" in await asked(services, report)


async def test_the_same_again_verifies_what_is_there(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    report = await imported(services, distant, tmp_path / "in.csv")
    request = ImportRequest(file=tmp_path / "in.csv", collection="notes", embedder=SPEC)
    with pytest.raises(InvalidInputError, match="does not answer to verify them"):
        await import_vectors(services, request)
    distant.answers = True
    again = await import_vectors(services, request)
    assert again.unverified is None
    assert again.model_version_id == await elsewhere(services)
    assert not (await version_of(services, report)).unverified
    async with reading(services.engine) as connection:
        live = await indexes.live(connection, collection)
    assert IndexState.BUILDING not in {index.state for index in live}


async def elsewhere(services: Services) -> object:
    """Give the version that the model was registered as before."""
    async with reading(services.engine) as connection:
        other = await collections.get(connection, "elsewhere")
        return (await indexes.active(connection, other)).model_version_id


async def test_a_known_version_is_not_mixed_with_what_nobody_verified(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    del collection
    distant.answers = True
    file = await made(services, tmp_path / "in.csv")
    distant.answers = False
    known = await elsewhere(services)
    report = await import_vectors(
        services, ImportRequest(file=file, collection="notes", model_version=str(known))
    )
    assert report.model_version_id != known
    assert (await version_of(services, report)).unverified
    distant.answers = True
    done = await verify(services, str(report.model_version_id))
    assert done.proof is not None
    assert not done.version.unverified
    assert (await verify(services, str(report.model_version_id))).proof is None


async def test_what_the_file_lacks_cannot_be_embedded(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    distant.answers = True

    def change(ids: list[str], vectors: list[list[float]]) -> None:
        del ids[4:], vectors[4:]

    file = await made(services, tmp_path / "in.csv", change)
    distant.answers = False
    with pytest.raises(InvalidInputError, match=r"lacks 2 of 6 passages, .*nobody is at home"):
        await import_vectors(services, ImportRequest(file=file, collection="notes", embedder=SPEC))
    async with reading(services.engine) as connection:
        assert len(await indexes.live(connection, collection)) == 1
        assert not [each for each in await models.listing(connection) if each.unverified]


async def test_what_answers_already_is_refused_unasked(
    services: Services, collection: Collection, tmp_path: Path
) -> None:
    export = await exporting.prepare(services, collection, kind="csv")
    file = tmp_path / "same.csv"
    file.write_bytes(b"".join([piece async for piece in exporting.stream(services, export)]))
    services._embedders["hashing:64"] = Distant(services.embedder("hashing:64"))
    with pytest.raises(InvalidInputError, match="already, of every passage"):
        await import_vectors(
            services, ImportRequest(file=file, collection="notes", embedder="hashing:64")
        )


async def test_what_is_removed_verifies_nothing_any_more(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    del collection
    report = await imported(services, distant, tmp_path / "in.csv")
    async with reading(services.engine) as connection:
        await connection.execute(sql("DELETE FROM chunks"))
        await connection.commit()
    distant.answers = True
    with pytest.raises(EmbedderUnavailableError, match="the passages that were to tell are gone"):
        await verify(services, str(report.model_version_id))
    request = CheckRequest(collection="notes", index=str(report.built.index_id), seed=1)
    assert (await check(services, request)).verdict is not Verdict.STABLE


async def test_the_doctor_says_that_nobody_asked_it(
    services: Services, collection: Collection, distant: Distant, tmp_path: Path
) -> None:
    del collection
    report = await imported(services, distant, tmp_path / "in.csv")
    async with services.engine.begin() as connection:
        await indexes.activate(connection, report.built.index_id)
    found = [each async for each in examine(services.settings) if each.part == "model"]
    told = [each for each in found if "nobody could ask it yet" in each.found]
    assert [each.health for each in told] == [Health.NOTE]
    assert f"ingest models verify {str(report.model_version_id)[:8]}" in told[0].advice


async def test_pages_and_the_api_say_that_it_is_not_verified(
    services: Services,
    settings: Settings,
    collection: Collection,
    distant: Distant,
    tmp_path: Path,
) -> None:
    report = await imported(services, distant, tmp_path / "in.csv")
    address = f"/models/{report.model_version_id}"
    async with services.engine.begin() as connection:
        await indexes.activate(connection, report.built.index_id)
        chunk = await connection.scalar(
            sql("SELECT chunk_id FROM canary_vectors ORDER BY chunk_id")
        )
    pages = ["/models", address, f"/chunks/{chunk}/provenance"]
    with TestClient(create_app(settings, services), base_url="http://localhost") as client:
        assert "declared, not verified" in client.get(f"/collections/{collection.id}").text
        for page in pages:
            assert "not verified" in client.get(page).text
            assert "not measured" in client.get(page).text
        found = client.get(f"/api/v1{address}").json()
        assert found["declared_at"]
        assert found["verified_at"] is None
        assert [index["unverified"] for index in found["indexes"]] == [True]
        assert client.get(f"/api/v1/chunks/{chunk}/provenance").json()["model_unverified"]
        distant.answers = True
        await verify(services, str(report.model_version_id))
        assert client.get(f"/api/v1{address}").json()["verified_at"]
        for page in pages:
            assert "not verified" not in client.get(page).text
        assert "and verified on" in client.get(address).text


async def test_commands_say_so_and_verify_it(
    services: Services,
    settings: Settings,
    collection: Collection,
    distant: Distant,
    tmp_path: Path,
) -> None:
    del collection
    report = await imported(services, distant, tmp_path / "in.csv")
    known = await command._model(settings, str(report.model_version_id), 20, 0)
    assert standing(known.version) == "declared, not verified"
    done = await command._verify(settings, str(report.model_version_id))
    assert standing(done.version) == "declared, verified since"
    assert done.proof is not None
    assert done.proof.lowest_cosine == pytest.approx(1.0)
    async with reading(services.engine) as connection:
        listed = await models.listing(connection)
    assert [standing(version) for version in listed].count("observed") == len(listed) - 1
