"""Addresses of pages: one strict reading of them, which everything else goes by.

Two readers that disagree on what the host of an address is are how a check is passed by one host
and another is asked. Here an address is read once, into parts; nothing reads its text again.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import idna
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from search_app.errors import SourceError

PORTS = {"http": 80, "https": 443}
"""The schemes that are fetched, with their ports."""

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_USER = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#]*(?=@)")
# In what is no address, nobody knows where a password ends.
_ANY_USER = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*://).*(?=@)", re.DOTALL)
_UNFIT = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\u3000\ud800-\udfff\\]")
# An underscore is against the standard and common inside of companies.
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# What some resolvers read as an IPv4 address: 2130706433, 0x7f.1, 0177.0.0.1
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_HOST = 253


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a page is. ``host`` is a name in ASCII or an IP address without brackets.

    ``target`` is what is asked for there: path and query, percent-encoded.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def netloc(self) -> str:
        """Host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The server: scheme, host and port."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def uri(self) -> str:
        """The address in its normal form, which names the page in the catalog."""
        return f"{self.origin}{self.target}"


def is_address(text: str) -> bool:
    """Say whether an argument or a source is meant as an address, of whatever scheme."""
    return _SCHEME.match(text) is not None


def masked(text: str) -> str:
    """Write an address without the name and password that it may have."""
    try:
        readable = urlsplit(text).port != 0
    except ValueError:
        readable = False
    return (_USER if readable else _ANY_USER).sub(r"\1…", text)


def parse_address(text: str) -> Address:
    """Read an address; the fragment is dropped, for it names a place within the page.

    Raises:
        SourceError: it is none that can be fetched; says why.
    """
    # Reports are kept, and it may be a real password.
    shown = masked(text)
    found = _UNFIT.search(text)
    if found is not None:
        raise SourceError(shown, f"no address: has a {_named(found[0])} at {found.start() + 1}")
    try:
        parts = urlsplit(text)
    except ValueError as exc:
        raise SourceError(shown, "no address: its host cannot be read") from exc
    if parts.scheme not in PORTS:
        raise SourceError(shown, "only addresses of http:// and https:// are fetched")
    if parts.username is not None or parts.password is not None:
        raise SourceError(shown, "has a name or password in front of the host; leave it out")
    port = _port(shown, parts)
    host = _host(shown, parts.hostname or "")
    return Address(
        scheme=parts.scheme, host=host, port=port or PORTS[parts.scheme], target=_target(parts)
    )


def join(base: Address, location: str) -> Address:
    """Read where a redirect leads, which may be relative to the page it came from.

    Raises:
        SourceError: it is no address that can be fetched.
    """
    # Servers send these raw, though nobody may.
    location = location.strip().replace(" ", "%20")
    try:
        return parse_address(urljoin(base.uri, location))
    except ValueError as exc:
        raise SourceError(location, f"no address: {str(exc).lower()}") from exc


def _port(text: str, parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError as exc:
        reason = "no address: its port is no number from 1 to 65535"
        raise SourceError(text, reason) from exc
    if port == 0:
        raise SourceError(text, "no address: there is no port 0")
    return port


def _host(text: str, host: str) -> str:
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError as exc:
            raise SourceError(text, "no address: its host is no IPv6 address") from exc
        if address.scope_id is not None:
            raise SourceError(text, "no address: an IPv6 host must not name an interface")
        return address.compressed
    name = _ascii(text, host).removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError as exc:
            raise SourceError(
                text, "no address: a host of numbers must be an IPv4 address such as 192.0.2.1"
            ) from exc
    if len(name) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise SourceError(text, "no address: its host is no name of a host")
    return name


def _ascii(text: str, host: str) -> str:
    if host.isascii():
        return host.lower()
    try:
        return idna.encode(host, uts46=True).decode("ascii").lower()
    except idna.IDNAError as exc:
        raise SourceError(text, f"no address: its host is no name of a host ({exc})") from exc


def _target(parts: SplitResult) -> str:
    """Write path and query in their normal form: encoded, without ``.`` and ``..``."""
    query = f"?{parts.query}" if parts.query else ""
    path = parts.path or "/"
    try:
        # With a host that is known, since only path and query are wanted from it.
        return parse_url(f"http://host{path}{query}").request_uri
    except LocationParseError as exc:
        raise SourceError(parts.geturl(), "no address: its path cannot be read") from exc


def _named(character: str) -> str:
    if character == "\\":
        return "backslash"
    return "space" if character.isspace() else "control character"
