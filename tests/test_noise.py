"""Marks of hits within noise: what is not marked holds whatever the noise does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.embedders.hashing import HashingEmbedder
from search_app.fusion import DENSE_WEIGHT, Fused, Method, fuse
from search_app.likeness import Example
from search_app.noise import (
    WIDEST,
    Placing,
    distance,
    measured,
    movement,
    placing,
    widest_distance,
    within_noise,
)
from search_app.retrieval import RecommendRequest, SearchRequest
from search_app.types import Kind, Matrix, Mode, Scored, SearchResult
from tests.catalog_dump import connect

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Hit:
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def ident(number: int) -> UUID:
    return UUID(int=number)


def listed(scores: Rows, most: int) -> list[Scored]:
    """Give a store's list: best first, ties by id."""
    order = np.lexsort((np.arange(len(scores)), -scores))[:most]
    return [
        Scored(chunk_id=ident(number), run_id=ident(0), score=float(scores[number]))
        for number in order.tolist()
    ]


def semantic(score: float, rank: int = 1) -> Hit:
    return Hit(score, {"dense": score}, {"dense": rank})


SEMANTIC = Placing(
    lists=frozenset(["dense"]), dense=np.array([0.9, 0.1]), weight=0.4, method="minmax"
)


def moved(draw: np.random.Generator, query: Rows, noise: float, towards: Rows) -> Rows:
    """Move a query to another one at exactly that 1 - cos, in the worst direction there is."""
    across = towards - (towards @ query) * query
    if np.linalg.norm(across) < 1e-9:
        across = unit(draw.normal(size=query.shape))
        across -= (across @ query) * query
    cosine = 1 - noise
    return np.asarray(cosine * query + np.sqrt(1 - cosine**2) * unit(across))


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-8, 1e-5, 1e-3, 1e-2]),
    st.sampled_from(["semantic", "minmax", "rrf"]),
    st.sampled_from([5, 20, 60]),
    st.sampled_from(["vectors", "scores"]),
)
def test_what_is_not_marked_keeps_its_order(
    seed: int, noise: float, method: str, most: int, known: str
) -> None:
    draw = np.random.default_rng(seed)
    centre = unit(draw.normal(size=12))
    # Near each other, as the vectors of real models are; some documents twice.
    documents = unit(centre + 0.25 * draw.normal(size=(40, 12)))
    documents[5:8] = documents[0]
    query = unit(centre + 0.2 * draw.normal(size=12))
    words = np.round(draw.gamma(1.0, 3.0, 40) * (draw.random(40) < 0.5), 1)

    def ranked(vector: Rows) -> tuple[dict[str, list[Scored]], list[Fused]]:
        lists = {"dense": listed(documents @ vector, most)}
        if method != "semantic":
            lists["bm25"] = [each for each in listed(words, most) if each.score > 0]
        weights = {"dense": DENSE_WEIGHT, "bm25": 1 - DENSE_WEIGHT}
        if method == "semantic":
            return lists, [
                Fused(
                    chunk_id=each.chunk_id,
                    run_id=each.run_id,
                    score=each.score,
                    parts={"dense": each.score},
                    ranks={"dense": rank},
                )
                for rank, each in enumerate(lists["dense"], start=1)
            ]
        fusion: Method = "rrf" if method == "rrf" else "minmax"
        return lists, fuse(lists, weights=weights, method=fusion, depth=most)

    lists, hits = ranked(query)
    placed = placing(
        lists, weight=DENSE_WEIGHT, method="rrf" if method == "rrf" else "minmax", depth=most
    )
    safe = []
    for one, other in pairwise(hits):
        apart = None
        if known == "vectors":
            apart = distance(documents[one.chunk_id.int], documents[other.chunk_id.int])
        first, second = (Hit(each.score, each.parts, each.ranks) for each in (one, other))
        if within_noise(first, second, placed, noise, apart) is False:
            safe.append((one.chunk_id, other.chunk_id))
    for one_id, other_id in safe:
        worst = moved(draw, query, noise, documents[other_id.int] - documents[one_id.int])
        for again in (worst, moved(draw, query, noise, draw.normal(size=12))):
            places = {each.chunk_id: place for place, each in enumerate(ranked(again)[1])}
            # One that fell out of the lists altogether is behind everything.
            assert places.get(one_id, 99) <= places.get(other_id, 99)


