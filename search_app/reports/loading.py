"""A kept check with the nights before it, as every report needs them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import checks, nights
from search_app.catalog.checks import Check
from search_app.catalog.engine import reading
from search_app.catalog.nights import Night
from search_app.reports.view import MOST_NIGHTS


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A check, itself and those of its index before it in numbers (newest first), and the latest.

    ``is_latest`` says whether no later check of its index was made.
    """

    check: Check
    nights: Sequence[Night]
    is_latest: bool


async def load(engine: AsyncEngine, beginning: str) -> Kept:
    """Find a check by its id or by as much of its beginning as names one only.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: several begin so.
    """
    async with reading(engine) as connection:
        check = await checks.find(connection, beginning)
        before = await nights.listing(
            connection, index_id=check.index_id, until=check.created_at, limit=MOST_NIGHTS
        )
        newest = await nights.listing(connection, index_id=check.index_id, limit=1)
    return Kept(check=check, nights=before, is_latest=newest[0].id == check.id)
