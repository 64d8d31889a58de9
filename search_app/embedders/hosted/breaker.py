"""Leaving a provider alone that does not answer, and finding out when it does again."""

import math

from search_app.embedders.hosted.clock import Clock

AFTER = 5
"""Requests in a row without an answer before the rest begins."""

REST_S = 15.0
LONGEST_REST_S = 120.0


class Breaker:
    """Says whether a provider may be asked.

    After ``AFTER`` failures in a row it may not for ``REST_S``. Then one request may try; where it
    fails, the next rest is twice as long.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin with a provider that answers."""
        self._clock = clock
        self._failures = 0
        self._last = ""
        self._rest_s = REST_S
        self._resting_until: float | None = None
        self._trying = False

    def refusal(self) -> str | None:
        """Say why nothing may be sent now; None if something may."""
        if self._resting_until is None:
            return None
        left_s = self._resting_until - self._clock.now()
        if left_s <= 0 and not self._trying:
            return None
        when = "one is trying now" if self._trying else f"one tries again in {math.ceil(left_s)} s"
        return (
            f"not asked, because {self._failures} requests in a row got no answer; {when}. "
            f"The last: {self._last}"
        )

    def begin(self) -> bool:
        """Note that something is sent; True for the one request that may try after a rest."""
        self._trying = self._resting_until is not None
        return self._trying

    def answered(self) -> None:
        """Note any answer, also one that is no."""
        self._failures, self._resting_until, self._rest_s = 0, None, REST_S
        self._trying = False

    def failed(self, why: str, *, trial: bool) -> None:
        """Note that no answer came, to the one that was to try or to another."""
        self._failures += 1
        self._last = why
        if trial:
            self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)
            self._trying = False
        if trial or (self._failures >= AFTER and self._resting_until is None):
            self._resting_until = self._clock.now() + self._rest_s

    def given_up(self) -> None:
        """Note that nobody waited for what became of the trial."""
        self._trying = False
