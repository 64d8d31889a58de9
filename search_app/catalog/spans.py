"""Where passages stand in the text of their documents."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import chunks


async def spans(
    connection: AsyncConnection, chunk_ids: Sequence[UUID]
) -> dict[UUID, tuple[int, int]]:
    """Give the characters [start, end) that chunks have of their documents' texts."""
    statement = select(chunks.c.id, chunks.c.char_start, chunks.c.char_end).where(
        chunks.c.id == func.any(list(chunk_ids))
    )
    return {row.id: (row.char_start, row.char_end) for row in await connection.execute(statement)}
