"""The door to what belongs to collections, on real tables: nothing else is read through it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from ingest.pipeline import IngestRequest, ingest
from search_app import jobs
from search_app.access.principal import NOBODY, Principal, acting_as
from search_app.access.scopes import Scope
from search_app.bootstrap import Services
from search_app.catalog import collections, deletion, proofs, runs
from search_app.catalog.engine import reading, transaction
from search_app.catalog.tables import collections as collection_table
from search_app.catalog.tables import metadata
from search_app.catalog.visibility import SEEN, SHARED, narrowed
from search_app.errors import CatalogError, NotFoundError
from search_app.provenance import provenance_of
from search_app.retrieval import SearchRequest
from search_app.types import Collection

ONE = UUID(int=1)


@contextmanager
def limited_to(*ids: UUID) -> Iterator[None]:
    principal = Principal(
        name="somebody", scopes=frozenset({Scope.READ}), collections=frozenset(ids)
    )
    with acting_as(principal):
        yield


def test_every_table_says_what_may_be_seen_of_it() -> None:
    queue = {f"procrastinate_{name}" for name in ("jobs", "events", "workers", "periodic_defers")}
    assert set(SEEN) | SHARED == set(metadata.tables) | queue
    assert not set(SEEN) & SHARED


@pytest.fixture
async def two(services: Services) -> tuple[Collection, Collection]:
    async with transaction(services.engine) as connection:
        return (
            await collections.get_or_create(connection, "one"),
            await collections.get_or_create(connection, "two"),
        )


async def test_every_table_can_be_read_and_shows_nothing_to_nobody(services: Services) -> None:
    async with transaction(services.engine) as connection:
        await collections.get_or_create(connection, "one")
    with acting_as(NOBODY):
        async with reading(services.engine) as connection:
            for table in SEEN:
                assert (await connection.execute(text(f"SELECT * FROM {table}"))).all() == []


async def test_only_the_own_collections_are_found(
    services: Services, two: tuple[Collection, Collection]
) -> None:
    one, other = two
    with limited_to(one.id):
        async with reading(services.engine) as connection:
            assert [each.name for each in await collections.summaries(connection)] == ["one"]
            assert await collections.get(connection, "one") == one
            with pytest.raises(NotFoundError, match="no collection 'two' that you may see"):
                await collections.get(connection, other.name)
    async with reading(services.engine) as connection:
        assert len(await collections.summaries(connection)) == 2


async def test_who_is_limited_can_neither_take_nor_make_a_collection(
    services: Services, two: tuple[Collection, Collection]
) -> None:
    with limited_to(two[0].id):
        for name in ("two", "new"):
            with pytest.raises(NotFoundError, match=f"no collection '{name}'"):
                async with transaction(services.engine) as connection:
                    await collections.get_or_create(connection, name)
    async with reading(services.engine) as connection:
        assert await collections.check_open(connection, "new") is None


async def test_jobs_of_a_deleted_collection_are_not_those_of_a_later_one_of_its_name(
    services: Services, two: tuple[Collection, Collection]
) -> None:
    old = await jobs.enqueue_retry(services.engine, collection="one")
    with limited_to(two[0].id):
        assert [job.id for job in await jobs.listing(services.engine)] == [old.id]
    with limited_to(two[1].id):
        assert await jobs.listing(services.engine) == []
    await jobs.cancel(services.engine, old.id)
    async with transaction(services.engine) as connection:
        await deletion.finish(connection, two[0])
        made = await collections.get_or_create(connection, "one")
    new = await jobs.enqueue_retry(services.engine, collection="one")
    with limited_to(made.id):
        assert [job.id for job in await jobs.listing(services.engine)] == [new.id]
        with pytest.raises(NotFoundError, match=f"no job {old.id}"):
            await jobs.get(services.engine, old.id)
    assert [job.id for job in await jobs.listing(services.engine)] == [new.id, old.id]


async def test_the_job_that_makes_a_collection_is_one_of_its_jobs(services: Services) -> None:
    job = await jobs.enqueue_ingest(services.engine, collection="new", arguments=["/notes"])
    async with transaction(services.engine) as connection:
        made = await collections.get_or_create(connection, "new")
    with limited_to(made.id):
        assert (await jobs.get(services.engine, job.id)).collection == "new"


async def test_queries_that_have_with_queries_of_their_own_are_narrowed_too(
    services: Services, two: tuple[Collection, Collection]
) -> None:
    chosen = select(collection_table.c.name).cte("chosen")
    by_hand = text("with recursive mine as (select name from collections) select * from mine")
    with limited_to(two[1].id):
        async with reading(services.engine) as connection:
            assert (await connection.scalars(select(chosen.c.name))).all() == ["two"]
            assert (await connection.scalars(by_hand)).all() == ["two"]


async def test_what_is_read_to_be_written_goes_through_the_door_too(
    services: Services, two: tuple[Collection, Collection]
) -> None:
    with limited_to(two[1].id):
        async with reading(services.engine) as connection:
            taken = text("CREATE TEMP TABLE taken AS SELECT 1")
            await connection.execute(taken)
            inserted = text("INSERT INTO taken SELECT length(name) FROM collections")
            assert (await connection.execute(inserted)).rowcount == 1


async def test_locked_rows_stay_locked_and_must_be_named(
    services: Services, two: tuple[Collection, Collection]
) -> None:
    one = two[0]
    locking = select(collection_table.c.id).where(collection_table.c.id == one.id)
    with limited_to(one.id):
        async with transaction(services.engine) as connection:
            named = locking.with_for_update(key_share=True, of=collection_table)
            assert await connection.scalar(named) == one.id
        with pytest.raises(CatalogError, match="must name their table"):
            async with transaction(services.engine) as connection:
                await connection.execute(locking.with_for_update())


async def test_a_vector_that_was_copied_tells_nothing_of_where_from(
    services: Services, tmp_path: Path
) -> None:
    (tmp_path / "zanzibar").mkdir()
    for place in (tmp_path / "zanzibar", tmp_path):
        (place / "tides.md").write_text("# Tides\n\nHigh at noon.\n", encoding="utf-8")
    first = await ingest(
        services, IngestRequest(arguments=[str(tmp_path / "zanzibar")], collection="one")
    )
    await ingest(services, IngestRequest(arguments=[str(tmp_path / "tides.md")], collection="two"))
    found = await services.searcher.search(SearchRequest(query="tides", collection="two"))
    async with reading(services.engine) as connection:
        two = await collections.get(connection, "two")
    with limited_to(two.id):
        told = await provenance_of(services, found.hits[0].chunk_id)
        with pytest.raises(NotFoundError):
            async with reading(services.engine) as connection:
                await runs.get(connection, first.run_id)
    assert told.run.id == first.run_id
    assert told.run.collection == ""
    assert "zanzibar" not in str(told)


@pytest.mark.parametrize("statement", ["COPY documents TO STDOUT", "TRUNCATE documents"])
def test_what_cannot_be_narrowed_is_refused(statement: str) -> None:
    with pytest.raises(CatalogError, match="cannot be limited"):
        narrowed(statement, frozenset({ONE}), "public")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM public.documents",
        'SELECT * FROM "public"."documents"',
        "UPDATE runs SET status = 'x' FROM public . chunks",
    ],
)
def test_what_names_the_schema_would_go_past_the_door_and_is_refused(statement: str) -> None:
    with pytest.raises(CatalogError, match="schema"):
        narrowed(statement, frozenset({ONE}), "public")


@pytest.mark.parametrize(
    "statement", ["SELECT * FROM Documents", "SELECT 1 -- nor update documents\nFROM documents"]
)
def test_neither_capitals_nor_comments_open_the_door(statement: str) -> None:
    assert narrowed(statement, frozenset({ONE}), "public").startswith("WITH documents AS")


def test_what_names_no_table_of_ours_stays_as_it_is() -> None:
    assert narrowed("SET LOCAL enable_seqscan = off", frozenset(), "public").startswith("SET")


async def test_the_door_is_shut_again_behind_whoever_went_through(services: Services) -> None:
    async with transaction(services.engine) as connection:
        await collections.get_or_create(connection, "one")
    with limited_to(uuid4()):
        async with reading(services.engine) as connection:
            assert await collections.summaries(connection) == []
    async with reading(services.engine) as connection:
        assert len(await collections.summaries(connection)) == 1


async def test_of_a_model_that_collections_share_the_runs_of_others_are_not_told(
    services: Services, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.md").write_text(f"# {name}\n\nOf {name}.\n", encoding="utf-8")
        for _ in range(2):
            request = IngestRequest(
                arguments=[str(tmp_path / f"{name}.md")], collection=name, force=True
            )
            report = await ingest(services, request)
    async with reading(services.engine) as connection:
        one = await collections.get(connection, "one")
        own = {run.id for run in await runs.listing(connection, collection="one")}
        everything = await proofs.listing(connection, report.model_version_id, limit=100)
    assert {proof.run_id for proof in everything} - own, "the other collection's runs proved it"
    with limited_to(one.id):
        async with reading(services.engine) as connection:
            seen = await proofs.listing(connection, report.model_version_id, limit=100)
            counted = await proofs.outcomes(connection, report.model_version_id)
            latest = (await proofs.latest(connection))[report.model_version_id]
    assert seen == [proof for proof in everything if proof.run_id in own]
    assert sum(counted.values()) == len(seen) > 0
    assert latest == seen[0]
