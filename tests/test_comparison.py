"""Comparing two indexes: measures by hand, both lists of real indexes, golden sets, the command."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.comparing import measure
from ingest.evaluation.golden import read_golden_set
from ingest.pipeline import IngestRequest, ingest
from ingest.targets import register
from ingest.types import LoadOptions
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes
from search_app.catalog.engine import reading, transaction
from search_app.comparison import asking
from search_app.comparison.asking import Asked, Pair, compare, pair_of
from search_app.comparison.wording import as_json
from search_app.errors import DegradedSearchError, InvalidInputError, NotFoundError
from search_app.list_measures import Change, moves, overlap, rbo
from search_app.retrieval import SearchRequest
from search_app.types import Chunking, Index, IndexState, Precision
from tests.test_provenance import Silent

LISTS = st.lists(st.integers(0, 12), unique=True, max_size=12)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("abc", "abc", 1.0),
        ("abc", "xyz", 0.0),
        ("", "", 1.0),
        ("", "ab", 0.0),
        # Nothing in common at depth 1, both at 2: (0.1 / 0.9)(0 + 0.81) + 0.81.
        ("ab", "ba", 0.9),
        # Common 1, 1, 3: (0.1 / 0.9)(0.9 + 0.405 + 0.729) + 0.729.
        ("abc", "acb", 0.955),
        # Common 1, 1: (0.1 / 0.9)(0.9 + 0.405) + 0.405.
        ("ab", "ax", 0.55),
        # The shorter one is taken to go on as it did: all of it is in the longer one.
        ("a", "ab", 1.0),
        # 0, 1 against a list of one: (0.1 / 0.9)(0 + 0.405) + (1 / 2)(0.81).
        ("b", "ab", 0.45),
    ],
)
def test_rank_biased_overlap_by_hand(left: str, right: str, expected: float) -> None:
    assert rbo(left, right, 0.9) == pytest.approx(expected, abs=1e-12)
    assert rbo(right, left, 0.9) == pytest.approx(expected, abs=1e-12)


@given(left=LISTS, right=LISTS)
def test_rank_biased_overlap_of_any_lists(left: Sequence[int], right: Sequence[int]) -> None:
    found = rbo(left, right)
    assert -1e-12 <= found <= 1 + 1e-12
    assert found == pytest.approx(rbo(right, left))
    assert rbo(left, left) == pytest.approx(1)
    if not set(left) & set(right) and (left or right):
        assert found == 0
    # By the definition, counted anew at every depth.
    short, long = sorted((left, right), key=len)
    if short:
        s, last, p = len(short), len(long), 0.9
        common = [len(set(short[:d]) & set(long[:d])) for d in range(last + 1)]
        terms = sum(common[d] / d * p**d for d in range(1, last + 1))
        terms += sum(common[s] * (d - s) / (s * d) * p**d for d in range(s + 1, last + 1))
        beyond = ((common[last] - common[s]) / last + common[s] / s) * p**last
        assert found == pytest.approx((1 - p) / p * terms + beyond)


def test_agreement_at_the_top_weighs_more() -> None:
    assert rbo("abcdef", "abcdfe") > rbo("abcdef", "bacdef")


def test_overlap_and_moves() -> None:
    assert overlap("abcd", "abxy") == 0.5
    assert overlap("ab", "abxy") == 0.5
    assert overlap("", "") == 1
    found = {move.key: (move.before, move.after, move.change) for move in moves("abcd", "bacx")}
    assert found == {
        "b": (2, 1, Change.UP),
        "a": (1, 2, Change.DOWN),
        "c": (3, 3, Change.SAME),
        "x": (None, 4, Change.ENTERED),
        "d": (4, None, Change.LEFT),
    }
    assert list(found) == ["b", "a", "c", "x", "d"]


TEXTS = {
    "ferry": "The ferry to the island leaves at nine; the timetable hangs at the pier.",
    "boat": "Boats and ships carry people over water; a captain steers them.",
    "soup": "Onion soup wants butter, patience and a heavy pan.",
    "bread": "Bread rises slowly in the cold; the baker calls at nine.",
    "library": "図書館は毎週月曜日に休館します。返却は入口の箱をご利用ください。",
    "museum": "博物館は火曜日に休みます。入館料は五百円です。",
}
QUERIES = ("ferry timetable", "onion soup", "図書館の休館日")


async def make_index(services: Services, spec: str, tokens: int = 256) -> Index:
    """Make an index that the next ingest fills."""
    version = await register(services, services.embedder(spec))
    async with transaction(services.engine) as connection:
        collection = await collections.get_or_create(connection, "default")
        return await indexes.create(
            connection,
            collection=collection,
            model_version_id=version.id,
            chunking=Chunking(max_tokens=tokens),
            store="pgvector",
            precision=Precision.FLOAT16,
            state=IndexState.READY,
        )


async def fill(services: Services, path: Path, *made: Index) -> None:
    async with transaction(services.engine) as connection:
        await indexes.activate(connection, made[0].id)
    await ingest(
        services,
        IngestRequest(
            arguments=[str(path)],
            load=LoadOptions(text_fields=("text",), title_field="title", id_field="id"),
        ),
    )


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    rows = [{"id": name, "title": name, "text": text} for name, text in TEXTS.items()]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
async def two(services: Services, records: Path) -> tuple[Index, Index]:
    first, second = [await make_index(services, spec) for spec in ("hashing:256", "hashing:16")]
    await fill(services, records, first, second)
    return first, second


async def pair(services: Services, *made: Index) -> Pair:
    async with reading(services.engine) as connection:
        return await pair_of(connection, *(str(index.id)[:13] for index in made))


async def search(services: Services, query: str, **options: object) -> None:
    await services.searcher.search(replace(SearchRequest(query=query), **options))  # type: ignore[arg-type] # fields of the request


async def test_each_index_gives_its_own_list(services: Services, two: tuple[Index, Index]) -> None:
    both = await pair(services, *two)
    found = await compare(
        services, both, [Asked(query=query) for query in QUERIES], k=3, mode="semantic"
    )
    assert [each.query for each in found.queries] == list(QUERIES)
    for each in found.queries:
        for index, entries in zip(two, (each.left, each.right), strict=True):
            result = await services.searcher.search(
                SearchRequest(query=each.query, index=str(index.id), k=3, mode="semantic")
            )
            assert [hit.chunk_id for hit in result.hits] == [entry.key for entry in entries]
        keys = [{entry.key for entry in side} for side in (each.left, each.right)]
        assert each.overlap == len(keys[0] & keys[1]) / 3
        assert each.count(Change.ENTERED) == each.count(Change.LEFT) == len(keys[1] - keys[0])
    assert 0 < found.rbo < 1
    assert found.rbo == pytest.approx(sum(each.rbo for each in found.queries) / 3)
    rbos = [each.rbo for each in found.most_changed]
    assert rbos == sorted(rbos)
    assert sum(found.count(change) for change in Change) >= 9


async def test_words_alone_are_the_same_in_both(
    services: Services, two: tuple[Index, Index]
) -> None:
    found = await compare(
        services, await pair(services, *two), [Asked(query=q) for q in QUERIES], mode="keyword"
    )
    assert found.rbo == pytest.approx(1)
    assert (found.overlap, found.same) == (1.0, 3)
    assert found.most_changed == []


async def test_nothing_of_it_is_logged_and_what_was_asked_most_comes_first(
    services: Services, two: tuple[Index, Index]
) -> None:
    for query, times in (("onion soup", 1), ("ferry timetable", 3), ("bread", 2)):
        for _ in range(times):
            await search(services, query)
    await search(services, "bread", first_rank=11)
    await search(services, "only measured", client="eval")
    both = await pair(services, *two)
    async with reading(services.engine) as connection:
        asked = await asking.logged(connection, both.collection, 2)
    assert [(each.query, each.times) for each in asked] == [("ferry timetable", 3), ("bread", 2)]
    await compare(services, both, asked)
    async with reading(services.engine) as connection:
        assert await asking.logged(connection, both.collection, 2) == asked


async def test_documents_are_compared_where_passages_differ(
    services: Services, tmp_path: Path
) -> None:
    first = await make_index(services, "hashing:256")
    second = await make_index(services, "hashing:256", tokens=48)
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("one", "two", "three"):
        parts = [f"Part {n} of {name} tells of pier {n} and ferry {n}. " * 6 for n in range(12)]
        (folder / f"{name}.md").write_text("\n\n".join(parts))
    await fill(services, folder, first, second)
    both = await pair(services, first, second)
    assert both.by_documents
    found = await compare(services, both, [Asked(query="ferry pier one")], k=3)
    (only,) = found.queries
    assert only.overlap == 1
    assert {entry.key for entry in only.left} == {entry.document_id for entry in only.right}
    assert len(only.left) == 3
    assert as_json(found)["unit"] == "document"


async def test_a_search_by_half_is_no_comparison(
    services: Services, two: tuple[Index, Index]
) -> None:
    services._embedders["hashing:16"] = Silent("16")
    with pytest.raises(DegradedSearchError, match=r"not_semantic.*no answer"):
        await compare(services, await pair(services, *two), [Asked(query="never asked")])


async def test_only_two_indexes_of_one_collection_are_compared(
    services: Services, two: tuple[Index, Index], records: Path
) -> None:
    with pytest.raises(InvalidInputError, match="both are index"):
        await pair(services, two[0], two[0])
    with pytest.raises(NotFoundError, match="no index"):
        async with reading(services.engine) as connection:
            await pair_of(connection, str(two[0].id), "zz")
    await ingest(services, IngestRequest(arguments=[str(records)], collection="other"))
    async with reading(services.engine) as connection:
        foreign = await indexes.active(connection, await collections.get(connection, "other"))
    with pytest.raises(InvalidInputError, match=r"'default'.*'other'"):
        await pair(services, two[0], foreign)
    with pytest.raises(InvalidInputError, match="not of 'other'"):
        async with reading(services.engine) as connection:
            await pair_of(connection, str(two[0].id), str(two[1].id), "other")


def write_golden(folder: Path, answers: dict[str, str]) -> Path:
    """Write a golden set of these queries and the ids of the documents that answer them."""
    folder.mkdir()
    names = [*dict.fromkeys([*answers.values(), "ferry"])]
    rows = [{"_id": name, "title": name, "text": TEXTS.get(name, "gone")} for name in names]
    (folder / "corpus.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    asked = [{"_id": f"q{place}", "text": query} for place, query in enumerate(answers)]
    (folder / "queries.jsonl").write_text("\n".join(json.dumps(row) for row in asked))
    lines = [f"q{place}\t{name}\t1" for place, name in enumerate(answers.values())]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]))
    return folder


async def gain(services: Services, query: str, name: str, index: Index) -> float:
    """Give nDCG of a query with one answer, from its rank among the hits."""
    result = await services.searcher.search(
        SearchRequest(query=query, index=str(index.id), mode="semantic")
    )
    titles = [hit.document.title for hit in result.hits]
    return float(1 / np.log2(titles.index(name) + 2))


async def test_a_golden_set_measures_both(
    services: Services, two: tuple[Index, Index], tmp_path: Path
) -> None:
    folder = write_golden(
        tmp_path / "golden",
        {
            "ferry timetable": "ferry",
            "who steers": "boat",
            "patience in the cold": "soup",
            "a heavy pan at nine": "bread",
            "月曜日の入館料": "library",
            "people over water": "museum",
        },
    )
    golden = read_golden_set(folder)
    found = await measure(services, await pair(services, *two), golden, mode="semantic")
    assert (found.queries, found.judged, found.known) == (6, 6, 6)
    gains = [
        [
            await gain(services, query.text, next(iter(query.relevant)), index)
            for query in golden.queries
        ]
        for index in two
    ]
    assert found.left.mean == pytest.approx(sum(gains[0]) / len(gains[0]))
    assert found.right.mean == pytest.approx(sum(gains[1]) / len(gains[1]))
    assert found.left.mean != found.right.mean
    assert found.difference.difference == pytest.approx(found.right.mean - found.left.mean)
    swapped = await measure(services, await pair(services, *two[::-1]), golden, mode="semantic")
    assert swapped.difference.difference == pytest.approx(-found.difference.difference)
    assert 0 < found.difference.p <= 1


async def test_documents_of_a_golden_set_are_known_by_their_paths_too(
    services: Services, two: tuple[Index, Index], records: Path, tmp_path: Path
) -> None:
    uri = f"{records}#soup"
    folder = write_golden(tmp_path / "golden", {"onion soup": uri, "nobody knows": "elsewhere"})
    found = await measure(
        services, await pair(services, *two), read_golden_set(folder), mode="keyword"
    )
    assert (found.judged, found.known) == (2, 1)
    assert found.left.mean == pytest.approx(0.5), "one of two is answered, at the top"


async def test_a_golden_set_of_other_documents_is_refused(
    services: Services, two: tuple[Index, Index], tmp_path: Path
) -> None:
    folder = write_golden(tmp_path / "golden", {"onion soup": "elsewhere"})
    with pytest.raises(InvalidInputError, match="none of its 1 documents"):
        await measure(services, await pair(services, *two), read_golden_set(folder))


async def test_a_log_without_queries_is_told(services: Services, two: tuple[Index, Index]) -> None:
    both = await pair(services, *two)
    async with reading(services.engine) as connection:
        with pytest.raises(InvalidInputError, match="--queries"):
            await asking.logged(connection, both.collection, 5)


def test_given_queries_are_checked() -> None:
    assert [each.query for each in asking.given(["a", " a ", "", "b", "c"], 2)] == ["a", "b"]
    with pytest.raises(InvalidInputError, match="no query"):
        asking.given(["", "  "], 5)
    with pytest.raises(InvalidInputError, match="at most"):
        asking.given(["x" * 3000], 5)
