"""Clusters of an index: how many, how good, how stable, and what they are about."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from uuid import UUID

import numpy as np

from ingest.analysing.common import Done, Scope, counted, keep, shown, texts_of, vectors_of
from search_app.analysis import clusters as clustering
from search_app.analysis.asking import check_clusters
from search_app.analysis.clusters import NONE, Labels, Method, Suggestion
from search_app.analysis.naming import Name, names_of
from search_app.analysis.quality import Agreement, Quality, agreement_with, quality_of
from search_app.analysis.requirements import require_scikit_learn
from search_app.analysis.stability import Stability, under_noise, under_resampling
from search_app.analysis.vectors import VectorSet
from search_app.bootstrap import Services
from search_app.catalog import analyses
from search_app.catalog.chunks import Passage
from search_app.errors import InvalidInputError
from search_app.noise import measured
from search_app.types import JSON, Matrix

REPEATS = 5
NAMED_BY = 20_000
"""Passages whose texts the names are taken from, drawn by the seed where there are more."""

EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class ClusterRequest:
    """What to cluster and how; a ``number`` of None is suggested by the silhouette.

    For HDBSCAN ``number`` is the least size of a cluster. ``field`` is what clusters are compared
    with, e.g. ``meta.group``. ``repeats`` of 0 leave stability out.
    """

    scope: Scope = field(default_factory=Scope)
    method: Method = Method.KMEANS
    number: int | None = None
    field: str | None = None
    repeats: int = REPEATS


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    labels: Labels
    cosines: Matrix
    number: int
    suggestion: Suggestion | None
    quality: Quality
    noise: Stability | None
    resampling: Stability | None


async def cluster(
    services: Services, request: ClusterRequest, *, job_id: int | None = None
) -> Done:
    """Cluster the passages of an index, and keep what was found.

    Raises:
        ConfigurationError: scikit-learn is missing.
        InvalidInputError: there is nothing to cluster, or not so.
        NotFoundError, StoreError, CatalogError: as loading vectors does.
    """
    require_scikit_learn("clustering")
    check_clusters(
        method=request.method,
        number=request.number,
        field=request.field,
        repeats=request.repeats,
    )
    began = time.monotonic()
    vectors = await vectors_of(services, request.scope)
    clustering.check_clusterable(
        vectors.vectors, None if request.method is Method.HDBSCAN else request.number
    )
    values = None if request.field is None else _compared_with(vectors, request.field)
    noise = measured(vectors.target.version.noise_floor, vectors.target.noise)
    found = await asyncio.to_thread(_cluster, vectors.vectors, request, noise)
    passages = await texts_of(services, _named_by(vectors))
    names = await asyncio.to_thread(_names, vectors, found.labels, passages)
    agreement = None
    if values is not None and request.field is not None:
        of_rows = [values[place] for place in vectors.document_of.tolist()]
        agreement = await asyncio.to_thread(agreement_with, found.labels, of_rows, request.field)
    nearest = _nearest(found)
    examples = await texts_of(
        services, [vectors.chunk_ids[row] for rows in nearest for row in rows]
    )
    numbers = {
        **counted(vectors),
        **_numbers(found, noise, agreement),
        "clusters": [
            {
                **_cluster_json(found, names[label], label),
                "examples": [
                    {
                        "chunk_id": str(vectors.chunk_ids[row]),
                        **shown(examples.get(vectors.chunk_ids[row])),
                    }
                    for row in nearest[label]
                ],
            }
            for label in range(found.labels.max() + 1)
        ],
    }
    return await keep(
        services,
        analyses.CLUSTERS,
        vectors,
        parameters={
            **request.scope.as_json(),
            "method": request.method.value,
            "number": found.number,
            "suggested": request.number is None,
            "field": request.field,
            "repeats": request.repeats,
        },
        numbers=numbers,
        began=began,
        job_id=job_id,
        clusters=(found.labels.tolist(), found.cosines.tolist()),
    )


def _compared_with(vectors: VectorSet, field: str) -> list[JSON]:
    """Give the value of a field for each document, of which clusters could be like some."""
    values = vectors.values(field)
    several = {str(value) for value in values if value is not None}
    if len(several) < clustering.FEWEST:
        said = f"says {next(iter(several))[:40]!r} wherever it is given" if several else "has lists"
        raise InvalidInputError(
            f"field {field[:60]!r} {said}, so there is nothing to compare clusters with; name a "
            "field of two values or more"
        )
    return values


def _cluster(vectors: Matrix, request: ClusterRequest, noise: float | None) -> _Found:
    seed, suggestion = request.scope.seed, None
    number = request.number
    if number is None and request.method is Method.HDBSCAN:
        number = clustering.default_least_size(len(vectors))
    elif number is None:
        suggestion = clustering.suggested_number(vectors, seed=seed)
        number = suggestion.number
    chosen = number

    def again(rows: Matrix, other_seed: int) -> Labels:
        # A cluster of a part of the rows has that part of its size.
        size = chosen
        if request.method is Method.HDBSCAN:
            size = max(clustering.FEWEST, round(chosen * len(rows) / len(vectors)))
        return clustering.clusters_of(rows, request.method, number=size, seed=other_seed)

    labels = again(vectors, seed)
    found = labels.max() != NONE
    return _Found(
        labels=labels,
        cosines=_cosines(vectors, labels),
        number=chosen,
        suggestion=suggestion,
        quality=quality_of(vectors, labels, seed=seed),
        noise=under_noise(
            vectors, labels, again, distance=noise, repeats=request.repeats, seed=seed
        )
        if found and request.repeats and noise is not None
        else None,
        resampling=under_resampling(vectors, labels, again, repeats=request.repeats, seed=seed)
        if found and request.repeats
        else None,
    )


def _cosines(vectors: Matrix, labels: Labels) -> Matrix:
    """Give the cosine of each row to the centre of its cluster; of none, to no centre, 0."""
    found = np.zeros(len(vectors), np.float32)
    inside = labels != NONE
    if inside.any():
        centres = clustering.centres_of(vectors, labels)
        found[inside] = np.einsum("ij,ij->i", vectors[inside], centres[labels[inside]])
    return found


def _named_by(vectors: VectorSet) -> Sequence[UUID]:
    if len(vectors) <= NAMED_BY:
        return vectors.chunk_ids
    draw = np.random.default_rng(vectors.seed)
    rows = np.sort(draw.choice(len(vectors), NAMED_BY, replace=False))
    return [vectors.chunk_ids[row] for row in rows.tolist()]


def _names(vectors: VectorSet, labels: Labels, passages: Mapping[UUID, Passage]) -> list[Name]:
    rows = [row for row, chunk_id in enumerate(vectors.chunk_ids) if chunk_id in passages]
    texts = []
    for row in rows:
        passage = passages[vectors.chunk_ids[row]]
        texts.append("\n".join([passage.document.title, *passage.heading_path, passage.text]))
    lexicon = vectors.target.lexicon
    known = names_of(
        texts,
        labels[rows],
        documents=vectors.document_of[rows].tolist(),
        analyzer=lexicon.weighting.analyzer if lexicon else "bigram",
    )
    # A cluster of which no text was drawn has no name.
    return known + [Name(terms=())] * (int(labels.max()) + 1 - len(known))


def _nearest(found: _Found) -> list[list[int]]:
    nearest = []
    for label in range(found.labels.max() + 1):
        rows = np.flatnonzero(found.labels == label)
        nearest.append(rows[np.argsort(-found.cosines[rows], kind="stable")][:EXAMPLES].tolist())
    return nearest


def _numbers(found: _Found, noise: float | None, agreement: Agreement | None) -> dict[str, JSON]:
    return {
        "number": int(found.labels.max()) + 1,
        "in_none": int((found.labels == NONE).sum()),
        "suggestion": None if found.suggestion is None else asdict(found.suggestion),
        "silhouette": found.quality.silhouette,
        "silhouette_rows": found.quality.silhouette_rows,
        "davies_bouldin": found.quality.davies_bouldin,
        "agreement": None if agreement is None else asdict(agreement),
        "noise": noise,
        "stability": {
            name: None
            if stability is None
            else {
                "ari": stability.ari,
                "lowest_ari": min(stability.aris),
                "aris": list(stability.aris),
                "rows": stability.rows,
            }
            for name, stability in (("noise", found.noise), ("resampling", found.resampling))
        },
    }


def _cluster_json(found: _Found, name: Name, label: int) -> dict[str, JSON]:
    return {
        "cluster": label,
        "name": name.text,
        "terms": [asdict(term) for term in name.terms],
        "size": int((found.labels == label).sum()),
        "silhouette": found.quality.silhouettes[label],
        "stability_noise": None if found.noise is None else found.noise.jaccards[label],
        "stability_resampling": None
        if found.resampling is None
        else found.resampling.jaccards[label],
    }
