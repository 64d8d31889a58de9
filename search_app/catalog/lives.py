"""Indexes with what they lack and what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import filling, indexes
from search_app.catalog.filling import Gaps
from search_app.catalog.indexes import IndexEvent
from search_app.catalog.statistics import IndexUse, index_uses
from search_app.types import Collection, IndexState


@dataclass(frozen=True, kw_only=True)
class IndexLife:
    """An index, what it lacks (None: it is retired), and its events in order."""

    use: IndexUse
    gaps: Gaps | None
    events: Sequence[IndexEvent]


async def lives(
    connection: AsyncConnection, collection: Collection | None = None
) -> list[IndexLife]:
    """List indexes by collection, the active one first and retired ones last."""
    uses = await index_uses(connection, collection=collection)
    uses.sort(key=lambda use: (use.collection.name, use.index.state is IndexState.RETIRED))
    told = {
        known: await indexes.events(connection, known)
        for known in dict.fromkeys(use.collection for use in uses)
    }
    return [
        IndexLife(
            use=use,
            gaps=None
            if use.index.state is IndexState.RETIRED
            else await filling.gaps(connection, use.index),
            events=[event for event in told[use.collection] if event.index_id == use.index.id],
        )
        for use in uses
    ]
