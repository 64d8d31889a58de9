"""Numbers of documents, counted once for each state of a collection and set of filters.

Counting reads every document of a collection, which at a hundred thousand takes longer than the
search beside it; between two runs the numbers cannot change.
"""

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.catalog import documents
from search_app.catalog.engine import transaction
from search_app.catalog.overview import latest_change
from search_app.filters import parse_filter
from search_app.types import Collection

KEPT = 512
"""Most counts that are kept; those not used for longest go first."""

Facets = Mapping[str, Mapping[str, int]]
"""For each field, its values and how many documents have them."""


class Counter:
    """Counts documents and facets; one for each application."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Take where to count; nothing is counted yet."""
        self._engine = engine
        self._kept: OrderedDict[str, Any] = OrderedDict()

    async def documents(self, collection: Collection, filters: Sequence[str]) -> int:
        """Count the documents that pass the filters.

        Raises:
            InvalidInputError: a filter cannot be meant.
        """
        parsed = parse_filter(filters)

        async def count(connection: AsyncConnection) -> int:
            return await documents.count(connection, collection, parsed)

        number: int = await self._counted(collection, ["documents", *filters], count)
        return number

    async def facets(
        self, collection: Collection, filters: Sequence[str], fields: Sequence[str]
    ) -> Facets:
        """Count the documents that pass the filters by the values of each field.

        Raises:
            InvalidInputError: a filter cannot be meant.
        """
        parsed = parse_filter(filters)

        async def count(connection: AsyncConnection) -> Facets:
            return await documents.facets(connection, collection, parsed, fields)

        counted: Facets = await self._counted(collection, ["facets", [*fields], *filters], count)
        return counted

    async def _counted(
        self,
        collection: Collection,
        question: Sequence[object],
        count: Callable[[AsyncConnection], Awaitable[Any]],
    ) -> Any:
        async with transaction(self._engine) as connection:
            change = await latest_change(connection, collection)
            key = json.dumps([str(collection.id), change, *question])
            if key not in self._kept:
                self._kept[key] = await count(connection)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]
