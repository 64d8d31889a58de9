"""Evaluation: scores, chance, folders that cannot be used, and the whole command."""

import asyncio
import csv
import gzip
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from ingest.evaluation import resampling
from ingest.evaluation.asking import PAGES, Asking, ask_all, ranking
from ingest.evaluation.evaluation import EvaluationRequest, evaluate
from ingest.evaluation.golden import GoldenSet, GoldenSetError, Query, chosen, read_golden_set
from ingest.evaluation.report import Evaluation, as_json
from ingest.evaluation.resampling import (
    Values,
    difference_of,
    lower_bound,
    mean_of,
    randomisation_p,
)
from ingest.evaluation.scoring import metric_names, score
from ingest.evaluation.variants import read_variants
from ingest.report import Progress, Silent
from search_app.bootstrap import Services
from search_app.catalog import collections
from search_app.catalog.engine import reading
from search_app.config import Settings, load_settings
from search_app.errors import ConfigurationError, DegradedSearchError, InvalidInputError
from search_app.retrieval import Searcher, SearchRequest
from search_app.types import Hit, Notice, SearchResult

GOLDEN = Path(__file__).parents[2] / "shared" / "data" / "golden"

DOCUMENTS = {
    "tea#1": ("Tea", "Green tea leaves are steamed right after they are picked."),
    "coffee/2": ("Coffee", "Coffee beans are roasted until they crack twice."),
    "お茶": ("お茶", "緑茶の葉は摘んですぐに蒸します。"),
    "bread": ("Bread", "Sourdough bread rises slowly in a cool kitchen."),
    "rain": ("Rain", "Rain falls from clouds when drops grow heavy."),
    "empty": ("", "  "),
}
QUERIES = {
    "q1": "steamed green tea leaves",
    "q2": "roasted coffee beans",
    "q3": "緑茶の葉を蒸す",
    "q4": "nobody judged this",
    "q5": "judged, and nothing answers it",
}
QRELS = [
    ("q1", "tea#1", 2),
    ("q1", "お茶", 1),
    ("q1", "rain", 0),
    ("q2", "coffee/2", 1),
    ("q3", "お茶", 1),
    ("q3", "empty", 1),
    ("q5", "rain", 0),
]
NO_JUDGEMENT = "lines that are not query-id, corpus-id and a whole score between tabs"


