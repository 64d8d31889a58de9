"""Why a document is not found: every cause is planted in a real collection, and has to be told."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from ingest.pipeline import IngestRequest, ingest, remove
from ingest.targets import register
from search_app.bootstrap import Services
from search_app.catalog import collections, exclusions, indexes
from search_app.catalog.engine import transaction
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import (
    EmbedderUnavailableError,
    InvalidInputError,
    NotFoundError,
    StoreUnavailableError,
)
from search_app.filters import Filter
from search_app.retrieval import SearchRequest
from search_app.stores.pgvector import PgvectorStore
from search_app.types import (
    Chunking,
    Index,
    IndexState,
    Kind,
    Matrix,
    Mode,
    Precision,
    Scored,
    Vector,
)
from search_app.why import wording
from search_app.why.facts import State
from search_app.why.finding import Finding
from search_app.why.inquiry import Answer, Inquiry, inquire
from search_app.why.of_document import (
    ChunkedAnew,
    Edited,
    Failed,
    Found,
    LeftOut,
    NeverIngested,
    NoVector,
    Pending,
    Removed,
)
from search_app.why.of_search import Excluded, FilteredOut, IndexSwitched, Missed, Outranked, Reason
from search_app.why.of_vectors import QueryVectorChanged
from tests.catalog_dump import connect

F = TypeVar("F", bound=Finding)

QUERY = "ferry timetable"
FERRY = "The ferry timetable: boats leave at nine and at noon."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "texts"
    made.mkdir()
    (made / "ferry.txt").write_text(FERRY)
    for name, text in {
        "soup": "Onion soup wants butter and a heavy pan.",
        "bread": "Bread rises slowly in the cold.",
        "museum": "博物館は火曜日に休みます。入館料は五百円です。",
    }.items():
        (made / f"{name}.txt").write_text(text, encoding="utf-8")
    return made


@pytest.fixture
async def filled(services: Services, folder: Path) -> Services:
    await add(services, folder)
    return services


async def add(services: Services, path: Path, *, prune: bool = False) -> UUID:
    return (await ingest(services, IngestRequest(arguments=[str(path)], prune=prune))).run_id


async def search(services: Services, query: str = QUERY, **options: object) -> None:
    await services.searcher.search(replace(SearchRequest(query=query), **options))  # type: ignore[arg-type] # fields of the request


async def why(
    services: Services, document: str = "ferry.txt", query: str = QUERY, **options: object
) -> Answer:
    inquiry = Inquiry(query=query, document=document, collection="default")
    return await inquire(services, replace(inquiry, **options))  # type: ignore[arg-type] # fields of the inquiry


def causes(answer: Answer) -> list[str]:
    return [finding.cause.value for finding in answer.findings]


def one(answer: Answer, kind: type[F]) -> F:
    (found,) = [finding for finding in answer.findings if isinstance(finding, kind)]
    return found


def said(answer: Answer) -> str:
    return " ".join(wording.sentence(finding) for finding in answer.findings)


def run_sql(services: Services, statement: str, *values: object) -> None:
    with connect(services.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # the fixture sets it
        connection.execute(statement, values)


async def test_what_is_found_is_said_to_be_found(filled: Services) -> None:
    answer = await why(filled)
    assert causes(answer) == ["found"]
    assert one(answer, Found).rank == 1
    assert "at rank 1" in said(answer)


async def test_asking_why_is_no_search(filled: Services) -> None:
    await why(filled)
    await why(filled, "soup.txt", k=1)
    with connect(filled.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # the fixture sets it
        assert connection.execute("SELECT count(*) AS n FROM query_log").fetchone() == {"n": 0}


async def test_never_ingested(filled: Services, folder: Path) -> None:
    answer = await why(filled, "harbour.txt")
    assert causes(answer) == ["never_ingested"]
    assert "ingest add" in wording.advice(answer.findings[0])
    (folder / "harbour.txt").write_text("Harbour dues.")
    await ingest(filled, IngestRequest(arguments=[str(folder / "harbour.txt")], collection="other"))
    assert one(await why(filled, "harbour.txt"), NeverIngested).elsewhere == ["other"]


async def test_failed_with_reason_and_run(filled: Services, folder: Path) -> None:
    (folder / "plan.pdf").write_bytes(b"%PDF-1.7 nothing in it")
    run_id = await add(filled, folder)
    answer = await why(filled, "plan.pdf")
    assert causes(answer) == ["failed"]
    failed = one(answer, Failed)
    assert failed.run == run_id
    assert failed.reason
    assert failed.reason in said(answer)
    assert not failed.older


async def test_failed_again_while_the_older_form_is_there(filled: Services, folder: Path) -> None:
    (folder / "ferry.txt").write_bytes(b"\x00\x01\x02\x03" * 400)
    run_id = await add(filled, folder)
    answer = await why(filled)
    assert causes(answer)[0] == "found"
    failed = one(answer, Failed)
    assert (failed.run, failed.older) == (run_id, True)


async def test_removed_when_and_by_which_run(filled: Services, folder: Path) -> None:
    await search(filled)
    run_id = (
        await remove(filled, sources=[str(folder / "ferry.txt")], collection="default")
    ).run_id
    answer = await why(filled)
    assert causes(answer) == ["removed"]
    removed = one(answer, Removed)
    assert (removed.run, removed.passages, removed.rank) == (run_id, 1, 1)
    assert removed.found_at is not None
    assert removed.found_at < removed.at
    by_title = await why(filled, "FERRY")
    assert by_title.facts.subject == answer.facts.subject
    by_id = await why(filled, str(answer.facts.subject.id))
    assert causes(by_id) == ["removed"]


async def test_excluded_by_somebody_since_when_and_why(filled: Services) -> None:
    subject = (await why(filled)).facts.subject
    assert subject.id is not None
    async with transaction(filled.engine) as connection:
        await exclusions.add(connection, documents=[subject.id], reason="季節運休")
    answer = await why(filled)
    assert causes(answer) == ["left_out"]
    left = one(answer, LeftOut)
    assert (left.whole, left.excluded, left.passages, left.reason) == (True, 1, 1, "季節運休")
    assert left.since is not None
    assert "季節運休" in said(answer)
    assert "ingest include" in wording.advice(left)
    async with transaction(filled.engine) as connection:
        await exclusions.lift(connection, documents=[subject.id])
    assert causes(await why(filled)) == ["found"]


async def test_a_passage_that_is_excluded(filled: Services, folder: Path) -> None:
    sections = "\n\n".join(f"# Pier {n}\n\n" + f"Boats of pier {n} leave. " * 60 for n in range(3))
    (folder / "piers.md").write_text(sections)
    await add(filled, folder)
    answer = await why(filled, "piers.md", "pier 1")
    first, *others = answer.facts.chunk_ids
    assert others
    async with transaction(filled.engine) as connection:
        await exclusions.add(connection, passages=[first])
    # The others are found, and nothing needs saying.
    assert causes(await why(filled, "piers.md", "pier 1")) == ["found"]
    async with transaction(filled.engine) as connection:
        await exclusions.add(connection, passages=others)
    left = one(await why(filled, "piers.md", "pier 1"), LeftOut)
    assert left.whole
    assert left.excluded == left.passages == 1 + len(others)
    async with transaction(filled.engine) as connection:
        await exclusions.lift(connection, passages=others)
    narrow = await why(filled, "piers.md", FERRY, k=1)
    assert causes(narrow)[0] == "left_out"
    assert one(narrow, LeftOut).excluded == 1
    assert "1 of its" in said(narrow)


async def test_a_failure_after_the_removal_is_told_too(filled: Services, folder: Path) -> None:
    await remove(filled, sources=[str(folder / "ferry.txt")], collection="default")
    (folder / "ferry.txt").write_bytes(b"\x00\x01\x02\x03" * 400)
    await add(filled, folder)
    assert causes(await why(filled)) == ["failed", "removed"]


async def test_pending(filled: Services, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise StoreUnavailableError("the vector store cannot be reached")

    (folder / "night.txt").write_text("A night ferry timetable.")
    (folder / "ferry.txt").write_text("Ferries no longer run.")
    with monkeypatch.context() as cut:
        cut.setattr(PgvectorStore, "upsert", refuse)
        with pytest.raises(StoreUnavailableError):
            await add(filled, folder)
    answer = await why(filled, "night.txt")
    assert causes(answer) == ["pending"]
    assert not one(answer, Pending).older
    assert one(answer, Pending).run is not None
    older = await why(filled, "ferry.txt")
    assert causes(older) == ["found", "pending"]
    assert one(older, Pending).older
    await add(filled, folder)
    assert causes(await why(filled, "night.txt")) == ["found"]


async def test_edited_since_it_was_last_found(filled: Services, folder: Path) -> None:
    await search(filled, mode="keyword")
    (folder / "ferry.txt").write_text("The shop sells rope, paint and tar.")
    run_id = await add(filled, folder)
    answer = await why(filled, mode="keyword")
    assert causes(answer) == ["edited", "outranked"]
    edited = one(answer, Edited)
    assert (edited.run, edited.rank, edited.kept) == (run_id, 1, False)
    assert edited.found_at is not None
    assert edited.at > edited.found_at
    assert "no longer in it" in said(answer)


async def test_an_edit_elsewhere_in_the_document_is_told_apart(
    filled: Services, folder: Path
) -> None:
    sections = [f"## Part {n}\n\n" + f"Part {n} tells of pier {n}. " * 40 for n in range(5)]
    (folder / "guide.md").write_text("# Guide\n\n" + "\n\n".join(sections))
    await add(filled, folder)
    await search(filled, "pier 1", mode="keyword")
    changed = [*sections[:4], "## Part 4\n\nNothing is left of it."]
    (folder / "guide.md").write_text("# Guide\n\n" + "\n\n".join(changed))
    await add(filled, folder)
    answer = await why(filled, "guide.md", "pier 1", mode="keyword")
    assert causes(answer) == ["found", "edited"]
    assert one(answer, Edited).kept
    assert "is unchanged" in said(answer)


async def test_changes_from_a_day_on(filled: Services, folder: Path) -> None:
    await search(filled, mode="keyword")
    (folder / "ferry.txt").write_text("The shop sells rope, paint and tar.")
    await add(filled, folder)
    event = (await why(filled)).facts.events[0]
    assert "edited" not in causes(await why(filled, mode="keyword", since=event.at))
    run_sql(filled, "UPDATE document_events SET created_at = created_at + interval '1 second'")
    late = await why(filled, mode="keyword", since=event.at)
    assert one(late, Edited).found_at is None, "the search was earlier"


async def test_filtered_out_names_the_condition(filled: Services) -> None:
    answer = await why(filled, filters=["type=text", "language=ja"])
    assert causes(answer)[0] == "filtered_out"
    out = one(answer, FilteredOut)
    assert (out.filter, out.has, out.rank_without) == ("language=ja", "language=en", 1)
    assert "outranked" not in causes(answer)
    missing = await why(filled, filters=["meta.year>=2020"])
    assert one(missing, FilteredOut).has == "no meta.year"


async def test_the_filters_of_the_last_search_are_looked_at(filled: Services) -> None:
    await search(filled, filters=["language=ja"])
    answer = await why(filled)
    assert causes(answer) == ["found", "filtered_out"]
    assert one(answer, FilteredOut).searched_at is not None


@pytest.mark.parametrize(
    ("query", "phrases", "unwanted"),
    [
        ("ferry -noon", [], ["noon"]),
        ('"night ferry"', ["night ferry"], []),
        ('"night ferry" -noon', ["night ferry"], ["noon"]),
    ],
)
async def test_excluded_by_the_query(
    filled: Services, query: str, phrases: Sequence[str], unwanted: Sequence[str]
) -> None:
    answer = await why(filled, query=query)
    assert causes(answer) == ["excluded"]
    excluded = one(answer, Excluded)
    assert (excluded.phrases, excluded.unwanted) == (phrases, unwanted)
    for part in (*phrases, *unwanted):
        assert part in said(answer)


class Missing:
    """A store whose approximate search never finds some chunks."""

    def __init__(self, store: PgvectorStore, lost: Callable[[UUID], bool]) -> None:
        self._store = store
        self._lost = lost

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def search(
        self,
        index_id: UUID,
        vector: Vector,
        *,
        k: int,
        filter: Filter | None = None,  # noqa: A002 - the port's
        exact: bool = False,
        vectors: bool = False,
    ) -> list[Scored]:
        found = await self._store.search(
            index_id, vector, k=k, filter=filter, exact=exact, vectors=vectors
        )
        return found if exact else [each for each in found if not self._lost(each.chunk_id)]


async def test_missed_by_the_approximate_index(filled: Services) -> None:
    place = one(await why(filled, mode="semantic"), Found)
    store = filled.store("pgvector")
    assert isinstance(store, PgvectorStore)
    filled._stores["pgvector"] = Missing(store, lambda chunk: chunk == place.passage)  # type: ignore[assignment] # stands in for it
    answer = await why(filled, mode="semantic")
    assert causes(answer) == ["missed"]
    missed = one(answer, Missed)
    assert (missed.exact_rank, missed.approximate_rank) == (1, None)
    assert "--exact" in wording.advice(missed)


async def test_a_vector_that_the_index_lacks(filled: Services) -> None:
    place = one(await why(filled), Found)
    index_id = (await why(filled)).facts.serving.index_id  # type: ignore[union-attr] # it is there
    await filled.store("pgvector").delete(index_id, [place.passage])
    answer = await why(filled)
    assert causes(answer) == ["no_vector"]
    assert (one(answer, NoVector).lacking, one(answer, NoVector).passages) == (1, 1)
    assert "ingest reconcile" in wording.advice(answer.findings[0])


async def test_outranked_by_whom_and_by_how_much(filled: Services, folder: Path) -> None:
    await search(filled)
    for number in range(3):
        (folder / f"new{number}.txt").write_text(f"Ferry timetable {'ferry ' * number}.")
    run_id = await add(filled, folder)
    answer = await why(filled, k=2)
    assert causes(answer) == ["outranked"]
    outranked = one(answer, Outranked)
    assert outranked.rank is not None
    assert outranked.rank > 2
    assert outranked.lacking is not None
    assert outranked.lacking > 0
    assert outranked.bm25_rank == 4
    assert outranked.dense is not None
    assert [rival.place.rank for rival in outranked.rivals] == [1, 2]
    assert {Path(rival.place.uri).stem[:3] for rival in outranked.rivals} == {"new"}
    assert {rival.reason for rival in outranked.rivals} == {Reason.ADDED}
    assert {rival.run for rival in outranked.rivals} == {run_id}
    assert "2 of the hits above it were not there" in said(answer)
    (shown, _) = wording.as_json(answer)["above"]
    assert (shown["reason"], shown["rank"]) == ("added", 1)


async def test_a_hit_that_was_edited_is_told_from_a_new_one(filled: Services, folder: Path) -> None:
    await search(filled)
    (folder / "soup.txt").write_text("Ferry timetable! Ferry timetable! Ferry!")
    await add(filled, folder)
    answer = await why(filled, k=1)
    (rival,) = one(answer, Outranked).rivals
    assert rival.reason is Reason.EDITED
    assert rival.place.uri.endswith("soup.txt")


async def test_hits_that_were_above_it_before_are_not_new(filled: Services, folder: Path) -> None:
    (folder / "better.txt").write_text("Ferry timetable ferry.")
    await add(filled, folder)
    await search(filled)
    outranked = one(await why(filled, k=1), Outranked)
    assert [rival.reason for rival in outranked.rivals] == [None]
    assert "were not there" not in said(await why(filled, k=1))


async def test_a_document_without_any_word_of_the_query(filled: Services) -> None:
    answer = await why(filled, "soup.txt", mode="keyword")
    outranked = one(answer, Outranked)
    assert (outranked.rank, outranked.bm25) == (None, None)
    hybrid = one(await why(filled, "soup.txt", k=1), Outranked)
    assert hybrid.dense is not None


async def test_near_duplicates_are_folded_on_the_page(filled: Services, folder: Path) -> None:
    (folder / "copy.txt").write_text(f"{FERRY}!")
    await add(filled, folder)
    answers = [await why(filled, name) for name in ("ferry.txt", "copy.txt")]
    assert sorted(causes(answer) for answer in answers) == [["found"], ["found", "folded"]]


@pytest.fixture
async def two(services: Services, folder: Path) -> tuple[Services, Index]:
    """Fill two indexes, of two models and two ways of cutting, and give the one that stands by."""
    async with transaction(services.engine) as connection:
        collection = await collections.get_or_create(connection, "default")
    made = []
    for spec, size in (("hashing:64", 256), ("hashing:32", 128)):
        version = await register(services, services.embedder(spec))
        async with transaction(services.engine) as connection:
            index = await indexes.create(
                connection,
                collection=collection,
                model_version_id=version.id,
                chunking=Chunking(max_tokens=size),
                store="pgvector",
                precision=Precision.FLOAT16,
                state=IndexState.READY,
            )
        made.append(index)
    async with transaction(services.engine) as connection:
        await indexes.activate(connection, made[0].id)
    await add(services, folder)
    return services, made[1]


async def test_another_index_answers_and_cuts_anew(two: tuple[Services, Index]) -> None:
    services, other = two
    await search(services, mode="semantic")
    before = (await why(services)).facts.serving
    assert before is not None
    assert causes(await why(services)) == ["found"]
    async with transaction(services.engine) as connection:
        await indexes.activate(connection, other.id)
    answer = await why(services, "soup.txt", mode="semantic", k=1)
    assert causes(answer) == ["chunked_anew", "index_switched", "outranked"]
    switched = one(answer, IndexSwitched)
    assert (switched.index_before, switched.index_now) == (before.index_id, other.id)
    assert (switched.before, switched.now) == ("hashing/hashing:64", "hashing/hashing:32")
    assert not switched.same_model
    assert switched.at > switched.searched_at
    assert "ingest rollback" in wording.advice(switched)
    cut = one(answer, ChunkedAnew)
    assert ("/256/" in cut.before, "/128/" in cut.now) == (True, True)
    assert [rival.reason for rival in one(answer, Outranked).rivals] == [Reason.INDEX]


class Unsteady(HashingEmbedder):
    """Answers a little differently from a moment on."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        vectors = await super().embed(texts, kind)
        if kind == "query":
            vectors[:, 0] += 0.02
        return vectors


