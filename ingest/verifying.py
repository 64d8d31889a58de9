"""Having a model that was only declared verify the vectors that were imported as its own."""

from dataclasses import dataclass

from search_app import declared, identity
from search_app.bootstrap import Services
from search_app.catalog import models, statistics
from search_app.catalog.engine import reading
from search_app.embedders.base import Embedder
from search_app.identity import Outcome, Proof
from search_app.types import ModelVersion


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A model version as it is now; ``proof`` is None where there was nothing to verify."""

    version: ModelVersion
    proof: Proof | None


async def verify(services: Services, model: str) -> Verified:
    """Ask a model version, named by the beginning of its id, for some of its imported vectors.

    Raises:
        NotFoundError: there is none.
        ModelMismatchError: it answers others.
        EmbedderError: it does not answer, or nothing is left to verify it by.
    """
    async with reading(services.engine) as connection:
        version = await models.find(connection, model)
    if not version.unverified:
        return Verified(version=version, proof=None)
    embedder: Embedder = services.embedder(version.spec)
    proof = await declared.proved(services.engine, embedder, version, ())
    async with reading(services.engine) as connection:
        uses = await statistics.index_uses(connection, model_version_id=version.id)
        now = await models.get(connection, version.id)
    if proof.outcome is Outcome.OTHER_MODEL:
        names = ", ".join(dict.fromkeys(use.collection.name for use in uses))
        raise identity.mismatch(embedder, version, proof, names or "-")
    return Verified(version=now, proof=proof)
