"""Search: query text → query vector → nearest chunks in the active index → hits with provenance."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import chunks, models, queries
from search_app.catalog.chunks import Passage
from search_app.catalog.engine import reading
from search_app.catalog.overview import collection_names
from search_app.catalog.queries import LoggedSearch
from search_app.catalog.serving import Serving, serving
from search_app.embedders.base import Embedder
from search_app.embedders.batching import normalise
from search_app.errors import (
    EmbedderResponseError,
    InvalidInputError,
    ModelMismatchError,
    NotFoundError,
    UnmovedError,
)
from search_app.filters import Filter, parse_filter
from search_app.identity import Prover
from search_app.stores.base import MAX_K, VectorStore
from search_app.types import Hit, Index, Scored, SearchResult, Vector

LONGEST_QUERY = 2000
"""Most characters of a query; longer texts are documents, not questions."""

MOST_FRESH = 10_000
"""Query vectors remembered between two proofs of a model; further ones are embedded again."""

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """A search as a user asks for it; ``filters`` in the grammar of filters.py.

    ``first_rank`` pages: hits ``first_rank`` to ``first_rank + k - 1`` are wanted.
    """

    query: str
    collection: str = "default"
    k: int = 10
    first_rank: int = 1
    filters: Sequence[str] = ()
    exact: bool = False
    client: str = "api"


class Searcher:
    """Answers searches from the active index of one collection at a time."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        store: Callable[[str], VectorStore],
        embedder: Callable[[str], Embedder],
        prover: Prover,
        keep_texts: bool = True,
    ) -> None:
        """Take what resolves the names of stores and embedders; nothing is opened yet."""
        self._engine = engine
        self._store = store
        self._embedder = embedder
        self._prover = prover
        self._keep_texts = keep_texts
        # Query vectors embedded since the last proof, by model version and hash of the text.
        self._fresh: defaultdict[UUID, dict[bytes, Vector]] = defaultdict(dict)

    async def search(self, request: SearchRequest) -> SearchResult:
        """Find the nearest chunks, and log the search.

        Raises:
            InvalidInputError: the request cannot be meant; says what to write instead.
            NotFoundError: no such collection, or nothing was ever ingested into it.
            EmbedderError: the query cannot be embedded, or not by the model of the index.
            StoreError: the store does not answer.
            CatalogError: the catalog does not answer.
        """
        started = time.perf_counter()
        query = check_request(request)
        filter_ = parse_filter(request.filters)
        async with reading(self._engine) as connection:
            target = await serving(connection, request.collection, _hash(query))
        vector = target.vector
        if vector is None:
            vector = await self._embed(query, target)
        found, more = await self._find(target.index, vector, filter_, request)
        took_ms = (time.perf_counter() - started) * 1000
        result = _result(request, query, target, found, more=more, took_ms=took_ms)
        await self._log(request, target, result)
        return result

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

    async def _proved(self, target: Serving) -> Embedder:
        embedder = self._embedder(target.version.spec)
        async with reading(self._engine) as connection:
            canaries = await models.canaries(connection, target.version.id)
        fresh = self._fresh[target.version.id]
        try:
            asked = await self._prover.ensure(
                embedder, target.version, canaries, target.collection.name
            )
        except ModelMismatchError:
            # Nobody knows since when it was another model that answered.
            fresh.clear()
            raise
        if asked and fresh:
            async with reading(self._engine) as connection:
                for text_hash, vector in fresh.items():
                    await queries.cache_vector(connection, target.version.id, text_hash, vector)
            fresh.clear()
        return embedder

    async def _embed(self, query: str, target: Serving) -> Vector:
        """Embed a query; its vector is kept for good only once the model proves itself again."""
        fresh = self._fresh[target.version.id]
        embedder = await self._proved(target)
        if (known := fresh.get(_hash(query))) is not None:
            return known
        unit, _ = normalise(await embedder.embed([query], "query"))
        vector: Vector = unit[0]
        if vector.shape != (target.version.identity.dimensions,):
            raise EmbedderResponseError(
                f"{embedder.spec} answered with {len(vector)} dimensions instead of "
                f"{target.version.identity.dimensions}; another model may be answering"
            )
        if len(fresh) < MOST_FRESH:
            fresh[_hash(query)] = vector
        return vector

    async def _find(
        self, index: Index, vector: Vector, filter_: Filter | None, request: SearchRequest
    ) -> tuple[list[tuple[Scored, Passage]], bool]:
        """Get one more hit than wanted, so that the page knows whether there is another.

        A store may hold vectors of chunks that are not live yet or any more, so the search is
        widened until enough live ones are found or there are no more.
        """
        store = self._store(index.store)
        wanted = min(request.first_rank + request.k, MAX_K)
        k = wanted
        while True:
            scored = await store.search(index.id, vector, k=k, filter=filter_, exact=request.exact)
            async with reading(self._engine) as connection:
                live = await chunks.passages(connection, [found.chunk_id for found in scored])
            hits = [(found, live[found.chunk_id]) for found in scored if found.chunk_id in live]
            if len(hits) >= wanted or len(scored) < k or k == MAX_K:
                break
            k = min(k * 4, MAX_K)
        last = request.first_rank - 1 + request.k
        return hits[:last], len(hits) > last

    async def _log(self, request: SearchRequest, target: Serving, result: SearchResult) -> None:
        async with reading(self._engine) as connection:
            await queries.log_search(
                connection,
                LoggedSearch(
                    collection_id=target.collection.id,
                    index_id=target.index.id,
                    model_version_id=target.version.id,
                    query=result.query if self._keep_texts else None,
                    query_hash=_hash(result.query),
                    filters=request.filters,
                    k=request.k,
                    first_rank=request.first_rank,
                    exact=request.exact,
                    hit_ids=[hit.chunk_id for hit in result.hits],
                    scores=[hit.score for hit in result.hits],
                    took_ms=result.took_ms,
                    client=request.client,
                ),
            )
        log.debug("searched", collection=request.collection, took_ms=round(result.took_ms, 1))


