"""Reading an index from catalog and store side by side, in the order of ids."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog.auditing import Recorded, recorded_after
from search_app.catalog.engine import reading
from search_app.consistency.disagreements import disagreeing
from search_app.errors import StoreRefusedError
from search_app.stores.base import Survey, VectorStore
from search_app.types import Index

PAGE = 2_000
"""Rows of a page: about 4 MB at 384 dimensions, of which four are held at once."""

Columns = TypeVar("Columns", Recorded, Survey)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What came of one stretch of ids: how much there was, and what has to be looked at."""

    records: int
    points: int
    suspects: Sequence[UUID]
    duplicates: Sequence[UUID]


async def walk(
    engine: AsyncEngine, index: Index, store: VectorStore, *, page: int = PAGE
) -> AsyncGenerator[Stretch, None]:
    """Compare everything that the catalog records of an index with everything that its store has.

    Memory does not depend on how much there is: both sides come by pages, the next of which are
    fetched while these are compared.

    Raises:
        StoreError: the store cannot be reached, or does not keep to its order.
        CatalogError: likewise for the catalog.
    """

    async def recorded(after: UUID | None) -> Recorded:
        async with reading(engine) as connection:
            return await recorded_after(connection, index, after, limit=page)

    async def stored(after: UUID | None) -> Survey:
        return await store.survey(index.id, after=after, limit=page)

    records, points = _Ahead(recorded, page), _Ahead(stored, page)
    last_point = None
    try:
        while True:
            await asyncio.gather(records.fill(), points.fill())
            bound = min((side.last for side in (records, points) if side.last), default=None)
            those, these = records.take(bound), points.take(bound)
            if not those.chunk_ids and not these.chunk_ids and bound is None:
                return
            duplicates = _duplicates(store, these.chunk_ids, last_point)
            last_point = these.chunk_ids[-1] if these.chunk_ids else last_point
            yield Stretch(
                records=len(those.chunk_ids),
                points=len(these.chunk_ids),
                suspects=[UUID(bytes=chunk_id) for chunk_id in disagreeing(those, these)],
                duplicates=duplicates,
            )
    finally:
        await records.aclose()
        await points.aclose()


class _Ahead(Generic[Columns]):
    """One side: the page at hand, and the next one on its way."""

    def __init__(self, fetch: Callable[[UUID | None], Awaitable[Columns]], size: int) -> None:
        self._fetch: Callable[[UUID | None], Awaitable[Columns]] = fetch
        self._size = size
        self._page: Columns | None = None
        self._coming: asyncio.Task[Columns] | None = self._ask(None)

    @property
    def last(self) -> bytes | None:
        """The id up to which everything is at hand; None where that is the end."""
        return None if self._coming is None or self._page is None else self._page.chunk_ids[-1]

    async def fill(self) -> None:
        """Have a page at hand, if there are more."""
        if self._coming is None or (self._page is not None and self._page.chunk_ids):
            return
        self._page = await self._coming
        full = len(self._page.chunk_ids) == self._size
        self._coming = self._ask(UUID(bytes=self._page.chunk_ids[-1])) if full else None

    def take(self, bound: bytes | None) -> Columns:
        """Take what has ids up to the bound; all of it, where there is none."""
        page = self._page
        if page is None:
            raise RuntimeError("nothing was fetched")
        until = len(page.chunk_ids) if bound is None else bisect_right(page.chunk_ids, bound)
        self._page = _slice(page, until, None)
        return _slice(page, 0, until)

    async def aclose(self) -> None:
        """Let go of the page on its way."""
        if self._coming is not None:
            self._coming.cancel()
            # Also takes note of its error, if the other side's was the one that was raised.
            await asyncio.gather(self._coming, return_exceptions=True)

    def _ask(self, after: UUID | None) -> asyncio.Task[Columns]:
        return asyncio.ensure_future(self._fetch(after))


def _slice(page: Columns, start: int, stop: int | None) -> Columns:
    if start == 0 and stop == len(page.chunk_ids):
        return page
    return type(page)(**{each.name: getattr(page, each.name)[start:stop] for each in fields(page)})


def _duplicates(store: VectorStore, chunk_ids: Sequence[bytes], before: bytes | None) -> list[UUID]:
    """Name the ids that came twice.

    Raises:
        StoreRefusedError: they do not ascend, so that nothing can be said of them.
    """
    found, last = [], before or b""
    for chunk_id in chunk_ids:
        if chunk_id <= last:
            if chunk_id < last:
                raise StoreRefusedError(
                    f"{store.name}: its points do not come in the order of their ids "
                    f"({UUID(bytes=chunk_id)} after {UUID(bytes=last)}); its index of ids may be "
                    "damaged"
                )
            found.append(UUID(bytes=chunk_id))
        last = chunk_id
    return found
