"""Which machines may be asked: a page from outside must not reach into the network inside.

Names are resolved here, once for each request, and the connection is made to the addresses that
were checked; a name that would resolve to another one a moment later gains nothing by it.
"""

import ipaddress
import socket
import threading
from collections.abc import Sequence

from ingest.fetching.addresses import Address
from ingest.fetching.cutoff import Cutoff
from search_app.errors import SourceError

_POLL_S = 0.1

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_SHARED = ipaddress.IPv4Network("100.64.0.0/10")
_UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")
_PRIVATE: tuple[Network, ...] = (
    *map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8")),
    ipaddress.IPv6Network("::1/128"),
    _UNIQUE_LOCAL,
    _SHARED,
)
"""What UNMOVED_FETCH_PRIVATE lets in."""

_SPECIAL: tuple[Network, ...] = (
    # Registered by IANA and not known to every supported Python.
    *map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24")),
    *map(ipaddress.IPv6Network, ("2002::/16", "3fff::/20")),
)
# Servers there hand the keys of a cloud machine to whoever asks. The third is link-local.
_METADATA = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "169.254.169.254"))
)


def resolve(address: Address, *, private: bool, cutoff: Cutoff) -> Sequence[IP]:
    """Find the machines that an address names, all of which may be asked.

    ``private`` lets in loopback, private and shared (RFC 6598) ranges.

    Raises:
        SourceError: there are none, finding out takes too long, or one of them may not be asked.
    """
    found = _looked_up(address, cutoff)
    for ip in found:
        kind = refused_kind(ip, private=private)
        if kind is not None:
            raise SourceError(address.uri, _refusal(address, ip, kind))
    return found


def refused_kind(ip: IP, *, private: bool) -> str | None:
    """Name the kind of address for which a machine is not asked; None where it may be."""
    inner = _embedded(ip)
    if inner is not None:
        return refused_kind(inner, private=private)
    if ip in _METADATA:
        return "cloud metadata"
    if any(ip in network for network in _PRIVATE):
        return None if private else _private_kind(ip)
    if ip.is_link_local:
        return "link-local"
    if ip.is_multicast:
        return "multicast"
    return None if _is_public(ip) else "reserved"


def _embedded(ip: IP) -> ipaddress.IPv4Address | None:
    """Give the IPv4 address that an IPv6 one stands for, which is where packets to it arrive."""
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped


def _is_public(ip: IP) -> bool:
    if any(ip in network for network in _SPECIAL) or ip.is_reserved or not ip.is_global:
        return False
    return isinstance(ip, ipaddress.IPv4Address) or ip in _GLOBAL_IPV6


def _private_kind(ip: IP) -> str:
    return "loopback" if ip.is_loopback else "private"


def _refusal(address: Address, ip: IP, kind: str) -> str:
    where = "" if str(ip) == address.host else f" {ip}"
    way_out = "; UNMOVED_FETCH_PRIVATE=true allows it" if kind in ("loopback", "private") else ""
    return f"{address.host} is at a {kind} address{where}, which is not fetched from{way_out}"


def _looked_up(address: Address, cutoff: Cutoff) -> Sequence[IP]:
    try:
        return [ipaddress.ip_address(address.host)]
    except ValueError:
        pass
    found: list[IP] = []
    failed: list[OSError | UnicodeError] = []

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            # A zone is part of a link-local address, and none of those is asked.
            ips = (ipaddress.ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers)
            found.extend(dict.fromkeys(ips))
        except (OSError, UnicodeError) as exc:
            failed.append(exc)

    # The system's resolver has no time limit and cannot be stopped; a daemon holds nobody up.
    thread = threading.Thread(target=look_up, name="resolve", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(min(_POLL_S, cutoff.left(address.uri)))
    if failed:
        raise SourceError(address.uri, _unresolved(address.host, failed[0])) from failed[0]
    if not found:
        raise SourceError(address.uri, f"the name {address.host} has no address")
    return found


def _unresolved(host: str, error: OSError | UnicodeError) -> str:
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return f"the name {host} cannot be resolved now; try again later"
    return f"no such host: {host}"
