"""The time limit of a request, which holds whatever the other side does."""

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from search_app.errors import SourceError


class Cutoff:
    """Cuts a connection once the time is up, or earlier where ``now`` is called.

    Time limits of sockets count from one read to the next, so that a server which sends a byte
    now and then is never late for them.
    """

    def __init__(self, seconds: float) -> None:
        """Start the clock."""
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._cut = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self.now)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()

    def now(self) -> None:
        """Cut what is under way, and whatever is begun after this."""
        with self._lock:
            self._cut.set()
            if self._socket is not None:
                _shut(self._socket)

    def watch(self, connected: socket.socket) -> None:
        """Take the connection that is to be cut."""
        with self._lock:
            self._socket = connected
            if self._cut.is_set():
                _shut(connected)

    def left(self, source: str) -> float:
        """Give the seconds that are left, more than 0.

        Raises:
            SourceError: there are none.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0 or self._cut.is_set():
            raise SourceError(
                source,
                f"did not arrive within {self.seconds:g} s, the limit that "
                "UNMOVED_FETCH_SECONDS sets",
            )
        return seconds


def _shut(connected: socket.socket) -> None:
    # Not SSLSocket.shutdown, which would have the thread that reads go on in the clear.
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
