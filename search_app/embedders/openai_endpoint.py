"""The address and the key of an OpenAI-compatible endpoint, checked before anything is sent."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import SecretStr

from search_app.errors import ConfigurationError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OFFICIAL_URL = "https://api.openai.com/v1"

NO_KEY = "no-key"
"""Sent where no key is set: the client insists on one, and local servers ignore it."""

CONNECT_S = 5.0
"""Longest wait for a connection; what is up answers within it, however long the work takes."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where requests go. ``url`` and ``host`` may be shown, everything else is secret."""

    url: str
    host: str
    key: SecretStr | None
    login: tuple[str, SecretStr] | None

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """What no message may show."""
        password = self.login[1] if self.login else None
        return tuple(s for s in (self.key, password) if s is not None and s.get_secret_value())


def endpoint_of(base_url: str | None, api_key: str | None) -> Endpoint:
    """Check an address and a key, and part what may be shown from what may not.

    Raises:
        ConfigurationError: not the address of an API, a key that cannot be sent, two
            authentications at once, or none for OpenAI itself.
    """
    parts = _address(base_url or OFFICIAL_URL)
    key = _key(api_key)
    login = None
    if parts.username is not None:
        login = (unquote(parts.username), SecretStr(unquote(parts.password or "")))
    if login and key:
        raise ConfigurationError(
            "UNMOVED_OPENAI_BASE_URL holds a user name and UNMOVED_OPENAI_API_KEY is set: "
            "a request carries only one of them; remove the other"
        )
    host = parts.netloc.rpartition("@")[2]
    if not login and not key and parts.hostname == urlsplit(OFFICIAL_URL).hostname:
        raise ConfigurationError(
            f"{host} needs a key: set UNMOVED_OPENAI_API_KEY; "
            "for another server set UNMOVED_OPENAI_BASE_URL"
        )
    url = parts._replace(netloc=host, path=parts.path.rstrip("/")).geturl()
    return Endpoint(url=url, host=host, key=key, login=login)


def connect(endpoint: Endpoint, timeout_s: float) -> "AsyncOpenAI":
    """Make the official client, with nothing of the ``OPENAI_*`` variables in it.

    It belongs to the event loop of its first request, never retries and follows no redirect:
    texts and key go to the address that was configured and to no other.
    """
    import openai

    login = endpoint.login
    client = openai.AsyncOpenAI(
        api_key=endpoint.key.get_secret_value() if endpoint.key else NO_KEY,
        base_url=endpoint.url,
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(
            timeout=openai.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S)),
            auth=(login[0], login[1].get_secret_value()) if login else None,
            follow_redirects=False,
        ),
    )
    # What OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_ADMIN_KEY, OPENAI_WEBHOOK_SECRET and
    # OPENAI_CUSTOM_HEADERS put there; an empty argument would send an empty header.
    client.organization = client.project = None
    client.admin_api_key = client.webhook_secret = None
    client._custom_headers = {}  # noqa: SLF001 - no argument keeps that variable out
    return client


def _address(base_url: str) -> SplitResult:
    try:
        parts = urlsplit(base_url)
        usable = _usable(parts) and base_url.isprintable() and " " not in base_url
    except ValueError:
        usable = False
    if not usable:
        # Neither this nor its cause repeats the address: it may hold a password, or a key.
        raise ConfigurationError(
            "UNMOVED_OPENAI_BASE_URL must be an address like http://127.0.0.1:8000/v1, "
            "without query, fragment or /embeddings"
        ) from None
    return parts


def _usable(parts: SplitResult) -> bool:
    # Raises ValueError for a name that no resolver takes (a..b) and for a port out of range.
    (parts.hostname or "").encode("idna")
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and parts.port != 0
        and not parts.query
        and not parts.fragment
        and not parts.path.rstrip("/").endswith("/embeddings")
    )


def _key(api_key: str | None) -> SecretStr | None:
    key = (api_key or "").strip()
    # The HTTP library would refuse such a header with an error that repeats it.
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            "UNMOVED_OPENAI_API_KEY holds characters that no key has: copy it again"
        )
    return SecretStr(key) if key else None
