"""The JSON API of maps: their points, packed and page by page, a query on one, a part of one."""

import json
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Response

from search_app.analysis.mapped import (
    Coloured,
    coloured,
    find_map,
    numbers_of,
    one_point,
    query_on_map,
    select,
)
from search_app.bootstrap import Services
from search_app.catalog import chunks
from search_app.catalog.analyses import Analysis
from search_app.catalog.chunks import Passage
from search_app.catalog.engine import reading
from search_app.catalog.maps import Numbers, Point
from search_app.types import JSON
from search_app.web.answers import described
from search_app.web.api import Limit, Offset, json_only
from search_app.web.deps import ServicesDep
from search_app.web.map_schemas import (
    ColouredPoint,
    GroupJson,
    Groups,
    HitOnMap,
    PointJson,
    PointsJson,
    QueryOnMap,
    SelectBody,
    SelectedPoint,
    SelectionJson,
)
from search_app.web.problems import Kind

MAGIC = b"UNM1"
"""What packed points begin with: their form, of which this is the first."""

SHOWN_TEXT = 400
"""Characters of a passage that a list shows."""

_DIGITS = 6

MapName = Annotated[str, Path(description="Id of the map, or the beginning of it")]
By = Annotated[
    str,
    Query(
        description="What to colour by: clusters (the newest clustering of the index), "
        "clusters:ID, language, source, folder, type, date or meta.NAME; empty: nothing"
    ),
]

_ONE = (Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY)
_ASKING = (*_ONE, Kind.EMBEDDER_REFUSED, Kind.EMBEDDER_UNAVAILABLE, Kind.STORE_UNAVAILABLE)

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get("/maps/{map_id}/groups", name="map_groups", responses=described(*_ONE))
async def get_groups(services: ServicesDep, map_id: MapName, by: By = "") -> Groups:
    """List what the points of a map are coloured by, and how many there are of each."""
    found = await find_map(services, map_id)
    answer = await coloured(services, found, by)
    numbers = await numbers_of(services, found)
    return Groups(
        map=found.id,
        by=answer.by,
        ordered=answer.grouping.ordered,
        groups=_groups(answer),
        shown=numbers.shown,
        excluded=numbers.excluded,
        gone=gone_from(found, numbers),
    )


@router.get(
    "/maps/{map_id}/points.bin",
    name="map_points_packed",
    response_class=Response,
    responses={
        200: {
            "description": "UNM1, the length of a JSON header, the header, x, y, groups and ids",
            "content": {"application/octet-stream": {"example": "UNM1…"}},
        },
        **described(*_ONE),
    },
)
async def get_packed(services: ServicesDep, map_id: MapName, by: By = "") -> Response:
    """Get all points at once, packed, as the page paints them; 25 bytes each.

    All numbers are little-endian: 4 bytes UNM1; the length of the header as uint32; the header,
    JSON with count, by, ordered and groups, padded with spaces to a multiple of 4; then count
    float32 of x, count float32 of y, count uint8 of the group (padded with 0 to a multiple of 4),
    and 16 bytes for the id of each passage.
    """
    found = await find_map(services, map_id)
    answer = await coloured(services, found, by)
    return Response(
        _packed(answer),
        media_type="application/octet-stream",
        headers={"Cache-Control": "private, no-cache"},
    )


