"""One request over HTTP and its answer, cut off at a set time whatever the server does."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from pathlib import Path
from urllib.parse import SplitResult

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

MOST_BYTES = 16_000_000
"""Longest answer that is read; the scores of a thousand texts are a hundredth of it."""

CONNECT_S = 5.0
"""Longest wait for a connection; what is up answers within it, however long the work takes."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: the status, the headers in lower case, and the body to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


FAILURES = (OSError, HTTPError, HTTPException)
"""What comes instead of an answer; a socket's TimeoutError is an OSError too."""


async def post(
    address: SplitResult, body: bytes, headers: Mapping[str, str], *, timeout_s: float
) -> Answer:
    """Send a body to an address; redirects are not followed, but given back as they are.

    ``timeout_s`` counts from one byte to the next. The whole is ended by cancelling it, which cuts
    the connection too.

    Raises:
        OSError, HTTPError, HTTPException: no connection, or an answer that is no HTTP.
    """
    exchange = _Exchange(address, timeout_s)
    try:
        return await asyncio.to_thread(exchange.run, body, headers)
    finally:
        # The thread outlives what waited for it, and would read on for as long as bytes trickle.
        exchange.cut()


def reason(error: BaseException) -> str:
    """Say in a few words why no answer came, without repeating any address."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not good: {cause.verify_message}"
            case ssl.SSLError():
                return f"no secure connection: {cause.reason or 'broken off'}"
            case TimeoutError():
                return "no answer in time"
            case ConnectionRefusedError():
                return "it refuses connections"
            case OSError() if cause.strerror:
                return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return f"its answer is broken ({type(error).__name__})"


class _Exchange:
    """A connection for one request, which another thread may cut."""

    def __init__(self, address: SplitResult, timeout_s: float) -> None:
        self._connection = _connection(address, min(timeout_s, CONNECT_S))
        self._target = address._replace(scheme="", netloc="").geturl() or "/"
        self._timeout_s = timeout_s
        self._cut = threading.Event()

    def run(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection = self._connection
        try:
            connection.connect()
            if self._cut.is_set():
                raise TimeoutError
            connection.timeout = self._timeout_s
            connection.request(
                "POST", self._target, body=body, headers=headers, preload_content=False
            )
            response = connection.getresponse()
            read = response.read(MOST_BYTES + 1, decode_content=False)
        finally:
            connection.close()
        if len(read) > MOST_BYTES:
            raise HTTPError(f"an answer of more than {MOST_BYTES:,} bytes")
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=read,
        )

    def cut(self) -> None:
        """End what is under way; nothing where it ended by itself."""
        self._cut.set()
        connected = self._connection.sock
        if connected is not None:
            with suppress(OSError):
                # Not SSLSocket.shutdown, after which the thread would go on in the clear.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _connection(address: SplitResult, timeout_s: float) -> HTTPConnection:
    host = address.hostname or ""
    if address.scheme == "http":
        return HTTPConnection(host, address.port, timeout=timeout_s)
    return HTTPSConnection(host, address.port, timeout=timeout_s, ssl_context=_tls())


@cache
def _tls() -> ssl.SSLContext:
    """Trust whom the system trusts; SSL_CERT_FILE and SSL_CERT_DIR are obeyed."""
    paths = ssl.get_default_verify_paths()
    known = any(path and Path(path).exists() for path in (paths.cafile, paths.capath))
    # Some Pythons for macOS and small images come without any.
    return ssl.create_default_context(cafile=None if known else certifi.where())
