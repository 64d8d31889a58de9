"""Outliers of an index, and what is there twice, empty, everywhere, or in a rare language."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from ingest.analysing.common import Done, Scope, counted, keep, shown, texts_of, vectors_of
from search_app.analysis.asking import check_outliers
from search_app.analysis.outliers import (
    FAR,
    NEAR,
    Foreign,
    K,
    Outlying,
    foreign_documents,
    outlying,
)
from search_app.analysis.vectors import VectorSet
from search_app.bootstrap import Services
from search_app.catalog import analyses
from search_app.catalog.chunks import Passage
from search_app.catalog.engine import reading
from search_app.duplicates import near_duplicates
from search_app.types import JSON

LISTED = 100
"""Most findings of each sort."""

MEMBERS = 20
"""Most passages of a group that are listed."""

FEW_LETTERS = 10
"""Letters and digits below which a passage counts as empty."""

IN_DOCUMENTS = 3
"""Documents that share a passage, from which it counts as boilerplate."""


@dataclass(frozen=True, kw_only=True)
class OutlierRequest:
    """What to look at; ``k`` neighbours decide how far a passage lies, ``cosine`` what is near."""

    scope: Scope = field(default_factory=Scope)
    k: int = K
    cosine: float = NEAR


async def outliers(
    services: Services, request: OutlierRequest, *, job_id: int | None = None
) -> Done:
    """Look for what stands out in an index, and keep it.

    Raises:
        InvalidInputError: fewer than three passages, or numbers that cannot be meant.
        NotFoundError, StoreError, CatalogError: as loading vectors does.
    """
    check_outliers(k=request.k, cosine=request.cosine)
    began = time.monotonic()
    vectors = await vectors_of(services, request.scope)
    found = await asyncio.to_thread(outlying, vectors.vectors, k=request.k, cosine=request.cosine)
    index_id = vectors.target.index.id
    async with reading(services.engine) as connection:
        repeated = await analyses.repeated_texts(
            connection, index_id, least=IN_DOCUMENTS, most=LISTED
        )
        empty = await analyses.nearly_empty(connection, index_id, least=FEW_LETTERS, most=LISTED)
    foreign = foreign_documents(vectors.fields)
    async with reading(services.engine) as connection:
        titles = await analyses.titles_of(
            connection, [vectors.document_ids[each.document] for each in foreign[:LISTED]]
        )
    far, groups = found.far, found.groups
    rows = [*far[:LISTED], *(row for group in groups[:LISTED] for row in group[:MEMBERS])]
    passages = await texts_of(
        services,
        [*(vectors.chunk_ids[row] for row in rows), *(each.chunk_id for each in repeated), *empty],
    )
    numbers: dict[str, JSON] = {
        **counted(vectors),
        "k": found.k,
        "far_from": FAR,
        "cosine": found.cosine,
        "counts": {
            "far": len(far),
            "groups": len(groups),
            "in_groups": sum(len(group) for group in groups),
            "boilerplate": len(repeated),
            "empty": len(empty),
            "foreign": len(foreign),
        },
        "far": [_far(vectors, found, row, passages) for row in far[:LISTED]],
        "groups": await asyncio.to_thread(_groups, vectors, found, passages),
        "boilerplate": [
            {
                "chunk_id": str(each.chunk_id),
                **shown(passages.get(each.chunk_id)),
                "documents": each.documents,
                "characters": each.characters,
            }
            for each in repeated
        ],
        "empty": [
            {"chunk_id": str(chunk_id), **shown(passages.get(chunk_id)), "letters": letters}
            for chunk_id, letters in empty.items()
        ],
        "foreign": [_foreign(vectors, each, titles) for each in foreign[:LISTED]],
    }
    return await keep(
        services,
        analyses.OUTLIERS,
        vectors,
        parameters={**request.scope.as_json(), "k": request.k, "cosine": request.cosine},
        numbers=numbers,
        began=began,
        job_id=job_id,
    )


def _far(
    vectors: VectorSet, found: Outlying, row: int, passages: Mapping[UUID, Passage]
) -> dict[str, JSON]:
    chunk_id = vectors.chunk_ids[row]
    return {
        "chunk_id": str(chunk_id),
        **shown(passages.get(chunk_id)),
        "distance": float(found.distances[row]),
        "score": float(found.scores[row]),
        "lof": float(found.lof[row]),
    }


def _groups(
    vectors: VectorSet, found: Outlying, passages: Mapping[UUID, Passage]
) -> list[dict[str, JSON]]:
    """Give groups of near-duplicates, and whether their texts say nearly the same too."""
    groups = []
    for members in found.groups[:LISTED]:
        ids = [vectors.chunk_ids[row] for row in members[:MEMBERS]]
        there = [passages[chunk_id].text for chunk_id in ids if chunk_id in passages]
        firsts = near_duplicates(there)
        groups.append(
            {
                "size": len(members),
                "documents": len({int(vectors.document_of[row]) for row in members}),
                "same_text": len(there) > 1 and len(set(firsts)) == 1,
                "passages": [
                    {"chunk_id": str(chunk_id), **shown(passages.get(chunk_id))} for chunk_id in ids
                ],
            }
        )
    return groups


def _foreign(vectors: VectorSet, each: Foreign, titles: Mapping[UUID, str]) -> dict[str, JSON]:
    document_id = vectors.document_ids[each.document]
    return {
        "document_id": str(document_id),
        "title": titles.get(document_id, ""),
        "language": each.language,
        "folder": each.folder,
        "usual": each.usual,
        "share": each.share,
    }
