"""Model versions, their canary vectors, and the proofs that they still answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy import RowMapping, Text, cast, func, insert, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import (
    canary_vectors,
    identity_proofs,
    model_aliases,
    model_versions,
)
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import Kind, ModelIdentity, ModelVersion, Vector


@dataclass(frozen=True, kw_only=True)
class CanaryVector:
    """A fixed text and the unit vector that the model gave it at registration."""

    name: str
    kind: Kind
    text: str
    vector: Vector


def from_row(row: RowMapping) -> ModelVersion:
    """Read a model version from a row that has the table's columns, alone or among others."""
    return ModelVersion(
        id=row[model_versions.c.id],
        spec=row[model_versions.c.spec],
        identity=ModelIdentity(
            provider=row[model_versions.c.provider],
            model=row[model_versions.c.model],
            revision=row[model_versions.c.revision],
            dimensions=row[model_versions.c.dimensions],
            max_tokens=row[model_versions.c.max_tokens],
            document_prefix=row[model_versions.c.document_prefix],
            query_prefix=row[model_versions.c.query_prefix],
            settings=row[model_versions.c.settings],
            library_versions=row[model_versions.c.library_versions],
        ),
        noise_floor=row[model_versions.c.noise_floor],
        bit_stable=row[model_versions.c.bit_stable],
    )


async def add(
    connection: AsyncConnection, version: ModelVersion, canaries: Sequence[CanaryVector]
) -> None:
    """Record a model version together with its canary vectors."""
    identity = version.identity
    await connection.execute(
        insert(model_versions).values(
            id=version.id,
            spec=version.spec,
            provider=identity.provider,
            model=identity.model,
            revision=identity.revision,
            dimensions=identity.dimensions,
            max_tokens=identity.max_tokens,
            document_prefix=identity.document_prefix,
            query_prefix=identity.query_prefix,
            settings=dict(identity.settings),
            library_versions=dict(identity.library_versions),
            noise_floor=version.noise_floor,
            bit_stable=version.bit_stable,
        )
    )
    await connection.execute(
        insert(canary_vectors),
        [
            {
                "model_version_id": version.id,
                "name": canary.name,
                "kind": canary.kind,
                "text": canary.text,
                "vector": canary.vector.astype("<f4").tobytes(),
            }
            for canary in canaries
        ],
    )


@dataclass(frozen=True, kw_only=True)
class Alias:
    """A spec under which a model was met that had been registered as another."""

    spec: str
    created_at: datetime
    seen_at: datetime


async def note_alias(connection: AsyncConnection, version: ModelVersion, spec: str) -> None:
    """Record that an embedder made by this spec is that model version; its own is no alias."""
    if spec == version.spec:
        return
    statement = postgresql.insert(model_aliases).values(model_version_id=version.id, spec=spec)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[model_aliases.c.model_version_id, model_aliases.c.spec],
            set_={"seen_at": func.now()},
        )
    )


async def aliases(connection: AsyncConnection, model_version_id: UUID) -> list[Alias]:
    """List the specs under which a model version was met, the first met first."""
    statement = (
        select(model_aliases.c.spec, model_aliases.c.created_at, model_aliases.c.seen_at)
        .where(model_aliases.c.model_version_id == model_version_id)
        .order_by(model_aliases.c.created_at, model_aliases.c.spec)
    )
    rows = await connection.execute(statement)
    return [Alias(spec=row.spec, created_at=row.created_at, seen_at=row.seen_at) for row in rows]


async def lock_registration(connection: AsyncConnection) -> None:
    """Keep others from registering models until this transaction ends, so none is added twice."""
    await connection.execute(text("LOCK TABLE model_versions IN SHARE ROW EXCLUSIVE MODE"))


async def get(connection: AsyncConnection, model_version_id: UUID) -> ModelVersion:
    """Get a model version by id.

    Raises:
        NotFoundError: there is none.
    """
    statement = select(*model_versions.c).where(model_versions.c.id == model_version_id)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"no model version {model_version_id}")
    return from_row(row)


_IN_IDS = frozenset("0123456789abcdef-")


async def find(connection: AsyncConnection, text: str) -> ModelVersion:
    """Get a model version by its id, or by as much of its beginning as names one only.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: the text is too short to tell them apart.
    """
    beginning = text.strip().lower()
    if not beginning or set(beginning) - _IN_IDS:
        raise NotFoundError(f"no model version {text[:50]!r}; ingest models lists them")
    statement = (
        select(*model_versions.c)
        .where(cast(model_versions.c.id, Text).startswith(beginning, autoescape=True))
        .limit(2)
    )
    found = (await connection.execute(statement)).mappings().all()
    if not found:
        raise NotFoundError(f"no model version {text[:50]!r}; ingest models lists them")
    if len(found) > 1:
        raise InvalidInputError(f"several model versions begin with {text!r}; write more of it")
    return from_row(found[0])


async def listing(connection: AsyncConnection) -> list[ModelVersion]:
    """List all model versions, oldest first."""
    statement = select(*model_versions.c).order_by(model_versions.c.created_at, model_versions.c.id)
    return [from_row(row) for row in (await connection.execute(statement)).mappings()]


async def canaries(connection: AsyncConnection, model_version_id: UUID) -> list[CanaryVector]:
    """Get the canary vectors of a model version, in the order of their names."""
    statement = (
        select(*canary_vectors.c)
        .where(canary_vectors.c.model_version_id == model_version_id)
        .order_by(canary_vectors.c.name)
    )
    return [
        CanaryVector(
            name=row.name,
            kind=row.kind,
            text=row.text,
            vector=np.frombuffer(row.vector, dtype="<f4"),
        )
        for row in await connection.execute(statement)
    ]


async def add_proof(
    connection: AsyncConnection,
    *,
    model_version_id: UUID,
    run_id: UUID | None,
    outcome: str,
    lowest_cosine: float,
    canary: str,
    library_versions: Mapping[str, str],
) -> None:
    """Record that a model was asked for its canaries, and what came of it."""
    await connection.execute(
        insert(identity_proofs).values(
            id=uuid4(),
            model_version_id=model_version_id,
            run_id=run_id,
            outcome=outcome,
            lowest_cosine=lowest_cosine,
            canary=canary,
            library_versions=dict(library_versions),
        )
    )
