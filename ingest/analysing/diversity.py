"""The diversity of a collection, of what a search finds, and of each period."""

import asyncio
import time
from dataclasses import asdict, dataclass, field

import numpy as np

from ingest.analysing.common import Done, Scope, counted, keep, vectors_of
from search_app.analysis.asking import Period, check_diversity
from search_app.analysis.diversity import FORMULAS, by_group, diversity_of
from search_app.analysis.vectors import VectorSet
from search_app.bootstrap import Services
from search_app.catalog import analyses
from search_app.errors import InvalidInputError
from search_app.filters import field_values
from search_app.retrieval import SearchRequest
from search_app.types import JSON

MOST_GROUPS = 200


_LENGTHS = {Period.YEAR: 4, Period.MONTH: 7, Period.DAY: 10}


@dataclass(frozen=True, kw_only=True)
class DiversityRequest:
    """What to measure: all passages, or the first ``k`` that a ``query`` finds.

    ``by`` measures groups too: a period (year, month, day) or a field such as ``meta.author``.
    """

    scope: Scope = field(default_factory=Scope)
    query: str | None = None
    k: int = 10
    mmr: float | None = None
    by: str | None = None


async def diversity(
    services: Services, request: DiversityRequest, *, job_id: int | None = None
) -> Done:
    """Measure how much passages differ, and keep it.

    Raises:
        InvalidInputError: fewer than two passages, a field that no document has, or no group of
            two passages or more.
        NotFoundError, StoreError, CatalogError: as loading vectors or searching does.
    """
    check_diversity(query=request.query, mmr=request.mmr, by=request.by)
    began = time.monotonic()
    vectors = await vectors_of(services, request.scope)
    if request.query is not None:
        vectors = vectors.taken(await _found(services, request, vectors))
    measured = await asyncio.to_thread(diversity_of, vectors.vectors)
    groups = []
    if request.by is not None:
        names = _names(vectors, request.by)
        groups = await asyncio.to_thread(
            by_group,
            vectors.vectors,
            [names[place] for place in vectors.document_of.tolist()],
            seed=request.scope.seed,
        )
        if not groups:
            raise InvalidInputError(
                f"no group by {request.by} has two passages or more, so none has a diversity; take "
                "a longer period, or a field whose values documents share"
            )
        if len(groups) > MOST_GROUPS:
            raise InvalidInputError(
                f"{request.by} makes {len(groups):,} groups; at most {MOST_GROUPS} are compared, "
                "take a longer period or a field with fewer values"
            )
    numbers: dict[str, JSON] = {
        **counted(vectors),
        **asdict(measured),
        "formulas": FORMULAS,
        "groups": [
            {
                "name": each.name,
                **asdict(each.diversity),
                "size": each.size,
                "vendi_at_size": each.vendi_at_size,
            }
            for each in groups
        ],
    }
    return await keep(
        services,
        analyses.DIVERSITY,
        vectors,
        parameters={
            **request.scope.as_json(),
            "query": request.query,
            "k": request.k if request.query is not None else None,
            "mmr": request.mmr,
            "by": request.by,
        },
        numbers=numbers,
        began=began,
        job_id=job_id,
    )


async def _found(services: Services, request: DiversityRequest, vectors: VectorSet) -> np.ndarray:
    result = await services.searcher.search(
        SearchRequest(
            query=request.query or "",
            collection=request.scope.collection,
            index=request.scope.index,
            filters=request.scope.filters,
            k=request.k,
            mmr=request.mmr,
            logged=False,
        )
    )
    rows = [vectors.places[hit.chunk_id] for hit in result.hits if hit.chunk_id in vectors.places]
    return np.array(rows, np.intp)


def _names(vectors: VectorSet, by: str) -> list[str | None]:
    """Name the group of each document."""
    if by not in tuple(Period):
        return [None if value is None else str(value) for value in vectors.values(by)]
    length = _LENGTHS[Period(by)]
    dates = [next(iter(field_values(fields, "date")), None) for fields in vectors.fields]
    if not any(dates):
        raise InvalidInputError(
            f"no document of collection {vectors.target.collection.name!r} has a date, so there "
            "are no periods to compare; --by takes a field such as meta.author too"
        )
    return [None if date is None else str(date)[:length] for date in dates]
