"""Layer 1: do the fixed texts still get the vectors that the model version was registered with?"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from search_app import identity
from search_app.catalog.models import CanaryVector
from search_app.consistency.asking import Asker
from search_app.consistency.symptoms import Answered
from search_app.consistency.types import Canaries
from search_app.embedders.batching import normalise
from search_app.identity import Outcome, Proof, distance
from search_app.types import Kind, ModelVersion


async def look(
    asker: Asker, version: ModelVersion, canaries: Sequence[CanaryVector]
) -> tuple[Canaries, Proof]:
    """Send the canaries alone, then together, and compare.

    Raises:
        SpentUpError: no more texts may be sent.
        EmbedderError: the model does not answer.
    """
    proof = await identity.prove(asker.embedder, version, canaries)
    within: dict[str, float] = {}
    # What another model does in company is of no interest.
    if proof.outcome is not Outcome.OTHER_MODEL and asker.embedder.batch_size > 1:
        within = await _in_company(asker, canaries, proof)
    return (
        Canaries(
            outcome=proof.outcome.value,
            lowest_cosine=proof.lowest_cosine,
            canary=proof.canary,
            noise=max(within.values(), default=None),
            distances=dict(proof.distances),
            within=within,
            decided_after=proof.decided_after,
            upgraded=_upgraded(version.identity.library_versions, proof.library_versions),
        ),
        proof,
    )


def _upgraded(before: Mapping[str, str], now: Mapping[str, str]) -> Mapping[str, str]:
    """Name the packages that are of another version now, as "1.0 to 1.1"."""
    return {
        name: f"{before.get(name, 'none')} to {now.get(name, 'none')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    }


async def answered(
    asker: Asker, version: ModelVersion, canaries: Sequence[CanaryVector]
) -> Answered | None:
    """Look at an answer of other dimensions; None where they are those of the model version.

    Raises:
        SpentUpError: no more texts may be sent.
        EmbedderError: the model does not answer.
    """
    canary = canaries[0]
    unit, _ = normalise(await asker.embedder.embed([canary.text], canary.kind))
    size = unit.shape[1]
    if size == version.identity.dimensions:
        return None
    if size > version.identity.dimensions:
        return Answered(dimensions=size, head=1.0)
    head, _ = normalise(canary.vector[None, :size])
    return Answered(dimensions=size, head=distance(unit[0], head[0]))


async def _in_company(
    asker: Asker, canaries: Sequence[CanaryVector], proof: Proof
) -> dict[str, float]:
    """Send the canaries of each kind together; give 1 - cos to what each got alone tonight."""
    kinds: dict[Kind, list[CanaryVector]] = defaultdict(list)
    for canary in canaries:
        kinds[canary.kind].append(canary)
    within = {}
    for kind, group in kinds.items():
        for start in range(0, len(group), asker.embedder.batch_size):
            batch = group[start : start + asker.embedder.batch_size]
            vectors = await asker.together([canary.text for canary in batch], kind)
            for canary, vector in zip(batch, vectors, strict=True):
                alone = proof.vectors[canary.name]
                same = alone.tobytes() == vector.tobytes()
                within[canary.name] = 0.0 if same else distance(alone, vector)
    return within
