"""Choosing by what numbers an index searches: new collections, other indexes, evaluations."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.evaluation.evaluation import EvaluationRequest, evaluate
from ingest.evaluation.golden import read_golden_set
from ingest.evaluation.report import as_json
from ingest.evaluation.variants import read_variants
from ingest.pipeline import IngestRequest, ingest
from ingest.reindex import ReindexReport, ReindexRequest, reindex
from ingest.report import Progress, Silent
from search_app import switching
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes
from search_app.catalog.engine import reading
from search_app.errors import InvalidInputError
from search_app.retrieval import SearchRequest
from search_app.types import Index, Precision
from tests.index_dump import dump_index

DOCUMENTS = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    root.mkdir()
    for number in range(DOCUMENTS):
        text = f"The keeper of light {number} counted {number * 7 % 11} ships and went to bed."
        (root / f"{number:02}.md").write_text(f"# Log {number}\n\n{text}", encoding="utf-8")
    return root


@pytest.fixture
async def own(services: Services, tmp_path: Path) -> AsyncIterator[Services]:
    """Give services whose pgvector walks a graph from ten passages on, with both stores."""
    changed = {"hnsw_from": 10, "qdrant_url": f"local:{tmp_path / 'qdrant'}"}
    own = Services(services.settings.model_copy(update=changed), services.engine)
    yield own
    await own.aclose()


class Watching:
    """Watches nothing."""

    @contextmanager
    def indexing(self, path: Path, documents: int) -> Iterator[Progress]:
        del path, documents
        yield Silent()

    @contextmanager
    def asking(self, label: str, queries: int) -> Iterator[Callable[[], None]]:
        del label, queries
        yield lambda: None


async def active(services: Services) -> Index:
    async with reading(services.engine) as connection:
        return await indexes.active(connection, await collections.get(connection, "default"))


async def found(services: Services, *, exact: bool) -> list[str]:
    result = await services.searcher.search(
        SearchRequest(query="keeper counted 7 ships", mode="semantic", exact=exact)
    )
    return [str(hit.chunk_id) for hit in result.hits]


async def test_an_index_of_bits_is_found_again_by_float32_whose_vectors_are_copied(
    own: Services, folder: Path
) -> None:
    assert own.settings.database_url is not None
    url = own.settings.database_url.get_secret_value()
    first = await ingest(own, IngestRequest(arguments=[str(folder)], precision="binary"))
    assert (await active(own)).precision is Precision.BINARY
    # The candidates are all there are, so what is left to go wrong are the scores.
    assert await found(own, exact=False) == await found(own, exact=True)
    report = await reindex(own, ReindexRequest(precision="float32"))
    assert (report.embedded, report.copied) == (0, first.chunks.embedded)
    assert (report.complete, report.precision) == (True, Precision.FLOAT32)
    assert dump_index(url, report.index_id) == dump_index(url, first.index_id)
    before = await found(own, exact=True)
    await switching.activate(own.engine, own.store, await _get(own, report))
    assert (await active(own)).precision is Precision.FLOAT32
    assert await found(own, exact=False) == before
    # What is not said stays as it is in the active index.
    another = await reindex(own, ReindexRequest(force=True))
    assert another.precision is Precision.FLOAT32


async def _get(services: Services, report: ReindexReport) -> Index:
    async with reading(services.engine) as connection:
        return await indexes.get(connection, report.index_id)


async def test_stores_choose_unless_told(own: Services, folder: Path) -> None:
    await ingest(own, IngestRequest(arguments=[str(folder)]))
    assert (await active(own)).precision is Precision.FLOAT16
    moved = await reindex(own, ReindexRequest(store="qdrant"))
    assert moved.precision is Precision.FLOAT32
    smaller = await reindex(own, ReindexRequest(store="qdrant", precision="int8"))
    assert (smaller.complete, smaller.precision) == (True, Precision.INT8)
    assert smaller.index_id != moved.index_id


async def test_a_setting_chooses_for_new_indexes(own: Services, folder: Path) -> None:
    changed = own.settings.model_copy(update={"precision": "float32"})
    await ingest(Services(changed, own.engine), IngestRequest(arguments=[str(folder)]))
    assert (await active(own)).precision is Precision.FLOAT32


@pytest.mark.parametrize(
    ("precision", "told"),
    [
        ("int8", r"pgvector cannot search int8 vectors, it has float16 or float32 or binary"),
        ("float8", r"precision 'float8' is not known; write float32, float16, int8, binary"),
    ],
)
async def test_what_cannot_be_is_refused_and_leaves_nothing(
    own: Services, folder: Path, precision: str, told: str
) -> None:
    with pytest.raises(InvalidInputError, match=told):
        await ingest(own, IngestRequest(arguments=[str(folder)], precision=precision))
    async with reading(own.engine) as connection:
        assert not await collections.summaries(connection)
    await ingest(own, IngestRequest(arguments=[str(folder)]))
    with pytest.raises(InvalidInputError, match=told):
        await reindex(own, ReindexRequest(precision=precision))


async def test_another_precision_for_a_collection_names_the_way_there(
    own: Services, folder: Path
) -> None:
    await ingest(own, IngestRequest(arguments=[str(folder)], precision="float16"))
    again = await ingest(own, IngestRequest(arguments=[str(folder)], precision="float16"))
    assert again.documents.unchanged == DOCUMENTS
    with pytest.raises(InvalidInputError, match=r"ingest reindex .* --precision binary"):
        await ingest(own, IngestRequest(arguments=[str(folder)], precision="binary"))
    with pytest.raises(InvalidInputError, match=r"precision float16.*--precision"):
        await reindex(own, ReindexRequest(precision="float16"))


async def test_an_evaluation_tells_what_each_costs(own: Services, tmp_path: Path) -> None:
    golden = tmp_path / "golden"
    golden.mkdir()
    rows = [{"_id": f"d{n}", "text": f"ship {n} of {n * 3} sailors"} for n in range(40)]
    (golden / "corpus.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (golden / "queries.jsonl").write_text('{"_id": "q", "text": "ship 7 of 21 sailors"}\n')
    (golden / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\td7\t1\n")
    changes = ["precision=binary", "exact=true", "mode=keyword", "store=qdrant precision=int8"]
    request = EvaluationRequest(
        golden=read_golden_set(golden),
        variants=read_variants(own.settings, {"mode": "semantic"}, changes),
    )
    report = as_json(await evaluate(own, request, Watching()))
    base, bits, exact, words, int8 = (result["cost"] for result in report["results"])
    assert words is None
    assert [each["precision"] for each in (base, bits, exact, int8)] == [
        *("float16", "binary", "float16", "int8")
    ]
    assert exact["recall@10"] == 1
    for each in (base, bits, exact, int8):
        assert each["queries"] == 1
        assert 0 < each["searched_bytes"] <= each["whole_bytes"]
        assert 0 < each["median_ms"] <= each["p95_ms"]
    assert [each["bytes_measured"] for each in (base, int8)] == [True, False]
    told = read_variants(own.settings, {}, ["precision=int8"])
    with pytest.raises(InvalidInputError, match="pgvector cannot search int8"):
        await evaluate(own, replace(request, variants=told), Watching())
