"""Two indexes measured on a golden set whose documents are in their collection."""

from dataclasses import dataclass

from ingest.evaluation.golden import GoldenSet
from ingest.evaluation.resampling import Difference, Mean, difference_of, mean_of
from ingest.gate import ndcg
from search_app.bootstrap import Services
from search_app.catalog import texts
from search_app.catalog.engine import reading
from search_app.comparison.asking import Pair
from search_app.errors import InvalidInputError
from search_app.types import Mode


@dataclass(frozen=True, kw_only=True)
class Measured:
    """nDCG@10 of both indexes on one golden set, and the paired difference, second minus first.

    ``known`` of ``judged`` documents that answer a query are in the collection.
    """

    name: str
    queries: int
    judged: int
    known: int
    left: Mean
    right: Mean
    difference: Difference


async def measure(
    services: Services, pair: Pair, golden: GoldenSet, *, mode: Mode | None = None
) -> Measured:
    """Ask both indexes all queries of a set.

    Raises:
        InvalidInputError: none of the documents that answer them is in the collection.
        DegradedSearchError, EmbedderError, StoreError, CatalogError: as comparing does.
    """
    answers = sorted({name for query in golden.queries for name in query.relevant})
    async with reading(services.engine) as connection:
        known = len(await texts.named(connection, pair.collection, answers))
    if not known:
        raise InvalidInputError(
            f"--golden {golden.name}: none of its {len(answers):,} documents that answer a query "
            f"is in collection {pair.collection.name!r}; search-app golden makes a set of it, and "
            "ingest add of a set's corpus.jsonl puts another one in"
        )
    name = pair.collection.name
    left = await ndcg(services, golden, name, pair.left.index, mode=mode)
    right = await ndcg(services, golden, name, pair.right.index, mode=mode)
    return Measured(
        name=golden.name,
        queries=len(golden.queries),
        judged=len(answers),
        known=known,
        left=mean_of(left),
        right=mean_of(right),
        difference=difference_of(right, left),
    )
