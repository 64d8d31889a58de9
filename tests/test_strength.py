"""What is usual for an index: measured once, by questions that have nothing to do with it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.answering import strength
from search_app.answering.types import Answer, Question
from search_app.answering.unrelated import UNRELATED
from search_app.bootstrap import Services, open_services
from search_app.config import load_settings
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import EmbedderUnavailableError
from search_app.types import Kind, Matrix
from tests.web_site import write_corpus

KNOWN = "Where does the lighthouse keeper write the weather?"


@pytest.fixture
async def services(database_url: str, tmp_path: Path) -> AsyncIterator[Services]:
    write_corpus(tmp_path / "library")
    settings = load_settings(
        DATABASE_URL=database_url, data_dir=tmp_path / "data", embedder="hashing:256"
    )
    async with open_services(settings) as services:
        await ingest(services, IngestRequest(arguments=[str(tmp_path / "library")]))
        yield services


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the unrelated questions that are embedded from here on."""
    texts: list[str] = []
    embed = HashingEmbedder.embed
    unrelated = {*UNRELATED["en"], *UNRELATED["ja"]}

    async def noting(self: HashingEmbedder, batch: Sequence[str], kind: Kind) -> Matrix:
        texts.extend(text for text in batch if text in unrelated)
        return await embed(self, batch, kind)

    monkeypatch.setattr(HashingEmbedder, "embed", noting)
    return texts


async def ask(services: Services, text: str) -> Answer:
    return await services.answerer.answer(Question(text=text, logged=False))


async def test_a_question_stands_out_from_those_that_have_nothing_to_do_with_the_index(
    services: Services,
) -> None:
    known = await ask(services, KNOWN)
    others = [await ask(services, text) for text in UNRELATED["en"][:8]]
    assert known.strength.distance is not None
    assert known.strength.coverage is not None
    assert known.outcome == "answered"
    for other in others:
        assert other.strength.distance is not None
        assert other.strength.distance < known.strength.distance
        assert other.strength.value < known.strength.value


async def test_what_is_usual_is_measured_once_for_those_who_ask_together(
    services: Services, sent: list[str]
) -> None:
    await asyncio.gather(*(ask(services, f"{KNOWN} {number}") for number in range(3)))
    assert sorted(sent) == sorted(UNRELATED["en"])
    await ask(services, "図書館はいつ休館しますか")
    assert sorted(sent) == sorted((*UNRELATED["en"], *UNRELATED["ja"]))


async def test_another_process_finds_the_vectors_of_unrelated_questions_kept(
    services: Services, sent: list[str]
) -> None:
    first = await ask(services, KNOWN)
    sent.clear()
    async with open_services(services.settings) as again:
        second = await ask(again, KNOWN)
    assert sent == []
    assert second.strength == first.strength


async def test_what_is_usual_is_measured_anew_while_the_old_is_used(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    backgrounds = services.answerer._backgrounds
    await ask(services, KNOWN)
    [(key, old)] = backgrounds._usual.items()
    monkeypatch.setattr(strength, "_KEPT_S", -1)
    await ask(services, KNOWN)
    await asyncio.gather(*backgrounds._measuring.values())
    new = backgrounds._usual[key]
    assert new.at > old.at
    assert (new.median, new.spread) == (old.median, old.spread)


async def test_words_decide_where_unrelated_questions_cannot_be_embedded(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = HashingEmbedder.embed

    async def failing(self: HashingEmbedder, batch: Sequence[str], kind: Kind) -> Matrix:
        if set(batch) & set(UNRELATED["en"]):
            raise EmbedderUnavailableError("no answer in time")
        return await embed(self, batch, kind)

    monkeypatch.setattr(HashingEmbedder, "embed", failing)
    answer = await ask(services, KNOWN)
    assert answer.strength.distance is None
    assert answer.strength.coverage is not None
    assert answer.outcome == "answered"
