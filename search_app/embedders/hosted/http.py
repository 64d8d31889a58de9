"""A small JSON client over httpx2, for providers whose own packages bring much and add little."""

import importlib.util
import json
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING

from search_app.embedders.hosted.address import CONNECT_S, Endpoint
from search_app.embedders.hosted.failure import CallFailedError
from search_app.embedders.hosted.network import proxy_variable, tls_problem
from search_app.errors import ConfigurationError
from search_app.types import JSON

if TYPE_CHECKING:
    import httpx2

PACKAGE = "httpx2"

LARGEST_ANSWER = 64 * 2**20
"""Most bytes of an answer that are read, unpacked; a thousand long vectors are a quarter of it."""

LARGEST_ERROR = 2**16
"""Bytes of an answer that is an error; the rest says no more."""

_PROXY_WANTS_A_LOGIN = 407
_KEPT_ALIVE_S = 30.0


class JsonClient:
    """Posts JSON to one address, each request once: no retries, and no redirect is followed.

    Connections are kept open between requests. The usual proxy variables are honoured, and
    ``SSL_CERT_FILE`` for authorities that the system does not know. It belongs to the event loop of
    its first request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        timeout_s: float,
        address_setting: str,
        *,
        largest: int | None = None,
    ) -> None:
        import httpx2

        login = endpoint.login
        key = endpoint.key
        self._url = endpoint.url
        self._address_setting = address_setting
        self._largest = LARGEST_ANSWER if largest is None else largest
        self._client = httpx2.AsyncClient(
            headers={
                "accept": "application/json",
                "user-agent": f"unmoved {PACKAGE}/{httpx2.__version__}",
                **({"authorization": f"Bearer {key.get_secret_value()}"} if key else {}),
            },
            auth=(login[0], login[1].get_secret_value()) if login else None,
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S)),
            # How many are under way at once is decided elsewhere.
            limits=httpx2.Limits(max_connections=None, keepalive_expiry=_KEPT_ALIVE_S),
            follow_redirects=False,
        )

    async def post(self, path: str, payload: Mapping[str, JSON]) -> bytes:
        """Send a payload to a path below the address, and give the body of a good answer.

        Raises:
            CallFailedError: no answer, an answer that is no, or one that is too large.
        """
        import httpx2

        try:
            async with self._client.stream("POST", self._url + path, json=payload) as response:
                good = response.status_code == httpx2.codes.OK
                body = await self._read(response, self._largest if good else LARGEST_ERROR)
        except (httpx2.RequestError, httpx2.InvalidURL) as exc:
            raise failed(exc, self._url, self._address_setting) from exc
        if good and len(body) > self._largest:
            raise CallFailedError(
                reason=f"the answer is larger than {self._largest:,} bytes", refused=True
            )
        if not good:
            raise CallFailedError(
                status=response.status_code,
                body=_words(body),
                headers=dict(response.headers),
                advice=_of_proxy(self._url) if response.status_code == _PROXY_WANTS_A_LOGIN else "",
            )
        return body

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _read(self, response: "httpx2.Response", most: int) -> bytes:
        """Read a body until it is whole, or too large."""
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > most:
                break
        return bytes(body)


def failed(exc: Exception, url: str, address_setting: str) -> CallFailedError:
    """Say what an exception of httpx2 is, in the terms of all providers."""
    import httpx2

    tls = tls_problem(exc, address_setting)
    if tls is not None:
        return CallFailedError(reason=tls, refused=True)
    reason = f"{type(exc).__name__}: {exc}".rstrip(": ")
    if isinstance(exc, httpx2.ProxyError) and str(exc).startswith(str(_PROXY_WANTS_A_LOGIN)):
        return CallFailedError(reason=f"{reason}; {_of_proxy(url)}", refused=True)
    variable = proxy_variable(url)
    return CallFailedError(
        reason=reason + (f", by the proxy that {variable} names" if variable else ""),
        timed_out=isinstance(exc, httpx2.TimeoutException),
    )


def _of_proxy(url: str) -> str:
    variable = proxy_variable(url) or "the proxy"
    return f"that is a proxy's answer: check name and password in {variable}"


def require_package(provider: str) -> None:
    """Make sure that the package is there, without importing it.

    Raises:
        ConfigurationError: it is missing; names the extra.
    """
    try:
        found = importlib.util.find_spec(PACKAGE)
    except ValueError:
        found = None
    if found is None:
        raise ConfigurationError(
            f"embedders {provider}:MODEL need the package {PACKAGE}: install unmoved[{provider}]"
        )


def package_version() -> str:
    """Give the version of httpx2."""
    return metadata.version(PACKAGE)


def _words(body: bytes) -> JSON:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace").strip() or None
