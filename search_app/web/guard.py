"""What every request passes first: host name, origin, size; and what every response carries."""

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_app.access.principal import NOBODY, acting_as
from search_app.config import Settings
from search_app.web.failures import answer
from search_app.web.problems import Kind, ProblemError
from search_app.web.translation import gettext_noop

LARGEST_BODY = 1_000_000
"""Most bytes of a request's body."""

_UPLOADS = re.compile(r"/upload|/api/v1/collections/[^/]+/documents")
"""Addresses that take files, whose size is limited one by one as they arrive."""

LOOPBACK = frozenset(["localhost", "127.0.0.1", "::1"])
_ANY_ADDRESS = frozenset(["", "0.0.0.0", "::"])  # noqa: S104 - named to be left out
_SAFE = frozenset(["GET", "HEAD", "OPTIONS"])

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; object-src 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Own pages learn where a form was posted from, other sites learn nothing.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def served_hosts(settings: Settings) -> frozenset[str]:
    """Give the host names that requests may carry: loopback, the address bound, those allowed."""
    named = {host.strip().lower() for host in settings.allowed_hosts.split(",")}
    return LOOPBACK | ({settings.host.lower()} | named) - _ANY_ADDRESS


class Guard:
    """ASGI middleware around the whole application.

    The host name is checked because a foreign site can let its own name point to 127.0.0.1 and
    would then read everything (DNS rebinding).
    """

    def __init__(
        self, app: ASGIApp, hosts: frozenset[str], origins: frozenset[str] = frozenset()
    ) -> None:
        """Take the host names that are served and the other sites that may use the API."""
        self._app = app
        self._hosts = hosts
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Who it is, is found out behind here; what is refused before that is refused to nobody.
        with acting_as(NOBODY):
            await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        request = Request(scope, receive)
        try:
            self._check(request)
            limited = receive if _takes_files(request) else _limited(receive)
            await self._app(scope, limited, send_guarded)
        except Exception as exc:
            if started:
                raise
            response = await answer(request, exc)
            await response(scope, receive, send_guarded)

    def _check(self, request: Request) -> None:
        host = request.headers.get("host", "")
        if _name(host) not in self._hosts:
            raise ProblemError(
                Kind.UNKNOWN_HOST,
                f"the host {host[:100]!r} is not served; use localhost, or name it in "
                "UNMOVED_ALLOWED_HOSTS",
            )
        if request.method not in _SAFE:
            if not self._is_invited(request):
                _check_origin(request.headers)
            length = request.headers.get("content-length", "0")
            if not length.isdecimal():
                raise _too_large()
            if int(length[:20]) > LARGEST_BODY and not _takes_files(request):
                raise _too_large()

    def _is_invited(self, request: Request) -> bool:
        """Say whether a page of another site may send this; cookies then count for nothing."""
        origin = request.headers.get("origin", "").lower()
        return origin in self._origins and request.url.path.startswith("/api/")


def allowed_origins(settings: Settings) -> frozenset[str]:
    """Give the other sites whose pages may use the API."""
    named = (origin.strip().lower().rstrip("/") for origin in settings.cors_origins.split(","))
    return frozenset(filter(None, named))


def _takes_files(request: Request) -> bool:
    return request.method == "POST" and _UPLOADS.fullmatch(request.url.path) is not None


def _name(host: str) -> str:
    """Give the name in a Host header, without port and brackets; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _check_origin(headers: Headers) -> None:
    """Refuse what a page of another site makes the browser send; programs send neither header."""
    site = headers.get("sec-fetch-site", "none")
    _, _, origin = headers.get("origin", f"//{headers['host']}").rpartition("//")
    if origin.lower() != headers["host"].lower() or site not in ("same-origin", "none"):
        raise ProblemError(
            Kind.CROSS_ORIGIN,
            gettext_noop("this was sent by a page of another site, which is not allowed"),
        )


def _too_large() -> HTTPException:
    return HTTPException(413, f"the body has more than {LARGEST_BODY:,} bytes; send less at a time")


def _limited(receive: Receive) -> Receive:
    """Count what arrives, since a chunked body does not say how long it is."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > LARGEST_BODY:
            raise _too_large()
        return message

    return receive_limited
