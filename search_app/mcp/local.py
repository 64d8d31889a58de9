"""Over stdio: one client, which started this process; its key is in the settings."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

from mcp.server.stdio import stdio_server

from search_app.access.principal import EVERYBODY, Principal, acting_as
from search_app.access.scopes import Scope
from search_app.access.secret import read_key
from search_app.bootstrap import Services, open_services
from search_app.catalog import keys
from search_app.catalog.engine import reading
from search_app.config import Settings
from search_app.errors import NotPermittedError
from search_app.mcp.server import Asking, make_server

if TYPE_CHECKING:
    import anyio

LONGEST_LINE = 4_000_000
"""Most bytes of one message."""


async def serve_stdio(settings: Settings) -> None:
    """Answer on standard output what comes on standard input, until that ends.

    Raises:
        NotPermittedError: the key in the settings lets nothing be read, or is missing.
        CatalogError: the database cannot be started, reached or is not migrated.
    """
    async with open_services(settings) as services:

        async def who_asks(_: Asking) -> Principal:
            # Asked anew each time, since a key can be revoked meanwhile.
            return await _owner(services)

        # What would fail with every call is told at once.
        if not (await _owner(services)).may(Scope.READ):
            raise NotPermittedError("the key in UNMOVED_API_KEY lacks the scope read")
        server = make_server(services, who_asks)
        warming = asyncio.create_task(services.searcher.warm())
        try:
            async with stdio_server(stdin=await _lines()) as (incoming, outgoing):
                await server.run(incoming, outgoing, server.create_initialization_options())
        finally:
            warming.cancel()
            # Before the connections close that it may be using.
            await asyncio.gather(warming, return_exceptions=True)


async def _lines() -> "anyio.AsyncFile[str] | None":
    """Give the lines of standard input; None where its kind has to be read by a thread.

    A thread that waits for input cannot be told to stop, and SIGTERM would wait for it.
    """
    kind = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        return None
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    # All that is done with it is reading its lines.
    return cast("anyio.AsyncFile[str]", _Lines(reader))


class _Lines:
    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                # Longer than any message may be, so it is answered as what is none.
                line = b"too long\n"
            if not line:
                return
            yield line.decode("utf-8", errors="replace")


async def _owner(services: Services) -> Principal:
    """Give whose key is in the settings; everybody, while there are no keys."""
    secret = services.settings.api_key
    text = "" if secret is None else secret.get_secret_value().strip()
    with acting_as(None):
        async with reading(services.engine) as connection:
            if not await keys.any_made(connection):
                return EVERYBODY
            key = read_key(text)
            found = None if key is None else await keys.identify(connection, key)
    if not text:
        raise NotPermittedError(
            "this server has keys, so one is needed; set UNMOVED_API_KEY to one with scope read"
        )
    if found is None:
        raise NotPermittedError("the key in UNMOVED_API_KEY is none of this server's")
    if found.state != "valid":
        raise NotPermittedError(f"the key {found.label} in UNMOVED_API_KEY is {found.state}")
    return found.principal
