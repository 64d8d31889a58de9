"""Model versions, their canary vectors, and the proofs that they still answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy import (
    RowMapping,
    Text,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.chunks import indexed_text
from search_app.catalog.tables import (
    canary_vectors,
    chunks,
    identity_proofs,
    indexes,
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
        declared_at=row[model_versions.c.declared_at],
        verified_at=row[model_versions.c.verified_at],
    )


async def add(
    connection: AsyncConnection, version: ModelVersion, canaries: Sequence[CanaryVector]
) -> None:
    """Record a model version together with its canary vectors."""
    await connection.execute(
        insert(model_versions).values(id=version.id, spec=version.spec, **_observed(version))
    )
    await _add_canaries(connection, version.id, canaries)


def _observed(version: ModelVersion) -> dict[str, Any]:
    identity = version.identity
    return {
        "provider": identity.provider,
        "model": identity.model,
        "revision": identity.revision,
        "dimensions": identity.dimensions,
        "max_tokens": identity.max_tokens,
        "document_prefix": identity.document_prefix,
        "query_prefix": identity.query_prefix,
        "settings": dict(identity.settings),
        "library_versions": dict(identity.library_versions),
        "noise_floor": version.noise_floor,
        "bit_stable": version.bit_stable,
    }


async def _add_canaries(
    connection: AsyncConnection, model_version_id: UUID, canaries: Sequence[CanaryVector]
) -> None:
    await connection.execute(
        insert(canary_vectors),
        [
            {
                "model_version_id": model_version_id,
                "name": canary.name,
                "kind": canary.kind,
                "text": canary.text,
                "vector": canary.vector.astype("<f4").tobytes(),
            }
            for canary in canaries
        ],
    )


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A passage and the unit vector that somebody says a model gave it."""

    chunk_id: UUID
    vector: Vector


async def declare(
    connection: AsyncConnection, version: ModelVersion, sample: Sequence[Declared]
) -> None:
    """Record a model version that nobody could ask, and some vectors that are to verify it.

    Of the passages nothing but their ids is kept: what is removed verifies nothing any more.
    """
    await connection.execute(
        insert(model_versions).values(
            id=version.id, spec=version.spec, declared_at=func.now(), **_observed(version)
        )
    )
    await connection.execute(
        insert(canary_vectors),
        [
            {
                "model_version_id": version.id,
                "name": f"imported {number:02}",
                "kind": "document",
                "text": "",
                "vector": each.vector.astype("<f4").tobytes(),
                "chunk_id": each.chunk_id,
            }
            for number, each in enumerate(sample, start=1)
        ],
    )


async def withdraw(connection: AsyncConnection, model_version_id: UUID) -> None:
    """Delete a declared model version that no index came of."""
    await connection.execute(
        delete(model_versions).where(
            model_versions.c.id == model_version_id,
            model_versions.c.declared_at.is_not(None),
            ~exists().where(indexes.c.model_version_id == model_version_id),
        )
    )


async def note_verified(
    connection: AsyncConnection, version: ModelVersion, canaries: Sequence[CanaryVector]
) -> bool:
    """Take what was observed of a declared model version in place of what was declared.

    Its canaries stand for it from now on. Says whether nobody else was first.
    """
    updated = await connection.execute(
        update(model_versions)
        .where(model_versions.c.id == version.id, model_versions.c.verified_at.is_(None))
        .values(verified_at=func.now(), **_observed(version))
    )
    if not updated.rowcount:
        return False
    await connection.execute(
        delete(canary_vectors).where(canary_vectors.c.model_version_id == version.id)
    )
    await _add_canaries(connection, version.id, canaries)
    return True


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
    """Get the canary vectors of a model version, in the order of their names.

    Of one that was never verified they are imported vectors, with the texts of their passages.
    """
    statement = (
        select(*canary_vectors.c, chunks.c.context, chunks.c.text.label("passage"))
        .outerjoin(chunks, chunks.c.id == canary_vectors.c.chunk_id)
        .where(
            canary_vectors.c.model_version_id == model_version_id,
            or_(canary_vectors.c.chunk_id.is_(None), chunks.c.state == "live"),
        )
        .order_by(canary_vectors.c.name)
    )
    return [
        CanaryVector(
            name=row.name,
            kind=row.kind,
            text=row.text if row.chunk_id is None else indexed_text(row.context, row.passage),
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
