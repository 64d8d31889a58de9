"""A real web server on loopback whose pages, faults and tempers a test chooses."""

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HTML = {"Content-Type": "text/html; charset=utf-8"}

CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAvrzl2irA//Bi2/i
XkZ61AHAbTUNzSgFMo8/3wvZFMqhRANCAASC6XkUFMOMA3YDKz/lYn0t0rZHv6v9
Q3jhgTqsH1poCmyW4aazz9UVkjNS6DeLtY0vHAX2333InQVOsKPmgcHt
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBsDCCAVegAwIBAgIURxO64vSobk/Zg74gYSPFgOjOW+4wCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNcGFnZXMuZXhhbXBsZTAgFw0yNjExMjExMDEzNDdaGA8yMTI2
MTAyODEwMTM0N1owGDEWMBQGA1UEAwwNcGFnZXMuZXhhbXBsZTBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABILpeRQUw4wDdgMrP+VifS3Stke/q/1DeOGBOqwfWmgK
bJbhprPP1RWSM1LoN4u1jS8cBfbffcidBU6wo+aBwe2jfTB7MB0GA1UdDgQWBBTV
kdNNvSzKi9QRQs63Hgt+HI/nkzAfBgNVHSMEGDAWgBTVkdNNvSzKi9QRQs63Hgt+
HI/nkzAYBgNVHREEETAPgg1wYWdlcy5leGFtcGxlMA8GA1UdEwEB/wQFMAMBAf8w
DgYDVR0PAQH/BAQDAgKEMAoGCCqGSM49BAMCA0cAMEQCIBsy+zedk6ZU0j3P5Uwg
0p4PSNAM5u4mV33l6iYzIlcLAiBkKMVW3n65TZRUGLtO4ETcJn4fScGnlJv0bdjh
FdEVMQ==
-----END CERTIFICATE-----
"""
"""Signed by itself for pages.example, with its key; good for a hundred years and for tests only."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a path is answered with; Content-Length is set unless the headers have one."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: HTML)


Behaviour = Callable[[BaseHTTPRequestHandler], None]
"""Answers in a way of its own, as faulty and hostile servers do."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]


class PageServer:
    """Answers each path as told; others with 404."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.pages: dict[str, Answer | Behaviour] = {}
        self.received: list[Received] = []
        self.names: list[str | None] = []
        self.port: int = server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.stopping = threading.Event()

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.received]

    def page(self, path: str, body: bytes | str, **headers: str) -> str:
        """Serve an HTML page and give its address."""
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = Answer(body=data, headers={**HTML, **named})
        return f"{self.url}{path}"

    def redirect(self, path: str, to: str) -> str:
        self.pages[path] = Answer(status=302, headers={"Location": to})
        return f"{self.url}{path}"

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        self.received.append(
            Received(path=handler.path, headers={k.lower(): v for k, v in handler.headers.items()})
        )
        answer = self.pages.get(handler.path, Answer(status=404, body=b"nothing here"))
        # A client that hangs up is part of many tests.
        with suppress(OSError):
            if not isinstance(answer, Answer):
                answer(handler)
                return
            handler.send_response(answer.status)
            for name, value in {
                "Content-Length": str(len(answer.body)),
                **answer.headers,
            }.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(answer.body)


@contextmanager
def page_server(certificate: Path | None = None) -> Iterator[PageServer]:
    """Run a server for as long as the context lasts; with a certificate, over TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pages.send(self)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: Any) -> None:
            """Say nothing of clients that refuse our certificate."""

    server = Server(("127.0.0.1", 0), Handler)
    pages = PageServer(server)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.sni_callback = lambda _socket, name, _context: pages.names.append(name)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        pages.url = f"https://pages.example:{pages.port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield pages
    finally:
        pages.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Announce 10 GB without saying so, and send until nobody listens."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain")
    handler.end_headers()
    for _ in range(10_000):
        handler.wfile.write(b"word " * 200_000)


def gzip_bomb(handler: BaseHTTPRequestHandler) -> None:
    """Send 1 MB that unpacks to 1 GB."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    with gzip.open(handler.wfile, "wb", compresslevel=9) as packed:
        for _ in range(1_000):
            packed.write(bytes(1_000_000))


def drip(pages: PageServer, head: bytes) -> Behaviour:
    """Send ``head``, then a byte now and then, never late for a single read."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(head)
        while not pages.stopping.wait(0.05):
            handler.wfile.write(b"x")
            handler.wfile.flush()

    return send


def closed_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port
