"""Collections by what an address says of them: their name where it can, their id where not.

A path cannot carry every name: ``..`` and ``a/b`` mean something there, even when quoted, and what
lies between a browser and here may decode a percent sign once too often.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import collections
from search_app.catalog.tables import collections as table
from search_app.errors import NotFoundError
from search_app.types import Collection


def address_of(collection: Collection) -> str:
    """Give the text, not yet quoted, that names a collection as one part of a path."""
    name = collection.name
    carried = not set(name) & set("/\\%") and name not in (".", "..") and _id(name) is None
    return name if carried else str(collection.id)


async def at(connection: AsyncConnection, address: str) -> Collection:
    """Find the collection that an address names, by its id or its name.

    Raises:
        NotFoundError: there is none, or it is being deleted.
        InvalidInputError: no collection can have that name.
    """
    identity = _id(address)
    if identity is not None:
        name = await connection.scalar(
            select(table.c.name).where(table.c.id == identity).where(collections.IS_LIVE)
        )
        if name is not None:
            return Collection(id=identity, name=name)
    try:
        return await collections.get(connection, address)
    except NotFoundError as exc:
        if identity is not None:
            raise NotFoundError(f"no collection with the id or name {address!r}") from exc
        raise


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
