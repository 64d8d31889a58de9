"""Does a model that embeds a corpus twice give the same vectors, and the same clusters?"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.study import keeping
from ingest.study.measures import (
    CLUSTERS,
    Interval,
    Labels,
    adjusted_rand,
    clusters_of,
    distances,
    equal_rows,
    interval_of,
    noisy,
    require_clustering,
)
from ingest.study.reading import Texts
from ingest.study.rows import PUBLISHED, ModelRow, NoiseRow
from search_app.bootstrap import make_embedder
from search_app.config import Settings
from search_app.embedders.base import Embedder
from search_app.embedders.batching import embed_all
from search_app.errors import InvalidInputError
from search_app.types import Matrix

_BLOCK = 512
"""Texts that are kept at once, or the next multiple of what the embedder takes."""


class Display(Protocol):
    """What is told while it works."""

    def stage(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Begin something of so many steps; what is given counts them."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do, and the folder where everything is kept.

    Noise is put on the vectors of the first model, once for each of ``repeats`` seeds.
    """

    texts: Texts
    models: Sequence[ModelRow]
    noise: Sequence[NoiseRow]
    repeats: int
    out: Path


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    ``lowest`` and ``median`` are cosines between the first and the second vector of each text,
    ``equal`` the share equal to the bit; over several seeds, the mean. ``published`` is the ARI of
    the publication at the same lowest cosine.
    """

    name: str
    model: str
    dimensions: int
    lowest: float
    median: float
    equal: float
    ari: Interval
    published: float | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Study:
    """All rows, and what they were made from."""

    plan: Plan
    rows: Sequence[Row]
    clusters: int
    seconds: float


async def study(settings: Settings, plan: Plan, display: Display) -> Study:
    """Embed, compare and cluster; what an earlier run kept in ``plan.out`` is not done again.

    Raises:
        ConfigurationError: scikit-learn is missing, or an embedder is not known.
        InvalidInputError: fewer texts than clusters.
        EmbedderError: a model does not answer, refuses or answers nonsense.
    """
    require_clustering()
    if len(plan.texts.texts) <= CLUSTERS:
        raise InvalidInputError(
            f"{plan.texts.path}: {len(plan.texts.texts)} texts; more than {CLUSTERS} are needed"
        )
    # Every spec is looked at before the first text is sent.
    for row in plan.models:
        for turn in (0, 1):
            await make_embedder(row.spec, row.settings(settings, turn)).aclose()
    began = time.monotonic()
    rows, base = [], None
    for row in plan.models:
        found, first = await _model(settings, plan, row, display)
        rows.append(found)
        base = base or (found, first)
    if base is not None:
        rows += [_noise(plan, each, *base, display) for each in plan.noise]
    return Study(plan=plan, rows=rows, clusters=CLUSTERS, seconds=time.monotonic() - began)


async def _model(
    settings: Settings, plan: Plan, row: ModelRow, display: Display
) -> tuple[Row, Matrix]:
    began = time.monotonic()
    first, model = await _vectors(settings, plan, row, 0, display)
    second, _ = await _vectors(settings, plan, row, 1, display)
    apart = distances(first, second)
    with display.stage(f"{row.name}: clustering", 2) as step:
        labels = []
        for vectors in (first, second):
            labels.append(_labels(plan, vectors))
            step(1)
    found = Row(
        name=row.name,
        model=model,
        dimensions=first.shape[1],
        lowest=1 - float(apart.max()),
        median=1 - float(np.median(apart)),
        equal=float(equal_rows(first, second).mean()),
        ari=interval_of([adjusted_rand(*labels)]),
        published=None,
        seconds=time.monotonic() - began,
    )
    return found, first


def _noise(plan: Plan, row: NoiseRow, base: Row, vectors: Matrix, display: Display) -> Row:
    began = time.monotonic()
    before = _labels(plan, vectors)
    aris, lows, medians, equals = [], [], [], []
    with display.stage(f"{row.name}, {row.lowest:g}", plan.repeats) as step:
        for seed in range(plan.repeats):
            moved = noisy(vectors, lowest=row.lowest, share=row.share, seed=seed)
            apart = distances(vectors, moved)
            lows.append(1 - float(apart.max()))
            medians.append(1 - float(np.median(apart)))
            equals.append(float(equal_rows(vectors, moved).mean()))
            aris.append(adjusted_rand(before, _labels(plan, moved)))
            step(1)
    return Row(
        name=row.name,
        model=base.model,
        dimensions=base.dimensions,
        lowest=float(np.mean(lows)),
        median=float(np.mean(medians)),
        equal=float(np.mean(equals)),
        ari=interval_of(aris),
        published=PUBLISHED.get(row.lowest),
        seconds=time.monotonic() - began,
    )


async def _vectors(
    settings: Settings, plan: Plan, row: ModelRow, turn: int, display: Display
) -> tuple[Matrix, str]:
    """Embed every text once, in its turn; give the vectors in the order of the texts."""
    embedder = make_embedder(row.spec, row.settings(settings, turn))
    try:
        identity = await embedder.describe()
        facts = {
            "identity": asdict(identity),
            "batch": embedder.batch_size,
            "texts": plan.texts.digest,
            "shuffled": row.shuffled and turn == 1,
            "turn": turn,
        }
        path = plan.out / "vectors" / f"{keeping.key_of(facts)}-{turn + 1}.npy"
        texts = plan.texts.texts
        order = np.arange(len(texts))
        if row.shuffled and turn == 1:
            order = np.random.default_rng(plan.texts.seed).permutation(len(texts))
        stage = display.stage(f"{row.name}: {('first', 'second')[turn]} time", len(texts))
        vectors = await _embed(embedder, texts, order, path, stage)
    finally:
        await embedder.aclose()
    return vectors, f"{identity.provider}/{identity.model} {identity.revision}".strip()


async def _embed(
    embedder: Embedder,
    texts: Sequence[str],
    order: NDArray[np.int64],
    path: Path,
    stage: AbstractContextManager[Callable[[int], None]],
) -> Matrix:
    # Whole calls, so that a run that goes on sends the same batches as one that never stopped.
    size = -(-_BLOCK // embedder.batch_size) * embedder.batch_size

    async def block(start: int, end: int) -> Matrix:
        sent = [texts[place] for place in order[start:end]]
        return (await embed_all(embedder, sent, "document")).vectors

    with stage as step:
        sent = await keeping.in_blocks(path, len(texts), size, block, step)
    vectors = np.empty_like(sent)
    vectors[order] = sent
    return vectors


def _labels(plan: Plan, vectors: Matrix) -> Labels:
    """Cluster; the same bytes are clustered once."""
    digest = sha256(vectors.tobytes()).hexdigest()[:16]
    path = plan.out / "labels" / f"{digest}-{CLUSTERS}.npy"
    known = keeping.load(path)
    if known is not None and len(known) == len(vectors):
        labels: Labels = known.astype(np.int64)
        return labels
    found = clusters_of(vectors)
    keeping.save(path, found)
    return found
