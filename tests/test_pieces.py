"""Texts that are longer than a model reads: in pieces, and never cut off without a word."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline import IngestRequest, ingest
from ingest.report import IngestReport
from search_app.bootstrap import Services, open_services
from search_app.catalog import sampling
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.consistency.asking import Asker
from search_app.consistency.documents import embed_again
from search_app.embedders.base import Limits
from search_app.embedders.batching import normalise
from search_app.embedders.bundled import BundledEmbedder
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.embedders.hashing import HashingEmbedder
from search_app.embedders.pieces import embed_in_pieces, joined, length, pieces_of
from search_app.errors import EmbedderRefusedError, EmbedderResponseError, InvalidInputError
from search_app.provenance import Likeness, provenance_of, verify
from search_app.types import Kind, Matrix, ModelIdentity
from tests.catalog_dump import connect

LIMIT = 24
PREFIX = "passage: "
WORDS = "The ferry leaves at nine. Onion soup wants butter! Bread rises slowly in the cold? "


class Short(HashingEmbedder):
    """Reads few tokens, one for each four characters, and refuses to be sent more."""

    def __init__(self, limit: int = LIMIT) -> None:
        super().__init__(64)
        self.limits = Limits(text_tokens=limit)
        self.sent: list[str] = []

    async def describe(self) -> ModelIdentity:
        return replace(await super().describe(), document_prefix=PREFIX)

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        sent = [self.text_sent(text, kind) for text in texts]
        self.sent += sent
        return await super().embed(sent, kind)

    def text_sent(self, text: str, kind: Kind) -> str:
        return PREFIX + text if kind == "document" else text

    def count_tokens(self, text: str, kind: Kind) -> int:
        return -(-len(self.text_sent(text, kind)) // 4)


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(st.text(min_size=1, max_size=600), st.integers(min_value=4, max_value=40))
def test_pieces_are_short_enough_and_lose_nothing(text: str, limit: int) -> None:
    short = Short(limit)
    pieces = pieces_of(short, text, "document")
    assert pieces == pieces_of(short, text, "document")
    assert squeezed("".join(pieces)) == squeezed(text)
    if text.strip():
        assert all(length(short, piece, "document") is None for piece in pieces)
        assert all(piece.strip() for piece in pieces)


def test_pieces_end_where_sentences_do() -> None:
    pieces = pieces_of(Short(), WORDS * 4, "document")
    assert len(pieces) > 2
    assert all(piece[-1] in ".!?" for piece in pieces)
    japanese = pieces_of(
        Short(8), "図書館は月曜日に休みます。返却は入口の箱へどうぞ。" * 3, "document"
    )
    assert len(japanese) > 1
    assert all(piece.endswith("。") for piece in japanese)


def test_a_megabyte_without_blanks_is_cut() -> None:
    text = "abcdefgh" * 125_000
    pieces = pieces_of(Short(512), text, "document")
    assert "".join(pieces) == text
    assert 500 <= len(pieces) <= 2_000
    assert all(length(Short(512), piece, "document") is None for piece in pieces)


def test_blanks_alone_stay_whole() -> None:
    # Nothing of them could be left out, and no piece of them could be embedded.
    assert pieces_of(Short(), " \n" * 500, "document") == [" \n" * 500]


def test_what_cannot_be_short_enough_is_refused() -> None:
    with pytest.raises(EmbedderRefusedError, match="before every text"):
        pieces_of(Short(2), "words that are many", "document")


def test_without_a_tokenizer_or_a_limit_nothing_is_cut() -> None:
    assert pieces_of(HashingEmbedder(64), WORDS * 100, "document") == [WORDS * 100]
    unlimited = Short()
    unlimited.limits = Limits()
    assert pieces_of(unlimited, WORDS * 100, "document") == [WORDS * 100]


def test_the_bundled_model_is_sent_no_more_than_it_reads() -> None:
    model = BundledEmbedder()
    pieces = pieces_of(model, WORDS * 60, "document")
    counts = [model.count_tokens(piece, "document") for piece in pieces]
    assert len(pieces) > 1
    assert max(counts) <= 512


def test_vectors_are_joined_by_their_tokens() -> None:
    units, _ = normalise(np.array([[1, 0], [0, 1]], np.float32))
    vector, norm = joined(units, [3, 1])
    assert vector == pytest.approx(np.array([3, 1]) / np.sqrt(10))
    assert norm == pytest.approx(np.sqrt(10) / 4)
    with pytest.raises(EmbedderResponseError):
        joined(np.array([[1, 0], [-1, 0]], np.float32), [2, 2])


@pytest.fixture
def model() -> Short:
    return Short()


@pytest.fixture
async def served(settings: Settings, model: Short) -> AsyncIterator[Services]:
    async with open_services(settings) as services:
        services._embedders["hashing:64"] = model
        yield services


async def add(services: Services, folder: Path) -> IngestReport:
    return await ingest(services, IngestRequest(arguments=[str(folder)]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "texts"
    made.mkdir()
    (made / "long.txt").write_text(WORDS * 3)
    (made / "short.txt").write_text("Kites fly.")
    return made


def recorded(services: Services) -> list[dict[str, object]]:
    assert services.settings.database_url is not None
    with connect(services.settings.database_url.get_secret_value()) as connection:
        return connection.execute(
            "SELECT r.*, c.text FROM vector_records r JOIN chunks c ON c.id = r.chunk_id "
            "ORDER BY length(c.text)"
        ).fetchall()


async def test_a_long_passage_is_sent_in_pieces_and_that_is_recorded(
    served: Services, folder: Path, model: Short
) -> None:
    report = await add(served, folder)
    assert report.chunks.embedded == 2
    short, long = recorded(served)
    text = str(long["text"])
    pieces = pieces_of(model, text, "document")
    assert (short["pieces"], long["pieces"]) == (1, len(pieces))
    assert len(pieces) > 2
    assert {PREFIX + piece for piece in pieces} <= set(model.sent)
    assert PREFIX + text not in model.sent
    # What is compared with it is made likewise.
    vector = await embed_in_pieces(model, text, "document", len(pieces))
    assert vector is not None
    found = await provenance_of(served, long["chunk_id"])  # type: ignore[arg-type] # an id
    checked = await verify(served, found)
    assert (checked.likeness, checked.intact) == (Likeness.EQUAL, True)


async def test_a_passage_in_pieces_is_taken_over_as_such(served: Services, folder: Path) -> None:
    await add(served, folder)
    (folder / "copy.txt").write_text((folder / "long.txt").read_text())
    report = await add(served, folder)
    assert report.chunks.embedded == 0
    assert [row["pieces"] for row in recorded(served)] == [1, 3, 3]


async def test_a_check_sends_it_in_pieces_too(served: Services, folder: Path, model: Short) -> None:
    report = await add(served, folder)
    async with transaction(served.engine) as connection:
        drawn = await sampling.draw(connection, report.index_id, seed=1, most=10)
    points = await served.store("pgvector").fetch(
        report.index_id, [each.chunk_id for each in drawn]
    )
    stored = {point.chunk_id: point.vector for point in points if point.vector is not None}
    asker = Asker(model, 64, TokenCounter())
    again = await embed_again(asker, drawn, stored, 0.0)
    assert len(again.drawn) == len(drawn) == 2
    assert again.fresh.tobytes() == again.stored.tobytes()
    # A model that reads more now would be sent other pieces: nothing could be said of those.
    model.limits = Limits(text_tokens=40)
    asker = Asker(model, 64, TokenCounter())
    again = await embed_again(asker, drawn, stored, 0.0)
    assert [each.pieces for each in again.drawn] == [1]
    long = recorded(served)[-1]
    found = await provenance_of(served, long["chunk_id"])  # type: ignore[arg-type] # an id
    with pytest.raises(InvalidInputError, match="pieces"):
        await verify(served, found)


async def test_long_passages_can_be_refused(settings: Settings, folder: Path, model: Short) -> None:
    strict = settings.model_copy(update={"too_long": "refuse"})
    async with open_services(strict) as services:
        services._embedders["hashing:64"] = model
        report = await add(services, folder)
        assert (report.documents.added, report.documents.failed) == (1, 1)
        assert "UNMOVED_TOO_LONG=split" in report.errors[0].reason
        assert len(recorded(services)) == 1
        limit = model.limits.text_tokens
        assert limit is not None
        documents = [text for text in model.sent if text.startswith(PREFIX) and "ferry" in text]
        assert documents == []
