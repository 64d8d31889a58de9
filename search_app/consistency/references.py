"""Reference queries: which texts, and when they may be set."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import references
from search_app.catalog.engine import reading, transaction
from search_app.catalog.references import Reference, Sends, Wish
from search_app.consistency.asking import Asker
from search_app.consistency.lists import SENDS
from search_app.errors import InvalidInputError
from search_app.types import Index, ModelVersion

MOST_FREE = 600
"""References of an index whose model costs nothing but time."""

MOST_PAID = 100
"""References otherwise; each is sent SENDS times once."""

LONGEST = 500
"""Characters of a title that serves as a query."""


async def wishes(engine: AsyncEngine, index: Index, golden: Path | None, most: int) -> list[Wish]:
    """List distinct texts that may be reference queries, the best first.

    Queries of a golden set, then of the log; titles of documents where those are fewer.

    Raises:
        InvalidInputError: the golden set has no queries that can be read.
    """
    found = [] if golden is None else golden_queries(golden)
    async with reading(engine) as connection:
        found += await references.logged(connection, index, most)
        if len(found) < most:
            found += await references.titles(connection, index, most - len(found))
    distinct = {
        (wish.text, wish.kind): wish for wish in reversed(found) if len(wish.text) <= LONGEST
    }
    return list(reversed(distinct.values()))[:most]


def golden_queries(folder: Path) -> list[Wish]:
    """Read the queries of a golden set.

    Raises:
        InvalidInputError: they cannot be read; says which line.
    """
    path = folder / "queries.jsonl"
    found = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    found.append(Wish(text=_text_of(path, number, line), origin="golden"))
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInputError(f"{path}: cannot be read ({exc})") from exc
    return [wish for wish in found if wish.text]


def _text_of(path: Path, number: int, line: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as exc:
        raise InvalidInputError(f"{path}, line {number}: no JSON") from exc
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise InvalidInputError(f"{path}, line {number}: no field text")
    return text.strip()


async def added(
    engine: AsyncEngine,
    asker: Asker,
    index: Index,
    version: ModelVersion,
    *,
    known: Sequence[Reference],
    golden: Path | None,
) -> int:
    """Make references of texts that are none yet, and say how many.

    Only while the canaries prove the model unchanged: what another model gave is no reference.

    Raises:
        SpentUpError: no more texts may be sent; what was sent before is kept.
        EmbedderError: the model does not answer.
    """
    most = MOST_FREE if asker.is_free else MOST_PAID
    there = {(reference.text, reference.kind) for reference in known}
    wanted = [
        wish
        for wish in await wishes(engine, index, golden, most)
        if (wish.text, wish.kind) not in there
    ]
    wanted = wanted[: max(0, most - len(known))]
    for start in range(0, len(wanted), 20):
        some = wanted[start : start + 20]
        given = [await _sent(asker, wish, version) for wish in some]
        async with transaction(engine) as connection:
            await references.add(connection, index.id, some, given)
    return len(wanted)


async def _sent(asker: Asker, wish: Wish, version: ModelVersion) -> Sends:
    """Send a query as often as it takes to know what it gets.

    Of a model whose canaries are stable to the bit, two equal sends are one. Where they differ, it
    is not as stable as it seemed, and one of them would be compared with for ever.
    """
    if version.bit_stable:
        both = await asker.each([wish.text] * 2, wish.kind)
        if both[0].tobytes() == both[1].tobytes():
            return both[:1]
        return np.concatenate([both, await asker.each([wish.text] * (SENDS - 2), wish.kind)])
    return await asker.each([wish.text] * SENDS, wish.kind)
