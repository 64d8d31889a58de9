"""How many requests are under way at once: as many as the provider bears."""

import asyncio
from collections import deque
from dataclasses import dataclass

BEGINNING = 8
"""Requests under way at first, where more are allowed; doubled with every round that goes well."""

FIRST_HOLD = 16
LONGEST_HOLD = 128
"""Rounds that go well before one more request is tried where that was once too many."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A request that is under way: how many were when it began, itself included, and since when.

    ``era`` counts the cuts before it.
    """

    rank: int
    era: int


class Window:
    """Lets requests go, up to a number that it finds out.

    It grows with every request that goes well, up to ``most``, or to what was last too many. A
    request that is too many halves it. It is back below that mark within a round, and tries one
    more now and then: rarely where that fails again and again, with every round where it succeeds.
    Where the one more was too many, it is as before; if that is too many as well, it is halved.
    So a provider's limit is found, and what is lost in looking for it stays small.
    """

    def __init__(self, most: int) -> None:
        """Allow so many at most."""
        self.most = most
        self.size = min(most, BEGINNING)
        self.under_way = 0
        self._waiting: deque[asyncio.Future[Place]] = deque()
        self._ceiling = most
        self._hold = self._rounds = 1
        self._well = 0
        self._trying = False
        """One more is let go than was borne before."""
        self._era = 0

    async def enter(self, *, again: bool = False) -> Place:
        """Wait for a place; who was under way before, ``again``, comes first."""
        if self.under_way < self.size and not self._waiting:
            return self._place()
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        if again:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Give a place back."""
        self.under_way -= 1
        self._admit()

    def went_well(self, place: Place) -> None:
        """Grow, if what went well was sent when the window was in use."""
        if place.era != self._era or 2 * place.rank <= self.size:
            return
        if self.size < self._ceiling:
            self.size += 1
            self._well = 0
        else:
            self._well += 1
            # One more is borne if it is for a round.
            self._trying = self._trying and self._well < self.size
            if self.size < self.most and self._well >= self.size * self._rounds:
                self._try_one_more()
        self._admit()

    def was_too_many(self, place: Place) -> None:
        """Shrink; once for all that were under way together."""
        below = place.rank - 1
        if place.era == self._era:
            self._era += 1
            if self._trying:
                self.size -= 1
                self._ceiling = self.size
            else:
                self.size = max(1, min(self.size, max(place.rank, self.under_way)) // 2)
                self._ceiling = max(self.size, below)
            self._trying = False
            self._hold = self._rounds = min(max(2 * self._hold, FIRST_HOLD), LONGEST_HOLD)
            self._well = 0
        elif place.era == self._era - 1:
            self._ceiling = max(self.size, min(self._ceiling, below))

    def _try_one_more(self) -> None:
        if self._rounds == 1:
            # The one before was tried for a round, and borne.
            self._hold = 1
        self.size += 1
        self._ceiling = self.size
        self._trying = True
        self._rounds, self._well = 1, 0

    def _place(self) -> Place:
        self.under_way += 1
        return Place(rank=self.under_way, era=self._era)

    def _admit(self) -> None:
        while self._waiting and self.under_way < self.size:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(self._place())