class Folder:
    """A golden set on disk, good until a test changes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.write(
            "corpus.jsonl",
            *(
                json.dumps({"_id": name, "title": title, "text": body, "metadata": {"n": n}})
                for n, (name, (title, body)) in enumerate(DOCUMENTS.items())
            ),
        )
        self.write(
            "queries.jsonl",
            *(json.dumps({"_id": name, "text": words}) for name, words in QUERIES.items()),
        )
        self.write(
            "qrels.tsv",
            "query-id\tcorpus-id\tscore",
            *(f"{query}\t{document}\t{score}" for query, document, score in QRELS),
        )

    def write(self, name: str, *lines: str) -> None:
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def add(self, name: str, *lines: str) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)

    def faults(self) -> list[str]:
        with pytest.raises(GoldenSetError) as refused:
            read_golden_set(self.path)
        prefix = f"{self.path}: "
        assert all(fault.startswith(prefix) for fault in refused.value.faults)
        assert all(len(fault.splitlines()) == 1 for fault in refused.value.faults)
        return [fault.removeprefix(prefix) for fault in refused.value.faults]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "set")


class TestScores:
    QUERIES = (
        Query(id="a", text="a", judgements={"x": 3, "y": 1, "z": 0, "w": 2}),
        Query(id="b", text="b", judgements={"x": 1}),
        Query(id="c", text="c", judgements={"x": 1, "y": 1}),
    )

    def test_against_sums_done_by_hand(self) -> None:
        found = {"a": ["n", "x", "z", "y"], "b": ["n", "m", "x"], "c": []}
        scores = score(self.QUERIES, found, 10)
        gained = 3 / math.log2(3) + 1 / math.log2(5)
        ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
        wanted = [[gained / ideal, 2 / 3, 1 / 2], [1 / math.log2(4), 1, 1 / 3], [0, 0, 0]]
        assert np.abs(scores - np.array(wanted)).max() < 1e-6

    def test_what_lies_deeper_than_k_is_not_seen(self) -> None:
        filler = [f"n{number}" for number in range(200)]
        at = {10: [*filler[:9], "x"], 11: [*filler[:10], "x"], 101: [*filler[:100], "x"]}
        scores = {rank: score([self.QUERIES[1]], {"b": found}, 10)[0] for rank, found in at.items()}
        np.testing.assert_allclose(scores[10], [1 / math.log2(11), 1, 0.1], atol=1e-6)
        np.testing.assert_allclose(scores[11], [0, 1, 0], atol=1e-6)
        np.testing.assert_allclose(scores[101], [0, 0, 0], atol=1e-6)
        assert score([self.QUERIES[1]], {"b": at[11]}, 20)[0][2] == pytest.approx(1 / 11)

    def test_order_is_that_of_the_ranking_whatever_the_names(self) -> None:
        for name in ("a", "zz", "10", "9"):
            query = Query(id="q", text="q", judgements={name: 1})
            assert score([query], {"q": ["m", name, "5"]}, 10)[0][2] == 0.5

    def test_names(self) -> None:
        assert metric_names(5) == ("nDCG@5", "Recall@100", "MRR@5")


class TestChance:
    def test_equal_values_leave_nothing_to_chance(self) -> None:
        found = mean_of(np.full(7, 0.25))
        assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)

    def test_two_values_by_hand(self) -> None:
        # Of two drawn from 0 and 1: both 0 in a quarter of all cases, both 1 in another.
        found = mean_of(np.array([0.0, 1.0]))
        assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)
        assert lower_bound(np.array([0.0, 1.0]), confidence=0.7) == 0.5

    def test_many_values_come_near_the_normal_interval(self) -> None:
        values = np.random.default_rng(1).normal(0.4, 0.2, 2000)
        found = mean_of(values)
        half = 1.96 * values.std() / math.sqrt(values.size)
        assert found.high - found.mean == pytest.approx(half, rel=0.05)
        assert found.mean - found.low == pytest.approx(half, rel=0.05)
        assert lower_bound(values) == pytest.approx(found.mean - half * 1.645 / 1.96, abs=half / 20)

    def test_more_queries_narrow_it(self) -> None:
        values = np.random.default_rng(2).random(3000)
        widths = [
            found.high - found.low for found in (mean_of(values[:n]) for n in (30, 300, 3000))
        ]
        assert widths[0] > 2 * widths[1] > 4 * widths[2]

    def test_same_figures_every_time(self) -> None:
        values = np.random.default_rng(3).random(100)
        assert mean_of(values) == mean_of(values.copy())
        assert randomisation_p(values - 0.5) == randomisation_p(values - 0.5)

    def test_pairs_are_kept_together(self) -> None:
        """What all queries gain alike is certain, however much they differ from each other."""
        values = np.random.default_rng(4).random(200)
        found = difference_of(values + 0.01, values)
        assert found.low == pytest.approx(0.01)
        assert found.high == pytest.approx(0.01)
        assert found.p < 0.001

    def test_no_difference(self) -> None:
        values = np.random.default_rng(5).random(50)
        found = difference_of(values, values)
        assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)

    @pytest.mark.parametrize(
        ("differences", "p"),
        [
            ([0.5], 1.0),
            ([1, 1], 0.5),
            ([1, 1, 1], 0.25),
            ([1, 1, 1, 0, 0], 0.25),
            ([0.1, 0.2, 0.3, -0.1], 6 / 16),
            ([0.1] * 10, 2 / 1024),
        ],
    )
    def test_few_queries_by_hand(self, differences: list[float], p: float) -> None:
        assert randomisation_p(np.array(differences)) == pytest.approx(p)

    def test_drawing_comes_near_going_through_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        differences = np.random.default_rng(6).normal(0.4, 1, 13)
        exact = randomisation_p(differences)
        monkeypatch.setattr(resampling, "RESAMPLES", 8191)
        assert randomisation_p(differences) == pytest.approx(exact, abs=0.02)
        assert 0.05 < exact < 0.9

    def test_where_nothing_differs_p_is_even(self) -> None:
        generator = np.random.default_rng(7)
        found = np.sort([randomisation_p(generator.normal(0, 1, 25)) for _ in range(200)])
        # Kolmogorov's distance from the even distribution; 0.115 would be met 1 time in 100.
        even = np.arange(1, 201) / 200
        assert np.abs(found - even).max() < 0.115
        assert (found < 0.05).mean() < 0.1

    @given(
        st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=12),
    )
    def test_sign_does_not_matter(self, drawn: list[float]) -> None:
        differences = np.array(drawn)
        p = randomisation_p(differences)
        assert 0 < p <= 1
        assert randomisation_p(-differences) == p

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
    def test_interval_holds_the_mean(self, drawn: list[float]) -> None:
        found = mean_of(np.array(drawn))
        assert min(drawn) - 1e-9 <= found.low <= found.mean + 1e-9
        assert found.mean - 1e-9 <= found.high <= max(drawn) + 1e-9

    def test_large_sets_are_worked_off_in_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values: Values = np.random.default_rng(8).random(50) - 0.4
        whole = mean_of(values), randomisation_p(values)
        monkeypatch.setattr(resampling, "_BLOCK", 777)
        parted = mean_of(values), randomisation_p(values)
        assert parted[0].low == pytest.approx(whole[0].low, abs=0.01)
        assert parted[1] == pytest.approx(whole[1], abs=0.02)


class TestFolder:
    def test_good(self, folder: Folder) -> None:
        golden = read_golden_set(folder.path)
        assert [query.id for query in golden.queries] == ["q1", "q2", "q3"]
        assert golden.queries[0].judgements == {"tea#1": 2, "お茶": 1, "rain": 0}
        assert golden.queries[0].relevant == {"tea#1", "お茶"}
        assert (golden.unjudged, golden.unanswerable, golden.empty) == (1, 1, ["empty"])
        assert golden.documents == 5
        records = list(golden.records())
        assert records[0] == {
            "n": 0,
            "id": "tea#1",
            "title": "Tea",
            "text": DOCUMENTS["tea#1"][1],
        }
        assert len(records) == 5

    def test_without_titles(self, folder: Folder) -> None:
        folder.add("corpus.jsonl", json.dumps({"_id": "title only", "title": "T", "text": ""}))
        with_titles = read_golden_set(folder.path)
        assert list(with_titles.records())[-1] == {"id": "title only", "title": "", "text": "T"}
        without = read_golden_set(folder.path, titles=False)
        assert {record["title"] for record in without.records()} == {""}
        assert without.empty == ["empty", "title only"]

    def test_compressed_and_in_a_folder_of_their_own(self, folder: Folder) -> None:
        plain = read_golden_set(folder.path)
        records = list(plain.records())
        for name in ("corpus.jsonl", "queries.jsonl"):
            (folder.path / f"{name}.gz").write_bytes(
                gzip.compress((folder.path / name).read_bytes())
            )
            (folder.path / name).unlink()
        (folder.path / "qrels").mkdir()
        (folder.path / "qrels.tsv").rename(folder.path / "qrels" / "test.tsv")
        packed = read_golden_set(folder.path)
        assert packed.queries == plain.queries
        assert list(packed.records()) == records
        with pytest.raises(GoldenSetError, match="cannot be read"):
            list(plain.records())

    def test_other_judgements(self, folder: Folder) -> None:
        folder.write("graded.tsv", "query-id\tcorpus-id\tscore", "q4\train\t4")
        golden = read_golden_set(folder.path, qrels="graded.tsv")
        assert [query.id for query in golden.queries] == ["q4"]

    def test_ids_may_be_numbers_and_metadata_beside_the_text(self, folder: Folder) -> None:
        folder.write("corpus.jsonl", json.dumps({"id": 7, "text": "seven", "year": 1999}))
        folder.write("queries.jsonl", json.dumps({"id": 1, "text": "7?"}))
        folder.write("qrels.tsv", "1\t7\t1")
        golden = read_golden_set(folder.path)
        assert list(golden.records()) == [{"year": 1999, "id": "7", "title": "", "text": "seven"}]
        assert golden.queries[0].relevant == {"7"}

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(GoldenSetError, match="no such folder"):
            read_golden_set(tmp_path / "nowhere")

    def test_every_missing_file_is_named(self, folder: Folder) -> None:
        (folder.path / "corpus.jsonl").unlink()
        (folder.path / "qrels.tsv").unlink()
        assert folder.faults() == [
            "has no corpus.jsonl (or .gz)",
            "has no qrels.tsv or qrels/test.tsv (or .gz)",
        ]

    @pytest.mark.parametrize(
        ("name", "lines", "fault"),
        [
            (
                "corpus.jsonl",
                ['{"_id": "tea#1", "text": "again"}', '{"_id": "rain", "text": "again"}'],
                "corpus.jsonl: ids that are there twice: 2 (tea#1, rain)",
            ),
            (
                "corpus.jsonl",
                ['{"_id": "x"', "[]", '"x"', "{'a': 1}"],
                "corpus.jsonl: lines that are not JSON objects: 4 (line 7, line 8, line 9, …)",
            ),
            (
                "corpus.jsonl",
                ['{"text": "x"}', '{"_id": "", "text": "x"}', '{"_id": " x", "text": "x"}'],
                "corpus.jsonl: lines without a usable _id: 3 (line 7, line 8, line 9)",
            ),
            (
                "queries.jsonl",
                ['{"_id": "q1", "text": "again"}'],
                "queries.jsonl: ids that are there twice: 1 (q1)",
            ),
            (
                "qrels.tsv",
                ["q8\train\t1", "q9\train\t1", "q9\tbread\t1"],
                "qrels.tsv: unknown queries: 2 (q8, q9)",
            ),
            (
                "qrels.tsv",
                ["q1\tnone\t1", "q2\tnone\t1", "q2\tother\t0"],
                "qrels.tsv: unknown documents: 2 (none, other)",
            ),
            (
                "qrels.tsv",
                ["q1 rain 1", "q1\train", "q1\tbread\thigh", "q1\t\t1"],
                f"qrels.tsv: {NO_JUDGEMENT}: 4 (line 9, line 10, line 11, …)",
            ),
            (
                "qrels.tsv",
                ["q1\train\t1"],
                "qrels.tsv: judgements that are there twice: 1 (q1 rain)",
            ),
        ],
    )
    def test_fault(self, name: str, lines: list[str], fault: str, folder: Folder) -> None:
        folder.add(name, *lines)
        assert folder.faults() == [fault]

    def test_all_faults_are_told_together(self, folder: Folder) -> None:
        folder.add("corpus.jsonl", "{")
        folder.add("queries.jsonl", "{")
        folder.add("qrels.tsv", "q8\train\t1", "q1\tnone\t1")
        assert len(folder.faults()) == 4

    @pytest.mark.parametrize(
        ("words", "fault"),
        [
            ("", "queries.jsonl: queries without text: 1 (q1)"),
            (" \n", "queries.jsonl: queries without text: 1 (q1)"),
            ("x" * 2001, "queries.jsonl: queries that cannot be asked (the query has 2,001"),
            ("a\x00b", "queries.jsonl: queries that cannot be asked (the query has a NUL"),
        ],
    )
    def test_query_that_no_search_takes(self, words: str, fault: str, folder: Folder) -> None:
        folder.write("queries.jsonl", json.dumps({"_id": "q1", "text": words}))
        folder.write("qrels.tsv", "q1\train\t1")
        (found,) = folder.faults()
        assert found.startswith(fault)

    def test_query_that_nobody_judged_may_be_anything(self, folder: Folder) -> None:
        folder.add("queries.jsonl", json.dumps({"_id": "q6", "text": ""}))
        assert read_golden_set(folder.path).unjudged == 2

    def test_nothing_to_ask(self, folder: Folder) -> None:
        folder.write("qrels.tsv", "query-id\tcorpus-id\tscore")
        assert folder.faults() == ["qrels.tsv: holds no judgement"]
        folder.add("qrels.tsv", "q1\train\t0", "q2\train\t-1")
        assert folder.faults() == ["qrels.tsv: no query has a document with a score of 1 or more"]

    def test_nothing_to_find(self, folder: Folder) -> None:
        folder.write("corpus.jsonl", *(json.dumps({"_id": name}) for name in DOCUMENTS))
        assert folder.faults() == ["corpus.jsonl: no document has text"]

    def test_damaged_files(self, folder: Folder) -> None:
        packed = gzip.compress((folder.path / "corpus.jsonl").read_bytes())
        (folder.path / "corpus.jsonl").unlink()
        (folder.path / "corpus.jsonl.gz").write_bytes(packed[:-20])
        (folder.path / "queries.jsonl").write_bytes("{'é'}\n".encode("latin-1"))
        faults = folder.faults()
        assert "corpus.jsonl.gz: cannot be read: is damaged" in faults
        assert "queries.jsonl: is not UTF-8" in faults

    def test_the_same_queries_are_drawn_every_time(self) -> None:
        queries = [Query(id=str(n), text="x", judgements={}) for n in range(100)]
        drawn = chosen(queries, 10)
        assert [query.id for query in drawn] == [query.id for query in chosen(queries, 10)]
        assert sorted(drawn, key=queries.index) == drawn
        assert len({query.id for query in drawn}) == 10
        assert chosen(queries, 100) == queries == chosen(queries, None)

    @pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden sets in {GOLDEN}")
    @pytest.mark.parametrize(
        ("name", "documents", "queries"),
        [
            ("code_search_py", 6967, 3447),
            ("en_cranfield", 1398, 225),
            ("en_npl", 11429, 93),
            ("ja_jsquad", 2304, 8862),
            ("ja_koho", 1814, 930),
            ("xling_fastapi", 2162, 2162),
        ],
    )
    def test_real_sets(self, name: str, documents: int, queries: int) -> None:
        golden = read_golden_set(GOLDEN / name)
        assert (golden.documents, len(golden.queries)) == (documents, queries)
        assert sum(1 for _ in golden.records()) == documents


class TestVariants:
    @pytest.fixture
    def settings(self) -> Settings:
        return load_settings(embedder="hashing:64")

    def test_what_is_compared_names_both(self, settings: Settings) -> None:
        base, other = read_variants(
            settings, {"mode": "hybrid"}, ["mode=keyword", "fusion=rrf dense_weight=0.5"][1:]
        )
        assert base.label == "fusion=minmax dense_weight=0.4"
        assert other.label == "fusion=rrf dense_weight=0.5"
        assert other.chosen == base.chosen | {"fusion": "rrf", "dense_weight": 0.5}
        assert other.indexing == base.indexing

    def test_alone(self, settings: Settings) -> None:
        (base,) = read_variants(settings, {"mode": "semantic"}, [])
        assert base.label == "mode=semantic"
        assert base.settings.search_mode == "semantic"
        assert base.settings.embedder == "hashing:64"

    def test_what_is_given_holds_for_all(self, settings: Settings) -> None:
        _, other = read_variants(
            settings, {"mode": "keyword", "embedder": "hashing:32"}, ["exact=true"]
        )
        assert other.exact
        assert (other.settings.search_mode, other.settings.embedder) == ("keyword", "hashing:32")

    def test_reranker_can_be_left_out(self, settings: Settings) -> None:
        named = settings.model_copy(update={"reranker": "endpoint:x", "rerank_url": "http://x/r"})
        base, other = read_variants(named, {}, ["rerank=none"])
        assert (base.label, other.label) == ("rerank=endpoint:x", "rerank=none")
        assert other.settings.reranker is None

    @pytest.mark.parametrize(
        ("comparison", "problem"),
        [
            ("", "is not NAME=VALUE"),
            ("semantic", "is not NAME=VALUE"),
            ("mode=keyword exact", "is not NAME=VALUE"),
            ('embedder="x', "is not NAME=VALUE"),
            ("colour=red", "'colour' cannot be compared; there are embedder, store"),
            ("mode=fast", "mode=fast.*hybrid"),
            ("dense_weight=2", "dense_weight=2"),
            ("chunk_tokens=many", "chunk_tokens=many"),
            ("exact=maybe", "neither true nor false"),
        ],
    )
    def test_what_cannot_be_meant(self, comparison: str, problem: str, settings: Settings) -> None:
        with pytest.raises(InvalidInputError, match=problem):
            read_variants(settings, {}, [comparison])

    @pytest.mark.parametrize("comparison", ["embedder=none", "rerank=endpoint:x", "rerank=x"])
    def test_what_is_not_there(self, comparison: str, settings: Settings) -> None:
        with pytest.raises(ConfigurationError):
            read_variants(settings, {}, [comparison])


class Library:
    """Answers as a searcher does, from passages of which only the document is known."""

    def __init__(self, passages: Sequence[str], notices: Sequence[Notice] = ()) -> None:
        self.passages = passages
        self.notices = notices
        self.asked: list[SearchRequest] = []

    async def search(self, request: SearchRequest) -> SearchResult:
        self.asked.append(request)
        last = request.first_rank - 1 + request.k
        hits = [_hit(name) for name in self.passages[request.first_rank - 1 : last]]
        result = SimpleNamespace(hits=hits, notices=self.notices, more=len(self.passages) > last)
        return cast("SearchResult", result)


def _hit(name: str) -> Hit:
    document = SimpleNamespace(uri=f"/a#b/c.jsonl#{name}", source="/a#b/c.jsonl")
    return cast("Hit", SimpleNamespace(document=document))


def asking(library: Library, *comparisons: str) -> Asking:
    variant = read_variants(load_settings(embedder="hashing:64"), {}, comparisons)[-1]
    return Asking(
        searcher=cast("Searcher", library), collection="c", filters=["n=1"], variant=variant
    )


class TestAsking:
    async def test_a_document_stands_where_its_best_passage_does(self) -> None:
        library = Library(["a#1", "b", "a#1", "a#1", "c", "b"])
        query = Query(id="q", text="words", judgements={"c": 1})
        assert await ranking(asking(library, "exact=true"), query) == ["a#1", "b", "c"]
        (request,) = library.asked
        assert (request.query, request.collection, request.client) == ("words", "c", "eval")
        assert (request.filters, request.exact, request.mode) == (["n=1"], True, "hybrid")

    async def test_pages_go_on_while_answers_are_missing(self) -> None:
        passages = ["same"] * 350 + [f"d{n}" for n in range(400)]
        library = Library(passages)
        missing = Query(id="q", text="x", judgements={"d398": 1})
        found = await ranking(asking(library), missing)
        assert [(r.first_rank, r.first_rank - 1 + r.k) for r in library.asked] == list(PAGES)
        assert found == ["same", *(f"d{n}" for n in range(400))]

    async def test_pages_end_with_enough_documents(self) -> None:
        library = Library(["a", "a", *(f"d{n}" for n in range(900))])
        await ranking(asking(library), Query(id="q", text="x", judgements={"d800": 1}))
        assert len(library.asked) == 2

    async def test_pages_end_with_the_last_answer(self) -> None:
        library = Library(["a"] * 500)
        await ranking(asking(library), Query(id="q", text="x", judgements={"a": 1, "b": 0}))
        assert len(library.asked) == 1

    async def test_pages_end_with_the_hits(self) -> None:
        library = Library(["a"] * 20)
        await ranking(asking(library), Query(id="q", text="x", judgements={"b": 1}))
        assert len(library.asked) == 1

    @pytest.mark.parametrize("kind", ["not_semantic", "not_keyword", "not_reranked"])
    async def test_what_was_answered_in_another_way_is_not_measured(self, kind: Any) -> None:
        library = Library(["a"], [Notice(kind=kind, reason="the model is down")])
        query = Query(id="q7", text="x", judgements={"a": 1})
        with pytest.raises(DegradedSearchError, match=r"q7 .*the model is down"):
            await ask_all(asking(library), [query], lambda: None)

    async def test_every_query_is_asked_once(self) -> None:
        library = Library(["a"])
        queries = [Query(id=str(n), text=f"x{n}", judgements={"a": 1}) for n in range(30)]
        counted: list[None] = []
        found = await ask_all(asking(library), queries, lambda: counted.append(None))
        assert sorted(found, key=int) == [str(n) for n in range(30)]
        assert len(counted) == 30 == len(library.asked)


class Watching:
    """Shows nothing, and fails where it is told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.seen: list[str] = []

    @contextmanager
    def indexing(self, path: Path, documents: int) -> Iterator[Progress]:
        self.seen.append(f"indexing {documents} {path.suffix}")
        yield Silent()

    @contextmanager
    def asking(self, label: str, queries: int) -> Iterator[Callable[[], None]]:
        self.seen.append(f"asking {queries} {label}")
        if self.error is not None:
            raise self.error
        yield lambda: None


