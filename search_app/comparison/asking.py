"""Asking two indexes the same queries, and putting what they find side by side."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.bootstrap import Services
from search_app.catalog import indexes, models, queries
from search_app.errors import DegradedSearchError, InvalidInputError
from search_app.list_measures import Change, Move, moves, overlap, rbo
from search_app.retrieval import SearchRequest, check_request
from search_app.stores.base import MAX_K
from search_app.types import Collection, Hit, Index, Mode, ModelVersion, QueryKind, SearchResult

AT_ONCE = 4
"""Queries under way together."""

MOST_K = 100
MOST_QUERIES = 10_000

_PER_DOCUMENT = 5
"""Passages asked for, for each document wanted, at first."""

_DEGRADED = frozenset({"not_semantic", "not_keyword", "not_reranked"})
"""Notices of a search that was not answered as it was to be."""


def check_whole(name: str, result: SearchResult) -> None:
    """Return if a search used everything that it was to use.

    Raises:
        DegradedSearchError: it left out the embedder, the words or the reranker.
    """
    for notice in result.notices:
        if notice.kind in _DEGRADED:
            raise DegradedSearchError(
                f"query {name} was not answered as it was to be ({notice.kind}): {notice.reason}"
            )


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two indexes."""

    index: Index
    version: ModelVersion


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two indexes of one collection.

    Where both cut documents alike, passages are compared, otherwise documents, each by its best
    passage.
    """

    collection: Collection
    left: Side
    right: Side

    @property
    def by_documents(self) -> bool:
        """Whether documents are compared instead of passages."""
        return self.left.index.chunking != self.right.index.chunking


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A hit as far as it is compared; ``key`` is its passage or its document.

    ``hit`` is kept where it is to be shown, and None where there may be thousands.
    """

    key: UUID
    chunk_id: UUID
    document_id: UUID
    uri: str
    title: str
    score: float
    hit: Hit | None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One query and what both indexes give for it; ``times`` is how often it was asked."""

    query: str
    times: int
    left: Sequence[Entry]
    right: Sequence[Entry]
    overlap: float
    rbo: float
    moves: Sequence[Move[UUID]]

    def count(self, change: Change) -> int:
        """Count the entries of which that became."""
        return sum(move.change is change for move in self.moves)

    @property
    def is_same(self) -> bool:
        """Whether both lists are equal, order included."""
        return all(move.change is Change.SAME for move in self.moves)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All queries, in the order in which they were asked; there is one or more."""

    pair: Pair
    k: int
    mode: Mode
    queries: Sequence[Compared] = field(default_factory=list)

    @cached_property
    def overlap(self) -> float:
        """The mean overlap."""
        return sum(each.overlap for each in self.queries) / len(self.queries)

    @cached_property
    def rbo(self) -> float:
        """The mean rank-biased overlap."""
        return sum(each.rbo for each in self.queries) / len(self.queries)

    @property
    def same(self) -> int:
        """How many queries have equal lists."""
        return sum(each.is_same for each in self.queries)

    def count(self, change: Change) -> int:
        """Count the entries of which that became, over all queries."""
        return sum(each.count(change) for each in self.queries)

    @cached_property
    def by_change(self) -> Sequence[Compared]:
        """The queries, those whose lists changed most first."""
        return sorted(self.queries, key=lambda each: (each.rbo, -each.times, each.query))

    @property
    def most_changed(self) -> Sequence[Compared]:
        """The queries whose lists differ, likewise."""
        return [each for each in self.by_change if not each.is_same]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A query to compare by, and how often users asked it."""

    query: str
    times: int = 0
    kind: QueryKind = "query"


async def pair_of(
    connection: AsyncConnection, left: str, right: str, collection: str | None = None
) -> Pair:
    """Find two indexes by the beginnings of their ids.

    Raises:
        NotFoundError: there is no such index.
        InvalidInputError: both are the same, or of different collections, or not of the one named.
    """
    sides = []
    for text in (left, right):
        index = await indexes.find(connection, text)
        version = await models.get(connection, index.model_version_id)
        sides.append(Side(index=index, version=version))
    first, second = sides
    if first.index.id == second.index.id:
        raise InvalidInputError(
            f"both are index {str(first.index.id)[:8]}; name two, ingest indexes lists them"
        )
    owner = await indexes.collection_of(connection, first.index)
    if second.index.collection_id != owner.id:
        other = await indexes.collection_of(connection, second.index)
        raise InvalidInputError(
            f"index {str(first.index.id)[:8]} is one of collection {owner.name!r}, index "
            f"{str(second.index.id)[:8]} of {other.name!r}; only indexes of one can be compared"
        )
    if collection not in (None, owner.name):
        raise InvalidInputError(
            f"index {str(first.index.id)[:8]} is one of collection {owner.name!r}, not of "
            f"{collection!r}"
        )
    return Pair(collection=owner, left=first, right=second)


async def logged(connection: AsyncConnection, collection: Collection, limit: int) -> list[Asked]:
    """Give the queries that were asked most.

    Raises:
        InvalidInputError: the log has none with its text.
    """
    found = await queries.most_asked(connection, collection, limit)
    if not found:
        raise InvalidInputError(
            f"no query is in the log of collection {collection.name!r}; give some with --queries, "
            "or keep their texts with UNMOVED_QUERY_LOG=true"
        )
    return [Asked(query=query, times=times, kind=kind) for query, kind, times in found]


def given(texts: Sequence[str], limit: int) -> list[Asked]:
    """Take queries that a user wrote, each once, blank ones left out.

    Raises:
        InvalidInputError: one cannot be asked, or there is none.
    """
    found = [*dict.fromkeys(text.strip() for text in texts if text.strip())][:limit]
    if not found:
        raise InvalidInputError("there is no query to compare by; write one a line")
    for text in found:
        check_request(SearchRequest(query=text))
    return [Asked(query=text) for text in found]


async def compare(
    services: Services,
    pair: Pair,
    asked: Sequence[Asked],
    *,
    k: int = 10,
    mode: Mode | None = None,
    filters: Sequence[str] = (),
    keep_hits: bool = False,
    after_each: Callable[[], None] = lambda: None,
) -> Comparison:
    """Ask both indexes every query; nothing of it is logged.

    ``keep_hits`` keeps what is to be shown of each hit: for few queries.

    Raises:
        InvalidInputError: ``k`` cannot be meant, or an index cannot answer.
        DegradedSearchError: a search was not answered as it was to be, as when a model is silent.
        EmbedderError, StoreError, CatalogError: as searches do.
    """
    if not 1 <= k <= MOST_K:
        raise InvalidInputError(f"k is {k}; write a number from 1 to {MOST_K}")
    asking = _Asking(services, pair, k, mode, filters, keep_hits=keep_hits)
    found: dict[int, Compared] = {}
    waiting = iter(enumerate(asked))

    async def work() -> None:
        for place, query in waiting:
            found[place] = await asking.compared(query)
            after_each()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    except ExceptionGroup as failed:
        # Callers know our errors by their types; the first one stopped the rest.
        raise failed.exceptions[0] from failed
    return Comparison(
        pair=pair,
        k=k,
        mode=mode or services.settings.search_mode,
        queries=[found[place] for place in sorted(found)],
    )


class _Asking:
    def __init__(
        self,
        services: Services,
        pair: Pair,
        k: int,
        mode: Mode | None,
        filters: Sequence[str],
        *,
        keep_hits: bool,
    ) -> None:
        self._services = services
        self._pair = pair
        self._k = k
        self._mode = mode
        self._filters = filters
        self._keep_hits = keep_hits

    async def compared(self, asked: Asked) -> Compared:
        left = await self._list(asked, self._pair.left)
        right = await self._list(asked, self._pair.right)
        keys = [entry.key for entry in left], [entry.key for entry in right]
        return Compared(
            query=asked.query,
            times=asked.times,
            left=left,
            right=right,
            overlap=overlap(*keys),
            rbo=rbo(*keys),
            moves=moves(*keys),
        )

    async def _list(self, asked: Asked, side: Side) -> list[Entry]:
        """Get the first ``k`` passages, or documents by their best passages."""
        wanted = self._k * _PER_DOCUMENT if self._pair.by_documents else self._k
        result = await self._search(asked, side, min(wanted, MAX_K))
        entries = self._entries(result.hits)
        if len(entries) < self._k and result.more:
            # Many passages of few documents.
            result = await self._search(asked, side, MAX_K)
            entries = self._entries(result.hits)
        return entries[: self._k]

    async def _search(self, asked: Asked, side: Side, k: int) -> SearchResult:
        result = await self._services.searcher.search(
            SearchRequest(
                query=asked.query,
                kind=asked.kind,
                collection=self._pair.collection.name,
                index=str(side.index.id),
                k=k,
                filters=self._filters,
                mode=self._mode,
                logged=False,
            )
        )
        check_whole(repr(asked.query[:80]), result)
        return result

    def _entries(self, hits: Sequence[Hit]) -> list[Entry]:
        found: dict[UUID, Entry] = {}
        for hit in hits:
            key = hit.document.id if self._pair.by_documents else hit.chunk_id
            entry = Entry(
                key=key,
                chunk_id=hit.chunk_id,
                document_id=hit.document.id,
                uri=hit.document.uri,
                title=hit.document.title,
                score=hit.score,
                hit=hit if self._keep_hits else None,
            )
            found.setdefault(key, entry)
        return [*found.values()]
