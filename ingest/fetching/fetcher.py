"""Fetching pages: robots.txt first, one request at a time for each host, redirects by hand."""

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from itertools import count
from pathlib import Path
from ssl import SSLContext
from types import TracebackType
from typing import Self

from urllib3 import BaseHTTPResponse

from ingest.fetching.addresses import Address, join, parse_address
from ingest.fetching.cutoff import Cutoff
from ingest.fetching.guard import resolve
from ingest.fetching.media_types import charset, file_name
from ingest.fetching.robots import LONGEST, Robots, read_robots
from ingest.fetching.transport import ask, body, tls_context
from ingest.types import PageRef, SourceRef
from search_app.config import Settings
from search_app.errors import SourceError, SourceGoneError

PAUSE_S = 0.25
"""Seconds between two requests to one host that asks for nothing else."""

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_LONGEST_VALIDATOR = 1024
_LONGEST_CLOSE_S = 5.0
# What a server gives, and how it is asked with it.
_CONDITIONS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}


@dataclass(kw_only=True)
class _Turn:
    """Whose turn it is at a host: ``lock`` is held while it is asked, the rest is since when."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    ended_at: float = float("-inf")


class Fetcher:
    """Fetches the pages of one run into a temporary folder, which goes when it is closed.

    May be used from several threads. ``close`` cuts off what is still under way.
    """

    def __init__(self, settings: Settings, *, pause_s: float = PAUSE_S) -> None:
        """Take the limits from the settings; nothing is asked for yet."""
        self._seconds = settings.fetch_seconds
        self._private = settings.fetch_private
        self._most_mb = settings.max_file_mb
        self._pause_s = pause_s
        self._lock = threading.Condition()
        self._turns: dict[str, _Turn] = {}
        self._robots: dict[str, Robots] = {}
        self._under_way: set[Cutoff] = set()
        self._closed = threading.Event()
        self._numbers = count()
        self.gone: set[str] = set()
        """Addresses of pages that are not there any more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cut off what is under way and delete what was fetched."""
        self._closed.set()
        with self._lock:
            for cutoff in self._under_way:
                cutoff.now()
            # Whoever still writes would put a file beside those that are being deleted.
            self._lock.wait_for(lambda: not self._under_way, timeout=_LONGEST_CLOSE_S)
        if "_folder" in self.__dict__:
            self._folder.cleanup()

    def fetch(self, page: PageRef, validators: Mapping[str, str] | None = None) -> SourceRef | None:
        """Fetch a page into a file; ``discard`` it when it was read.

        With the ``validators`` of an earlier fetch, None where the page has not changed since.

        Raises:
            SourceGoneError: the server says that there is no such page.
            SourceError: it cannot or may not be fetched; says why.
        """
        try:
            return self._fetch(page, parse_address(page.uri), validators or {})
        except SourceGoneError as error:
            self.gone.add(page.uri)
            raise SourceGoneError(page.uri, error.reason) from error
        except SourceError as error:
            where = "" if error.source == page.uri else f" (redirected to {error.source})"
            raise SourceError(page.uri, f"{error.reason}{where}") from error
        except OSError as exc:
            reason = (exc.strerror or type(exc).__name__).lower()
            raise SourceError(page.uri, f"cannot be kept while it is read: {reason}") from exc

    def discard(self, ref: SourceRef) -> None:
        """Delete the file of a page that was read; it may be gone already.

        Only what was fetched: a file of the user's is not ours to delete.
        """
        if "_folder" not in self.__dict__ or ref.path.parent != Path(self._folder.name):
            return
        with suppress(OSError):
            ref.path.unlink(missing_ok=True)

    def _fetch(
        self, page: PageRef, address: Address, validators: Mapping[str, str]
    ) -> SourceRef | None:
        for _ in range(_MOST_REDIRECTS + 1):
            with self._turn(address) as turn:
                found = self._hop(page, address, validators, turn)
            if not isinstance(found, Address):
                return found
            address = found
        raise SourceError(address.uri, f"redirected more than {_MOST_REDIRECTS} times")

    def _hop(
        self, page: PageRef, address: Address, validators: Mapping[str, str], turn: _Turn
    ) -> SourceRef | Address | None:
        """Ask once; an address is where the answer sends us, None a page that has not changed."""
        robots = self._robots_of(address)
        robots.check(address)
        pause_s = turn.ended_at + max(self._pause_s, robots.pause_s) - time.monotonic()
        if self._closed.wait(max(0.0, pause_s)):
            raise SourceError(address.uri, "stopped")
        conditions = _conditions(address, validators)
        with (
            self._cutoff() as cutoff,
            self._asked(address, conditions, cutoff) as response,
        ):
            if response.status in _REDIRECTS:
                return _redirected(address, response)
            if response.status == HTTPStatus.NOT_MODIFIED and conditions:
                return None
            _check_status(address, response.status)
            return self._kept(page, address, response, cutoff)

    def _kept(
        self, page: PageRef, address: Address, response: BaseHTTPResponse, cutoff: Cutoff
    ) -> SourceRef:
        """Write the body to a file, as long as it is not too long."""
        most = self._most_mb * 1_000_000
        _check_size(address, _announced(response), self._most_mb)
        blocks = body(address, response, cutoff, most=most)
        head = next(blocks, b"")
        content_type = response.headers.get("Content-Type", "")
        name = file_name(address, content_type, head)
        path = Path(self._folder.name) / str(next(self._numbers))
        try:
            size = _write(path, head, blocks)
            _check_size(address, size, self._most_mb)
            return SourceRef(
                uri=page.uri,
                path=path,
                name=name,
                root=page.root,
                size=size,
                mtime_ns=path.stat().st_mtime_ns,
                validators=_validators(address, response, name),
                meta={"charset": charset(content_type), "address": address.uri},
            )
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _robots_of(self, address: Address) -> Robots:
        known = self._robots.get(address.origin)
        if known is None:
            known = self._robots[address.origin] = self._fetch_robots(address)
        return known

    def _fetch_robots(self, address: Address) -> Robots:
        place = parse_address(f"{address.origin}/robots.txt")
        try:
            for _ in range(_MOST_REDIRECTS + 1):
                with self._cutoff() as cutoff, self._asked(place, {}, cutoff) as response:
                    if response.status in _REDIRECTS:
                        place = _redirected(place, response)
                        continue
                    text = b"".join(body(place, response, cutoff, most=LONGEST))
                    return read_robots(response.status, text)
        except SourceError as error:
            return Robots(reason=f"cannot ask for robots.txt: {error.reason}")
        # A chain without an end leads to no rules, by the standard.
        return Robots()

    @contextmanager
    def _turn(self, address: Address) -> Iterator[_Turn]:
        """Keep others from a host while it is asked."""
        with self._lock:
            turn = self._turns.setdefault(address.host, _Turn())
        with turn.lock:
            try:
                yield turn
            finally:
                turn.ended_at = time.monotonic()

    @contextmanager
    def _cutoff(self) -> Iterator[Cutoff]:
        with Cutoff(self._seconds) as cutoff:
            with self._lock:
                self._under_way.add(cutoff)
            if self._closed.is_set():
                cutoff.now()
            try:
                yield cutoff
            finally:
                with self._lock:
                    self._under_way.discard(cutoff)
                    self._lock.notify_all()

    @contextmanager
    def _asked(
        self, address: Address, headers: Mapping[str, str], cutoff: Cutoff
    ) -> Iterator[BaseHTTPResponse]:
        machines = resolve(address, private=self._private, cutoff=cutoff)
        with ask(address, machines, headers, tls=self._tls, cutoff=cutoff) as response:
            yield response

    @cached_property
    def _tls(self) -> SSLContext:
        return tls_context()

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="unmoved-pages-", ignore_cleanup_errors=True)


def _redirected(address: Address, response: BaseHTTPResponse) -> Address:
    location = response.headers.get("Location")
    if location is None:
        raise SourceError(address.uri, f"answers {response.status} and does not say where to")
    return join(address, location)


def _check_status(address: Address, status: int) -> None:
    if status == HTTPStatus.OK:
        return
    if status in _GONE:
        raise SourceGoneError(address.uri, f"gone ({status})")
    try:
        phrase = f" ({HTTPStatus(status).phrase.lower()})"
    except ValueError:
        phrase = ""
    raise SourceError(address.uri, f"its server answers {status}{phrase}")


def _announced(response: BaseHTTPResponse) -> int:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else 0


def _check_size(address: Address, size: int, most_mb: int) -> None:
    if size > most_mb * 1_000_000:
        raise SourceError(
            address.uri, f"has more than {most_mb} MB, the limit that UNMOVED_MAX_FILE_MB sets"
        )


def _write(path: Path, head: bytes, blocks: Iterator[bytes]) -> int:
    size = len(head)
    with path.open("xb") as file:
        file.write(head)
        for block in blocks:
            file.write(block)
            size += len(block)
    return size


def _validators(address: Address, response: BaseHTTPResponse, name: str) -> dict[str, str]:
    """Keep what the server gave to ask again with; only the same address may be asked so."""
    given = {header: response.headers.get(header, "") for header in _CONDITIONS}
    fit = {
        header: value
        for header, value in given.items()
        if value and len(value) <= _LONGEST_VALIDATOR and value.isascii() and value.isprintable()
    }
    return {**fit, "address": address.uri, "name": name} if fit else {}


def _conditions(address: Address, validators: Mapping[str, str]) -> dict[str, str]:
    if validators.get("address") != address.uri:
        return {}
    return {
        header: validators[given] for given, header in _CONDITIONS.items() if given in validators
    }
