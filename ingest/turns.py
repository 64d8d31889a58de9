"""Writing to a collection a little at a time, with runs of ingest in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest.report import Progress
from search_app.bootstrap import Services
from search_app.catalog import filling, locks
from search_app.catalog.engine import transaction
from search_app.catalog.locks import WritingLock
from search_app.errors import InvalidInputError
from search_app.types import Collection, Index


class Turns:
    """Takes turns with others that write to the collection of an index that is being built."""

    def __init__(
        self, services: Services, collection: Collection, index: Index, progress: Progress
    ) -> None:
        """Nothing is locked yet."""
        self._engine = services.engine
        self._collection = collection
        self._index = index
        self._progress = progress
        self._told = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[WritingLock]:
        """Be the only one that writes to the collection, after those who wait for it already.

        Raises:
            InvalidInputError: the index was retired or the collection deleted meanwhile.
        """
        await locks.give_way(self._engine, self._collection)
        async with locks.writing(self._engine, self._collection, self._waiting) as lock:
            async with transaction(self._engine) as connection:
                is_open = await filling.is_open(connection, self._index.id)
            if not is_open:
                raise InvalidInputError(
                    f"index {str(self._index.id)[:8]} was retired or its collection deleted while "
                    "it was being filled; nothing more is written to it"
                )
            yield lock

    def _waiting(self) -> None:
        # Once: it may happen at every turn, and is no news then.
        if not self._told:
            self._told = True
            self._progress.waiting()
