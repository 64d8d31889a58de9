"""Over HTTP: behind the same guard and the same door as the API, at ``/mcp``."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from search_app.access.principal import NOBODY, Principal, acting
from search_app.bootstrap import Services, open_services
from search_app.config import Settings
from search_app.mcp.server import NEED, Asking, make_server
from search_app.web.access import Access, Gate
from search_app.web.guard import LARGEST_BODY, Guard, served_hosts
from search_app.web.needs import Need
from search_app.web.request_ids import RequestIds
from search_app.web.server import check_keys, listening, serve_on
from search_app.web.tracing import TraceRequests, make_tracing

PATH = "/mcp"
_ASKS = "unmoved.principal"


async def serve_http(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until the task is cancelled; ``announce`` is given the address once it answers.

    Raises:
        ConfigurationError: the address cannot be listened on, or others reach it and there is no
            key.
        CatalogError: the database cannot be started, reached or is not migrated.
    """
    with listening(settings) as listener:
        async with open_services(settings) as services:
            await check_keys(settings, services)
            warming = asyncio.create_task(services.searcher.warm())
            try:
                await serve_on(listener, create_mcp_app(settings, services), announce)
            finally:
                warming.cancel()


class Endpoint:
    """ASGI application of the one address; notes who asks where their call is found."""

    def __init__(self, sessions: StreamableHTTPSessionManager) -> None:
        """Take what speaks the protocol."""
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        # Calls are answered in tasks of their own, so that they are told who it is.
        await self._sessions.handle_request({**scope, _ASKS: acting() or NOBODY}, receive, send)


async def who_asks(asking: Asking) -> Principal:
    """Give whom the door let in with the request that a call came with."""
    request: Request | None = asking.request
    principal: Principal = NOBODY if request is None else request.scope[_ASKS]
    return principal


def create_mcp_app(settings: Settings, services: Services) -> Starlette:
    """Make the application; the services are left open when it stops."""
    sessions = StreamableHTTPSessionManager(
        make_server(services, who_asks),
        # Nothing is kept between requests: any process may answer any of them, and a session
        # could not be used by another key than the one that began it.
        stateless=True,
        json_response=True,
        max_request_body_size=LARGEST_BODY,
    )

    tracing = make_tracing(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with sessions.run():
            try:
                yield
            finally:
                if tracing is not None:
                    await asyncio.to_thread(tracing.close)

    app = Starlette(
        routes=[Route(PATH, Endpoint(sessions), methods=["GET", "POST", "DELETE"])],
        lifespan=lifespan,
        middleware=[
            Middleware(RequestIds),
            Middleware(Guard, hosts=served_hosts(settings)),
            *([] if tracing is None else [Middleware(TraceRequests, tracing=tracing)]),
            Middleware(Access, gate=Gate(settings), need_of=_need_of),
        ],
    )
    app.state.services = services
    return app


def _need_of(_method: str, _path: str) -> Need:
    return NEED
