"""What checks and measured noise say of why a list is another one."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.consistency.types import FindingKind
from search_app.embedders.hashing import HashingEmbedder
from search_app.retrieval import SearchRequest
from search_app.types import Kind, Matrix, Mode
from search_app.why import wording
from search_app.why.inquiry import Answer, Inquiry, inquire
from search_app.why.of_vectors import SAID, Checked, Noise, Unchecked
from tests.catalog_dump import connect

QUERY = "ferry timetable"


class Tilted(HashingEmbedder):
    """Gives queries another vector than the model did before."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        vectors = await super().embed(texts, kind)
        if kind == "query":
            vectors[:, 0] += 0.02
        return vectors


@pytest.fixture
async def filled(services: Services, tmp_path: Path) -> Services:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in {
        "ferry": "The ferry timetable: boats leave at nine and at noon.",
        "soup": "Onion soup wants butter and a heavy pan.",
        "bread": "Bread rises slowly in the cold.",
    }.items():
        (folder / f"{name}.txt").write_text(text)
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    await services.searcher.search(SearchRequest(query=QUERY, mode="semantic"))
    return services


def run_sql(services: Services, statement: str, *values: object) -> None:
    with connect(services.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # the fixture sets it
        connection.execute(statement, values)


def add_check(
    services: Services,
    verdict: str,
    *kinds: str,
    causes: Sequence[str] = (),
    noise: float | None = None,
    minutes: int = 1,
) -> UUID:
    """Keep a check of that many minutes after the search."""
    check_id = uuid4()
    report = {
        "findings": [{"kind": kind, "severity": verdict, "sentence": "."} for kind in kinds],
        "causes": [{"name": cause, "confirmed": True} for cause in causes],
    }
    run_sql(
        services,
        "INSERT INTO checks (id, collection_id, index_id, verdict, sampled, changed, repeated,"
        " unsteady, noise_median, noise_max, drift, reproducibility, report, created_at)"
        " SELECT %s, collection_id, id, %s, 43, 0, 20, 0, NULL, %s, '{}', '{}', %s, %s"
        " FROM indexes",
        check_id,
        verdict,
        noise,
        json.dumps(report),
        datetime.now(UTC) + timedelta(minutes=minutes),
    )
    return check_id


def tilt(services: Services) -> None:
    """Have the query get another vector from now on."""
    services._embedders["hashing:64"] = Tilted("64")
    run_sql(services, "DELETE FROM query_vectors")


async def why(services: Services, mode: Mode = "semantic") -> Answer:
    return await inquire(
        services,
        Inquiry(query=QUERY, document="ferry.txt", collection="default", mode=mode),
    )


def one(answer: Answer, kind: type) -> object:
    (found,) = [finding for finding in answer.findings if isinstance(finding, kind)]
    return found


def causes(answer: Answer) -> list[str]:
    return [finding.cause.value for finding in answer.findings]


async def test_a_list_that_did_not_change_needs_no_check(filled: Services) -> None:
    add_check(filled, "fail", "model_changed", causes=["model swap"])
    assert causes(await why(filled)) == ["found"]


async def test_the_gravest_check_is_told_and_of_those_the_first(filled: Services) -> None:
    tilt(filled)
    add_check(filled, "inconclusive", "too_few_references", minutes=-60)
    add_check(filled, "stable", minutes=1)
    add_check(filled, "warn", "noisy", minutes=2)
    first = add_check(filled, "fail", "drifted", "model_changed", causes=["model swap"], minutes=3)
    add_check(filled, "fail", "model_changed", minutes=4)
    add_check(filled, "inconclusive", "unreachable", minutes=5)
    answer = await why(filled)
    told = one(answer, Checked)
    assert isinstance(told, Checked)
    assert (told.check, told.kind, told.verdict) == (first, "model_changed", "fail")
    # The one before the search does not count.
    assert told.checks == 5
    assert told.link == f"/checks/{first}"
    assert wording.sentence(told).endswith("found that another model answers.")
    assert 'cause: "model swap"' in wording.advice(told)
    evidence = wording.as_json(answer)["findings"][2]["evidence"]
    assert (evidence["link"], evidence["causes"]) == (told.link, ["model swap"])


async def test_checks_that_held_are_told_too(filled: Services) -> None:
    tilt(filled)
    add_check(filled, "stable", minutes=1)
    last = add_check(filled, "stable", minutes=2)
    add_check(filled, "inconclusive", "unreachable", minutes=3)
    told = one(await why(filled), Checked)
    assert isinstance(told, Checked)
    assert (told.check, told.kind, told.checks) == (last, "stable", 3)
    assert "rankings hold; 3 were made" in wording.sentence(told)
    assert "unlikely" in wording.advice(told)


async def test_a_finding_that_nobody_knows_is_not_taken_for_health(filled: Services) -> None:
    tilt(filled)
    add_check(filled, "stable", minutes=1)
    add_check(filled, "warn", "something_new", minutes=2)
    told = one(await why(filled), Checked)
    assert isinstance(told, Checked)
    assert told.kind == "other"
    assert "did not find that all is well" in wording.sentence(told)


async def test_no_check_is_said_plainly(filled: Services) -> None:
    tilt(filled)
    answer = await why(filled)
    assert causes(answer) == ["found", "query_vector_changed", "unchecked", "noise"]
    missing = one(answer, Unchecked)
    assert isinstance(missing, Unchecked)
    assert "No check of this index was made since" in wording.sentence(missing)
    assert "ingest check" in wording.advice(missing)


async def test_noise_is_an_explanation_only_as_far_as_it_was_measured(filled: Services) -> None:
    tilt(filled)
    never = one(await why(filled), Noise)
    assert isinstance(never, Noise)
    assert (never.noise, never.bound, never.within) == (0, 0, False)
    assert "does not explain it" in wording.sentence(never)
    add_check(filled, "stable", noise=2e-4)
    enough = one(await why(filled), Noise)
    assert isinstance(enough, Noise)
    assert enough.shift is not None
    assert enough.bound == pytest.approx(0.02)
    assert enough.shift <= enough.bound
    assert enough.within is True
    assert "Noise of the model explains it" in wording.sentence(enough)
    assert "0.0002 (1 − cos)" in wording.sentence(enough)
    add_check(filled, "stable", noise=enough.shift**2 / 8, minutes=2)
    little = one(await why(filled), Noise)
    assert isinstance(little, Noise)
    assert little.within is False
    assert "no more than" in wording.sentence(little)


async def test_by_meaning_and_words_noise_may_explain_it(filled: Services) -> None:
    await filled.searcher.search(SearchRequest(query=QUERY))
    tilt(filled)
    add_check(filled, "stable", noise=2e-4)
    may = one(await why(filled, "hybrid"), Noise)
    assert isinstance(may, Noise)
    assert (may.shift, may.within) == (None, None)
    assert "may explain it" in wording.sentence(may)


async def test_passages_that_came_up_for_no_known_reason_ask_for_checks(
    filled: Services,
) -> None:
    # A hit of then is gone from the store, and another one is in its place.
    run_sql(
        filled,
        "UPDATE query_log SET hit_ids = hit_ids[1:2], document_ids = document_ids[1:2],"
        " scores = scores[1:2]",
    )
    inquiry = Inquiry(query=QUERY, document="soup.txt", collection="default", mode="semantic", k=1)
    calm = await inquire(filled, inquiry)
    assert causes(calm) == ["outranked"]
    run_sql(filled, "UPDATE query_log SET hit_ids = ARRAY[gen_random_uuid()]")
    run_sql(filled, "UPDATE query_log SET document_ids = ARRAY[gen_random_uuid()], scores = '{1}'")
    add_check(filled, "fail", "corrupt", causes=["corruption"])
    found = await inquire(filled, inquiry)
    assert causes(found) == ["outranked", "checked"]
    assert "not what was written" in wording.sentence(found.findings[1])


def test_all_that_a_check_can_find_has_words() -> None:
    assert {kind.value for kind in FindingKind} <= SAID.keys()
