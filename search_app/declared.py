"""Vectors that were imported while nobody could ask the model that is said to have made them.

Such a model version is declared: somebody's word, and a sample of its vectors. Whoever comes to ask
the model, be it a search, an ingest, a check or ``ingest models verify``, has it embed the passages
of that sample first. Where they come out as they were imported, but for the noise of the model, its
canaries are taken as of any other, and from then on they prove it. Where not, it is another model.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncEngine

from search_app import identity
from search_app.catalog import models
from search_app.catalog.engine import reading, transaction
from search_app.catalog.models import CanaryVector
from search_app.embedders.base import Embedder
from search_app.embedders.batching import normalise
from search_app.errors import EmbedderUnavailableError
from search_app.identity import SAME_MODEL_LIMIT, Observation, Outcome, Proof, distance
from search_app.types import ModelVersion, Vector


async def proved(
    engine: AsyncEngine,
    embedder: Embedder,
    version: ModelVersion,
    canaries: Sequence[CanaryVector],
    *,
    at_once: int = 1,
) -> Proof:
    """Prove as ``identity.prove`` does; what was only declared is verified first.

    Raises:
        EmbedderError: the embedder does not answer, or nothing is left to verify it by; that is no
            proof of anything.
    """
    if version.unverified:
        async with reading(engine) as connection:
            # Whoever asks may have read it before somebody else verified it.
            version = await models.get(connection, version.id)
            canaries = await models.canaries(connection, version.id)
        if version.unverified:
            return await _verify(engine, embedder, version, canaries)
    return await identity.prove(embedder, version, canaries, at_once=at_once)


async def _verify(
    engine: AsyncEngine,
    embedder: Embedder,
    version: ModelVersion,
    sample: Sequence[CanaryVector],
) -> Proof:
    if not sample:
        raise EmbedderUnavailableError(
            f"whether {embedder.spec} made the vectors that were imported as those of "
            f"{version.name} cannot be found out: the passages that were to tell are gone; embed "
            f"them with: ingest reindex --embedder {version.spec}"
        )
    observation = await identity.observe(embedder)
    proof = await _compared(embedder, version, sample, observation)
    if proof.outcome is Outcome.SAME:
        async with transaction(engine) as connection:
            await models.note_verified(
                connection,
                replace(
                    version,
                    identity=observation.identity,
                    noise_floor=observation.noise_floor,
                    bit_stable=observation.bit_stable,
                ),
                observation.canaries,
            )
    return proof


def allowed(noise_floor: float) -> float:
    """Say how far, in 1 − cos, an imported vector may be from what its model answers."""
    return max(3 * noise_floor, SAME_MODEL_LIMIT)


async def _compared(
    embedder: Embedder,
    version: ModelVersion,
    sample: Sequence[CanaryVector],
    observation: Observation,
) -> Proof:
    """Embed the sample, each text alone, and compare it with what was imported."""
    vectors: dict[str, Vector] = {}
    distances: dict[str, float] = {}
    for each in sample:
        unit, _ = normalise(await embedder.embed([each.text], each.kind))
        vectors[each.name] = unit[0]
        alike = unit[0].shape == each.vector.shape
        distances[each.name] = distance(unit[0], each.vector) if alike else 1.0
    furthest = max(distances, key=lambda name: distances[name])
    same = (
        distances[furthest] <= allowed(observation.noise_floor)
        and observation.identity.dimensions == version.identity.dimensions
    )
    return Proof(
        outcome=Outcome.SAME if same else Outcome.OTHER_MODEL,
        lowest_cosine=1.0 - distances[furthest],
        canary=furthest,
        library_versions=observation.identity.library_versions,
        distances=distances,
        vectors=vectors,
    )