@router.get("/maps/{map_id}/points", name="map_points", responses=described(*_ONE))
async def list_points(
    services: ServicesDep,
    *,
    map_id: MapName,
    by: By = "",
    group: Annotated[int | None, Query(ge=0, le=255, description="Only of this group")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> PointsJson:
    """List the points of a map with their passages, page by page."""
    found = await find_map(services, map_id)
    answer = await coloured(services, found, by)
    rows = rows_of(answer, group)
    shown = await shown_points(services, answer, rows[offset : offset + limit])
    return PointsJson(
        points=[
            ColouredPoint.model_validate(
                {**point_json(passage, point), "group": code, "label": label}
            )
            for passage, point, code, label in shown
        ],
        total=len(rows),
        more=offset + limit < len(rows),
    )


@router.get("/maps/{map_id}/points/{chunk_id}", name="map_point", responses=described(*_ONE))
async def get_point(services: ServicesDep, map_id: MapName, chunk_id: UUID) -> PointJson:
    """Get the passage of one point."""
    found = await find_map(services, map_id)
    passage, point = await one_point(services, found, chunk_id)
    return PointJson.model_validate(point_json(passage, point))


@router.get("/maps/{map_id}/query", name="map_query", responses=described(*_ASKING))
async def get_query(
    services: ServicesDep,
    *,
    map_id: MapName,
    q: Annotated[str, Query(description="What is looked for, in words")],
    k: Annotated[int, Query(ge=1, le=100, description="Most hits wanted")] = 20,
) -> QueryOnMap:
    """Search the index of a map by meaning, and place the query among its hits."""
    found = await find_map(services, map_id)
    answer = await query_on_map(services, found, q, k=k)
    return QueryOnMap(
        query=answer.result.query,
        x=None if answer.x is None else round(answer.x, _DIGITS),
        y=None if answer.y is None else round(answer.y, _DIGITS),
        hits=[
            HitOnMap(
                rank=hit.rank,
                score=round(hit.score, _DIGITS),
                on_map=hit.chunk_id in answer.points,
                place=at.place if at else 0,
                chunk_id=hit.chunk_id,
                x=round(at.x, _DIGITS) if at else 0.0,
                y=round(at.y, _DIGITS) if at else 0.0,
                document_id=hit.document.id,
                title=hit.document.title,
                language=hit.document.language,
                text=shortened(hit.text),
            )
            for hit in answer.result.hits
            for at in (answer.points.get(hit.chunk_id),)
        ],
    )


@router.post(
    "/maps/{map_id}/selection",
    name="map_selection",
    dependencies=[Depends(json_only)],
    responses=described(*_ASKING, Kind.CROSS_ORIGIN, Kind.TOO_LARGE, Kind.NOT_JSON),
)
async def get_selection(services: ServicesDep, map_id: MapName, body: SelectBody) -> SelectionJson:
    """List passages of a part of a map, or search among them by meaning, exactly."""
    found = await find_map(services, map_id)
    answer = await select(
        services, found, body.chunk_ids, query=body.query, limit=body.limit, offset=body.offset
    )
    return SelectionJson(
        total=answer.total,
        passages=[
            SelectedPoint.model_validate(
                {
                    **point_json(passage, point),
                    "score": None if score is None else round(score, _DIGITS),
                }
            )
            for passage, point, score in answer.passages
        ],
        more=body.offset + body.limit < answer.total,
    )


async def shown_points(
    services: Services, answer: Coloured, rows: Sequence[int]
) -> list[tuple[Passage, Point, int, str]]:
    """Load some of the points of a map: passage, point, and code and label of the group."""
    ids = [UUID(bytes=answer.points.ids[row].tobytes()) for row in rows]
    labels = {group.code: group.label for group in answer.grouping.groups}
    async with reading(services.engine) as connection:
        passages = await chunks.passages(connection, ids)
    found = []
    for row, chunk_id in zip(rows, ids, strict=True):
        if chunk_id in passages:
            x, y = answer.points.xy[row].tolist()
            point = Point(place=int(answer.points.places[row]), chunk_id=chunk_id, x=x, y=y)
            code = int(answer.grouping.codes[row])
            found.append((passages[chunk_id], point, code, labels[code]))
    return found


def gone_from(found: Analysis, numbers: Numbers) -> int:
    """Count the passages that a map was made of and that are there no more."""
    made: int = found.numbers["passages"]
    return made - numbers.shown - numbers.excluded


def rows_of(answer: Coloured, group: int | None) -> list[int]:
    """Name the rows of points, of one group or all."""
    if group is None:
        return list(range(len(answer.points)))
    rows: list[int] = np.flatnonzero(answer.grouping.codes == group).tolist()
    return rows


def shortened(text: str) -> str:
    """Give the beginning of a passage, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_TEXT else line[:SHOWN_TEXT] + "…"


def point_json(passage: Passage, point: Point) -> dict[str, object]:
    """Give a point in the shape of the API."""
    return {
        "place": point.place,
        "chunk_id": point.chunk_id,
        "x": round(point.x, _DIGITS),
        "y": round(point.y, _DIGITS),
        "document_id": passage.document.id,
        "title": passage.document.title,
        "language": passage.document.language,
        "text": shortened(passage.text),
    }


def _groups(answer: Coloured) -> list[GroupJson]:
    return [
        GroupJson(
            code=group.code,
            kind=group.kind,
            label=group.label,
            count=group.count,
            x=round(group.x, _DIGITS),
            y=round(group.y, _DIGITS),
        )
        for group in answer.grouping.groups
    ]


def _packed(answer: Coloured) -> bytes:
    points = answer.points
    header: dict[str, JSON] = {
        "count": len(points),
        "by": answer.by,
        "ordered": answer.grouping.ordered,
        "groups": [group.model_dump() for group in _groups(answer)],
    }
    written = json.dumps(header, ensure_ascii=False).encode()
    written += b" " * (-len(written) % 4)
    codes = answer.grouping.codes.tobytes()
    return b"".join(
        [
            MAGIC,
            len(written).to_bytes(4, "little"),
            written,
            points.xy[:, 0].astype("<f4").tobytes(),
            points.xy[:, 1].astype("<f4").tobytes(),
            codes + bytes(-len(codes) % 4),
            points.ids.tobytes(),
        ]
    )
