"""One request to machines that were checked, cut off at a set time whatever they do."""

import importlib.metadata
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPException
from pathlib import Path

import certifi
from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from ingest.fetching.addresses import Address
from ingest.fetching.cutoff import Cutoff
from ingest.fetching.guard import IP
from search_app.errors import SourceError

PRODUCT = "Unmoved"
"""The name that robots.txt files can address."""

_MOST_MACHINES = 4
_BLOCK = 1 << 16
# What is not asked for need not be understood; more kinds of packing are more ways to be bombed.
_ENCODINGS = ("", "identity", "gzip", "x-gzip", "deflate")


@contextmanager
def ask(
    address: Address,
    machines: Sequence[IP],
    headers: Mapping[str, str],
    *,
    tls: ssl.SSLContext,
    cutoff: Cutoff,
) -> Iterator[BaseHTTPResponse]:
    """Ask for an address at the first of its machines that can be reached; GET, redirects as such.

    Raises:
        SourceError: no machine can be reached, its certificate is not good, or no answer comes.
    """
    with ExitStack() as open_things:
        with _translated(address, cutoff):
            connection = open_things.enter_context(
                closing(_connected(address, machines, tls, cutoff))
            )
            # The time limit of the attempt to connect was shorter.
            connection.timeout = cutoff.left(address.uri)
            connection.request(
                "GET",
                address.target,
                headers={**_headers(address), **headers},
                preload_content=False,
            )
            response = open_things.enter_context(closing(connection.getresponse()))
        yield response


def _headers(address: Address) -> dict[str, str]:
    return {
        # The connection itself knows only the machine.
        "Host": address.netloc,
        "User-Agent": f"{PRODUCT}/{importlib.metadata.version('unmoved')}",
        "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
        "Accept-Encoding": "gzip",
        "Connection": "close",
    }


def body(
    address: Address, response: BaseHTTPResponse, cutoff: Cutoff, *, most: int
) -> Iterator[bytes]:
    """Stream an answer's body, unpacked, ``most`` bytes of it and then one block more.

    Raises:
        SourceError: it is packed in a way that was not asked for, broken, or not there in time.
    """
    packing = response.headers.get("Content-Encoding", "").strip().lower()
    if packing not in _ENCODINGS:
        raise SourceError(address.uri, f"came packed as {packing[:40]}, which was not asked for")
    size = 0
    with _translated(address, cutoff):
        # The block's size holds after unpacking, too.
        while size <= most and (block := response.read1(_BLOCK)):
            cutoff.left(address.uri)
            size += len(block)
            yield block
    # To be cut looks like the end where a body ends with its connection.
    cutoff.left(address.uri)


def _connected(
    address: Address, machines: Sequence[IP], tls: ssl.SSLContext, cutoff: Cutoff
) -> HTTPConnection:
    machines = machines[:_MOST_MACHINES]
    failed: Exception | None = None
    for tried, machine in enumerate(machines):
        # A machine that is down must leave time for the next.
        seconds = cutoff.left(address.uri) / (len(machines) - tried)
        connection = _connection(address, machine, tls, seconds)
        try:
            connection.connect()
        except (HTTPError, OSError) as exc:
            connection.close()
            failed = exc
            continue
        cutoff.watch(connection.sock)
        return connection
    raise failed or SourceError(address.uri, f"the name {address.host} has no address")


def _connection(
    address: Address, machine: IP, tls: ssl.SSLContext, seconds: float
) -> HTTPConnection:
    if address.scheme == "http":
        return HTTPConnection(str(machine), address.port, timeout=seconds)
    return HTTPSConnection(
        str(machine),
        address.port,
        timeout=seconds,
        # The name is what the certificate must be for.
        server_hostname=address.host,
        ssl_context=tls,
    )


def tls_context() -> ssl.SSLContext:
    """Trust whom the system trusts; SSL_CERT_FILE and SSL_CERT_DIR are obeyed."""
    paths = ssl.get_default_verify_paths()
    known = any(path and Path(path).exists() for path in (paths.cafile, paths.capath))
    # Some Pythons for macOS and small images come without any.
    return ssl.create_default_context(cafile=None if known else certifi.where())


@contextmanager
def _translated(address: Address, cutoff: Cutoff) -> Iterator[None]:
    """Say in one line what went wrong between us and the machine."""
    try:
        yield
    except (HTTPError, HTTPException, OSError) as exc:
        # Where it was cut, what that looked like from within says nothing.
        cutoff.left(address.uri)
        raise SourceError(address.uri, _reason(address, exc)) from exc


def _reason(address: Address, error: Exception) -> str:
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return f"the certificate of {address.host} is not good: {cause.verify_message}"
            case ssl.SSLError():
                return f"no secure connection to {address.host}: {cause.reason or 'broken off'}"
            case ConnectionRefusedError():
                return f"{address.netloc} refuses connections"
            case TimeoutError():
                return f"{address.netloc} does not answer"
            case OSError() if cause.strerror:
                return f"{address.netloc} cannot be reached: {cause.strerror.lower()}"
    return f"{address.netloc} sent an answer that is broken: {_first_line(error)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
