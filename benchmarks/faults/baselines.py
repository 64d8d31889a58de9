"""What others would do with the same model and store: one alarm or none, from one night."""

from collections.abc import Mapping
from hashlib import sha256

import numpy as np

from benchmarks.faults.worlds import World
from search_app.consistency.ranking import first_k
from search_app.embedders.batching import normalise
from search_app.types import Matrix

PASSAGES = 40
QUERIES = 43
K = 10

MEAN_COSINE = 0.999
OVERLAP = 0.95
PERMUTATIONS = 499

NAMES = ("mean cosine", "MMD", "hash equality", "overlap@10")


async def alarms(world: World, draw: np.random.Generator) -> Mapping[str, bool]:
    """Say which of the usual checks would raise an alarm tonight.

    Mean cosine of 40 passages embedded again below 0.999; maximum mean discrepancy between those
    and 40 other stored ones (Gretton et al., 2012), by permutation at 1 in 500; any of their bytes
    other than stored; mean overlap of 43 lists below 0.95.
    """
    stored = world.stored
    places = draw.permutation(len(stored.ids))[: 2 * PASSAGES]
    mine, others = places[:PASSAGES], places[PASSAGES:]
    current = await _current(world)
    answered = await world.planted.answer([stored.texts[place] for place in mine], "document")
    if answered.shape[1] != current.shape[1]:
        # Whatever compares vectors fails at once; that is an alarm of a kind.
        return dict.fromkeys(NAMES, True)
    fresh, _ = normalise(answered)
    kept = current[mine]
    cosines = np.einsum("ij,ij->i", fresh, _unit(kept))
    return {
        "mean cosine": bool(cosines.mean() < MEAN_COSINE),
        "MMD": _differ(fresh, _unit(current[others]), draw),
        "hash equality": any(
            sha256(a.tobytes()).digest() != sha256(b.tobytes()).digest()
            for a, b in zip(fresh, kept, strict=True)
        ),
        "overlap@10": await _overlap(world, current, draw) < OVERLAP,
    }


async def _current(world: World) -> Matrix:
    """Give what is stored now, what is missing as it was."""
    points = await world.services.store("pgvector").fetch(
        world.stored.index.id, list(world.stored.ids)
    )
    there = {point.chunk_id: point.vector for point in points}
    rows = [
        vector if (vector := there.get(chunk_id)) is not None else world.stored.vectors[place]
        for place, chunk_id in enumerate(world.stored.ids)
    ]
    return np.stack(rows)


async def _overlap(world: World, current: Matrix, draw: np.random.Generator) -> float:
    shares = []
    for place in draw.permutation(len(world.references))[:QUERIES].tolist():
        reference = world.references[place]
        tonight = _unit(await world.planted.answer([reference.text], "query"))[0]
        before = first_k(world.stored.vectors @ reference.sends[0], K)
        after = first_k(current @ tonight, K)
        shares.append(len(np.intersect1d(before, after)) / K)
    return float(np.mean(shares))


def _differ(one: Matrix, other: Matrix, draw: np.random.Generator) -> bool:
    both = np.concatenate([one, other]).astype(np.float64)
    squared = np.maximum(2 - 2 * both @ both.T, 0)
    kernel = np.exp(-squared / np.median(squared[squared > 0]))
    labels = np.repeat([1.0, -1.0], [len(one), len(other)])
    seen = labels @ kernel @ labels
    by_chance = 0
    for _ in range(PERMUTATIONS):
        mixed = draw.permutation(labels)
        by_chance += mixed @ kernel @ mixed >= seen
    return bool((by_chance + 1) / (PERMUTATIONS + 1) <= 0.002)


def _unit(vectors: Matrix) -> Matrix:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), np.float32)
