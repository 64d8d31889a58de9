"""The address and the key of an endpoint, checked before anything is sent."""

from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import SecretStr

from search_app.embedders.hosted.request import Service
from search_app.errors import ConfigurationError

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


def endpoint_of(service: Service, base_url: str | None, api_key: str | None) -> Endpoint:
    """Check an address and a key, and part what may be shown from what may not.

    Raises:
        ConfigurationError: not the address of an API, a key that cannot be sent, two
            authentications at once, or none for the provider's own address.
    """
    parts = _address(service, base_url or service.url)
    key = checked_key(service.key_setting, api_key)
    login = None
    if parts.username is not None:
        login = (unquote(parts.username), SecretStr(unquote(parts.password or "")))
    if login and key:
        raise ConfigurationError(
            f"{service.address_setting} holds a user name and {service.key_setting} is set: "
            "a request carries only one of them; remove the other"
        )
    host = parts.netloc.rpartition("@")[2]
    if not login and not key and parts.hostname == urlsplit(service.url).hostname:
        raise ConfigurationError(
            f"{host} needs a key: set {service.key_setting}; "
            f"for another server set {service.address_setting}"
        )
    url = parts._replace(netloc=host, path=parts.path.rstrip("/")).geturl()
    return Endpoint(url=url, host=host, key=key, login=login)


def _address(service: Service, base_url: str) -> SplitResult:
    try:
        parts = urlsplit(base_url)
        usable = _usable(parts) and base_url.isprintable() and " " not in base_url
    except ValueError:
        usable = False
    if not usable:
        # Neither this nor its cause repeats the address: it may hold a password, or a key.
        raise ConfigurationError(
            f"{service.address_setting} must be an address like {service.example}, "
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


def checked_key(setting: str, api_key: str | None) -> SecretStr | None:
    """Check that a key can be sent; None where there is none.

    Raises:
        ConfigurationError: it holds what no header carries; the message does not repeat it.
    """
    key = (api_key or "").strip()
    # The HTTP library would refuse such a header with an error that repeats it.
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(f"{setting} holds characters that no key has: copy it again")
    return SecretStr(key) if key else None
