"""Probing an embedder, and looking for it among the models that are registered."""

from collections.abc import Callable
from dataclasses import dataclass

from search_app import identity
from search_app.bootstrap import make_embedder, open_services
from search_app.catalog import models
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.embedders.base import Embedder
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.errors import NotFoundError
from search_app.identity import Observation
from search_app.probing import Probe, probe
from search_app.types import ModelVersion


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What was measured; which registered model it is; which ones its spec was registered as.

    ``known`` is None where its canaries are those of no model that is registered.
    """

    probe: Probe
    known: ModelVersion | None
    same_spec: list[ModelVersion]


async def probed(settings: Settings, spec: str, *, texts: int) -> Probed:
    """Measure the embedder that a spec names; nothing is recorded, and no database is made.

    Raises:
        ConfigurationError: the spec names none, or a setting it needs is missing.
        EmbedderError: it does not answer, refuses or answers nonsense.
        CatalogError: there is a database, and it cannot be asked.
    """
    embedder = make_embedder(spec, settings)
    try:
        measured = await probe(embedder, texts=texts, count_tokens=_counter(embedder))
        observation = await identity.observe(embedder)
    finally:
        await embedder.aclose()
    known, same_spec = await _known(settings, embedder, observation)
    return Probed(probe=measured, known=known, same_spec=same_spec)


def _counter(embedder: Embedder) -> Callable[[str], int] | None:
    return TokenCounter().count_tokens if embedder.spec == "bundled" else None


async def _known(
    settings: Settings, embedder: Embedder, observation: Observation
) -> tuple[ModelVersion | None, list[ModelVersion]]:
    try:
        async with (
            open_services(settings, create=False) as services,
            transaction(services.engine) as connection,
        ):
            registered = await models.listing(connection)
            named = [each for each in registered if each.spec == embedder.spec]
            for version in registered:
                canaries = await models.canaries(connection, version.id)
                if identity.recognise(observation, version, canaries):
                    return version, named
    except NotFoundError:
        # Nothing was ever ingested here, so nothing is registered.
        return None, []
    return None, named
