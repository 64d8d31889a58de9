"""Where a vector comes from, and whether embedding its text again gives the same one."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import EmbedderUnavailableError, ModelMismatchError, NotFoundError
from search_app.provenance import Likeness, Provenance, _likeness, provenance_of, verify
from search_app.retrieval import SearchRequest
from search_app.types import Kind, Matrix
from tests.catalog_dump import connect

TEXT = "The ferry to the island leaves at nine."


@pytest.fixture
async def found(services: Services, tmp_path: Path) -> Provenance:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "ferry.md").write_text(f"# Timetable\n\n## Ferry\n\n  {TEXT}\n\n\n")
    (folder / "ferries.md").write_text("# Other\n\nNothing like it.")
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    result = await services.searcher.search(SearchRequest(query="ferry island"))
    return await provenance_of(services, result.hits[0].chunk_id)


class Altered(HashingEmbedder):
    """Answers a little beside what it would."""

    def __init__(self, away: float) -> None:
        super().__init__("64")
        self.away = away
        self.asked: list[Sequence[str]] = []

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        self.asked.append(texts)
        vectors = await super().embed(texts, kind)
        beside = np.zeros_like(vectors)
        beside[:, 0] = self.away
        return vectors + beside


async def test_the_text_sent_is_told_to_the_letter(services: Services, found: Provenance) -> None:
    assert TEXT in found.sent
    assert "Timetable" in found.sent, "headings are embedded with it"
    assert sha256(found.sent.encode()).digest() == found.record.sent_hash
    assert found.sent_as_recorded
    assert found.run.id == found.record.run_id
    assert found.record.batch_size >= 1
    with connect(services.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # the fixture sets it
        connection.execute("UPDATE chunks SET context = 'Other › Headings'")
    again = await provenance_of(services, found.passage.chunk_id)
    assert not again.sent_as_recorded


async def test_the_same_model_gives_the_same_bytes(services: Services, found: Provenance) -> None:
    checked = await verify(services, found)
    assert checked.likeness is Likeness.EQUAL
    assert checked.holds
    assert (checked.distance, checked.cosine) == (0.0, 1.0)


@pytest.mark.parametrize(("away", "likeness"), [(1e-2, Likeness.NEW_BUILD), (0.5, Likeness.BEYOND)])
async def test_another_vector_is_told_with_its_cosine(
    services: Services, found: Provenance, away: float, likeness: Likeness
) -> None:
    embedder = Altered(away)
    services._embedders["hashing:64"] = embedder
    checked = await verify(services, found)
    assert checked.likeness is likeness
    assert not checked.holds
    assert checked.intact
    assert 0 < checked.distance < away
    assert embedder.asked == [[found.sent]], "alone, and as it was sent"


def test_noise_that_was_seen_before_is_none() -> None:
    assert _likeness(2e-4, 2e-4, equal=False) is Likeness.WITHIN
    assert _likeness(3e-4, 2e-4, equal=False) is Likeness.NEW_BUILD
    assert _likeness(7e-3, 2e-3, equal=False) is Likeness.BEYOND
    assert _likeness(0.0, 0.0, equal=True) is Likeness.EQUAL


async def test_a_store_that_was_changed_is_told_apart_from_the_model(
    services: Services, found: Provenance
) -> None:
    table = f'vectors."{found.index.id.hex}"'
    with connect(services.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # the fixture sets it
        name = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'vectors' "
            "AND table_name NOT LIKE '%_terms'"
        ).fetchone()
        assert name is not None
        table = f'vectors."{name["table_name"]}"'
        connection.execute(
            f"UPDATE {table} SET embedding = (SELECT embedding FROM {table} "
            "WHERE chunk_id <> %(id)s LIMIT 1) WHERE chunk_id = %(id)s",
            {"id": found.passage.chunk_id},
        )
    checked = await verify(services, found)
    assert not checked.intact
    assert not checked.holds
    assert checked.likeness is Likeness.BEYOND


class Silent(HashingEmbedder):
    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:  # noqa: ARG002 - the port's
        raise EmbedderUnavailableError("no answer from the embedder")


async def test_what_cannot_be_verified_is_an_error(services: Services, found: Provenance) -> None:
    services._embedders["hashing:64"] = Silent("64")
    with pytest.raises(EmbedderUnavailableError):
        await verify(services, found)
    services._embedders["hashing:64"] = HashingEmbedder("32")
    with pytest.raises(ModelMismatchError, match="32 dimensions"):
        await verify(services, found)
    await services.store(found.index.store).delete(found.index.id, [found.passage.chunk_id])
    with pytest.raises(NotFoundError, match="ingest reconcile"):
        await verify(services, found)


async def test_other_indexes_are_named(services: Services, found: Provenance) -> None:
    named = await provenance_of(services, found.passage.chunk_id, index=str(found.index.id)[:8])
    assert named.index == found.index
    with pytest.raises(NotFoundError, match="no index"):
        await provenance_of(services, found.passage.chunk_id, index="zz")
