"""The JSON of keys and of the log of changes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from search_app.access.scopes import Scope
from search_app.catalog.keys import LONGEST_NAME, MOST_DAYS, KeyRecord
from search_app.catalog.trail import Via
from search_app.types import JSON
from search_app.web.schemas import Model

MOST_OVERLAP_HOURS = 720
"""Most hours for which a key works beside the one that takes its place."""

_KEY: Mapping[str, JSON] = {
    "id": "6f3c1c5e-24f7-4c1d-9a3e-5a6f7c1b9d20",
    "name": "intranet search",
    "label": "unm_k7m2x9q4wz3t",
    "scopes": ["read"],
    "collections": ["default", "handbook"],
    "state": "valid",
    "rotated_from": None,
    "created_at": "2026-05-04T08:15:00Z",
    "expires_at": "2026-08-02T08:15:00Z",
    "last_used_at": "2026-06-02T17:05:11Z",
    "revoked_at": None,
}

EXAMPLES: Mapping[str, JSON] = {
    "key": _KEY,
    "keys": {"keys": [_KEY]},
    "create": {
        "name": "intranet search",
        "scopes": ["read"],
        "collections": ["default", "handbook"],
        "days": 90,
    },
    "rotate": {"overlap_hours": 24},
    "made": {"key": "unm_k7m2x9q4wz3t_" + "x" * 43, "record": _KEY},
    "changes": {
        "changes": [
            {
                "id": 512,
                "created_at": "2026-06-02T17:05:11Z",
                "who": "intranet search",
                "key_label": "unm_k7m2x9q4wz3t",
                "address": "192.0.2.7",
                "via": "api",
                "action": "upload",
                "target": "/api/v1/collections/handbook/documents",
                "outcome": "done",
            }
        ],
        "more": False,
    },
}


class KeyJson(Model):
    """A key but its secret; without ``collections`` it is for all, also those to come."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["key"]})

    id: UUID
    name: str
    label: Annotated[str, Field(description="The beginning of the key, which is no secret")]
    scopes: list[Scope]
    collections: list[str] | None
    state: Literal["valid", "expired", "revoked"]
    rotated_from: UUID | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: Annotated[datetime | None, Field(description="To the minute")]
    revoked_at: datetime | None


class Keys(Model):
    """All keys that were ever made, newest first."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["keys"]})

    keys: list[KeyJson]


class NewKey(Model):
    """What a new key is to be for."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["create"]})

    name: Annotated[str, Field(max_length=LONGEST_NAME, description="Who or what will use it")]
    scopes: Annotated[
        tuple[Annotated[Scope, Field(strict=False)], ...],
        Field(strict=False, min_length=1, description="What it is for; admin is for everything"),
    ]
    collections: Annotated[
        tuple[str, ...] | None,
        Field(strict=False, description="Left out: all, also those to come"),
    ] = None
    days: Annotated[
        int | None, Field(ge=1, le=MOST_DAYS, description="When it expires; left out: never")
    ] = None


class Rotation(Model):
    """How a key is to be replaced."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["rotate"]})

    overlap_hours: Annotated[
        int,
        Field(ge=0, le=MOST_OVERLAP_HOURS, description="For how long the old key works beside it"),
    ] = 24


class MadeKey(Model):
    """A key that was made. This is the only time that it is shown."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["made"]})

    key: str
    record: KeyJson


class ChangeJson(Model):
    """Something that was done, or tried: by whom, to what, and what came of it."""

    id: int
    created_at: datetime
    who: str
    key_label: str | None
    address: str | None
    via: Via
    action: str
    target: str
    outcome: str


class Changes(Model):
    """Changes, the latest first; ``more``: there are older ones."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLES["changes"]})

    changes: list[ChangeJson]
    more: bool


def key_json(record: KeyRecord) -> KeyJson:
    """Give a key in the shape of the API."""
    seen = record.collections
    return KeyJson(
        id=record.id,
        name=record.name,
        label=record.label,
        scopes=sorted(record.scopes),
        collections=None if seen is None else [each.name for each in seen],
        state=record.state,
        rotated_from=record.rotated_from,
        created_at=record.created_at,
        expires_at=record.expires_at,
        last_used_at=record.last_used_at,
        revoked_at=record.revoked_at,
    )
