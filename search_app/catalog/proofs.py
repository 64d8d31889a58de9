"""Proofs that a model still is the one that was registered, as they were recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import identity_proofs


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One time that a model was asked for its canaries.

    ``canary`` is the one furthest from what was registered, at ``lowest_cosine``; without a run it
    was a search that asked.
    """

    id: UUID
    run_id: UUID | None
    outcome: str
    lowest_cosine: float
    canary: str
    library_versions: Mapping[str, str]
    created_at: datetime


def _proof(row: Any) -> Proof:
    return Proof(
        id=row.id,
        run_id=row.run_id,
        outcome=row.outcome,
        lowest_cosine=row.lowest_cosine,
        canary=row.canary,
        library_versions=row.library_versions,
        created_at=row.created_at,
    )


async def listing(
    connection: AsyncConnection, model_version_id: UUID, *, limit: int, offset: int = 0
) -> list[Proof]:
    """List the proofs of a model version, newest first."""
    statement = (
        select(*identity_proofs.c)
        .where(identity_proofs.c.model_version_id == model_version_id)
        .order_by(identity_proofs.c.created_at.desc(), identity_proofs.c.id)
        .limit(limit)
        .offset(offset)
    )
    return [_proof(row) for row in await connection.execute(statement)]


async def outcomes(connection: AsyncConnection, model_version_id: UUID) -> Mapping[str, int]:
    """Count the proofs of a model version by their outcome."""
    statement = (
        select(identity_proofs.c.outcome, func.count().label("number"))
        .where(identity_proofs.c.model_version_id == model_version_id)
        .group_by(identity_proofs.c.outcome)
        .order_by(identity_proofs.c.outcome)
    )
    return {row.outcome: row.number for row in await connection.execute(statement)}


async def latest(connection: AsyncConnection) -> Mapping[UUID, Proof]:
    """Give the latest proof of every model version that was ever proved."""
    statement = (
        select(*identity_proofs.c)
        .ext(distinct_on(identity_proofs.c.model_version_id))
        .order_by(
            identity_proofs.c.model_version_id,
            identity_proofs.c.created_at.desc(),
            identity_proofs.c.id,
        )
    )
    return {row.model_version_id: _proof(row) for row in await connection.execute(statement)}
