"""Running the page and the API: one uvicorn in this process, until it is told to stop."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import typer
import uvicorn
from starlette.applications import Starlette

from search_app.alerts.telling import keep_telling
from search_app.bootstrap import Services, open_services
from search_app.catalog import keys
from search_app.catalog.engine import reading
from search_app.config import Settings
from search_app.errors import ConfigurationError
from search_app.web.access import is_loopback
from search_app.web.app import create_app
from search_app.web.keys import load_key
from search_app.web.worker_process import worker_beside

GRACE_S = 5
"""Seconds that requests under way get to finish when the server stops."""

FINISH_S = 3
"""Seconds after which streams that are still open are ended with a last event."""


async def serve_forever(settings: Settings, *, worker: bool = True) -> None:
    """Serve until the task is cancelled, which Ctrl-C and SIGTERM do; then end requests and return.

    With ``worker``, a process beside this one does the queued work.

    Raises:
        ConfigurationError: the address cannot be listened on, or others reach it and there is no
            key.
        CatalogError: the database cannot be started, reached or is not migrated.
    """
    # Opened here rather than by the application, so that what fails is told by the command.
    load_key(settings)
    with listening(settings) as listener:
        async with open_services(settings) as services:
            await check_keys(settings, services)
            warming = asyncio.create_task(services.searcher.warm())
            # Here too, since a worker that is dead does not say so.
            telling = asyncio.create_task(keep_telling(services))
            try:
                async with worker_beside() if worker else nullcontext():
                    app = create_app(settings, services)
                    await serve_on(listener, app, partial(_announce, worker=worker))
            finally:
                warming.cancel()
                telling.cancel()


async def check_keys(settings: Settings, services: Services) -> None:
    """See that whoever reaches the server from elsewhere will need a key.

    Raises:
        ConfigurationError: there is none.
    """
    if is_loopback(settings.host):
        return
    async with reading(services.engine) as connection:
        if await keys.any_valid(connection):
            return
    raise ConfigurationError(
        f"{settings.host} can be reached from other machines, and there is no key yet, so anybody "
        "could read and change everything; make one first: search-app keys create --name NAME "
        "--scope admin, or listen on 127.0.0.1"
    )


async def serve_on(
    listener: socket.socket, app: Starlette, announce: Callable[[str], None]
) -> None:
    """Serve an application until the task is cancelled, then let it finish; say when it answers.

    ``announce`` is given the address. Streams of an application that has ``state.closing``, an
    event, are asked by it to end.
    """
    config = uvicorn.Config(
        app,
        ws="none",
        # Logging is ours, configured once for the process.
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    announcing = asyncio.create_task(_announced(server, listener, announce))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        closing: asyncio.Event | None = getattr(app.state, "closing", None)
        if closing is not None:
            asyncio.get_running_loop().call_later(FINISH_S, closing.set)
        await serving
    finally:
        announcing.cancel()


class _Server(uvicorn.Server):
    """A server that leaves signals to the command it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def listening(settings: Settings) -> socket.socket:
    """Listen on the address that the settings name.

    Raises:
        ConfigurationError: it cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise ConfigurationError(
            f"cannot listen on {settings.host} port {settings.port}: {reason}; "
            "choose another with --port, or --port 0 for any that is free"
        ) from exc
    # Connections inherit it. asyncio sets it only where a socket names its protocol, which such a
    # one does not, and then the body of each answer waits some 40 ms for its head to be confirmed.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _announced(
    server: uvicorn.Server, listener: socket.socket, announce: Callable[[str], None]
) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.05)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    announce(f"http://{shown}:{port}")


def _announce(address: str, *, worker: bool) -> None:
    """Say the address once it answers, on standard output, so that scripts can wait for it."""
    typer.echo(f"Unmoved serves {address} (Ctrl-C stops it)")
    typer.echo(
        "A worker beside it ingests what is uploaded or asked for."
        if worker
        else "Uploads and other work wait for a worker; start one with: ingest worker"
    )
