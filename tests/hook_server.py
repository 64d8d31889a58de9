"""A real receiver of webhooks on loopback, which keeps what is posted."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


@dataclass(frozen=True, kw_only=True)
class Posted:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def payload(self) -> Any:
        return json.loads(self.content)


@dataclass(kw_only=True)
class HookServer:
    """What came in; ``status`` is what it is answered with, once ``ready`` is set."""

    status: int = 200
    url: str = ""
    posted: list[Posted] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        told = cast("_Listener", self.server).told
        content = self.rfile.read(int(self.headers["Content-Length"]))
        told.begun.set()
        told.ready.wait(60)
        headers = {name.lower(): value for name, value in self.headers.items()}
        told.posted.append(Posted(path=self.path, headers=headers, content=content))
        try:
            self.send_response(told.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        except OSError:
            return

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    told: HookServer


@contextmanager
def hook_server() -> Iterator[HookServer]:
    """Receive on a free port of loopback."""
    told = HookServer()
    told.ready.set()
    with _Listener(("127.0.0.1", 0), _Handler) as listener:
        listener.told = told
        told.url = f"http://127.0.0.1:{listener.server_address[1]}/hook?token=hunter2"
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield told
        told.ready.set()
        listener.shutdown()
        thread.join()
