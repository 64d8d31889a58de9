"""Numbers of documents, exact for the state that a collection is in.

They are counted over columns in memory, which are read anew once a run has changed the collection.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection as Several
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog.columns import Columns, Mask, id_bytes, labels_of, make_column
from search_app.catalog.engine import reading, transaction
from search_app.catalog.facets import (
    MOST_VALUES,
    STANDARD,
    metadata_fields,
    passing_ids,
    written_fields,
)
from search_app.catalog.overview import latest_change
from search_app.errors import InvalidInputError
from search_app.filters import And, Condition
from search_app.grammar import parse_filter, read_choice
from search_app.types import JSON, Collection

KEPT = 8
"""Most collections whose columns are kept; those not used for longest go first."""

KEPT_MASKS = 64
"""Most filters whose documents are remembered, for each collection."""

Ids = Several[UUID]
"""Ids of documents, each once."""

Facets = Mapping[str, Mapping[str, int]]
"""For each field, its values and how many documents have them."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The columns of one state of a collection, and the documents that pass filters on it."""

    change: JSON
    columns: Columns
    masks: OrderedDict[str, Mask] = field(default_factory=OrderedDict)


def read_facet_choice(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Read the field and values that a filter chooses as facets list them; None for others."""
    choice = read_choice(text)
    if choice is None:
        return None
    name, values = choice
    return choice if all(labels_of(name, [value]) == [value] for value in values) else None


class Counter:
    """Counts documents and facets; one for each application."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Take where to count; nothing is read yet."""
        self._engine = engine
        self._kept: OrderedDict[UUID, _Kept] = OrderedDict()
        self._reading = asyncio.Lock()

    async def documents(
        self, collection: Collection, filters: Sequence[str], among: Ids | None = None
    ) -> int:
        """Count the documents that pass the filters, of those ``among`` where it is given.

        Raises:
            InvalidInputError: a filter cannot be meant.
        """
        columns, masks = await self._passing(collection, filters)
        return int(np.count_nonzero(reduce(np.logical_and, masks.values(), _base(columns, among))))

    async def facets(
        self,
        collection: Collection,
        filters: Sequence[str],
        fields: Sequence[str],
        among: Ids | None = None,
    ) -> Facets:
        """Count the documents that pass the filters by the values of each field.

        Of ``date`` the values are years.

        Raises:
            InvalidInputError: a filter cannot be meant, or a field is not one that is offered.
        """
        columns, masks = await self._passing(collection, filters)
        for name in fields:
            if name not in columns.fields:
                raise InvalidInputError(
                    f"no facet {name[:80]!r}; there are {', '.join(columns.fields)}"
                )
        mask = reduce(np.logical_and, masks.values(), _base(columns, among))
        return {name: columns.counts(name, mask) for name in fields}

    async def choices(
        self, collection: Collection, filters: Sequence[str], among: Ids | None = None
    ) -> Facets:
        """Count, for each field offered, the documents that the filters leave to choose from.

        A filter that chooses values of a field does not narrow that field itself.

        Raises:
            InvalidInputError: a filter cannot be meant.
        """
        columns, masks = await self._passing(collection, filters)
        chosen = {text: choice[0] for text in masks if (choice := read_facet_choice(text))}
        base = _base(columns, among)
        counted = {}
        for name in columns.fields:
            others = [mask for text, mask in masks.items() if chosen.get(text) != name]
            counted[name] = columns.counts(name, reduce(np.logical_and, others, base))
        return counted

    async def _passing(
        self, collection: Collection, filters: Sequence[str]
    ) -> tuple[Columns, dict[str, Mask]]:
        """Give the columns of the collection as it is now, and what passes each of the filters."""
        conditions = _conditions(filters)
        kept = await self._current(collection)
        found = {text: kept.masks[text] for text in conditions if text in kept.masks}
        for text, condition in conditions.items():
            if text not in found:
                found[text] = await self._mask(collection, kept.columns, condition)
        for text, mask in found.items():
            kept.masks[text] = mask
            kept.masks.move_to_end(text)
        while len(kept.masks) > KEPT_MASKS:
            kept.masks.popitem(last=False)
        return kept.columns, found

    async def _mask(self, collection: Collection, columns: Columns, condition: Condition) -> Mask:
        if columns.cover(condition):
            return await asyncio.to_thread(columns.passing, condition)
        async with transaction(self._engine) as connection:
            return columns.documents(await passing_ids(connection, collection, condition))

    async def _current(self, collection: Collection) -> _Kept:
        async with reading(self._engine) as connection:
            change = await latest_change(connection, collection)
        kept = self._kept.get(collection.id)
        if kept is None or kept.change != change:
            async with self._reading:
                kept = self._kept.get(collection.id)
                if kept is None or kept.change != change:
                    kept = await self._read(collection)
                    self._kept[collection.id] = kept
        self._kept.move_to_end(collection.id)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return kept

    async def _read(self, collection: Collection) -> _Kept:
        async with transaction(self._engine) as connection:
            # Before the documents: what changes meanwhile is noticed by the next to ask.
            change = await latest_change(connection, collection)
            metadata = [f"meta.{name}" for name in await metadata_fields(connection, collection)]
            ids, written = await written_fields(connection, collection, [*STANDARD, *metadata])
        return _Kept(change=change, columns=await asyncio.to_thread(_columns, ids, written))


def _conditions(filters: Sequence[str]) -> dict[str, Condition]:
    """Read each filter by itself.

    Raises:
        InvalidInputError: one cannot be meant, or they are too many.
    """
    parse_filter(filters)
    read = {text: parse_filter([text]) for text in filters}
    return {text: And(conditions=each.conditions) for text, each in read.items() if each}


def _columns(ids: bytes, written: Mapping[str, Sequence[str]]) -> Columns:
    columns = [make_column(name, texts) for name, texts in written.items()]
    # How many values some metadata has, the sample that it was chosen by may not have shown.
    return Columns(
        ids, [each for each in columns if each.field in STANDARD or len(each.labels) <= MOST_VALUES]
    )


def _base(columns: Columns, among: Ids | None) -> Mask:
    return columns.all() if among is None else columns.documents(id_bytes(among))
