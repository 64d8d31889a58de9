"""Search: query → vector and terms → two lists from the active index → hits with provenance."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import pairwise
from typing import TypedDict, get_args
from uuid import UUID, uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app import declared
from search_app.bm25 import query_terms
from search_app.catalog import lexicons, models, queries, query_cache
from search_app.catalog.engine import reading, transaction
from search_app.catalog.overview import collection_names
from search_app.catalog.queries import LoggedSearch
from search_app.catalog.serving import Serving, serving
from search_app.embedders.base import Embedder
from search_app.embedders.batching import normalise
from search_app.errors import (
    EmbedderError,
    EmbedderResponseError,
    EmbedderUnavailableError,
    InvalidInputError,
    ModelMismatchError,
    NotFoundError,
    RerankerError,
    StoreRefusedError,
    UnmovedError,
)
from search_app.filters import Filter, without
from search_app.fusion import DEPTH, Fused, Method
from search_app.grammar import parse_filter
from search_app.identity import Prover
from search_app.lexical import analyse
from search_app.likeness import (
    Example,
    Reason,
    Seeds,
    check_examples,
    direction,
    example_vectors,
    find_seeds,
    reasons_of,
    strongest_terms,
)
from search_app.mmr import POOL, mmr_order
from search_app.noise import Placing, distance, measured, placing, within_noise
from search_app.question import Question, read_question
from search_app.ranking import BM25, DENSE, LISTS, Found, Ranking, live_hits, merged, reranked
from search_app.rerankers.base import Reranker
from search_app.spelling import Speller
from search_app.stages import as_stage
from search_app.stores.base import MAX_K, VectorStore
from search_app.types import (
    Hit,
    Index,
    Mode,
    Notice,
    QueryKind,
    Scored,
    SearchResult,
    TermQuery,
    Vector,
)

LONGEST_QUERY = 2000
"""Most characters of a query; longer texts are documents, not questions."""

_THE_SAME = 1e-6
"""Cosines that differ by less are those of the same vectors."""

MOST_WITH_VECTORS = 50
"""Hits that a store gives the vectors with; of more, most are never shown."""

MOST_DOUBTFUL = 100
"""Hits in doubt whose vectors are loaded; of more, the bound that needs none is taken."""

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """A search as a user asks for it; ``filters`` in the grammar of filters.py.

    ``first_rank`` pages: hits ``first_rank`` to ``first_rank + k - 1`` are wanted. What is None is
    as the settings say; ``rerank`` takes effect where they name a reranker. ``fold`` shows
    passages that say nearly the same as one hit. ``mmr`` is λ of maximal marginal relevance (see
    mmr.py): the lower it is, the more a hit differs from those before it. ``kind`` code asks for
    source code, of which some models are told. What is not ``logged``
    nobody asked: looking into why something is not found, or comparing two indexes. ``index`` has
    another index than the active one answer, named by its id or the beginning of it.
    """

    query: str
    collection: str = "default"
    index: str | None = None
    k: int = 10
    first_rank: int = 1
    filters: Sequence[str] = ()
    mode: Mode | None = None
    dense_weight: float | None = None
    fusion: Method | None = None
    rerank: bool = True
    exact: bool = False
    fold: bool = False
    mmr: float | None = None
    kind: QueryKind = "query"
    client: str = "api"
    logged: bool = True


@dataclass(frozen=True, kw_only=True)
class RecommendRequest:
    """What passages are to be like, and unlike; the rest is as in a search.

    ``collection`` None: that of the examples; where they are texts alone, ``otherwise``. Of one
    document, ``per_document`` passages are found at most. What serves as an example is no answer,
    and with ``other_documents`` nothing else of its document is.
    """

    like: Sequence[Example]
    unlike: Sequence[Example] = ()
    collection: str | None = None
    otherwise: str = "default"
    index: str | None = None
    k: int = 10
    filters: Sequence[str] = ()
    mode: Mode | None = None
    exact: bool = False
    mmr: float | None = None
    per_document: int | None = None
    other_documents: bool = False


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What was found, and the examples it was found by.

    ``reasons`` say of each passage which example is nearest; of a passage without a vector,
    nothing.
    """

    result: SearchResult
    seeds: Seeds
    reasons: Mapping[UUID, Reason]


