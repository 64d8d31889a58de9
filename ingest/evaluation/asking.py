"""Asking the queries of a golden set: passages found → documents in order."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingest.evaluation.golden import Query
from ingest.evaluation.scoring import RECALL_DEPTH
from ingest.evaluation.variants import Variant
from search_app.comparison.asking import check_whole
from search_app.fusion import DEPTH
from search_app.retrieval import Searcher, SearchRequest
from search_app.stores.base import MAX_K
from search_app.types import Hit

AT_ONCE = 4
"""Queries under way together: while one waits for the store, another is embedded."""

PAGES = ((1, DEPTH - 1), (DEPTH, 3 * DEPTH), (3 * DEPTH + 1, MAX_K))
"""First and last rank of the pages asked for.

The first is cut from the same lists as the pages that users see: to fuse deeper ones is to weigh
them anew. The others are large, because few queries need them.
"""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Where queries go, and how."""

    searcher: Searcher
    collection: str
    filters: Sequence[str]
    variant: Variant


async def ask_all(
    asking: Asking, queries: Sequence[Query], asked: Callable[[], None]
) -> dict[str, list[str]]:
    """Ask every query; a document stands where its best passage does.

    Raises:
        DegradedSearchError: a search left out the embedder, the words or the reranker.
        EmbedderError, StoreError, CatalogError: as the search does.
    """
    found: dict[str, list[str]] = {}
    waiting = iter(queries)

    async def ask() -> None:
        for query in waiting:
            found[query.id] = await ranking(asking, query)
            asked()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(ask())
    except ExceptionGroup as failed:
        # Callers know our errors by their types; the first one stopped the rest.
        raise failed.exceptions[0] from failed
    return found


async def ranking(asking: Asking, query: Query) -> list[str]:
    """Leaf through the hits as a user would, until nothing deeper could change a score.

    That is where enough documents are found, or all that answer the query.
    """
    settings = asking.variant.settings
    documents: dict[str, None] = {}
    for first, last in PAGES:
        result = await asking.searcher.search(
            SearchRequest(
                query=query.text,
                collection=asking.collection,
                first_rank=first,
                k=last - first + 1,
                filters=asking.filters,
                mode=settings.search_mode,
                fusion=settings.fusion,
                dense_weight=settings.dense_weight,
                exact=asking.variant.exact,
                client="eval",
            )
        )
        check_whole(query.id, result)
        documents |= dict.fromkeys(document_of(hit) for hit in result.hits)
        enough = len(documents) >= RECALL_DEPTH
        if enough or query.relevant <= documents.keys() or not result.more:
            break
    return list(documents)


def document_of(hit: Hit) -> str:
    """Give the id that the golden set knows the document of a hit by."""
    return hit.document.uri.removeprefix(f"{hit.document.source}#")