async def evaluated(
    services: Services,
    golden: GoldenSet,
    *comparisons: str,
    watching: Watching | None = None,
    **more: Any,
) -> Evaluation:
    variants = read_variants(services.settings, {}, comparisons)
    request = EvaluationRequest(golden=golden, variants=variants, **more)
    return await evaluate(services, request, watching or Watching())


async def left(services: Services) -> Mapping[str, int]:
    """Count what evaluations may leave behind."""
    async with reading(services.engine) as connection:
        counts = {
            "collections": len(await collections.summaries(connection)),
            "indexes": await connection.scalar(
                text("SELECT count(*) FROM pg_tables WHERE schemaname = 'vectors'")
            ),
        }
    files = [path for path in services.settings.data_dir.rglob("*.jsonl") if path.is_file()]
    return {**counts, "files": len(files)}


NOTHING = {"collections": 0, "indexes": 0, "files": 0}


class TestWhole:
    async def test_scores_of_a_tiny_set(self, services: Services, folder: Folder) -> None:
        watching = Watching()
        found = await evaluated(
            services, read_golden_set(folder.path), "mode=keyword", watching=watching
        )
        assert watching.seen == [
            "indexing 5 .jsonl",
            "asking 3 mode=hybrid",
            "asking 3 mode=keyword",
        ]
        hybrid, keyword = found.measured
        # Words alone find tea and coffee first; the Japanese document of q1 shares none.
        assert keyword.scores[1].tolist() == [1, 1, 1]
        assert keyword.scores[0][2] == 1
        # The empty document can never be found.
        assert keyword.scores[2][1] == hybrid.scores[2][1] == 0.5
        assert hybrid.scores[0][1] == 1
        assert hybrid.model == "hashing/hashing:64"
        assert await left(services) == NOTHING

    async def test_passages_of_one_document_count_once(
        self, services: Services, folder: Folder
    ) -> None:
        long = " ".join(f"Green tea leaves are steamed, part {n} of many." for n in range(400))
        folder.add("corpus.jsonl", json.dumps({"_id": "long", "text": long}))
        folder.add("qrels.tsv", "q2\tlong\t1")
        found = await evaluated(services, read_golden_set(folder.path), keep="long")
        async with reading(services.engine) as connection:
            (summary,) = await collections.summaries(connection)
        assert (summary.name, summary.documents) == ("long", 6)
        assert summary.chunks > 10
        assert found.measured[0].scores[1][1] == 1

    async def test_kept_collection_is_used_again(self, services: Services, folder: Folder) -> None:
        golden = read_golden_set(folder.path)
        first = await evaluated(services, golden, keep="mine")
        async with reading(services.engine) as connection:
            before = await connection.scalar(text("SELECT count(*) FROM vector_records"))
        again = await evaluated(services, golden, keep="mine")
        async with reading(services.engine) as connection:
            after = await connection.scalar(text("SELECT count(*) FROM vector_records"))
        assert before == after == 5
        np.testing.assert_array_equal(first.measured[0].scores, again.measured[0].scores)
        assert as_json(again)["results"][0]["collection"] == "mine"

    async def test_nothing_of_the_user_is_touched(
        self, services: Services, folder: Folder, tmp_path: Path
    ) -> None:
        from ingest.pipeline import IngestRequest, ingest

        (tmp_path / "mine.md").write_text("My own notes.", encoding="utf-8")
        await ingest(services, IngestRequest(arguments=[str(tmp_path / "mine.md")]))
        golden = read_golden_set(folder.path)
        with pytest.raises(InvalidInputError, match="holds other things"):
            await evaluated(services, golden, keep="default")
        await evaluated(services, golden, keep="mine")
        other = read_variants(services.settings, {"chunk_tokens": "64"}, [])
        request = EvaluationRequest(golden=golden, variants=other, keep="mine")
        with pytest.raises(InvalidInputError, match="indexed in another way"):
            await evaluate(services, request, Watching())
        async with reading(services.engine) as connection:
            held = await collections.summaries(connection)
        found = {each.name: each.documents for each in held}
        assert found == {"default": 1, "mine": 5}

    async def test_ways_of_indexing_get_collections_of_their_own(
        self, services: Services, folder: Folder
    ) -> None:
        golden = read_golden_set(folder.path)
        watching = Watching()
        found = await evaluated(
            services,
            golden,
            "embedder=hashing:32",
            "exact=true",
            "embedder=hashing:32 mode=semantic",
            watching=watching,
            keep="k",
        )
        assert [each.collection for each in found.measured] == ["k", "k-2", "k", "k-2"]
        assert sum(line.startswith("indexing") for line in watching.seen) == 2
        assert [each.model for each in found.measured[:2]] == [
            "hashing/hashing:64",
            "hashing/hashing:32",
        ]
        np.testing.assert_array_equal(found.measured[0].scores, found.measured[2].scores)

    @pytest.mark.parametrize("error", [asyncio.CancelledError(), RuntimeError("a fault")])
    async def test_cut_short_it_leaves_nothing(
        self, error: BaseException, services: Services, folder: Folder
    ) -> None:
        golden = read_golden_set(folder.path)
        with pytest.raises(type(error)):
            await evaluated(services, golden, watching=Watching(error))
        assert await left(services) == NOTHING

    async def test_document_that_cannot_be_read(self, services: Services, folder: Folder) -> None:
        folder.add("corpus.jsonl", json.dumps({"_id": "x" * 501, "text": "long name"}))
        with pytest.raises(InvalidInputError, match=r"1 documents cannot be read.*its key has 501"):
            await evaluated(services, read_golden_set(folder.path))
        assert await left(services) == NOTHING

    async def test_filter_and_limit(self, services: Services, folder: Folder) -> None:
        golden = read_golden_set(folder.path)
        found = await evaluated(services, golden, filters=["meta.n>=2"])
        # Green tea is document 0, and only the Japanese one is left of two.
        assert found.measured[0].scores[0][1] == 0.5
        assert found.measured[0].scores[1].tolist() == [0, 0, 0]
        assert len((await evaluated(services, golden, limit=2)).queries) == 2
        with pytest.raises(InvalidInputError, match="FIELD=VALUE"):
            await evaluated(services, golden, filters=["("])

    async def test_report(self, services: Services, folder: Folder) -> None:
        found = await evaluated(services, read_golden_set(folder.path), "mode=keyword", k=5)
        report = as_json(found)
        assert report["documents"] == {"indexed": 5, "empty": 1}
        assert report["queries"] == {"asked": 3, "unjudged": 1, "unanswerable": 1}
        assert report["results"][1]["settings"]["mode"] == "keyword"
        assert report["results"][0]["collection"] is None
        (comparison,) = report["comparisons"]
        assert (comparison["label"], comparison["against"]) == ("mode=keyword", "mode=hybrid")
        means = [result["metrics"]["nDCG@5"]["mean"] for result in report["results"]]
        assert comparison["metrics"]["nDCG@5"]["difference"] == pytest.approx(
            means[1] - means[0], abs=2e-6
        )
        assert json.loads(json.dumps(report)) == report
        turned = replace(found, measured=found.measured[::-1])
        assert turned.differences(found.measured[0])["nDCG@5"].difference == pytest.approx(
            -found.differences(found.measured[1])["nDCG@5"].difference
        )