def test_the_bound_is_reached() -> None:
    # Two documents 60 degrees apart, the query between them: noise along their difference swaps
    # them as soon as it may.
    first, second = (np.array([np.cos(angle), np.sin(angle)]) for angle in (-np.pi / 6, np.pi / 6))
    query = np.array([np.cos(-0.01), np.sin(-0.01)])
    gap = float(query @ first - query @ second)
    apart = distance(first, second)
    hits = semantic(float(query @ first)), semantic(float(query @ second), 2)
    assert apart == pytest.approx(1.0)
    assert widest_distance(*hits) == pytest.approx(apart)
    least = (gap / apart) ** 2 / 2
    assert within_noise(*hits, SEMANTIC, least * 1.001, apart) is True
    assert within_noise(*hits, SEMANTIC, least * 0.999, apart) is False
    # The swap itself needs 1 - cos of an angle of 0.02, which is the same but for rounding.
    assert least == pytest.approx(1 - np.cos(0.01), rel=0.01)


def test_without_noise_only_ties_are_marked() -> None:
    one, other = semantic(0.5), semantic(np.nextafter(0.5, 0), 2)
    assert within_noise(one, other, SEMANTIC, 0.0) is False
    assert within_noise(one, semantic(0.5, 2), SEMANTIC, 0.0) is True
    assert movement(0.0) == 0


def test_words_have_no_noise() -> None:
    words = Placing(lists=frozenset(["bm25"]), dense=np.empty(0), weight=0.4, method="minmax")
    near = Hit(3.0, {"bm25": 3.0}, {"bm25": 1}), Hit(2.9999999, {"bm25": 2.9999999}, {"bm25": 2})
    for noise in (0.0, 0.1, None):
        assert within_noise(*near, words, noise) is False
        assert within_noise(near[0], near[0], words, noise) is True


def test_what_was_not_measured_is_not_known() -> None:
    near = semantic(0.5), semantic(0.499999, 2)
    assert within_noise(*near, SEMANTIC, None) is None
    # A tie is one whatever the noise.
    assert within_noise(near[0], near[0], SEMANTIC, None) is True
    one, other = (Hit(score, {"dense": 0.5, "rerank": score}, {"dense": 1}) for score in (2.0, 1.0))
    assert within_noise(one, other, SEMANTIC, 0.01) is None
    assert within_noise(one, one, SEMANTIC, 0.0) is True
    assert within_noise(one, semantic(0.4, 2), SEMANTIC, 0.0) is None


def test_where_words_decide_hybrid_hits_are_not_marked() -> None:
    dense = np.linspace(0.9, 0.7, 100)
    both = Placing(lists=frozenset(["dense", "bm25"]), dense=dense, weight=0.4, method="minmax")
    one = Hit(1.0, {"dense": 0.9, "bm25": 20.0}, {"dense": 1, "bm25": 1})
    other = Hit(0.4, {"dense": 0.9, "bm25": 5.0}, {"dense": 2, "bm25": 70})
    assert within_noise(one, other, both, 1e-4) is False
    # The same words, and little between their meanings.
    third = Hit(0.998, {"dense": 0.899, "bm25": 20.0}, {"dense": 2, "bm25": 2})
    assert within_noise(one, third, both, 1e-5) is True
    assert within_noise(one, third, both, 1e-9) is False
    # The whole list lies within the noise.
    assert within_noise(one, third, both, 0.02) is True
    unweighted = Placing(lists=both.lists, dense=dense, weight=0.0, method="minmax")
    assert within_noise(one, third, unweighted, 0.02) is False


def test_hits_too_deep_for_a_score_are_judged_by_their_lists() -> None:
    both = Placing(
        lists=frozenset(["dense", "bm25"]),
        dense=np.linspace(0.9, 0.7, 100),
        weight=0.4,
        method="rrf",
    )

    def deep(name: str, score: float, rank: int) -> Hit:
        return Hit(0.0, {name: score}, {name: rank})

    assert within_noise(deep("dense", 0.6, 101), deep("dense", 0.5, 102), both, 1e-6) is False
    assert within_noise(deep("dense", 0.6, 101), deep("dense", 0.5999, 102), both, 1e-6) is True
    assert within_noise(deep("bm25", 2.0, 101), deep("bm25", 1.9999, 102), both, 0.01) is False
    assert within_noise(deep("bm25", 2.0, 101), deep("bm25", 2.0, 102), both, 0.0) is True
    assert within_noise(deep("bm25", 2.0, 101), deep("dense", 0.6, 102), both, 0.01) is None
    assert within_noise(deep("bm25", 2.0, 101), deep("dense", 0.6, 102), both, 0.0) is False