@dataclass(frozen=True, kw_only=True)
class NearestRequest:
    """A unit vector that was worked out, and the index that it is nearest in, by meaning alone."""

    target: Serving
    vector: Vector
    k: int = 10
    filter: Filter | None = None
    exact: bool = False
    mmr: float | None = None
    per_document: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Search:
    """A request that was checked and read; passages of ``without`` are no answer.

    Of one document, ``per_document`` passages are found at most. ``vectors``, where there is one,
    takes in those of what is found: a store gives them with what it finds by meaning, and those of
    the rest are fetched while texts are loaded.
    """

    request: SearchRequest
    question: Question
    filter: Filter | None
    ranking: Ranking
    without: frozenset[UUID] = frozenset()
    per_document: int | None = None
    vectors: dict[UUID, Vector] | None = None


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """What the lists are asked with; None for a list that cannot be.

    ``noise`` is the largest 1 - cos by which the vector may differ at another send, None where
    nobody has measured that.
    """

    vector: Vector | None
    terms: TermQuery | None
    unknown_words: Sequence[str]
    notices: list[Notice]
    noise: float | None


class _Options(TypedDict):
    k: int
    filter: Filter | None
    exact: bool


class Searcher:
    """Answers searches from the active index of one collection at a time."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        store: Callable[[str], VectorStore],
        embedder: Callable[[str], Embedder],
        prover: Prover,
        ranking: Ranking | None = None,
        reranker: Callable[[], Reranker | None] = lambda: None,
        keep_texts: bool = True,
    ) -> None:
        """Take what resolves the names of stores and embedders; nothing is opened yet."""
        self._engine = engine
        self._store = store
        self._embedder = embedder
        self._prover = prover
        self._ranking = ranking or Ranking()
        self._reranker = reranker
        self._keep_texts = keep_texts
        self._speller = Speller(engine)
        self.kept_vectors = 0
        self.new_vectors = 0

    async def search(self, request: SearchRequest) -> SearchResult:
        """Find the best chunks by meaning, by words or by both, and log the search.

        Raises:
            InvalidInputError: the request cannot be meant; says what to write instead.
            NotFoundError: no such collection or index, or nothing was ever ingested into it.
            EmbedderError: in semantic mode, the query cannot be embedded, or not by the model of
                the index; hybrid search goes on by keyword and says so.
            StoreError: the store does not answer.
            CatalogError: the catalog does not answer.
        """
        started = time.perf_counter()
        query = check_request(request)
        question = read_question(query)
        search = _Search(
            request=request,
            question=question,
            filter=parse_filter(request.filters),
            ranking=_ranking(self._ranking, request),
        )
        target = await as_stage("index", self._target(request, question))
        try:
            prepared = await self._prepare(search, target)
            found, more = await self._find(search, target, prepared)
        except StoreRefusedError:
            # The index may have been left and retired since: then all is asked of its successor.
            left, target = target, await self._target(request, question)
            if target.index.id == left.index.id:
                raise
            prepared = await self._prepare(search, target)
            found, more = await self._find(search, target, prepared)
        suggestion = await as_stage(
            "spell", self._speller.suggestion(query, prepared.unknown_words, target)
        )
        result = SearchResult(
            search_id=uuid4(),
            query=query,
            mode=search.ranking.mode,
            notices=prepared.notices,
            unknown_words=prepared.unknown_words,
            suggestion=suggestion,
            collection=target.collection.name,
            hits=_hits(search, target, found),
            index_id=target.index.id,
            model_version_id=target.version.id,
            model=target.version.name,
            exact=request.exact,
            more=more,
            took_ms=(time.perf_counter() - started) * 1000,
            searched_at=datetime.now(UTC),
            noise=None if prepared.vector is None else prepared.noise,
            kind=request.kind,
        )
        if request.logged:
            await as_stage("log", self._log(request, target, result, prepared.vector))
        return result

    async def recommend(self, request: RecommendRequest) -> Recommendation:
        """Find passages like examples and unlike others, in their collection; it is not logged.

        By meaning, that is to say nearest to the direction that likeness.py makes of their
        vectors; by words, to their strongest terms; by both, as a search fuses them.

        Raises:
            InvalidInputError: the request cannot be meant; says what to write instead.
            NotFoundError: no such passage or document, or it has no vector yet.
            EmbedderError: a text among the examples cannot be embedded.
            StoreError: the store does not answer.
            CatalogError: the catalog does not answer.
        """
        started = time.perf_counter()
        like, unlike = (_in_order(side) for side in (request.like, request.unlike))
        check_examples(like, unlike)
        asked = SearchRequest(
            query="",
            k=request.k,
            mode=request.mode,
            rerank=False,
            exact=request.exact,
            mmr=request.mmr,
        )
        _check_numbers(asked, request.per_document)
        given = parse_filter(request.filters)
        finding = find_seeds(
            self._engine,
            like,
            unlike,
            collection=request.collection,
            index=request.index,
            otherwise=request.otherwise,
            other_documents=request.other_documents,
        )
        seeds = await as_stage("index", finding)
        # Many would fill the lists, so the store leaves them out; a few are passed over here.
        many = len(seeds.own) >= DEPTH
        search = _Search(
            request=asked,
            question=Question(""),
            filter=without(given, seeds.own) if many else given,
            ranking=_ranking(self._ranking, asked),
            without=frozenset() if many else seeds.own,
            per_document=request.per_document,
            vectors={} if len(seeds.like) + len(seeds.unlike) > 1 else None,
        )
        prepared, vectors = await self._prepare_like(search, seeds)
        found, more = await self._find(search, seeds.target, prepared)
        result = _unlogged(search, seeds.target, prepared, found, more=more, started=started)
        return Recommendation(
            result=_alike_noted(result),
            seeds=seeds,
            reasons=await self._reasons(search, seeds, vectors, result.hits),
        )

    async def nearest(self, request: NearestRequest) -> SearchResult:
        """Find the passages nearest to a vector; it is not logged.

        Raises:
            InvalidInputError: a number cannot be meant.
            StoreError: the store does not answer.
            CatalogError: the catalog does not answer.
        """
        started = time.perf_counter()
        asked = SearchRequest(
            query="",
            k=request.k,
            mode="semantic",
            rerank=False,
            exact=request.exact,
            mmr=request.mmr,
        )
        _check_numbers(asked, request.per_document)
        search = _Search(
            request=asked,
            question=Question(""),
            filter=request.filter,
            ranking=_ranking(self._ranking, asked),
            per_document=request.per_document,
        )
        prepared = _Prepared(
            vector=request.vector, terms=None, unknown_words=(), notices=[], noise=0.0
        )
        found, more = await self._find(search, request.target, prepared)
        return _alike_noted(
            _unlogged(search, request.target, prepared, found, more=more, started=started)
        )

    async def documents_with_words(
        self, query: str, collection: str, *, index: str | None = None
    ) -> set[UUID] | None:
        """Name the documents that keyword search could find; None where it cannot search yet.

        They have any word of the query that is not in every text; phrases and exclusions are not
        looked into.

        Raises:
            InvalidInputError: the query cannot be meant.
            NotFoundError: no such collection, or nothing was ever ingested into it.
            StoreError: the store does not answer.
            CatalogError: the catalog does not answer.
        """
        question = read_question(_checked_query(query))
        async with reading(self._engine) as connection:
            key = query_cache.key_of(question.text)
            target = await serving(connection, collection, key, index=index)
            lexicon = target.lexicon
            if lexicon is None or not lexicon.complete:
                return None
            counts = analyse(question.text, lexicon.weighting.analyzer).counts
            known = await lexicons.frequencies(connection, target.index.id, counts)
        return await self._store(target.index.store).documents_with(
            target.index.id, list(known), filter=without(None, target.hidden)
        )

    async def asked_with(self, request: SearchRequest) -> tuple[Serving, Vector]:
        """Give what answers a search by meaning, and the vector that it would be asked with.

        Raises: as ``search`` does in semantic mode.
        """
        question = read_question(check_request(request))
        target = await self._target(request, question)
        return target, await self._embed(question.text, target, request.kind)

    async def warm(self) -> None:
        """Load and prove the models of all active indexes, so that no search has to wait for it.

        What fails here is logged, and told again to whoever searches.
        """
        try:
            async with reading(self._engine) as connection:
                names = [found.name for found in await collection_names(connection)]
        except UnmovedError as exc:
            log.warning("not ready to search", reason=str(exc))
            return
        for name in names:
            try:
                async with reading(self._engine) as connection:
                    target = await serving(connection, name, b"")
                await self._proved(target)
            except NotFoundError:
                # Nothing was ingested into it yet.
                continue
            except UnmovedError as exc:
                log.warning("not ready to search", collection=name, reason=str(exc))

    async def _target(self, request: SearchRequest, question: Question) -> Serving:
        async with reading(self._engine) as connection:
            key = query_cache.key_of(question.text, request.kind)
            return await serving(connection, request.collection, key, index=request.index)

    async def _proved(self, target: Serving) -> Embedder:
        embedder = self._embedder(target.version.spec)
        if self._prover.stands(embedder, target.version):
            return embedder
        async with reading(self._engine) as connection:
            canaries = await models.canaries(connection, target.version.id)
        began = time.monotonic()
        try:
            asked = await self._prover.ensure(
                embedder,
                target.version,
                canaries,
                target.collection.name,
                ask=partial(declared.proved, self._engine),
            )
        except ModelMismatchError:
            # Nobody knows since when it was another model that answered.
            async with transaction(self._engine) as connection:
                await query_cache.distrust(connection, target.version.id)
            raise
        if asked:
            async with transaction(self._engine) as connection:
                await query_cache.prove(
                    connection, target.version.id, seconds=time.monotonic() - began
                )
                await query_cache.trim(connection, target.version.id)
        return embedder

    async def _kept(self, query: str, target: Serving) -> Serving:
        """Give what answers with the vector that is kept of a query for anything, if one is."""
        async with reading(self._engine) as connection:
            return await serving(
                connection,
                target.collection.name,
                query_cache.key_of(query),
                index=str(target.index.id),
            )

    async def _embed(self, query: str, target: Serving, kind: QueryKind) -> Vector:
        """Give the query's vector: the one that is kept, else a new one, which then is.

        Until the model has proved itself again, what it gave is used only while a proof stands.
        """
        if kind == "code" and not self._embedder(target.version.spec).tells_code():
            # Sent alike, both are one query: what is kept of it holds, and ranks alike.
            kind, target = "query", await self._kept(query, target)
        if target.vector is not None and target.proven:
            self.kept_vectors += 1
            return target.vector
        embedder = await self._proved(target)
        if target.vector is not None:
            self.kept_vectors += 1
            return target.vector
        self.new_vectors += 1
        asked = time.monotonic()
        try:
            received = await embedder.embed([query], kind)
        except EmbedderUnavailableError as exc:
            self._prover.failed(embedder, target.version, exc, since=asked)
            raise
        unit, _ = normalise(received)
        vector: Vector = unit[0]
        if vector.shape != (target.version.identity.dimensions,):
            raise EmbedderResponseError(
                f"{embedder.spec} answered with {len(vector)} dimensions instead of "
                f"{target.version.identity.dimensions}; another model may be answering"
            )
        async with reading(self._engine) as connection:
            key = query_cache.key_of(query, kind)
            return await query_cache.keep(connection, target.version.id, key, vector)

    async def _prepare(self, search: _Search, target: Serving) -> _Prepared:
        """Make of the query what each list is asked with; what cannot be is noted, or raised."""
        notices: list[Notice] = []
        vector: Vector | None = None
        terms: TermQuery | None = None
        unknown: Sequence[str] = ()
        lists = LISTS[search.ranking.mode]
        if BM25 in lists:
            terms, unknown, notice = await as_stage("words", self._terms(search, target))
            notices += [] if notice is None else [notice]
        if DENSE in lists:
            try:
                vector = await as_stage(
                    "embed", self._embed(search.question.text, target, search.request.kind)
                )
            except EmbedderError as exc:
                if terms is None:
                    raise
                notices.append(Notice(kind="not_semantic", reason=str(exc)))
        return _Prepared(
            vector=vector,
            terms=terms,
            unknown_words=unknown,
            notices=notices,
            noise=measured(target.version.noise_floor, target.noise),
        )

    async def _prepare_like(
        self, search: _Search, seeds: Seeds
    ) -> tuple[_Prepared, Mapping[Example, Vector]]:
        """Make of examples what each list is asked with, and give their vectors."""
        notices: list[Notice] = []
        vector: Vector | None = None
        terms: TermQuery | None = None
        lists = LISTS[search.ranking.mode]
        if BM25 in lists:
            lexicon = seeds.target.lexicon
            if lexicon is None or not lexicon.complete:
                notices.append(_no_terms(search, seeds.target))
            else:
                terms = await strongest_terms(self._engine, seeds, lexicon)
        every = (*seeds.like, *seeds.unlike)
        texts = [each.example.text for each in every if each.example.kind == "text"]
        vectors: Mapping[Example, Vector] = {}
        if DENSE in lists or len(every) > 1:
            embedded = {text: await self._embedded(text, seeds.target) for text in texts}
            store = self._store(seeds.target.index.store)
            vectors = await example_vectors(store, seeds, embedded)
        if DENSE in lists:
            vector = direction(
                [vectors[each.example] for each in seeds.like],
                [vectors[each.example] for each in seeds.unlike],
            )
        version = seeds.target.version
        # Stored vectors are what they are; nothing is sent anew but texts.
        noise = measured(version.noise_floor, seeds.target.noise) if texts else 0.0
        prepared = _Prepared(
            vector=vector, terms=terms, unknown_words=(), notices=notices, noise=noise
        )
        return prepared, vectors

    async def _embedded(self, text: str, target: Serving) -> Vector:
        """Give the vector of a text among examples, as if it were asked for."""
        query = read_question(_checked_query(text)).text
        asked = await self._kept(query, target)
        return await as_stage("embed", self._embed(query, asked, "query"))

    async def _reasons(
        self,
        search: _Search,
        seeds: Seeds,
        vectors: Mapping[Example, Vector],
        hits: Sequence[Hit],
    ) -> Mapping[UUID, Reason]:
        """Say of each hit which examples are nearest."""
        if search.vectors is None:
            only = seeds.like[0].example
            return {
                hit.chunk_id: Reason(like=only, cosine=hit.scores[DENSE])
                for hit in hits
                if DENSE in hit.scores
            }
        missing = [hit.chunk_id for hit in hits if hit.chunk_id not in search.vectors]
        index = seeds.target.index
        more = await self._store(index.store).vectors(index.id, missing) if missing else {}
        found = search.vectors | more
        return reasons_of(
            {hit.chunk_id: found[hit.chunk_id] for hit in hits if hit.chunk_id in found},
            {each.example: vectors[each.example] for each in seeds.like},
            {each.example: vectors[each.example] for each in seeds.unlike},
        )

    async def _terms(
        self, search: _Search, target: Serving
    ) -> tuple[TermQuery | None, Sequence[str], Notice | None]:
        lexicon = target.lexicon
        if lexicon is None or not lexicon.complete:
            return None, (), _no_terms(search, target)
        analysed = analyse(search.question.text, lexicon.weighting.analyzer)
        async with reading(self._engine) as connection:
            known = await lexicons.frequencies(connection, target.index.id, analysed.counts)
        unknown = [word for term, word in analysed.words.items() if term not in known]
        notice = None
        if not analysed.counts:
            reason = "the query has no words, or only ones that are in every text"
            notice = Notice(kind="no_words", reason=reason)
        return query_terms(analysed.counts, known, lexicon.passages), unknown, notice

    async def _find(
        self, search: _Search, target: Serving, prepared: _Prepared
    ) -> tuple[list[Found], bool]:
        """Get one more hit than wanted, so that the page knows whether there is another."""
        search = replace(search, filter=without(search.filter, target.hidden))
        reranker = self._reranker() if search.request.rerank else None
        last = search.request.first_rank - 1 + search.request.k
        wanted = min(last + 1, MAX_K)
        if reranker is not None:
            wanted = max(wanted, search.ranking.rerank_depth)
        weight = search.request.mmr
        if weight is not None:
            wanted = max(wanted, POOL)
        depth = _depth(search, wanted)
        while True:
            lists = await self._lists(search, target.index, prepared, depth)
            mass = 0.0 if prepared.terms is None else prepared.terms.mass
            candidates = merged(lists, search.ranking, _weighed(search), mass)
            loading = live_hits(
                self._engine,
                candidates,
                search.question,
                wanted,
                fold=search.request.fold,
                per_document=search.per_document,
            )
            hits, _ = await asyncio.gather(
                as_stage("load", loading), self._take_in(search, target.index, candidates[:wanted])
            )
            cut = any(len(found) >= depth for found in lists.values())
            if len(hits) >= wanted or not cut or depth == MAX_K:
                break
            depth = min(depth * 4, MAX_K)
        if len(hits) < wanted and cut and search.question.is_strict:
            reason = f"phrases and exclusions were looked for in the best {depth:,} passages only"
            prepared.notices.append(Notice(kind="not_all_looked_into", reason=reason))
        elif len(hits) < wanted and cut and search.per_document is not None:
            reason = f"other documents were looked for in the best {depth:,} passages only"
            prepared.notices.append(Notice(kind="not_all_looked_into", reason=reason))
        if reranker is not None:
            hits = await self._rerank(reranker, search, prepared, hits)
        if weight is not None:
            # Their order is no longer that of their scores, so noise is not told of them.
            return (await self._diversified(target.index, hits, weight))[:last], len(hits) > last
        # Behind the last place that can be paged to, the next is not known.
        known = len(hits) > last or not cut
        placed = placing(
            lists,
            weight=search.ranking.dense_weight,
            method=search.ranking.method,
            depth=_weighed(search),
        )
        marked = await self._marked(target.index, hits[: last + 1], placed, prepared.noise)
        if not known and marked:
            marked[-1] = replace(marked[-1], within_noise_of_next=None)
        return marked[:last], len(hits) > last

    async def _take_in(self, search: _Search, index: Index, found: Sequence[Fused]) -> None:
        """Fetch the vectors of what was found, where they are wanted."""
        if search.vectors is None or not found:
            return
        ids = [each.chunk_id for each in found if each.chunk_id not in search.vectors]
        if ids:
            search.vectors.update(await self._store(index.store).vectors(index.id, ids))

    async def _diversified(self, index: Index, hits: Sequence[Found], weight: float) -> list[Found]:
        """Reorder the first hits so that they are relevant and differ."""
        first = hits[:POOL]
        vectors = await self._store(index.store).vectors(
            index.id, [hit.passage.chunk_id for hit in first]
        )
        order = mmr_order(
            [vectors.get(hit.passage.chunk_id) for hit in first],
            [hit.score for hit in first],
            weight,
        )
        return [*(first[place] for place in order), *hits[POOL:]]

    async def _marked(
        self, index: Index, hits: Sequence[Found], placed: Placing, noise: float | None
    ) -> list[Found]:
        """Mark the hits that another send of the query could put behind the next one.

        Vectors are loaded only for those that their scores leave in doubt.
        """
        pairs = list(pairwise(hits))
        marks = [within_noise(one, other, placed, noise) for one, other in pairs]
        doubtful = [
            place
            for place, (mark, (one, other)) in enumerate(zip(marks, pairs, strict=True))
            if mark and one.score != other.score and placed.by_distance
        ]
        if 0 < len(doubtful) <= MOST_DOUBTFUL:
            wanted = {hit.passage.chunk_id for place in doubtful for hit in pairs[place]}
            vectors = await self._store(index.store).vectors(index.id, sorted(wanted))
            for place in doubtful:
                one, other = (vectors.get(hit.passage.chunk_id) for hit in pairs[place])
                if one is not None and other is not None:
                    marks[place] = within_noise(*pairs[place], placed, noise, distance(one, other))
        return [
            replace(hit, within_noise_of_next=mark)
            for hit, mark in zip(hits, [*marks, False][: len(hits)], strict=True)
        ]

    async def _lists(
        self, search: _Search, index: Index, prepared: _Prepared, depth: int
    ) -> dict[str, list[Scored]]:
        """Ask the store for what can be asked for, each list at the same time."""
        store = self._store(index.store)
        # What is left out afterwards comes on top.
        k = min(depth + len(search.without), MAX_K)
        options: _Options = {"k": k, "filter": search.filter, "exact": search.request.exact}
        asked: dict[str, Awaitable[list[Scored]]] = {}
        if prepared.vector is not None:
            wanted = search.vectors is not None and k <= MOST_WITH_VECTORS
            asked[DENSE] = store.search(index.id, prepared.vector, **options, vectors=wanted)
        if prepared.terms is not None:
            asked[BM25] = store.search_terms(index.id, prepared.terms, **options)
        lists = await asyncio.gather(
            *(as_stage(f"store.{name}", work) for name, work in asked.items())
        )
        if search.vectors is not None:
            search.vectors.update(
                {
                    each.chunk_id: each.vector
                    for found in lists
                    for each in found
                    if each.vector is not None
                }
            )
        return {
            name: [each for each in found if each.chunk_id not in search.without][:depth]
            for name, found in zip(asked, lists, strict=True)
        }

    async def _rerank(
        self, reranker: Reranker, search: _Search, prepared: _Prepared, hits: list[Found]
    ) -> list[Found]:
        depth = search.ranking.rerank_depth
        try:
            return [
                *await as_stage("rerank", reranked(reranker, search.question.text, hits[:depth])),
                *hits[depth:],
            ]
        except RerankerError as exc:
            prepared.notices.append(Notice(kind="not_reranked", reason=str(exc)))
            return hits

    async def _log(
        self,
        request: SearchRequest,
        target: Serving,
        result: SearchResult,
        vector: Vector | None,
    ) -> None:
        async with reading(self._engine) as connection:
            await queries.log_search(
                connection,
                LoggedSearch(
                    collection_id=target.collection.id,
                    index_id=target.index.id,
                    model_version_id=target.version.id,
                    query=result.query if self._keep_texts else None,
                    query_hash=query_cache.key_of(result.query, request.kind),
                    filters=request.filters,
                    k=request.k,
                    first_rank=request.first_rank,
                    exact=request.exact,
                    hit_ids=[hit.chunk_id for hit in result.hits],
                    document_ids=[hit.document.id for hit in result.hits],
                    scores=[hit.score for hit in result.hits],
                    took_ms=result.took_ms,
                    client=request.client,
                    id=result.search_id,
                    mode=result.mode,
                    kind=request.kind,
                    vector_hash=None if vector is None else vector_hash(vector),
                ),
            )
        log.debug("searched", collection=request.collection, took_ms=round(result.took_ms, 1))


def check_request(request: SearchRequest) -> str:
    """Give the query as it will be embedded: surrounding white space removed.

    Raises:
        InvalidInputError: the query or a number cannot be meant.
    """
    query = _checked_query(request.query)
    _check_numbers(request)
    return query


async def clear_query_vectors(
    engine: AsyncEngine, *, model: str = "", since: datetime | None = None, query: str = ""
) -> int:
    """Forget query vectors that are kept, and say how many; what is empty or None does not count.

    Args:
        engine: of the catalog.
        model: only of the model version of that id, or the beginning of it.
        since: only those embedded from that moment on.
        query: only those of one query, as it was asked, for source code or anything.

    Raises:
        InvalidInputError: the query or the id cannot be meant.
        NotFoundError: no such model version.
        CatalogError: the catalog does not answer.
    """
    words = read_question(_checked_query(query)).text if query else None
    keys = words and [query_cache.key_of(words, kind) for kind in get_args(QueryKind)]
    async with transaction(engine) as connection:
        version = await models.find(connection, model) if model else None
        return await query_cache.clear(
            connection,
            model_version_id=None if version is None else version.id,
            since=since,
            text_hashes=keys or None,
        )


def _checked_query(text: str) -> str:
    query = text.strip()
    if not query:
        raise InvalidInputError("the query is empty; write what you are looking for")
    if len(query) > LONGEST_QUERY:
        raise InvalidInputError(
            f"the query has {len(query):,} characters; at most {LONGEST_QUERY:,} work"
        )
    if "\x00" in query or any("\ud800" <= character <= "\udfff" for character in query):
        raise InvalidInputError("the query has a NUL or half of a surrogate pair; remove it")
    return query


def _check_numbers(request: SearchRequest, per_document: int | None = None) -> None:
    _check_range(request.k, request.first_rank)
    if request.mmr is not None and not 0 <= request.mmr <= 1:
        raise InvalidInputError(f"mmr is {request.mmr}; write a number from 0 to 1")
    if per_document is not None and not 1 <= per_document <= MAX_K:
        raise InvalidInputError(
            f"{per_document} passages of one document cannot be wanted; write 1 to {MAX_K}"
        )


def _check_range(k: int, first_rank: int) -> None:
    if not 1 <= k <= MAX_K:
        raise InvalidInputError(f"k is {k}; write a number from 1 to {MAX_K}")
    if not 1 <= first_rank <= MAX_K or first_rank - 1 + k > MAX_K:
        raise InvalidInputError(
            f"only the first {MAX_K} hits can be paged through; narrow the search"
        )


def _no_terms(search: _Search, target: Serving) -> Notice:
    """Say that an index has no terms, or not all.

    Raises:
        InvalidInputError: terms are all that was to be searched by.
    """
    reason = (
        f"collection {target.collection.name!r} was filled before there was keyword "
        "search; run: ingest add on anything of it, once"
    )
    if search.ranking.mode == "keyword":
        raise InvalidInputError(reason)
    return Notice(kind="not_keyword", reason=reason)


def _in_order(examples: Sequence[Example]) -> list[Example]:
    """Give examples once each, in an order of their own: the given one says nothing."""
    return sorted(set(examples), key=str)


def _unlogged(
    search: _Search,
    target: Serving,
    prepared: _Prepared,
    found: Sequence[Found],
    *,
    more: bool,
    started: float,
) -> SearchResult:
    """Give the result of what has no query and is not logged."""
    return SearchResult(
        search_id=uuid4(),
        query="",
        mode=search.ranking.mode,
        notices=prepared.notices,
        unknown_words=(),
        suggestion=None,
        collection=target.collection.name,
        hits=_hits(search, target, found),
        index_id=target.index.id,
        model_version_id=target.version.id,
        model=target.version.name,
        exact=search.request.exact,
        more=more,
        took_ms=(time.perf_counter() - started) * 1000,
        searched_at=datetime.now(UTC),
        noise=prepared.noise or None,
    )


def _alike_noted(result: SearchResult) -> SearchResult:
    """Say so where every passage found is equally near, so that their order says nothing."""
    scores = [hit.scores.get(DENSE) for hit in result.hits]
    known = [score for score in scores if score is not None]
    if len(known) < len(scores) or len(known) < 2 or max(known) - min(known) > _THE_SAME:  # noqa: PLR2004 - a list of one has no order
        return result
    reason = (
        f"all {len(known):,} passages are equally near, so their order says nothing: their "
        "vectors are the same"
    )
    return replace(result, notices=[*result.notices, Notice(kind="all_alike", reason=reason)])


def _ranking(default: Ranking, request: SearchRequest) -> Ranking:
    """Give the ranking that a request asks for.

    Raises:
        InvalidInputError: a weight out of range.
    """
    weight = default.dense_weight if request.dense_weight is None else request.dense_weight
    if not 0 <= weight <= 1:
        raise InvalidInputError(f"the dense weight is {weight}; write a number from 0 to 1")
    return replace(
        default,
        mode=request.mode or default.mode,
        method=request.fusion or default.method,
        dense_weight=weight,
    )


def _depth(search: _Search, wanted: int) -> int:
    """Choose how many hits of each list are asked for."""
    if search.question.is_strict:
        return MAX_K
    if len(LISTS[search.ranking.mode]) == 1:
        sifted = search.request.fold or search.per_document is not None
        return max(wanted, DEPTH) if sifted else wanted
    return DEPTH if wanted <= DEPTH else MAX_K


def _weighed(search: _Search) -> int:
    """Say how many hits of each list are fused: for one query always as many.

    Scores depend on it, and whoever leafs through the pages is to meet every hit once.
    """
    return MAX_K if search.question.is_strict else DEPTH


def _hits(search: _Search, target: Serving, found: Sequence[Found]) -> list[Hit]:
    hits = [
        Hit(
            rank=rank,
            chunk_id=each.passage.chunk_id,
            document=each.passage.document,
            text=each.passage.text,
            heading_path=each.passage.heading_path,
            page=each.passage.page,
            ordinal=each.passage.ordinal,
            score=each.score,
            scores=each.scores,
            ranks=each.ranks,
            similar=each.similar,
            run_id=each.run_id,
            model_version_id=target.version.id,
            index_id=target.index.id,
            within_noise_of_next=each.within_noise_of_next,
            code=each.passage.code,
        )
        for rank, each in enumerate(found, start=1)
    ]
    return hits[search.request.first_rank - 1 :]


def vector_hash(vector: Vector) -> bytes:
    """Hash a query's vector as the query log keeps it."""
    return sha256(vector.astype("<f4", copy=False).tobytes()).digest()
