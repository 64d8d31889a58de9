"""In how many passages each term is, where an index did not count as it was filled."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.terms import PAGE, analyse_all
from search_app.catalog import chunks, filling, lexicons
from search_app.catalog.chunks import Recorded, indexed_text
from search_app.catalog.lexicons import Lexicon


async def take_over(
    connection: AsyncConnection, source_id: UUID, index_id: UUID, lexicon: Lexicon
) -> None:
    """Count as another index does that cuts and weights alike, but for what only one of them has.

    Of both, nothing may be written meanwhile.
    """
    await filling.copy_lexicon(connection, source_id, index_id)
    analyzer = lexicon.weighting.analyzer
    for page in _pages(await filling.only_in(connection, source_id, index_id)):
        gone = await chunks.recorded(connection, source_id, page)
        await lexicons.take(connection, index_id, await analyse_all(_texts(gone), analyzer))
    for page in _pages(await filling.only_in(connection, index_id, source_id)):
        more = await chunks.recorded(connection, index_id, page)
        await lexicons.add(connection, index_id, await analyse_all(_texts(more), analyzer))


async def recount(connection: AsyncConnection, index_id: UUID, lexicon: Lexicon) -> None:
    """Count the terms of all passages of an index anew; nothing may be written to it meanwhile."""
    await filling.forget_counts(connection, index_id)
    after: UUID | None = None
    while page := await chunks.recorded_after(connection, index_id, after, limit=PAGE):
        analysed = await analyse_all(_texts(page), lexicon.weighting.analyzer)
        await lexicons.add(connection, index_id, analysed)
        after = page[-1].chunk_id


def _pages(chunk_ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    return (chunk_ids[start : start + PAGE] for start in range(0, len(chunk_ids), PAGE))


def _texts(recorded: Sequence[Recorded]) -> list[str]:
    return [indexed_text(each.context, each.text) for each in recorded]
