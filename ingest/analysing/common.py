"""What all analyses share: reading what is analysed, and keeping what was found."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.analysis.asking import check_scope
from search_app.analysis.vectors import VectorSet, load
from search_app.bootstrap import Services
from search_app.catalog import analyses
from search_app.catalog.chunks import Passage, passages
from search_app.catalog.engine import reading, transaction
from search_app.grammar import parse_filter
from search_app.types import JSON

SHOWN_TEXT = 200
"""Characters of a passage that a report shows."""

DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is analysed: an index of a collection, or the passages that pass its filters."""

    collection: str = "default"
    index: str | None = None
    filters: Sequence[str] = ()
    seed: int = 0

    def as_json(self) -> dict[str, JSON]:
        """Give the parameters that every analysis has."""
        return {"index": self.index, "filters": list(self.filters), "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class Done:
    """An analysis that was made and kept."""

    id: UUID
    kind: str
    collection: str
    index_id: UUID
    model_version_id: UUID
    model: str
    parameters: Mapping[str, JSON]
    numbers: Mapping[str, JSON]
    seconds: float

    def as_json(self) -> dict[str, JSON]:
        """Give it in the shape that users get."""
        return {
            "id": str(self.id),
            "kind": self.kind,
            "collection": self.collection,
            "index_id": str(self.index_id),
            "model_version_id": str(self.model_version_id),
            "model": self.model,
            "parameters": dict(self.parameters),
            "numbers": dict(self.numbers),
            "seconds": round(self.seconds, 2),
        }


async def vectors_of(services: Services, scope: Scope) -> VectorSet:
    """Read what is analysed.

    Raises:
        InvalidInputError: a filter cannot be read, or the seed is none.
        NotFoundError: no such collection or index.
        StoreError, CatalogError: they do not answer.
    """
    check_scope(seed=scope.seed, filters=scope.filters, index=scope.index)
    given = parse_filter(scope.filters)
    found = await load(
        services.engine,
        services.store,
        collection=scope.collection,
        index=scope.index,
        seed=scope.seed,
    )
    return found.passing(given)


async def texts_of(services: Services, chunk_ids: Sequence[UUID]) -> dict[UUID, Passage]:
    """Load passages, page by page."""
    found: dict[UUID, Passage] = {}
    for start in range(0, len(chunk_ids), 2_000):
        async with reading(services.engine) as connection:
            found |= await passages(connection, chunk_ids[start : start + 2_000])
    return found


async def keep(
    services: Services,
    kind: str,
    vectors: VectorSet,
    *,
    parameters: Mapping[str, JSON],
    numbers: Mapping[str, JSON],
    began: float,
    job_id: int | None,
    clusters: tuple[Sequence[int], Sequence[float]] | None = None,
    besides: Callable[[AsyncConnection, UUID], Awaitable[None]] | None = None,
) -> Done:
    """Keep what was found, with the cluster and score of every passage where there are any.

    ``besides`` keeps more of it, in the same transaction.
    """
    target = vectors.target
    seconds = time.monotonic() - began
    rounded = _rounded(dict(numbers))
    async with transaction(services.engine) as connection:
        analysis_id = await analyses.add(
            connection,
            collection_id=target.collection.id,
            index_id=target.index.id,
            model_version_id=target.version.id,
            kind=kind,
            parameters=parameters,
            seed=vectors.seed,
            numbers=rounded,
            seconds=seconds,
            job_id=job_id,
        )
        if clusters is not None:
            await analyses.add_members(connection, analysis_id, vectors.chunk_ids, *clusters)
        if besides is not None:
            await besides(connection, analysis_id)
    return Done(
        id=analysis_id,
        kind=kind,
        collection=target.collection.name,
        index_id=target.index.id,
        model_version_id=target.version.id,
        model=target.version.name,
        parameters=parameters,
        numbers=rounded,
        seconds=seconds,
    )


def counted(vectors: VectorSet) -> dict[str, JSON]:
    """Say what was looked at, and whether that is all."""
    return {
        "passages": len(vectors),
        "documents": len(vectors.document_ids),
        "available": vectors.available,
        "sampled": vectors.sampled,
        "broken": vectors.broken,
    }


def shown(passage: Passage | None) -> dict[str, JSON]:
    """Give as much of a passage as a list shows; one that is gone says so."""
    if passage is None:
        return {"document_id": None, "title": "", "text": ""}
    text = " ".join(passage.text.split())
    return {
        "document_id": str(passage.document.id),
        "title": passage.document.title,
        "text": text[:SHOWN_TEXT] + ("…" if len(text) > SHOWN_TEXT else ""),
    }


def _rounded(value: JSON) -> JSON:
    """Round numbers to what means something; JSON of a database has no NaN either."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if abs(value) < float("inf") else None
    return value
