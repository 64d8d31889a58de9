"""The JSON API of keys and of the log of changes."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from search_app.catalog import keys, trail
from search_app.catalog.engine import reading, transaction
from search_app.web.answers import described
from search_app.web.deps import ServicesDep
from search_app.web.key_schemas import (
    ChangeJson,
    Changes,
    KeyJson,
    Keys,
    MadeKey,
    NewKey,
    Rotation,
    key_json,
)
from search_app.web.problems import Kind

router = APIRouter(prefix="/api/v1", tags=["v1"])

Label = Annotated[str, Path(max_length=200, description="The key's label, or its id")]

_CHANGING = (Kind.INVALID_INPUT, Kind.CROSS_ORIGIN, Kind.NOT_FOUND, Kind.INVALID_BODY)


@router.get("/keys", name="keys", responses=described())
async def list_keys(services: ServicesDep) -> Keys:
    """List all keys that were ever made; of none can the secret be shown."""
    async with reading(services.engine) as connection:
        found = await keys.listing(connection)
    return Keys(keys=[key_json(each) for each in found])


@router.post(
    "/keys",
    name="create_key",
    status_code=201,
    responses=described(*_CHANGING, Kind.TOO_LARGE, Kind.NOT_JSON),
)
async def create_key(services: ServicesDep, body: NewKey, response: Response) -> MadeKey:
    """Make a key. It is shown this once; from the first key on, every request needs one."""
    response.headers["Cache-Control"] = "no-store"
    async with transaction(services.engine) as connection:
        record, key = await keys.create(
            connection,
            name=body.name,
            scopes=frozenset(body.scopes),
            collection_names=body.collections,
            days=body.days,
        )
    return MadeKey(key=key.text, record=key_json(record))


@router.post(
    "/keys/{key}/rotate",
    name="rotate_key",
    status_code=201,
    responses=described(*_CHANGING, Kind.TOO_LARGE, Kind.NOT_JSON),
)
async def rotate_key(
    services: ServicesDep, key: Label, body: Rotation, response: Response
) -> MadeKey:
    """Make a key that takes the place of another, which works on for a while."""
    response.headers["Cache-Control"] = "no-store"
    async with transaction(services.engine) as connection:
        record, made = await keys.rotate(
            connection, key, overlap=timedelta(hours=body.overlap_hours)
        )
    return MadeKey(key=made.text, record=key_json(record))


@router.delete("/keys/{key}", name="revoke_key", responses=described(*_CHANGING))
async def revoke_key(services: ServicesDep, key: Label) -> KeyJson:
    """Have a key work no more, at once, with the sessions that were opened with it."""
    async with transaction(services.engine) as connection:
        return key_json(await keys.revoke(connection, key))


@router.get("/changes", name="changes", responses=described(Kind.INVALID_BODY))
async def list_changes(
    services: ServicesDep,
    who: Annotated[str, Query(max_length=200, description="Only by that name or key label")] = "",
    action: Annotated[str, Query(max_length=200, description="Only such changes")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most")] = 50,
    offset: Annotated[int, Query(ge=0, le=10**9, description="How many to pass over")] = 0,
) -> Changes:
    """List what was changed here by whom, the latest first."""
    async with reading(services.engine) as connection:
        found = await trail.listing(
            connection, limit=limit + 1, offset=offset, who=who, action=action
        )
    return Changes(
        changes=[ChangeJson.model_validate(each) for each in found[:limit]],
        more=len(found) > limit,
    )
