"""What is asked of a kept map: its points in colours, a query on it, and a part of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from search_app.analysis.colouring import Grouping, grouping_of
from search_app.analysis.placing import placed
from search_app.bootstrap import Services
from search_app.catalog import analyses, chunks, maps
from search_app.catalog.analyses import CLUSTERS, MAP, Analysis
from search_app.catalog.chunks import Passage
from search_app.catalog.engine import reading
from search_app.catalog.maps import Numbers, Point, Points
from search_app.errors import InvalidInputError, NotFoundError
from search_app.filters import FIELDS, SUGGESTED, AnyOf
from search_app.retrieval import SearchRequest
from search_app.types import SearchResult

OF_CLUSTERS = "clusters"
"""What points are coloured by where it is the clusters of a clustering of their index."""

MOST_SELECTED = 5_000
"""Passages of a part of a map that are looked at together."""

_FETCHED = 500
_LOOKED_AT = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Coloured:
    """The points of a map in groups; ``by`` is empty where all are of one."""

    by: str
    points: Points
    grouping: Grouping


@dataclass(frozen=True, kw_only=True)
class OnMap:
    """A query on a map: its place, its hits and where those lie that are on the map."""

    x: float | None
    y: float | None
    result: SearchResult
    points: dict[UUID, Point]


@dataclass(frozen=True, kw_only=True)
class Selected:
    """Passages of a part of a map, best first; with their cosines to a query, if there was one."""

    passages: Sequence[tuple[Passage, Point, float | None]]
    total: int


async def find_map(services: Services, beginning: str) -> Analysis:
    """Get a map by its id or the beginning of it.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: several begin so.
    """
    async with reading(services.engine) as connection:
        return await analyses.find(connection, beginning, kind=MAP)


async def numbers_of(services: Services, found: Analysis) -> Numbers:
    """Count the points of a map that can be seen, and those of excluded passages."""
    async with reading(services.engine) as connection:
        return await maps.numbers(connection, found.id)


async def clusterings_of(services: Services, found: Analysis) -> list[Analysis]:
    """List clusterings of the index that a map is of, newest first."""
    async with reading(services.engine) as connection:
        listed = await analyses.listing(
            connection, kind=CLUSTERS, collection=found.collection, limit=_LOOKED_AT
        )
    return [each for each in listed if each.index_id == found.index_id]


async def coloured(services: Services, found: Analysis, by: str = "") -> Coloured:
    """Read the points of a map, coloured by a field or by clusters.

    ``by`` is a field of filters, ``clusters`` for the newest clustering of the index, or
    ``clusters:ID``.

    Raises:
        InvalidInputError: there is no such field, nobody has it, or nothing was clustered.
        NotFoundError: there is no such clustering.
    """
    kind, _, beginning = by.partition(":")
    if kind == OF_CLUSTERS:
        clustering = await _clustering(services, found, beginning)
        async with reading(services.engine) as connection:
            points = await maps.points(connection, found.id, clusters=clustering.id)
        names = {each["cluster"]: each["name"] for each in clustering.numbers["clusters"]}
        grouping = await asyncio.to_thread(grouping_of, points.values, points.xy, names=names)
        return Coloured(by=f"{OF_CLUSTERS}:{clustering.id}", points=points, grouping=grouping)
    if by:
        _check_field(by)
    async with reading(services.engine) as connection:
        points = await maps.points(connection, found.id, field=by or None)
        if by and len(points) and set(points.values) == {maps.ABSENT}:
            fields = [*FIELDS, *await maps.fields_of(connection, found.id)][:20]
            known = ", ".join(name[:60] for name in fields)
            raise InvalidInputError(
                f"no passage of this map has the field {by[:60]!r}; colour by {known} or "
                f"{OF_CLUSTERS}"
            )
    grouping = await asyncio.to_thread(
        grouping_of, points.values, points.xy, last_of_several=by == "folder"
    )
    return Coloured(by=by, points=points, grouping=grouping)


async def _clustering(services: Services, found: Analysis, beginning: str) -> Analysis:
    if not beginning:
        listed = await clusterings_of(services, found)
        if not listed:
            raise InvalidInputError(
                "nothing of the index of this map was clustered yet; ingest cluster does it"
            )
        return listed[0]
    async with reading(services.engine) as connection:
        clustering = await analyses.find(connection, beginning, kind=CLUSTERS)
    if clustering.index_id != found.index_id:
        raise InvalidInputError(
            f"clustering {str(clustering.id)[:8]} is of another index than this map; cluster that "
            "of the map, or make a map of the other"
        )
    return clustering


def _check_field(field: str) -> None:
    beginning, _, name = field.partition(".")
    if field not in FIELDS and not (beginning in ("meta", SUGGESTED) and name):
        raise InvalidInputError(
            f"nothing is coloured by {field[:60]!r}; write {', '.join(FIELDS)}, meta.NAME or "
            f"{OF_CLUSTERS}"
        )
    # It refuses what no field can hold.
    AnyOf(field=field, values=())


async def query_on_map(services: Services, found: Analysis, query: str, *, k: int) -> OnMap:
    """Search the index of a map by meaning, and place the query among its hits.

    Raises: as a search does.
    """
    result = await services.searcher.search(
        SearchRequest(
            query=query,
            collection=found.collection,
            index=str(found.index_id),
            k=k,
            filters=tuple(found.parameters["filters"]),
            mode="semantic",
            rerank=False,
            client="map",
        )
    )
    async with reading(services.engine) as connection:
        points = await maps.of_chunks(connection, found.id, [hit.chunk_id for hit in result.hits])
    shown = [hit for hit in result.hits if hit.chunk_id in points]
    x, y = None, None
    if shown:
        at = [points[hit.chunk_id] for hit in shown]
        x, y = placed(
            np.array([(each.x, each.y) for each in at], np.float32),
            np.array([hit.scores["dense"] for hit in shown], np.float32),
        )
    return OnMap(x=x, y=y, result=result, points=points)


async def select(
    services: Services,
    found: Analysis,
    chunk_ids: Sequence[UUID],
    *,
    query: str = "",
    limit: int,
    offset: int = 0,
) -> Selected:
    """List passages of a part of a map: nearest to its middle first, or nearest to a query.

    Passages that are not on the map, gone since or excluded are left out. Within so few, the
    nearest to a query are found exactly, by meaning.

    Raises:
        InvalidInputError: there are too many, or none.
        EmbedderError, StoreError: as a search by meaning does.
    """
    if not 0 < len(chunk_ids) <= MOST_SELECTED:
        raise InvalidInputError(
            f"{len(chunk_ids):,} passages were chosen; choose from 1 to {MOST_SELECTED:,}"
        )
    async with reading(services.engine) as connection:
        points = await maps.of_chunks(connection, found.id, chunk_ids)
    if query.strip():
        cosines = await _cosines(services, found, list(points), query)
        order = sorted(cosines, key=lambda each: (-cosines[each], each))
    else:
        cosines = {}
        order = _from_the_middle(points)
    async with reading(services.engine) as connection:
        passages = await chunks.passages(connection, order[offset : offset + limit])
    return Selected(
        passages=[
            (passages[each], points[each], cosines.get(each))
            for each in order[offset : offset + limit]
            if each in passages
        ],
        total=len(order),
    )


async def one_point(services: Services, found: Analysis, chunk_id: UUID) -> tuple[Passage, Point]:
    """Get a passage of a map and its place.

    Raises:
        NotFoundError: it is not on the map, gone since or excluded.
    """
    async with reading(services.engine) as connection:
        points = await maps.of_chunks(connection, found.id, [chunk_id])
        passages = await chunks.passages(connection, list(points))
    if chunk_id not in passages:
        raise NotFoundError(f"no passage {chunk_id} on map {str(found.id)[:8]}")
    return passages[chunk_id], points[chunk_id]


def _from_the_middle(points: dict[UUID, Point]) -> list[UUID]:
    if not points:
        return []
    middle = np.median([(each.x, each.y) for each in points.values()], axis=0)

    def away(point: Point) -> float:
        return float((point.x - middle[0]) ** 2 + (point.y - middle[1]) ** 2)

    return sorted(points, key=lambda each: (away(points[each]), each))


async def _cosines(
    services: Services, found: Analysis, chunk_ids: Sequence[UUID], query: str
) -> dict[UUID, float]:
    target, vector = await services.searcher.asked_with(
        SearchRequest(
            query=query,
            collection=found.collection,
            index=str(found.index_id),
            mode="semantic",
            logged=False,
        )
    )
    store = services.store(target.index.store)
    cosines: dict[UUID, float] = {}
    for start in range(0, len(chunk_ids), _FETCHED):
        fetched = await store.fetch(target.index.id, chunk_ids[start : start + _FETCHED])
        for point in fetched:
            if point.vector is not None:
                cosines[point.chunk_id] = float(point.vector @ vector)
    return cosines
