"""Sending no more a minute than was agreed with a provider."""

from search_app.embedders.hosted.clock import Clock

BURST_S = 1.0
"""Seconds' worth that may go at once after a silence: providers count in such short spans too."""


class Rate:
    """At most so many a minute, of requests or of tokens, in the order in which they ask.

    What is larger than a burst goes too, and those after it wait until it is paid for.
    """

    def __init__(self, per_minute: int, clock: Clock) -> None:
        """Begin with nothing spent."""
        self._seconds_each = 60.0 / per_minute
        self._clock = clock
        self._spent_until = clock.now() - BURST_S

    async def take(self, amount: int) -> None:
        """Wait until so many more may go."""
        now = self._clock.now()
        begins = max(self._spent_until, now - BURST_S)
        self._spent_until = begins + amount * self._seconds_each
        if begins > now:
            await self._clock.sleep(begins - now)

    def correct(self, amount: int) -> None:
        """Add what turned out to be more than was taken, or less where it is negative."""
        self._spent_until += amount * self._seconds_each
