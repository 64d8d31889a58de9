"""Searching by meaning, by words and by both: what is found, what is said, what is counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.duplicates import near_duplicates
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import (
    EmbedderUnavailableError,
    InvalidInputError,
    RerankerUnavailableError,
)
from search_app.lexical import analyse
from search_app.ranking import Ranking
from search_app.rerankers.base import Reranker
from search_app.retrieval import SearchRequest
from search_app.types import Kind, Matrix, Mode, SearchResult, Vector
from tests.catalog_dump import connect

TEXTS = {
    "ferry": "The ferry to the island leaves at nine. Order PPR-9087 has the timetable.",
    "boat": "Boats and ships carry people over water; a captain steers them.",
    "soup": "Onion soup wants butter, patience and a heavy pan.",
    "bread": "Bread rises slowly in the cold. Call get_user_name for the baker.",
    "library": "図書館は毎週月曜日に休館します。返却は入口の箱をご利用ください。",
    "museum": "博物館は火曜日に休みます。入館料は五百円です。",
}


@pytest.fixture
async def filled(services: Services, tmp_path: Path) -> Services:
    """Give services with one short document a text."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    await add(services, folder)
    return services


async def add(services: Services, path: Path, *, prune: bool = False) -> None:
    await ingest(services, IngestRequest(arguments=[str(path)], prune=prune))


async def ask(
    services: Services, query: str, mode: Mode = "keyword", **options: object
) -> SearchResult:
    request = SearchRequest(query=query, mode=mode)
    return await services.searcher.search(replace(request, **options))  # type: ignore[arg-type] # fields of the request


def names(result: SearchResult) -> list[str]:
    return [Path(hit.document.uri).stem for hit in result.hits]


def kinds(result: SearchResult) -> list[str]:
    return [notice.kind for notice in result.notices]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("ferries", ["ferry"]),
        ("PPR-9087", ["ferry"]),
        ("9087", ["ferry"]),
        ("user", ["bread"]),
        ("ＯＮＩＯＮ", ["soup"]),
        ("館", ["museum", "library"]),
        ("月曜日", ["library", "museum"]),
        ("入館料", ["museum", "library"]),
        ("nothing like that", []),
    ],
)
async def test_words_find_what_has_them(filled: Services, query: str, found: Sequence[str]) -> None:
    result = await ask(filled, query)
    assert names(result)[:1] == list(found)[:1]
    assert set(names(result)) == set(found)
    for place, hit in enumerate(result.hits, start=1):
        assert hit.score == hit.scores["bm25"] > 0
        assert hit.ranks == {"bm25": place}


async def test_both_lists_are_told_apart(filled: Services) -> None:
    result = await ask(filled, "ferry timetable", "hybrid")
    best = result.hits[0]
    assert names(result)[0] == "ferry"
    assert best.ranks["bm25"] == 1
    assert set(best.scores) == {"dense", "bm25", "fused"}
    assert best.score == best.scores["fused"]
    assert len(result.hits) == len(TEXTS)
    semantic = await ask(filled, "ferry timetable", "semantic")
    assert {hit.chunk_id: hit.scores["dense"] for hit in semantic.hits} == {
        hit.chunk_id: hit.scores["dense"] for hit in result.hits
    }


async def test_the_weight_of_meaning_can_be_chosen(filled: Services) -> None:
    semantic = await ask(filled, "captain of bread", "semantic")
    keyword = await ask(filled, "captain of bread")
    assert names(await ask(filled, "captain of bread", "hybrid", dense_weight=1.0)) == names(
        semantic
    )
    only = await ask(filled, "captain of bread", "hybrid", dense_weight=0.0)
    # What the last word-hit has is worth no more than having none.
    assert names(only)[0] == names(keyword)[0]
    with pytest.raises(InvalidInputError, match="from 0 to 1"):
        await ask(filled, "captain", "hybrid", dense_weight=1.5)


async def test_ranks_instead_of_scores(filled: Services) -> None:
    result = await ask(filled, "ferry", "hybrid", fusion="rrf")
    assert names(result)[0] == "ferry"
    assert result.hits[0].score == pytest.approx(
        0.6 / 61 + 0.4 / (60 + result.hits[0].ranks["dense"])
    )


