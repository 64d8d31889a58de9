"""Why a connection was not made, where its error says more than that."""

import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def tls_problem(exc: BaseException, address_setting: str) -> str | None:
    """Say what is wrong with the encryption of an address, which waiting does not change."""
    for link in _causes(exc):
        if isinstance(link, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted ({link.verify_message}): set SSL_CERT_FILE to a "
                f"file with the certificate of whoever signed it, or look at {address_setting}"
            )
        if isinstance(link, ssl.SSLError) and link.reason in ("WRONG_VERSION_NUMBER", "UNKNOWN"):
            return f"it speaks no TLS: write http:// instead of https:// in {address_setting}"
    return None


def proxy_variable(url: str) -> str:
    """Name the variable that sends what is for an address to a proxy; empty where none does."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return ""
    for scheme in (parts.scheme, "all"):
        if getproxies().get(scheme):
            return f"{scheme.upper()}_PROXY"
    return ""


def _causes(exc: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = exc
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__