def check_request(request: SearchRequest) -> str:
    """Give the query as it will be embedded: surrounding white space removed.

    Raises:
        InvalidInputError: the query or a number cannot be meant.
    """
    query = request.query.strip()
    if not query:
        raise InvalidInputError("the query is empty; write what you are looking for")
    if len(query) > LONGEST_QUERY:
        raise InvalidInputError(
            f"the query has {len(query):,} characters; at most {LONGEST_QUERY:,} work"
        )
    if "\x00" in query or any("\ud800" <= character <= "\udfff" for character in query):
        raise InvalidInputError("the query has a NUL or half of a surrogate pair; remove it")
    if not 1 <= request.k <= MAX_K:
        raise InvalidInputError(f"k is {request.k}; write a number from 1 to {MAX_K}")
    if not 1 <= request.first_rank <= MAX_K or request.first_rank - 1 + request.k > MAX_K:
        raise InvalidInputError(
            f"only the first {MAX_K} hits can be paged through; narrow the search"
        )
    return query


def _result(
    request: SearchRequest,
    query: str,
    target: Serving,
    found: Sequence[tuple[Scored, Passage]],
    *,
    more: bool,
    took_ms: float,
) -> SearchResult:
    hits = [
        Hit(
            rank=rank,
            chunk_id=scored.chunk_id,
            document=passage.document,
            text=passage.text,
            heading_path=passage.heading_path,
            page=passage.page,
            ordinal=passage.ordinal,
            score=scored.score,
            scores={"dense": scored.score},
            run_id=scored.run_id,
            model_version_id=target.version.id,
            index_id=target.index.id,
        )
        for rank, (scored, passage) in enumerate(found, start=1)
    ]
    return SearchResult(
        query=query,
        collection=target.collection.name,
        hits=hits[request.first_rank - 1 :],
        index_id=target.index.id,
        model_version_id=target.version.id,
        model=target.version.name,
        exact=request.exact,
        more=more,
        took_ms=took_ms,
        searched_at=datetime.now(UTC),
    )


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()
