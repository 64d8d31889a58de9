"""The way to Qdrant: a server over REST or gRPC, or its local mode in a thread of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import portalocker
import structlog
from qdrant_client import AsyncQdrantClient

from search_app.errors import ConfigurationError, StoreUnavailableError
from search_app.stores.qdrant_errors import store_errors

MEMORY = "local::memory:"
"""The address of a Qdrant that lives and dies with this process."""

_LOCAL = "local:"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class QdrantAddress:
    """Where Qdrant is: ``http(s)://HOST:PORT`` of a server, ``local:FOLDER``, or ``MEMORY``.

    ``grpc_port`` 0 means REST only; ``timeout_s`` bounds one request to a server.
    """

    url: str
    api_key: str | None = None
    grpc_port: int = 0
    timeout_s: int = 30

    def __post_init__(self) -> None:
        """Refuse what cannot be an address.

        Raises:
            ConfigurationError: says what to write.
        """
        if self.url.startswith(_LOCAL):
            if not self.url.removeprefix(_LOCAL).strip():
                raise ConfigurationError("UNMOVED_QDRANT_URL: local: needs a folder, local:FOLDER")
            return
        try:
            parts = urlsplit(self.url)
            readable = (
                parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
            )
        except ValueError:
            readable = False
        if not readable or parts.query or parts.fragment or parts.username is not None:
            # The address may hold a password, so it is not repeated.
            raise ConfigurationError(
                "UNMOVED_QDRANT_URL must be an address like http://localhost:6333, or "
                "local:FOLDER; a key goes to UNMOVED_QDRANT_API_KEY"
            )

    @property
    def is_local(self) -> bool:
        """Whether this is the client's local mode, not a server."""
        return self.url.startswith(_LOCAL)

    @property
    def place(self) -> str:
        """The address as messages name it."""
        return self.url.removeprefix(_LOCAL) if self.is_local else self.url


class QdrantConnection:
    """Gives the client, opened at its first use."""

    def __init__(self, address: QdrantAddress) -> None:
        self.address = address
        self.is_local = address.is_local
        self._client: AsyncQdrantClient | None = None

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncQdrantClient]:
        """Give the client for one request, and turn what it raises into errors of a store.

        Raises:
            StoreError: the request failed.
        """
        with store_errors(self.address.place):
            if self._client is None:
                self._client = _local(self.address) if self.is_local else _remote(self.address)
            # The client's own time-out is one for each step: a server that drips never meets it.
            async with asyncio.timeout(None if self.is_local else self.address.timeout_s):
                yield self._client

    async def aclose(self) -> None:
        """Close the client; in local mode that gives the folder free."""
        if self._client is not None:
            async with self.client() as client:
                await client.close()
            self._client = None


def _remote(address: QdrantAddress) -> AsyncQdrantClient:
    host = urlsplit(address.url).hostname
    if address.api_key is not None and address.url.startswith("http:") and host not in _LOOPBACK:
        log.warning("the key of Qdrant travels unencrypted; use https", url=address.url)
    return AsyncQdrantClient(
        url=address.url,
        timeout=address.timeout_s,
        prefer_grpc=address.grpc_port > 0,
        grpc_port=address.grpc_port,
        # As a header, since `api_key=` warns at every start, on loopback too.
        headers=None if address.api_key is None else {"api-key": address.api_key},
        # A thread that asks for the version and prints warnings.
        check_compatibility=False,
    )


def _local(address: QdrantAddress) -> AsyncQdrantClient:
    return cast("AsyncQdrantClient", _LocalClient(address))


class _LocalClient:
    """The client's local mode, each call in one and the same thread.

    In a thread, since it computes in Python and the loop has to go on; in one, since neither its
    arrays nor its SQLite connections are made for several.
    """

    def __init__(self, address: QdrantAddress) -> None:
        self._address = address
        self._thread = ThreadPoolExecutor(1, "qdrant")
        self._opened: AsyncQdrantClient | None = None

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            def work() -> Any:
                if self._opened is None:
                    self._opened = _opened(self._address.place)
                return asyncio.run(getattr(self._opened, name)(*args, **kwargs))

            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

        return call

    async def close(self) -> None:
        if self._opened is not None:
            await self.__getattr__("close")()
        self._thread.shutdown(wait=False)


def _opened(place: str) -> AsyncQdrantClient:
    if place == MEMORY.removeprefix(_LOCAL):
        return AsyncQdrantClient(location=":memory:")
    folder = Path(place).expanduser().absolute()
    _check_free(folder)
    return AsyncQdrantClient(path=str(folder))


def _check_free(folder: Path) -> None:
    """Look at the lock before the client does, which reads everything first and leaks the file.

    Raises:
        StoreUnavailableError: another process has the folder.
    """
    try:
        with (folder / ".lock").open("r+") as lock:
            portalocker.lock(lock, portalocker.LOCK_EX | portalocker.LOCK_NB)
    except FileNotFoundError:
        return
    except portalocker.LockException as exc:
        raise StoreUnavailableError(
            f"qdrant: the folder {folder} is in use by another process, and local mode serves "
            "one at a time; stop the other, or set UNMOVED_QDRANT_URL to a server's address"
        ) from exc
