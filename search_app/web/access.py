"""Who asks, may they, and how often: what every request passes behind the guard.

Until a key is made, whoever reaches the server may do everything: only its own machine does. Once
there is one, programs send a key with each request and browsers have a session.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote, urlsplit

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_app.access.principal import EVERYBODY, NOBODY, Principal, acting, acting_as
from search_app.access.rates import Rates, neighbourhood
from search_app.access.secret import LONGEST, Key, hash_of, read_key
from search_app.bootstrap import Services
from search_app.catalog import keys, trail
from search_app.catalog.engine import reading, transaction
from search_app.catalog.keys import KeyRecord
from search_app.catalog.trail import Change, Via
from search_app.config import Settings
from search_app.errors import UnmovedError
from search_app.web.failures import answer, wants_page
from search_app.web.needs import Need, is_unsigned, missing, need_of
from search_app.web.noting import Noted, noted_by
from search_app.web.problems import Kind, Problem, ProblemError
from search_app.web.translation import gettext_noop

COOKIE = "unmoved_session"
REALM = 'Bearer realm="unmoved"'

KNOWN_S = 600.0
"""Seconds for which a key that was right is let past the limit on wrong ones."""

MOST_KNOWN = 10_000
_FAILURES_NOTED_A_MINUTE = 30
"""Wrong keys that go into the log of changes: who tries thousands must not fill the disk."""

log = structlog.get_logger()


class Access:
    """ASGI middleware: finds out who asks, and acts on their behalf from there on."""

    def __init__(
        self, app: ASGIApp, gate: "Gate", need_of: Callable[[str, str], Need] = need_of
    ) -> None:
        """Take the gate of the application, and what says what a request to it needs."""
        self._app = app
        self._gate = gate
        self._need_of = need_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if is_unsigned(scope["path"]):
            # Ready or not says nothing of what there is.
            with acting_as(None if scope["path"] == "/readyz" else NOBODY):
                await self._app(scope, receive, send)
            return
        with acting_as(NOBODY):
            request = Request(scope, receive)
            # The path that is routed by: one that is taken from the whole address depends on how
            # the host, which anybody chooses, is read.
            need = self._need_of(request.method, scope["path"])
            principal = NOBODY
            try:
                principal = await self._gate.admit(request, need)
                check_need(principal, need)
            except (ProblemError, UnmovedError) as exc:
                # What one may not do leads on to what one may.
                with acting_as(principal):
                    refused = await _refusal(request, exc)
                await refused(scope, receive, send)
                return
        with acting_as(principal):
            if need.action:
                await self._gate.noting(self._app, need, scope, receive, send)
            else:
                await self._app(scope, receive, _private(send))


class Gate:
    """Knows the keys that were right lately, and how often whom was let in; one an application."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing is looked up yet."""
        self._closed = not is_loopback(settings.host)
        self._lifetime = timedelta(hours=settings.session_hours)
        self._by_key = Rates(settings.rate_per_key)
        self._by_address = Rates(settings.rate_per_address)
        self._wrong = Rates(settings.wrong_keys_per_minute)
        self._noted = Rates(_FAILURES_NOTED_A_MINUTE)
        self._known: OrderedDict[bytes, float] = OrderedDict()

    async def admit(self, request: Request, need: Need) -> Principal:
        """Find out on whose behalf a request is made.

        Raises:
            ProblemError: somebody has to say who they are, or may make none now.
            CatalogError: the catalog does not answer.
        """
        engine = engine_of(request)
        if not await self._has_keys(engine):
            return EVERYBODY
        address = address_of(request)
        _take(self._by_address, address)
        principal = await self._identified(request, engine, address)
        if principal is None:
            if need.open:
                return NOBODY
            raise ProblemError(Kind.NO_KEY, _NO_KEY, headers={"WWW-Authenticate": REALM})
        _take(self._by_key, str(principal.key_label))
        return principal

    async def log_in(self, request: Request, text: str) -> tuple[str, int] | None:
        """Open a session for a key that was typed in; give its cookie and how many seconds it has.

        None where the key is wrong, expired or revoked.

        Raises:
            ProblemError: there were too many wrong ones.
        """
        engine, address = engine_of(request), address_of(request)
        found = await self._right(engine, address, text.strip())
        if found is None or found.state != "valid":
            await self._count_wrong(engine, "log in", request)
            return None
        with acting_as(None):
            async with transaction(engine) as connection:
                token, ends = await keys.open_session(connection, found, self._lifetime)
                change = change_by(found.principal, request, "log in", "", "done")
                await trail.record(connection, change)
        return token, max(int(ends.timestamp() - time.time()), 1)

    async def noting(
        self, app: ASGIApp, need: Need, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Pass a change on, and write down what came of it."""
        noted = Noted(scope, receive)
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        request = Request(scope)
        try:
            with noted_by(noted):
                await app(scope, noted.receive, _private(send_noting))
        finally:
            outcome = "done" if status < 400 else f"refused ({status})"  # noqa: PLR2004 - where HTTP's failures begin
            change = change_by(acting() or NOBODY, request, need.action, noted.target, outcome)
            await record_change(engine_of(request), change)

    async def _has_keys(self, engine: AsyncEngine) -> bool:
        if self._closed:
            return True
        with acting_as(None):
            async with reading(engine) as connection:
                self._closed = await keys.any_made(connection)
        return self._closed

    async def _identified(
        self, request: Request, engine: AsyncEngine, address: str
    ) -> Principal | None:
        sent = request.headers.getlist("authorization")
        if sent:
            text = _bearer(sent)
            found = None if text is None else await self._right(engine, address, text)
            if found is None:
                await self._count_wrong(engine, "use key", request)
                raise _unusable("the key that was sent is none of this server's")
            if found.state != "valid":
                raise _unusable(f"the key {found.label} is {found.state}")
            return found.principal
        token = request.cookies.get(COOKIE, "")
        if not token or len(token) > LONGEST or not is_own_page(request):
            return None
        with acting_as(None):
            async with reading(engine) as connection:
                opened = await keys.of_session(connection, token)
        return None if opened is None else opened.principal

    async def _right(self, engine: AsyncEngine, address: str, text: str) -> KeyRecord | None:
        """Look a key up, unless too many were wrong; those that were right lately always are."""
        wait = self._wrong.wait(address)
        key = read_key(text)
        if wait and (key is None or not self._is_known(key)):
            raise _too_many(wait)
        if key is None:
            return None
        with acting_as(None):
            async with reading(engine) as connection:
                found = await keys.identify(connection, key)
        if found is None:
            self._known.pop(key.hash, None)
        else:
            self._known[key.hash] = time.monotonic() + KNOWN_S
            self._known.move_to_end(key.hash)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return found

    def _is_known(self, key: Key) -> bool:
        return self._known.get(hash_of(key.text), 0.0) > time.monotonic()

    async def _count_wrong(self, engine: AsyncEngine, action: str, request: Request) -> None:
        self._wrong.take(address_of(request))
        if self._noted.take("") == 0:
            change = change_by(NOBODY, request, action, "", "refused: wrong key")
            await record_change(engine, change)


def check_need(principal: Principal, need: Need) -> None:
    """Return if somebody may make a request.

    Raises:
        ProblemError: they may not; says what is missing.
    """
    lacking = missing(principal, need)
    if lacking is not None:
        raise ProblemError(Kind.MISSING_SCOPE, lacking)


def is_loopback(host: str) -> bool:
    """Say whether only programs on this machine can reach an address."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_of(request: Request) -> str:
    """Give what stands for the address that a request is from."""
    return neighbourhood(request.client.host if request.client else "unknown")


def engine_of(request: Request) -> AsyncEngine:
    """Get the catalog of the application that a request is for."""
    services: Services = request.scope["app"].state.services
    return services.engine


def is_own_page(request: Request) -> bool:
    """Say whether a request is of our own pages, or at least of no page of elsewhere."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit_host(origin) == request.headers.get("host", "").lower()


def urlsplit_host(origin: str) -> str:
    """Give the host and port of an origin; empty where it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def change_by(
    principal: Principal, request: Request, action: str, target: str, outcome: str
) -> Change:
    """Describe a change that a request makes."""
    path = request.url.path
    via: Via = "api" if path.startswith("/api/") else "mcp" if path.startswith("/mcp") else "page"
    return Change(
        who=principal.name,
        key_label=principal.key_label,
        address=request.client.host if request.client else None,
        via=via,
        action=action,
        target=target,
        outcome=outcome,
    )


async def record_change(engine: AsyncEngine, change: Change) -> None:
    """Write a change down; where that fails, the program's own log has it."""
    try:
        with acting_as(None):
            async with reading(engine) as connection:
                await trail.record(connection, change)
    except UnmovedError:
        log.exception("a change was not written down", action=change.action)


_NO_KEY = gettext_noop(
    "send a key as Authorization: Bearer unm_…, or log in; search-app keys create makes one"
)


def _take(rates: Rates, name: str) -> None:
    wait = rates.take(name)
    if wait:
        raise _too_many(wait)


def _too_many(wait: int) -> ProblemError:
    return ProblemError(
        Kind.TOO_MANY,
        f"too many requests; try again in {math.ceil(wait)} s",
        headers={"Retry-After": str(wait)},
    )


def _unusable(detail: str) -> ProblemError:
    challenge = f'{REALM}, error="invalid_token"'
    return ProblemError(Kind.NO_KEY, detail, headers={"WWW-Authenticate": challenge})


def _bearer(sent: list[str]) -> str | None:
    scheme, _, text = sent[0].partition(" ")
    return text.strip() if len(sent) == 1 and scheme.lower() == "bearer" else None


async def _refusal(request: Request, error: ProblemError | UnmovedError) -> Response:
    """Answer who is not let in: browsers are led to where one logs in."""
    problem: Problem | None = getattr(error, "problem", None)
    if problem is not None and problem.kind is Kind.NO_KEY and wants_page(request):
        there = "/login"
        if request.method in ("GET", "HEAD"):
            asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            there += f"?next={quote(asked, safe='')}" if asked != "/" else ""
        if "hx-request" in request.headers:
            # A part of a page: the whole of it is to go there.
            return Response(status_code=401, headers={"HX-Redirect": "/login"})
        return RedirectResponse(there, status_code=303)
    return await answer(request, error)


def _private(send: Send) -> Send:
    """Have no cache keep for others what one was shown."""

    async def send_private(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("Cache-Control", "private, no-cache")
            known = {name.strip() for name in headers.get("vary", "").split(",")}
            for name in ("Authorization", "Cookie"):
                if name not in known:
                    headers.add_vary_header(name)
        await send(message)

    return send_private
