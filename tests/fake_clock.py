"""A clock that a test moves: whoever waits on it waits for nothing."""

import asyncio
import heapq
from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar

Result = TypeVar("Result")

_SETTLED = 40
"""Turns of the loop after which nothing happens any more without time passing."""


class FakeClock:
    """Stands still while anybody can go on, then leaps to the moment somebody waits for."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.seconds + seconds, next(self._number), woken))
        await woken

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do work to its end, moving the clock whenever all wait."""
        task = asyncio.create_task(work)
        while True:
            for _ in range(_SETTLED):
                await asyncio.sleep(0)
            if task.done():
                return task.result()
            assert self._sleepers, "all wait, and nobody for the clock"
            self._wake()

    def _wake(self) -> None:
        self.seconds = max(self.seconds, self._sleepers[0][0])
        while self._sleepers and self._sleepers[0][0] <= self.seconds:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
