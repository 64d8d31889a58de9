"""What is checked, and all that is known of it from before."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search_app.bootstrap import Services
from search_app.catalog import checks, collections, indexes, models, references
from search_app.catalog.checks import Check
from search_app.catalog.engine import reading
from search_app.catalog.models import CanaryVector
from search_app.catalog.references import Reference
from search_app.consistency.evidence import Evidence, interval
from search_app.consistency.verdict import Baseline
from search_app.errors import InvalidInputError
from search_app.stores.base import VectorStore
from search_app.types import Collection, Index, IndexState, ModelVersion

MOST_K = 100

WEEK = 7
"""Nights whose bounds are given together."""

ROUNDING = 1e-6
"""1 - cos that is never noise above the usual."""


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """What to check and with how much.

    ``index`` is an id or the beginning of one, None the active one. ``most_texts`` None: as many
    as the layers want; ``budget`` likewise, in money. ``golden`` is a folder whose queries become
    references.
    """

    collection: str
    index: str | None = None
    k: int = 10
    most_texts: int | None = None
    budget: float | None = None
    seed: int | None = None
    fail_on_noisy: bool = False
    golden: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An index with its model, its reference queries and its latest checks, newest first."""

    collection: Collection
    index: Index
    version: ModelVersion
    canaries: Sequence[CanaryVector]
    store: VectorStore
    references: Sequence[Reference]
    nights: Sequence[Check]
    accepted: Check | None

    @property
    def baseline(self) -> Baseline:
        """What counts as usual: what was accepted, or what was seen at registration."""
        noise, accepted = self.version.noise_floor, self.accepted
        if accepted is None:
            return Baseline(noise_high=max(3 * noise, ROUNDING))
        return Baseline(
            noise_high=max(3 * max(noise, accepted.noise_max or 0.0), ROUNDING),
            unsteady_high=interval(accepted.unsteady, accepted.repeated).high,
        )

    @property
    def evidence(self) -> tuple[Evidence, Evidence]:
        """What earlier nights said about drift and about reproducibility.

        Both begin anew with an index, and when a person accepts what is.
        """
        latest = self.nights[0] if self.nights else None
        if latest is None or latest.accepted_at is not None:
            return Evidence(), Evidence()
        return (
            Evidence(processes=tuple(latest.drift)),
            Evidence(processes=tuple(latest.reproducibility)),
        )


async def load(services: Services, request: CheckRequest) -> Subject:
    """Find what a request means.

    Raises:
        InvalidInputError: it cannot be meant; says what can.
        NotFoundError: there is no such collection or index.
    """
    if not 1 <= request.k <= MOST_K:
        raise InvalidInputError(f"k is {request.k}; 1 to {MOST_K} work")
    if request.budget is not None and request.budget < 0:
        raise InvalidInputError(f"the budget is {request.budget:g}; write 0 for any, or more")
    async with reading(services.engine) as connection:
        collection = await collections.get(connection, request.collection)
        if request.index is None:
            index = await indexes.active(connection, collection)
        else:
            index = await indexes.find(connection, request.index)
        _check_index(index, collection)
        version = await models.get(connection, index.model_version_id)
        return Subject(
            collection=collection,
            index=index,
            version=version,
            canaries=await models.canaries(connection, version.id),
            store=services.store(index.store),
            references=await references.listing(connection, index.id),
            nights=await checks.listing(connection, index_id=index.id, limit=WEEK),
            accepted=await checks.accepted(connection, index.id),
        )


def _check_index(index: Index, collection: Collection) -> None:
    name = str(index.id)[:8]
    if index.collection_id != collection.id:
        raise InvalidInputError(f"index {name} is not of collection {collection.name!r}")
    if index.state is IndexState.RETIRED:
        raise InvalidInputError(f"index {name} is retired; nothing of it is kept")
