"""How often somebody may ask: a bucket of tokens for each, in the memory of one process."""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_BUCKETS = 10_000
"""Buckets that are kept; those not used for longest go first, and begin full when they return."""

_NEIGHBOURS = 64
"""Bits of an IPv6 address that one customer shares: the rest anybody chooses for themselves."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Rates:
    """Lets each name take ``per_minute`` tokens a minute, and as many at once; 0: no limit."""

    def __init__(
        self,
        per_minute: int,
        *,
        most: int = MOST_BUCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with no bucket, which stands for full ones."""
        self._per_minute = per_minute
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str) -> int:
        """Take a token; give 0, or, where there is none, the seconds until there is one."""
        if not self._per_minute:
            return 0
        bucket = self._filled(name)
        if bucket.tokens < 1:
            return self._wait(bucket)
        bucket.tokens -= 1
        return 0

    def wait(self, name: str) -> int:
        """Give what ``take`` would, taking nothing."""
        return self._wait(self._filled(name)) if self._per_minute else 0

    def __len__(self) -> int:
        """Count the buckets that are kept."""
        return len(self._buckets)

    def _wait(self, bucket: _Bucket) -> int:
        missing = max(1 - bucket.tokens, 0.0)
        return math.ceil(missing * 60 / self._per_minute)

    def _filled(self, name: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.setdefault(name, _Bucket(self._per_minute, now))
        more = (now - bucket.at) * self._per_minute / 60
        bucket.tokens = min(bucket.tokens + more, self._per_minute)
        bucket.at = now
        self._buckets.move_to_end(name)
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket


def neighbourhood(host: str) -> str:
    """Give what stands for an address where requests are counted."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:100]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _NEIGHBOURS), strict=False))
    return str(address)