@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
async def test_the_query_had_another_vector(filled: Services, mode: Mode) -> None:
    await search(filled, mode=mode)
    filled._embedders["hashing:64"] = Unsteady("64")
    run_sql(filled, "DELETE FROM query_vectors")
    answer = await why(filled, mode=mode)
    assert causes(answer) == ["found", "query_vector_changed", "unchecked", "noise"]
    changed = one(answer, QueryVectorChanged)
    if mode == "semantic":
        assert changed.shift is not None
        assert 0 < changed.shift < 0.05
    else:
        assert changed.shift is None
        assert "not known" in said(answer)


async def test_the_same_vector_is_no_finding_and_an_unknown_one_is_said_so(
    filled: Services,
) -> None:
    await search(filled)
    assert causes(await why(filled, "soup.txt", k=1)) == ["outranked"]
    run_sql(filled, "UPDATE query_log SET vector_hash = NULL")
    assert causes(await why(filled, "soup.txt", k=1)) == [
        "outranked",
        "query_vector_unknown",
        "unchecked",
        "noise",
    ]


async def test_searches_from_before_documents_were_logged_count(
    filled: Services, folder: Path
) -> None:
    await search(filled)
    run_sql(filled, "UPDATE query_log SET document_ids = '{}'")
    (folder / "new.txt").write_text("Ferry timetable ferry.")
    await add(filled, folder)
    answer = await why(filled, k=1)
    assert answer.facts.last_hit is not None
    assert wording.as_json(answer)["compared"]["rank"] == 1