def test_the_larger_of_what_was_measured_counts() -> None:
    assert measured(1e-4, None) == 1e-4
    assert measured(0.0, 3e-3) == 3e-3
    assert measured(1e-2, 3e-3) == 1e-2
    assert measured(float("nan"), None) is None


class Noisy(HashingEmbedder):
    """Answers a text a little differently at every send."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        vectors = await super().embed(texts, kind)
        return np.asarray(vectors + 0.001 * self.draw.normal(size=vectors.shape), np.float32)

    draw = np.random.default_rng(4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "texts"
    made.mkdir()
    for name, text in {
        "ferry": "The ferry timetable: boats leave at nine and at noon.",
        "soup": "Onion soup wants butter and a heavy pan.",
        "bread": "Bread rises slowly in the cold.",
        "boats": "Boats and ships carry people over water.",
        "copy": "Boats and ships carry people over water.",
    }.items():
        (made / f"{name}.txt").write_text(text)
    return made


async def ask(services: Services, mode: Mode, **options: Any) -> SearchResult:
    request = SearchRequest(query="ships that carry people", mode=mode, **options)
    return await services.searcher.search(request)


def marks(result: SearchResult) -> list[bool | None]:
    return [hit.within_noise_of_next for hit in result.hits]


@pytest.mark.parametrize("mode", ["semantic", "hybrid", "keyword"])
async def test_a_model_that_repeats_itself_has_ties_alone(
    services: Services, folder: Path, mode: Mode
) -> None:
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    result = await ask(services, mode)
    ties = [one.score == other.score for one, other in pairwise(result.hits)]
    # The copy, at least, and nothing behind the last hit.
    assert ties[0] is True
    assert marks(result) == [*ties, False]
    assert result.noise == (None if mode == "keyword" else 0.0)


async def test_hits_of_a_noisy_model_are_marked_and_stay_where_they_are(
    services: Services, folder: Path
) -> None:
    services._embedders["hashing:64"] = Noisy(64)
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    result = await ask(services, "semantic")
    assert result.noise is not None
    assert result.noise > 1e-6
    assert [hit.score for hit in result.hits] == sorted(
        (hit.score for hit in result.hits), reverse=True
    )
    gaps = [one.score - other.score for one, other in pairwise(result.hits)]
    shown = marks(result)
    assert True in shown
    assert False in shown[:-1]
    move = movement(result.noise)
    for gap, mark in zip(gaps, shown, strict=False):
        assert mark is not (gap > WIDEST * move)
    # A page of the list has the marks of the whole.
    assert marks(await ask(services, "semantic", k=2, first_rank=2)) == shown[1:3]
    assert marks(await ask(services, "keyword")) == [True, False]


async def test_noise_that_a_check_measured_counts(services: Services, folder: Path) -> None:
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    before = await ask(services, "semantic")
    assert marks(before).count(True) == 1
    with connect(services.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # the fixture sets it
        for age, noise in ((3, 0.5), (2, 3e-3), (1, None)):
            connection.execute(
                "INSERT INTO checks (id, collection_id, index_id, verdict, sampled, changed,"
                " repeated, unsteady, noise_median, noise_max, drift, reproducibility, report,"
                " created_at) SELECT gen_random_uuid(), collection_id, id, 'stable', 0, 0, 0, 0,"
                " NULL, %s, '{}', '{}', '{}', now() - make_interval(hours => %s) FROM indexes",
                (noise, age),
            )
    after = await ask(services, "semantic")
    # The latest that measured any.
    assert after.noise == 3e-3
    assert marks(after).count(True) > 1
    assert [hit.chunk_id for hit in after.hits] == [hit.chunk_id for hit in before.hits]


async def test_what_is_like_a_passage_is_asked_with_stored_vectors(
    services: Services, folder: Path
) -> None:
    services._embedders["hashing:64"] = Noisy(64)
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    chunk_id = (await ask(services, "semantic")).hits[0].chunk_id
    like = [Example(kind="passage", id=chunk_id)]
    found = (await services.searcher.recommend(RecommendRequest(like=like, mode="semantic"))).result
    assert marks(found) == [False] * len(found.hits)
    assert found.noise is None
