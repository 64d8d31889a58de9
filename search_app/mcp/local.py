"""Over stdio: one client, which started this process; its key is in the settings."""

import asyncio
import logging
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

import structlog
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

log = structlog.get_logger()

LONGEST_LINE = 4_000_000
"""Most bytes of one message."""

LEAVING_S = 3.0
"""Longest wait for the calls under way when the input ends or the process is told to stop."""

_WRITING_S = 0.1
"""For the last answer to get from its call to standard output."""


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
        calls = _Calls()
        server = make_server(services, who_asks, calls.one)
        lines = await _lines(calls)
        tasks = [asyncio.create_task(services.searcher.warm())]
        # All that is done with them is reading them.
        stdin = cast("anyio.AsyncFile[str] | None", lines)
        try:
            async with stdio_server(stdin=stdin) as (incoming, outgoing):
                options = server.create_initialization_options()
                tasks.append(asyncio.create_task(server.run(incoming, outgoing, options)))
                await _until_it_ends(tasks[-1], lines)
        except* BrokenPipeError:
            # Nobody reads what is answered, so nobody is there to be told.
            log.info("the client left")
        finally:
            if lines is not None:
                lines.end()
            # What is cut off here is wanted by nobody, and the driver would have a line for each.
            logging.getLogger("psycopg").setLevel(logging.ERROR)
            for task in tasks:
                task.cancel()
            # Before the connections close that they may be using.
            await asyncio.gather(*tasks, return_exceptions=True)


async def _until_it_ends(serving: "asyncio.Task[None]", lines: "_Lines | None") -> None:
    """Wait for the end of the input; whoever stops this before is the end of it, too."""
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        if lines is not None:
            lines.end()
            await asyncio.wait([serving], timeout=2 * LEAVING_S)
        raise


async def _lines(calls: "_Calls") -> "_Lines | None":
    """Give the lines of standard input; None where its kind has to be read by a thread.

    A thread that waits for input cannot be told to stop, and SIGTERM would wait for it.
    """
    kind = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        return None
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    return _Lines(reader, transport, calls)


class _Calls:
    """Knows whether any call is under way."""

    def __init__(self) -> None:
        self._number = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        self._number += 1
        self._none.clear()
        try:
            yield
        finally:
            self._number -= 1
            if not self._number:
                self._none.set()

    async def end(self) -> None:
        """Wait until there is none, but not for long."""
        # Those that were read last have begun by then.
        await asyncio.sleep(_WRITING_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), LEAVING_S)
        await asyncio.sleep(_WRITING_S)


class _Lines:
    """The lines of standard input. Their end is told once what they asked for is answered."""

    def __init__(
        self, reader: asyncio.StreamReader, transport: asyncio.ReadTransport, calls: _Calls
    ) -> None:
        self._reader = reader
        self._transport = transport
        self._calls = calls

    def end(self) -> None:
        """Read no more."""
        self._transport.close()

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                # Longer than any message may be, so it is answered as what is none.
                line = b"too long\n"
            if not line:
                await self._calls.end()
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
