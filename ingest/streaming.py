"""Reading ahead in one task and writing in others, with little kept in between."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from ingest.reading import Reading
from ingest.writing import Writer
from search_app.errors import UnmovedError

READ_AHEAD = 2
"""Readings kept ready while a segment is embedded."""


async def write_all(
    writer: Writer,
    stream: AsyncIterator[Reading],
    after: Callable[[Reading | None], Awaitable[None]] | None = None,
) -> None:
    """Write all readings of a stream; ``after`` hears of each, and of the end as None."""
    ready: asyncio.Queue[Reading | None] = asyncio.Queue(maxsize=READ_AHEAD)

    async def read() -> None:
        async for reading in stream:
            await ready.put(reading)
        await ready.put(None)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            try:
                while (reading := await ready.get()) is not None:
                    await writer.write(reading)
                    if after is not None:
                        await after(reading)
                await writer.flush()
                await writer.settle()
                if after is not None:
                    await after(None)
            except UnmovedError as exc:
                await writer.give_up(exc)
                raise
            finally:
                await writer.stop()
    except ExceptionGroup as failed:
        # Callers know our errors by their types; the first one stopped the rest.
        raise failed.exceptions[0] from failed
