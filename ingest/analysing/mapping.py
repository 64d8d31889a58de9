"""A map of an index: where each passage lies in the plane, and how much of the vectors it keeps."""

import asyncio
import time
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.analysing.common import Done, Scope, counted, keep, vectors_of
from search_app.analysis.neighbours import distinct
from search_app.analysis.projection import (
    FROM_EACH,
    NEIGHBOURS,
    Projection,
    check_neighbours,
    neighbours_kept,
    projected,
    require_umap,
)
from search_app.analysis.requirements import require_passages
from search_app.bootstrap import Services
from search_app.catalog import analyses, maps
from search_app.types import Matrix


@dataclass(frozen=True, kw_only=True)
class MapRequest:
    """What to make a map of, and how; ``neighbours`` are those that stay near a passage."""

    scope: Scope = field(default_factory=Scope)
    method: Projection = Projection.UMAP
    neighbours: int = NEIGHBOURS


@dataclass(frozen=True, kw_only=True, eq=False)
class _Laid:
    places: Matrix
    distinct: int
    kept: float | None


async def map_passages(
    services: Services, request: MapRequest, *, job_id: int | None = None
) -> Done:
    """Give every passage of an index a place on a map, and keep it.

    Raises:
        ConfigurationError: umap-learn is missing.
        InvalidInputError: there is nothing to map, or not so.
        NotFoundError, StoreError, CatalogError: as loading vectors does.
    """
    check_neighbours(request.neighbours)
    if request.method is Projection.UMAP:
        require_umap()
    began = time.monotonic()
    vectors = await vectors_of(services, request.scope)
    require_passages(len(vectors), 1, "a map")
    laid = await asyncio.to_thread(_laid, vectors.vectors, request)

    async def points(connection: AsyncConnection, analysis_id: UUID) -> None:
        await maps.add_points(connection, analysis_id, vectors.chunk_ids, laid.places)

    return await keep(
        services,
        analyses.MAP,
        vectors,
        parameters={
            **request.scope.as_json(),
            "method": request.method.value,
            "neighbours": request.neighbours,
        },
        numbers={
            **counted(vectors),
            "distinct": laid.distinct,
            "neighbours_kept": laid.kept,
            "neighbours_judged": FROM_EACH,
            "neighbours_by_luck": None
            if laid.kept is None
            else min(1.0, FROM_EACH / (len(vectors) - 1)),
        },
        began=began,
        job_id=job_id,
        besides=points,
    )


def _laid(vectors: Matrix, request: MapRequest) -> _Laid:
    seed = request.scope.seed
    places = projected(vectors, method=request.method, neighbours=request.neighbours, seed=seed)
    firsts, _ = distinct(vectors)
    return _Laid(
        places=places, distinct=len(firsts), kept=neighbours_kept(vectors, places, seed=seed)
    )
