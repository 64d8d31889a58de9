"""The golden gate: how well an index must do on known questions before it may answer searches."""

from ingest.evaluation.golden import GoldenSet, read_golden_set
from ingest.evaluation.resampling import Values
from ingest.evaluation.scoring import score
from search_app.bootstrap import Services
from search_app.catalog import indexes
from search_app.catalog.engine import reading
from search_app.comparison.asking import check_whole
from search_app.golden import document_key
from search_app.retrieval import SearchRequest
from search_app.switching import UnfitIndexError
from search_app.types import Hit, Index, Mode

DEPTH = 10
"""Documents that are looked at for each question."""

_HITS = 100
"""Passages asked for, of which several may be of one document."""


async def check_gate(services: Services, index: Index) -> float | None:
    """Ask the questions of the golden set that the settings name; None where they name none.

    Returns:
        The mean nDCG@10.

    Raises:
        UnfitIndexError: it is below what the settings want.
        GoldenSetError: the set cannot be used.
        EmbedderError, StoreError, CatalogError: as searches do.
    """
    folder = services.settings.golden_gate
    if folder is None:
        return None
    golden = read_golden_set(folder)
    async with reading(services.engine) as connection:
        collection = await indexes.collection_of(connection, index)
    reached = float((await ndcg(services, golden, collection.name, index)).mean())
    wanted = services.settings.golden_gate_ndcg
    if reached < wanted:
        raise UnfitIndexError(
            f"index {str(index.id)[:8]} reaches nDCG@{DEPTH} {reached:.4f} on the golden set "
            f"{folder}, and {wanted:.4f} is wanted (UNMOVED_GOLDEN_GATE_NDCG); look into it with "
            "ingest compare"
        )
    return reached


async def ndcg(
    services: Services,
    golden: GoldenSet,
    collection: str,
    index: Index,
    *,
    mode: Mode | None = None,
) -> Values:
    """Ask an index the questions of a golden set, and give nDCG@10 of each, in their order.

    Raises:
        DegradedSearchError: a question was not answered as it was to be.
        EmbedderError, StoreError, CatalogError: as searches do.
    """
    judged = {name for query in golden.queries for name in query.judgements}
    rankings = {}
    for query in golden.queries:
        result = await services.searcher.search(
            SearchRequest(
                query=query.text,
                collection=collection,
                index=str(index.id),
                k=_HITS,
                mode=mode,
                logged=False,
            )
        )
        check_whole(query.id, result)
        rankings[query.id] = list(dict.fromkeys(_name(hit, judged) for hit in result.hits))
    return score(golden.queries, rankings, DEPTH)[:, 0]


def _name(hit: Hit, judged: set[str]) -> str:
    """Give the id that the golden set knows the document of a hit by.

    Sets of feedback name documents by their uris, others the records of a file by their own ids.
    """
    record = hit.document.uri.removeprefix(f"{hit.document.source}#")
    return record if record in judged else document_key(hit.document.uri)