class Silent(HashingEmbedder):
    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:  # noqa: ARG002 - the port's
        raise EmbedderUnavailableError("no answer from the embedder")


async def test_an_embedder_that_is_silent_is_noted(filled: Services) -> None:
    filled._embedders["hashing:64"] = Silent("64")
    answer = await why(filled)
    assert causes(answer) == ["found"]
    assert [notice.kind for notice in answer.notices] == ["not_semantic"]
    with pytest.raises(EmbedderUnavailableError):
        await why(filled, mode="semantic")


async def test_which_document_is_meant(filled: Services, folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "night-ferry.txt").write_text("Nobody sails at night.")
    await add(filled, folder)
    exact = await why(filled, str(folder / "ferry.txt"))
    assert exact.facts.subject.uri == str(folder / "ferry.txt")
    assert (await why(filled, "ferry.txt")).facts.subject == exact.facts.subject
    assert (await why(filled, "NIGHT-f")).facts.subject.uri.endswith("night-ferry.txt")
    passage = one(exact, Found).passage
    assert (await why(filled, str(passage))).facts.subject == exact.facts.subject
    with pytest.raises(InvalidInputError, match=r"may mean \d documents: .*ferry"):
        await why(filled, "erry")
    with pytest.raises(NotFoundError, match="no document or passage"):
        await why(filled, str(uuid4()))
    for wrong in ("", "  ", "a\x00b", "x" * 3000):
        with pytest.raises(InvalidInputError, match="document"):
            await why(filled, wrong)
    assert (await why(filled, "f%y")).facts.subject.state is State.UNKNOWN