@pytest.mark.parametrize("mode", ["keyword", "hybrid", "semantic"])
async def test_phrases_and_exclusions_hold_in_every_mode(filled: Services, mode: Mode) -> None:
    assert names(await ask(filled, '"onion soup"', mode)) == ["soup"]
    assert names(await ask(filled, '"soup onion"', mode)) == []
    assert "museum" not in names(await ask(filled, "休館 -博物館", mode))
    assert "library" in names(await ask(filled, "休館 -博物館", mode))
    assert "ferry" not in names(await ask(filled, "ship -ferry", mode))


@pytest.mark.parametrize("query", ["the of and", "!?!", "😀", "…", "\u202eabc\u202c の"])
async def test_queries_without_words(filled: Services, query: str) -> None:
    keyword = await ask(filled, query)
    hybrid = await ask(filled, query, "hybrid")
    if not analyse(query).counts:
        assert keyword.hits == []
        assert kinds(keyword) == kinds(hybrid) == ["no_words"]
    assert len(hybrid.hits) == len(TEXTS)


async def test_unknown_words_are_named(filled: Services) -> None:
    result = await ask(filled, "Fery timetables")
    assert result.unknown_words == ["fery"]
    assert names(result) == ["ferry"]


async def test_pages_go_on_where_the_last_one_ended(filled: Services) -> None:
    whole = names(await ask(filled, "ship bread soup 館", "hybrid"))
    first = await ask(filled, "ship bread soup 館", "hybrid", k=2)
    second = await ask(filled, "ship bread soup 館", "hybrid", k=2, first_rank=3)
    assert names(first) + names(second) == whole[:4]
    assert [hit.rank for hit in second.hits] == [3, 4]
    assert first.more
    assert not (await ask(filled, "ship", "hybrid", k=6)).more


