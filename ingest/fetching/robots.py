"""What a server's robots.txt (RFC 9309) lets us fetch, and how slowly."""

from dataclasses import dataclass

from protego import Protego

from ingest.fetching.addresses import Address
from ingest.fetching.transport import PRODUCT
from search_app.errors import SourceError

LONGEST = 500 * 1024
"""Bytes of a robots.txt that are obeyed, as the standard has it."""

LONGEST_PAUSE_S = 30.0
"""The longest pause that a server can ask for."""

_CLIENT_ERROR, _SERVER_ERROR = 400, 500


@dataclass(frozen=True, kw_only=True)
class Robots:
    """The rules of one server; without any, everything may be fetched.

    With ``reason`` they could not be had, and nothing may be fetched.
    """

    rules: Protego | None = None
    reason: str | None = None

    @property
    def pause_s(self) -> float:
        """The seconds that the server wants between two requests."""
        if self.rules is None:
            return 0.0
        delay = self.rules.crawl_delay(PRODUCT) or 0.0
        rate = self.rules.request_rate(PRODUCT)
        if rate is not None:
            delay = max(delay, rate.seconds / rate.requests)
        return min(delay, LONGEST_PAUSE_S)

    def check(self, address: Address) -> None:
        """See that a page may be fetched.

        Raises:
            SourceError: it may not.
        """
        if self.reason is not None:
            raise SourceError(address.uri, self.reason)
        if self.rules is not None and not self.rules.can_fetch(address.uri, PRODUCT):
            raise SourceError(address.uri, f"the robots.txt of {address.netloc} forbids it")


def read_robots(status: int, text: bytes) -> Robots:
    """Read the answer to a request for robots.txt: none there means no rules."""
    if status >= _SERVER_ERROR:
        return Robots(
            reason=f"its server answers {status} for robots.txt, so that nobody knows what may "
            "be fetched; try again later"
        )
    if status >= _CLIENT_ERROR:
        return Robots()
    return Robots(rules=Protego.parse(text[:LONGEST].decode("utf-8-sig", "replace")))
