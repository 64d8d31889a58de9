"""Whether answers rest on the same places: across two indexes, and night by night."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.answering.stability import compare_with_now, compared
from search_app.answering.types import Question
from search_app.bootstrap import Services
from search_app.consistency.checking import check
from search_app.consistency.keeping import as_json
from search_app.consistency.subject import CheckRequest
from search_app.errors import InvalidInputError

WEATHER = "Where does the lighthouse keeper write the weather?"
OLD = "The lighthouse keeper writes the weather into a blue book every evening.\n"
NEW = "Since spring a machine sends all readings to the capital by radio.\n"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "keeper.txt").write_text(OLD, encoding="utf-8")
    for number in range(20):
        (folder / f"other-{number}.txt").write_text(
            f"Granite load {number} went by barge to harbour {number * 7}.\n", encoding="utf-8"
        )
    return folder


@pytest.fixture
async def filled(services: Services, library: Path) -> Services:
    await ingest(services, IngestRequest(arguments=[str(library)]))
    return services


async def again(services: Services) -> Any:
    report = await check(services, CheckRequest(collection="default"))
    return report.answers, as_json(report)["answers"]


async def test_a_night_counts_the_questions_that_would_cite_something_else(
    filled: Services, library: Path
) -> None:
    assert await again(filled) == (None, None)
    answer = await filled.answerer.answer(Question(text=WEATHER))
    assert "blue book" in answer.text
    found, told = await again(filled)
    assert (found.asked, len(found.moved)) == (1, 0)
    (library / "keeper.txt").write_text(NEW, encoding="utf-8")
    await ingest(filled, IngestRequest(arguments=[str(library)]))
    found, told = await again(filled)
    assert (found.asked, found.skipped) == (1, 0)
    [moved] = found.moved
    assert moved.answer_id == answer.id
    assert told["moved"][0]["question"] == WEATHER


async def test_a_document_that_grew_is_cited_as_before(filled: Services, library: Path) -> None:
    answer = await filled.answerer.answer(Question(text=WEATHER))
    text = "An inserted first paragraph about rope and tar.\n\n" + OLD
    (library / "keeper.txt").write_text(text, encoding="utf-8")
    await ingest(filled, IngestRequest(arguments=[str(library)]))
    found, _ = await again(filled)
    assert (found.asked, len(found.moved)) == (1, 0)
    now = await compare_with_now(filled.answerer, answer)
    assert any("blue book" in place.text for place in now.kept)


async def test_an_answer_compared_with_itself_has_not_changed(filled: Services) -> None:
    answer = await filled.answerer.answer(Question(text=WEATHER))
    same = compared(answer, replace(answer, id=uuid4()))
    assert not same.changed
    assert same.kept
    other = await filled.answerer.answer(
        Question(text="Which granite load 7 went by barge to harbour 49?")
    )
    changed = compared(answer, other)
    assert changed.changed
    assert changed.gone
    assert changed.new


async def test_two_indexes_cannot_both_be_named(filled: Services) -> None:
    from search_app.answering.stability import compare_indexes

    with pytest.raises(InvalidInputError, match="not two"):
        await compare_indexes(filled.answerer, Question(text=WEATHER, index="a"), "b")
