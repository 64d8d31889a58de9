"""A collection with everything that its pages and the API say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import quote, urlencode

from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import statistics
from search_app.catalog.addressing import address_of
from search_app.catalog.overview import collection_names
from search_app.catalog.statistics import Contents, IndexUse, LatestRun
from search_app.types import Collection, IndexState

COMPARABLE = (IndexState.ACTIVE, IndexState.READY, IndexState.STANDBY)
"""States in which an index can answer."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A value, how many documents have it, and their share of all."""

    value: str
    number: int
    share: float


@dataclass(frozen=True, kw_only=True)
class CollectionView:
    """A collection, what it holds, its indexes (the active one first) and its latest run."""

    collection: Collection
    contents: Contents
    indexes: Sequence[IndexUse]
    latest: LatestRun | None

    @property
    def active(self) -> IndexUse | None:
        """The index that answers its searches, once there is one."""
        return next((use for use in self.indexes if use.active), None)

    @property
    def compare_url(self) -> str | None:
        """Where the active index is compared with the latest other one; None without two."""
        others = [use for use in self.indexes if use.index.state in COMPARABLE and not use.active]
        if self.active is None or not others:
            return None
        latest = max(others, key=lambda use: use.index.created_at)
        return "/compare?" + urlencode({"a": self.active.index.id, "b": latest.index.id})

    @property
    def formats(self) -> Sequence[tuple[str, str]]:
        """What its vectors can be exported as, and what that is called."""
        parquet = [("parquet", "Parquet")] if find_spec("pyarrow") else []
        return [*parquet, ("csv", "CSV"), ("npy", "NumPy")]

    @property
    def url(self) -> str:
        """The address of its page."""
        return collection_url(self.collection)

    @property
    def languages(self) -> Sequence[Share]:
        """Its languages, commonest first."""
        return shares(self.contents.languages)

    @property
    def types(self) -> Sequence[Share]:
        """Its types of documents, commonest first."""
        return shares(self.contents.types)


def collection_url(collection: Collection) -> str:
    """Give the address of the page of a collection."""
    return f"/collections/{quote(address_of(collection), safe='')}"


def named_url(name: str) -> str:
    """Give the address of a collection of which only the name is known; it may lead on."""
    return f"/collections?{urlencode({'name': name})}"


def shares(numbers: Mapping[str, int]) -> list[Share]:
    """Put numbers in order, the largest first."""
    total = sum(numbers.values())
    return [
        Share(value=value, number=number, share=number / total)
        for value, number in sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    ]


async def view_all(connection: AsyncConnection) -> list[CollectionView]:
    """Read all collections, by name."""
    contents = await statistics.contents(connection)
    latest = await statistics.latest_runs(connection)
    uses = await statistics.index_uses(connection)
    return [
        CollectionView(
            collection=collection,
            contents=contents.get(collection.id, Contents()),
            indexes=[use for use in uses if use.collection.id == collection.id],
            latest=latest.get(collection.id),
        )
        for collection in await collection_names(connection)
    ]


async def view_one(connection: AsyncConnection, collection: Collection) -> CollectionView:
    """Read one collection."""
    contents = await statistics.contents(connection, collection)
    latest = await statistics.latest_runs(connection, collection)
    return CollectionView(
        collection=collection,
        contents=contents.get(collection.id, Contents()),
        indexes=await statistics.index_uses(connection, collection=collection),
        latest=latest.get(collection.id),
    )
