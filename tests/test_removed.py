"""What is removed is shown no more: its words go from kept answers and analyses too."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from ingest.pipeline import IngestRequest, ingest, remove
from search_app.answering.keeping import from_kept
from search_app.answering.types import Answer, Question, Turn
from search_app.bootstrap import Services, open_services
from search_app.catalog import analyses, answers, documents
from search_app.catalog.engine import reading, transaction
from search_app.config import Settings, load_settings
from search_app.web.app import create_app
from tests.web_site import run_apart, write_corpus

WEATHER = "Where does the lighthouse keeper write the weather?"
SECRET = "blue book"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    write_corpus(tmp_path / "library")
    return load_settings(
        DATABASE_URL=database_url,
        data_dir=tmp_path / "data",
        embedder="hashing:256",
        answer_threshold=0.0,
    )


async def kept(services: Services, answer: Answer) -> Answer:
    async with reading(services.engine) as connection:
        return from_kept(await answers.get(connection, answer.id))


async def everything(services: Services) -> str:
    async with reading(services.engine) as connection:
        rows = [
            *await connection.execute(
                text("SELECT text, passages, sentences, details FROM answers")
            ),
            *await connection.execute(text("SELECT numbers FROM analyses")),
        ]
    return str(rows)


async def fill(settings: Settings, folder: Path) -> Answer:
    """Ingest, answer, carry the answer on into another, analyse, and remove what was cited."""
    async with open_services(settings) as services:
        await ingest(services, IngestRequest(arguments=[str(folder)]))
        first = await services.answerer.answer(Question(text=WEATHER))
        turns = (Turn(question=WEATHER, answer=first.text),)
        quarry = Question(text="granite", filters=["type=text"], conversation=turns)
        second = await services.answerer.answer(quarry)
        cited = first.passages[first.cited[0] - 1]
        shown = {"document_id": str(cited.document.id), "title": "Harbour", "text": cited.text}
        other = {"document_id": str(first.id), "title": "Quarry", "text": "Granite"}
        async with transaction(services.engine) as connection:
            analysis = await analyses.add(
                connection,
                collection_id=first.collection_id,
                index_id=first.index_id,
                model_version_id=first.model_version_id,
                kind=analyses.OUTLIERS,
                parameters={},
                seed=1,
                numbers={"groups": [{"passages": [shown, other]}]},
                seconds=0.1,
            )
        assert SECRET in first.text
        assert SECRET in await everything(services)
        await remove(services, sources=[cited.document.source], collection="default")

        assert SECRET not in await everything(services)
        now = await kept(services, first)
        gone = [passage for passage in now.passages if passage.removed_at is not None]
        assert {passage.document.id for passage in gone} == {cited.document.id}
        assert [passage.text for passage in gone] == [""] * len(gone)
        assert [passage.number for passage in now.passages] == [
            passage.number for passage in first.passages
        ]
        for before, after in zip(first.sentences, now.sentences, strict=True):
            if set(before.citations) & {passage.number for passage in gone}:
                assert (after.state, after.text) == ("removed", "")
            else:
                assert after == before
        later = await kept(services, second)
        assert later.conversation[0].question == WEATHER
        assert later.conversation[0].answer == now.text
        assert later.passages == second.passages
        async with reading(services.engine) as connection:
            found = await analyses.find(connection, str(analysis))
        assert found.numbers == {
            "groups": [{"passages": [{"document_id": None, "title": "", "text": ""}, other]}]
        }
    return first


def test_what_was_removed_is_gone_from_what_is_kept(settings: Settings, tmp_path: Path) -> None:
    first = run_apart(fill(settings, tmp_path / "library"))
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        page = client.get(f"/answers/{first.id}").text
        told = client.get(f"/api/v1/answers/{first.id}").json()
    assert SECRET not in page
    assert "Removed on" in page
    assert "What stood here came from a document that has been removed." in page
    assert "removed" in {sentence["state"] for sentence in told["sentences"]}
    assert any(passage["removed_at"] for passage in told["passages"])


async def test_an_answer_kept_after_the_removal_has_none_of_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = answers.keep

    async with open_services(settings) as services:
        await ingest(services, IngestRequest(arguments=[str(tmp_path / "library")]))

        async def late(connection: object, answer: answers.KeptAnswer) -> None:
            named = [passage["document"]["id"] for passage in answer.passages]
            async with transaction(services.engine) as other:
                await documents.begin_deleting(other, named)
            await keep(connection, answer)  # type: ignore[arg-type]

        monkeypatch.setattr(answers, "keep", late)
        answer = await services.answerer.answer(Question(text=WEATHER))
        assert SECRET in answer.text
        assert SECRET not in await everything(services)
