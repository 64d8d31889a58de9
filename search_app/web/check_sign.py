"""The sign on every page: how the rankings of all active indexes stand, the gravest first.

What is not known is never shown as healthy: without a check, with one that is too old, or while
the catalog does not answer.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.access.principal import seen_collections
from search_app.catalog import nights
from search_app.catalog.engine import reading
from search_app.catalog.nights import Standing
from search_app.config import Settings
from search_app.errors import CatalogError

UNKNOWN = "unknown"

GRAVITY = ("fail", "inconclusive", UNKNOWN, "warn", "first", "stable")
"""States, the gravest first."""

KEPT_S = 10.0
"""Seconds for which pages show what was looked up."""

KEPT = 100
"""Signs that are kept: there is one for each choice of collections that somebody may see."""

PATIENCE_S = 2.0
"""Longest wait of a page for its sign."""

USUAL_DAYS = 7
"""Days after which a check does not count any more, where the settings name none."""

Seen = frozenset[UUID] | None

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Sign:
    """The gravest state, and how many active indexes have each; None: they are not known."""

    state: str = UNKNOWN
    counts: Mapping[str, int] | None = None

    @property
    def shown(self) -> bool:
        """Whether there is anything to show; what cannot be looked up is unknown."""
        return self.counts is None or bool(self.counts)


def oldest(settings: Settings, now: datetime) -> datetime:
    """Say since when a check must have been made to count."""
    return now - timedelta(days=settings.alert_after_days or USUAL_DAYS)


def state_of(verdict: str | None, at: datetime | None, since: datetime) -> str:
    """Give the state that a newest check stands for."""
    if verdict not in GRAVITY or at is None or at < since:
        return UNKNOWN
    return verdict


def state_of_standing(standing: Standing, since: datetime) -> str:
    """Give the state of an active index."""
    night = standing.night
    return state_of(night.verdict, night.at, since) if night else UNKNOWN


def gravest(states: Iterable[str]) -> str:
    """Give the gravest of states; unknown where there are none."""
    return min(states, key=GRAVITY.index, default=UNKNOWN)


class Signs:
    """Looks up the sign, and remembers it for some seconds; one for each application."""

    def __init__(self, engine: AsyncEngine, settings: Settings) -> None:
        """Take where to look; nothing is looked up yet."""
        self._engine = engine
        self._settings = settings
        self._signs: OrderedDict[Seen, tuple[Sign, float]] = OrderedDict()
        self._looking = asyncio.Lock()

    async def current(self) -> Sign:
        """Give the sign; unknown where the catalog does not answer soon. Never fails."""
        seen = seen_collections()
        async with self._looking:
            sign, until = self._signs.get(seen, (Sign(), 0.0))
            if time.monotonic() >= until:
                sign = await self._looked_up()
                self._signs[seen] = sign, time.monotonic() + KEPT_S
                self._signs.move_to_end(seen)
                while len(self._signs) > KEPT:
                    self._signs.popitem(last=False)
            return sign

    def forget(self) -> None:
        """Look it up anew when it is next needed."""
        self._signs.clear()

    async def _looked_up(self) -> Sign:
        try:
            async with asyncio.timeout(PATIENCE_S), reading(self._engine) as connection:
                found = await nights.verdicts(connection)
        except (CatalogError, TimeoutError) as exc:
            log.warning("the state of checks is not known", reason=str(exc))
            return Sign()
        since = oldest(self._settings, datetime.now(UTC))
        states = [state_of(verdict, at, since) for verdict, at, _ in found]
        return Sign(
            state=gravest(states), counts={state: states.count(state) for state in set(states)}
        )


async def look(request: Request) -> None:
    """Have the sign ready for the page that answers a request."""
    signs: Signs = request.app.state.signs
    request.state.sign = await signs.current()


def sign_of(request: Request) -> Sign:
    """Get the sign for a page."""
    sign: Sign = getattr(request.state, "sign", Sign())
    return sign
