"""What the search box offers, kept in memory for each collection and read anew as it changes."""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.catalog import suggestions
from search_app.catalog.engine import reading
from search_app.catalog.overview import latest_change
from search_app.phrases import Phrase, Phrases, evened
from search_app.types import JSON, Collection, RunStatus

KEPT = 16
"""Most collections whose phrases are kept; those not used for longest go first."""

RUNNING_S = 30.0
"""Seconds between two readings of titles and headings while a run changes them all the time."""

PAST_S = 60.0
"""Seconds between two readings of past queries."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """The phrases of a collection; times are those of ``time.monotonic``."""

    change: JSON
    read_at: float
    past_at: float
    past: Phrases
    titles: Phrases
    headings: Phrases

    def going_on(self, typed: str) -> Iterator[Phrase]:
        """Give what goes on from an evened text, best first, nothing twice."""
        seen: set[str] = set()
        for phrases in (self.past, self.titles, self.headings):
            for key, phrase in phrases.going_on(typed):
                if key not in seen:
                    seen.add(key)
                    yield phrase


class Suggester:
    """Offers phrases; one for each application."""

    def __init__(self, engine: AsyncEngine, *, past: bool) -> None:
        """Take where to read, and whether past queries may be offered; nothing is read yet."""
        self._engine = engine
        self._past = past
        self._kept: OrderedDict[UUID, _Known] = OrderedDict()
        self._locks: defaultdict[UUID, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def suggest(self, collection: Collection, typed: str, limit: int) -> Sequence[Phrase]:
        """Offer up to ``limit`` phrases of one collection that go on from what was typed."""
        text = evened(typed)
        if not text:
            return []
        # One reads, and the others wait without a connection.
        async with self._locks[collection.id], reading(self._engine) as connection:
            known = await self._known(connection, collection)
        # Should a few be gone meanwhile, there are others.
        found = list(islice(known.going_on(text), 3 * limit))
        async with reading(self._engine) as connection:
            there = await suggestions.still_there(connection, collection, found)
        return there[:limit]

    async def _known(self, connection: AsyncConnection, collection: Collection) -> _Known:
        change = await latest_change(connection, collection)
        now = time.monotonic()
        known = self._kept.get(collection.id)
        if known is None or (
            known.change != change and (not _running(change) or now - known.read_at > RUNNING_S)
        ):
            known = _Known(
                change=change,
                read_at=now,
                past_at=now,
                past=await self._read_past(connection, collection),
                titles=await _laid_out(await suggestions.titles(connection, collection)),
                headings=await _laid_out(await suggestions.headings(connection, collection)),
            )
        elif self._past and now - known.past_at > PAST_S:
            past = await self._read_past(connection, collection)
            known = replace(known, past=past, past_at=now)
        self._kept[collection.id] = known
        self._kept.move_to_end(collection.id)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return known

    async def _read_past(self, connection: AsyncConnection, collection: Collection) -> Phrases:
        found = await suggestions.past_queries(connection, collection) if self._past else []
        return Phrases(found, beginnings_first=False)


async def _laid_out(found: Sequence[Phrase]) -> Phrases:
    # Beside the loop: a hundred thousand take a good part of a second.
    return await asyncio.to_thread(Phrases, found, beginnings_first=True)


def _running(change: JSON) -> bool:
    return change is not None and change[1] == RunStatus.RUNNING.value