class Silent(HashingEmbedder):
    """Knows no answer."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:  # noqa: ARG002 - the port's
        raise EmbedderUnavailableError("no answer from the embedder")


class Fading(HashingEmbedder):
    """Proves itself, then answers no query any more."""

    asked = 0

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        if len(texts) == 1 and kind == "query":
            self.asked += 1
            raise EmbedderUnavailableError("no answer from the embedder")
        return await super().embed(texts, kind)


async def test_an_embedder_that_fails_is_not_waited_for_by_every_search(filled: Services) -> None:
    filled._embedders["hashing:64"] = fading = Fading("64")
    filled.searcher._prover._rests_s = 600
    for word in ("onion", "ferry", "bread"):
        assert kinds(await ask(filled, f"{word} never asked", "hybrid")) == ["not_semantic"]
    assert fading.asked == 1


async def test_without_an_embedder_words_still_find(filled: Services) -> None:
    filled._embedders["hashing:64"] = Silent("64")
    result = await ask(filled, "onion never asked", "hybrid")
    assert names(result) == ["soup"]
    assert kinds(result) == ["not_semantic"]
    assert "no answer" in result.notices[0].reason
    with pytest.raises(EmbedderUnavailableError):
        await ask(filled, "onion never asked", "semantic")
    assert names(await ask(filled, "onion never asked")) == ["soup"]


class Backwards(Reranker):
    """Likes the longest text least."""

    spec = "backwards"

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.seen = 0

    async def rerank(self, query: str, texts: Sequence[str]) -> Vector:  # noqa: ARG002 - the port's
        if self.fails:
            raise RerankerUnavailableError("no answer from the reranker")
        self.seen = len(texts)
        return np.array([-len(text) for text in texts], np.float32)


async def test_a_reranker_orders_the_first_hits(filled: Services) -> None:
    reranker = Backwards()
    filled.searcher._reranker = lambda: reranker
    filled.searcher._ranking = Ranking(rerank_depth=3)
    plain = await ask(filled, "ferry soup", "hybrid", rerank=False)
    result = await ask(filled, "ferry soup", "hybrid")
    assert reranker.seen == 3
    assert set(names(result)[:3]) == set(names(plain)[:3])
    assert names(result)[3:] == names(plain)[3:]
    scores = [hit.scores["rerank"] for hit in result.hits[:3]]
    assert scores == sorted(scores, reverse=True)
    assert "rerank" not in result.hits[3].scores


async def test_a_reranker_that_fails_costs_the_order_only(filled: Services) -> None:
    filled.searcher._reranker = lambda: Backwards(fails=True)
    result = await ask(filled, "ferry soup", "hybrid")
    assert names(result) == names(await ask(filled, "ferry soup", "hybrid", rerank=False))
    assert kinds(result) == ["not_reranked"]


async def test_what_says_nearly_the_same_is_folded(filled: Services, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    for number in range(3):
        text = f"{TEXTS['soup']} It feeds four people who are hungry. No {number}."
        (copies / f"copy{number}.txt").write_text(text, encoding="utf-8")
    await add(filled, copies)
    plain = await ask(filled, "onion soup hungry")
    folded = await ask(filled, "onion soup hungry", fold=True)
    assert len(plain.hits) == 4
    best = folded.hits[0]
    assert set(best.similar) == {
        hit.chunk_id
        for hit in plain.hits
        if hit.document.title.startswith("copy") and hit.chunk_id != best.chunk_id
    }
    assert [hit.rank for hit in folded.hits] == list(range(1, len(folded.hits) + 1))


def test_texts_that_say_nearly_the_same() -> None:
    long = "図書館は毎週月曜日に休館します。返却は入口の箱をご利用ください。年末年始は休みです。"
    texts = [long, "something else", long.replace("。", "."), f" {long}!", "", "", "something new"]
    assert near_duplicates(texts) == [0, 1, 0, 0, 4, 4, 6]


async def recount(services: Services) -> tuple[dict[int, int], int]:
    """Count terms anew, from the texts that are in."""
    assert services.settings.database_url is not None
    with connect(services.settings.database_url.get_secret_value()) as connection:
        rows = connection.execute("SELECT context, text FROM chunks").fetchall()
    texts = [f"{row['context']}\n\n{row['text'].strip()}" for row in rows]
    counts = Counter(term for text in texts for term in analyse(text).counts)
    return dict(counts), len(texts)


async def counted(services: Services) -> tuple[dict[int, int], int]:
    assert services.settings.database_url is not None
    with connect(services.settings.database_url.get_secret_value()) as connection:
        rows = connection.execute("SELECT term_id, passages FROM term_frequencies").fetchall()
        lexicon = connection.execute("SELECT passages FROM lexicons").fetchone()
    assert lexicon is not None
    return {row["term_id"]: row["passages"] for row in rows}, lexicon["passages"]


async def test_counts_follow_every_change(filled: Services, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    assert await counted(filled) == await recount(filled)
    (folder / "soup.txt").write_text("Soup, and nothing but soup.", encoding="utf-8")
    (folder / "new.txt").write_text("Onions again: PPR-9087.", encoding="utf-8")
    await add(filled, folder)
    assert await counted(filled) == await recount(filled)
    (folder / "ferry.txt").unlink()
    await add(filled, folder, prune=True)
    assert await counted(filled) == await recount(filled)
    assert names(await ask(filled, "ferry")) == []


async def test_an_index_from_before_gets_its_terms_with_the_next_run(
    filled: Services, tmp_path: Path
) -> None:
    assert filled.settings.database_url is not None
    with connect(filled.settings.database_url.get_secret_value()) as connection:
        connection.execute("DELETE FROM lexicons")
        (table,) = [
            row["name"]
            for row in connection.execute(
                "SELECT table_name AS name FROM information_schema.tables "
                "WHERE table_schema = 'vectors' AND table_name LIKE '%_terms'"
            )
        ]
        connection.execute(f"DROP TABLE vectors.{table}")
    filled.store("pgvector")._layouts.clear()  # type: ignore[attr-defined] # of another process, as it were
    with pytest.raises(InvalidInputError, match="ingest add"):
        await ask(filled, "ferry")
    hybrid = await ask(filled, "ferry", "hybrid")
    assert kinds(hybrid) == ["not_keyword"]
    assert len(hybrid.hits) == len(TEXTS)
    await add(filled, tmp_path / "texts" / "soup.txt")
    assert names(await ask(filled, "ferry")) == ["ferry"]
    assert kinds(await ask(filled, "ferry", "hybrid")) == []
    assert await counted(filled) == await recount(filled)
