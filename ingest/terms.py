"""Terms for keyword search: cutting the texts of chunks, and keeping count of what an index has."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.targets import Target
from search_app import lexical
from search_app.bm25 import K1, B, Weighting, first_average, passage_terms
from search_app.bootstrap import Services
from search_app.catalog import chunks, lexicons
from search_app.catalog.chunks import Recorded, indexed_text
from search_app.catalog.engine import transaction
from search_app.lexical import Analysed
from search_app.types import IndexState

PAGE = 500
"""Passages that are given terms at a time."""


async def analyse_all(texts: Sequence[str], analyzer: str) -> list[Analysed]:
    """Cut texts into terms, beside the loop: a segment takes a good part of a second."""
    return await asyncio.to_thread(lambda: [lexical.analyse(text, analyzer) for text in texts])


async def analysed_for(
    services: Services, target: Target, texts: Sequence[str]
) -> tuple[Weighting, list[Analysed]]:
    """Cut texts as an index does, and say how it weights terms: set by the first texts it gets."""
    async with transaction(services.engine) as connection:
        known = await lexicons.get(connection, target.index.id)
    analyzer = known.weighting.analyzer if known else services.settings.analyzer
    analysed = await analyse_all(texts, analyzer)
    if known is None:
        async with transaction(services.engine) as connection:
            known = await lexicons.create(
                connection, target.index.id, first_weighting(analyzer, analysed)
            )
    return known.weighting, analysed


def first_weighting(analyzer: str, analysed: Sequence[Analysed]) -> Weighting:
    """Set how an index weights terms, from the first passages that it gets."""
    lengths = sum(passage.length for passage in analysed)
    return Weighting(
        analyzer=analyzer,
        version=lexical.VERSION,
        k1=K1,
        b=B,
        average_length=first_average(lengths, len(analysed)),
    )


async def uncount(connection: AsyncConnection, chunk_ids: Sequence[UUID]) -> None:
    """Count chunks out of every index that has them, before their rows go."""
    for index_id in sorted(await chunks.indexes_of(connection, chunk_ids)):
        known = await lexicons.get(connection, index_id)
        if known is None:
            continue
        recorded = await chunks.recorded(connection, index_id, chunk_ids)
        analysed = await analyse_all(_texts(recorded), known.weighting.analyzer)
        await lexicons.take(connection, index_id, analysed)


async def bring_up_to_date(services: Services, target: Target) -> bool:
    """Give terms to an index that was filled without them, or by earlier rules; say if it was so.

    Cut short, the next run begins anew; until it is done, keyword search says that it is not.
    Whoever builds an index sees to its terms.
    """
    index_id = target.index.id
    if target.index.state is IndexState.BUILDING:
        return False
    async with transaction(services.engine) as connection:
        known = await lexicons.get(connection, index_id)
        if known is not None and known.complete and known.weighting.version == lexical.VERSION:
            return False
        first = await chunks.recorded_after(connection, index_id, None, limit=PAGE)
        if known is None and not first:
            return False
        await lexicons.drop(connection, index_id)
        analyzer = known.weighting.analyzer if known else services.settings.analyzer
        weighting = first_weighting(analyzer, await analyse_all(_texts(first), analyzer))
        await lexicons.create(connection, index_id, weighting, complete=False)
    page = first
    while page:
        await _give_terms(services, target, weighting, page)
        async with transaction(services.engine) as connection:
            page = await chunks.recorded_after(connection, index_id, page[-1].chunk_id, limit=PAGE)
    async with transaction(services.engine) as connection:
        await lexicons.complete(connection, index_id)
    await target.store.optimize(index_id)
    return True


async def _give_terms(
    services: Services, target: Target, weighting: Weighting, page: Sequence[Recorded]
) -> None:
    index_id = target.index.id
    analysed = await analyse_all(_texts(page), weighting.analyzer)
    terms = {
        each.chunk_id: passage_terms(passage.counts, weighting)
        for each, passage in zip(page, analysed, strict=True)
    }
    points = await target.store.fetch(index_id, list(terms))
    await target.store.upsert(
        index_id, [replace(point, terms=terms[point.chunk_id]) for point in points]
    )
    async with transaction(services.engine) as connection:
        await lexicons.add(connection, index_id, analysed)


def _texts(recorded: Sequence[Recorded]) -> list[str]:
    return [indexed_text(each.context, each.text) for each in recorded]