class TestCommand:
    @pytest.fixture
    def environment(self, database_url: str, tmp_path: Path) -> dict[str, str]:
        return {
            **{
                name: value for name, value in os.environ.items() if not name.startswith("UNMOVED_")
            },
            "DATABASE_URL": database_url,
            "UNMOVED_DATA_DIR": str(tmp_path / "data"),
            "UNMOVED_EMBEDDER": "hashing:64",
            "NO_COLOR": "1",
        }

    def start(self, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "ingest", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def test_measures_and_leaves_nothing(
        self, environment: dict[str, str], folder: Folder, tmp_path: Path
    ) -> None:
        scores = tmp_path / "scores.csv"
        arguments = ["eval", str(folder.path), "--compare", "mode=keyword", "--csv", str(scores)]
        process = self.start(environment, *arguments)
        printed, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
        assert "set: 5 documents, 3 queries, hashing/hashing:64" in printed
        assert "mode=keyword" in printed
        assert "1 query without judgements left out" in told
        assert "1 document without text left out: empty" in told
        with scores.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["settings"], row["query_id"]) for row in rows] == [
            (label, name)
            for label in ("mode=hybrid", "mode=keyword")
            for name in ("q1", "q2", "q3")
        ]
        assert rows[4]["nDCG@10"] == "1.000000"
        status = self.start(environment, "status", "--json")
        assert "eval-" not in status.communicate(timeout=60)[0]

    def test_faults_are_told_line_by_line(
        self, environment: dict[str, str], folder: Folder
    ) -> None:
        folder.add("corpus.jsonl", "{")
        folder.add("qrels.tsv", "q9\train\t1")
        process = self.start(environment, "eval", str(folder.path))
        printed, told = process.communicate(timeout=60)
        assert (process.returncode, printed) == (2, "")
        assert [line.partition(": ")[0] for line in told.splitlines()] == ["error", "error"]

    def test_interrupt_leaves_nothing(self, environment: dict[str, str], folder: Folder) -> None:
        names = [f"n{number}" for number in range(5000)]
        folder.add("queries.jsonl", *(json.dumps({"_id": n, "text": f"tea {n}"}) for n in names))
        folder.add("qrels.tsv", *(f"{name}\ttea#1\t1" for name in names))
        process = self.start(environment, "eval", str(folder.path))
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("asking"):
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
        status = self.start(environment, "status", "--json")
        assert "eval-" not in status.communicate(timeout=60)[0]
        assert not list(Path(environment["UNMOVED_DATA_DIR"]).rglob("*.jsonl"))
