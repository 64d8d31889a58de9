"""What keyword search knows of an index: how terms are weighted, and how many passages have each.

The counts change in the transaction that records vectors, or removes the records, so that they
always are those of the recorded passages, whatever was cut short in between.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy import RowMapping, delete, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.bm25 import Weighting
from search_app.catalog.bulk import from_rows, rows_bound
from search_app.catalog.tables import lexicons, term_frequencies
from search_app.lexical import Analysed


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """How an index weights terms, and how many passages it has.

    It is ``complete`` unless an index that was filled without terms is being given them.
    """

    weighting: Weighting
    passages: int
    complete: bool


def from_row(row: RowMapping) -> Lexicon | None:
    """Read a lexicon from a row with ``COLUMNS``, alone or among others; None where they are."""
    values = {name: row[f"lexicon_{name}"] for name in _NAMES}
    if values["analyzer"] is None:
        return None
    passages, complete = values.pop("passages"), values.pop("complete")
    return Lexicon(weighting=Weighting(**values), passages=passages, complete=complete)


_NAMES = ("analyzer", "version", "k1", "b", "average_length", "passages", "complete")
COLUMNS = tuple(lexicons.c[name].label(f"lexicon_{name}") for name in _NAMES)


async def get(connection: AsyncConnection, index_id: UUID) -> Lexicon | None:
    """Get the lexicon of an index; None where nothing was ever given terms."""
    found = await connection.execute(select(*COLUMNS).where(lexicons.c.index_id == index_id))
    row = found.mappings().one_or_none()
    return None if row is None else from_row(row)


async def create(
    connection: AsyncConnection, index_id: UUID, weighting: Weighting, *, complete: bool = True
) -> Lexicon:
    """Set how an index weights terms; where that is set already, it stays."""
    await connection.execute(
        postgresql.insert(lexicons)
        .values(index_id=index_id, complete=complete, **asdict(weighting))
        .on_conflict_do_nothing()
    )
    kept = await get(connection, index_id)
    return kept or Lexicon(weighting=weighting, passages=0, complete=complete)


async def drop(connection: AsyncConnection, index_id: UUID) -> None:
    """Forget the lexicon of an index with all its counts."""
    await connection.execute(delete(lexicons).where(lexicons.c.index_id == index_id))


async def complete(connection: AsyncConnection, index_id: UUID) -> None:
    """Say that every passage of the index has its terms now."""
    await connection.execute(
        lexicons.update().where(lexicons.c.index_id == index_id).values(complete=True)
    )


_ADD = from_rows(
    """
    INSERT INTO term_frequencies AS known (index_id, term_id, passages, word)
    SELECT :index_id, * FROM :given
    ON CONFLICT (index_id, term_id) DO UPDATE
    SET passages = known.passages + excluded.passages, word = coalesce(known.word, excluded.word)
    """,
    term_frequencies,
    ("term_id", "passages", "word"),
)
_TAKE = text("""
    WITH gone AS (
        SELECT * FROM unnest(CAST(:ids AS int[]), CAST(:passages AS int[])) AS gone (id, passages)
    ), lessened AS (
        UPDATE term_frequencies AS known SET passages = known.passages - gone.passages
        FROM gone
        WHERE index_id = :index_id AND term_id = gone.id AND known.passages > gone.passages
    )
    DELETE FROM term_frequencies AS known USING gone
    WHERE index_id = :index_id AND term_id = gone.id AND known.passages <= gone.passages
""")
# Always first: of several writers one counts at a time, and none holds what another waits for.
_COUNT = text("UPDATE lexicons SET passages = passages + :more WHERE index_id = :index_id")


async def add(connection: AsyncConnection, index_id: UUID, passages: Sequence[Analysed]) -> None:
    """Count passages in."""
    if not passages:
        return
    await connection.execute(_COUNT, {"index_id": index_id, "more": len(passages)})
    words = {term: word for passage in passages for term, word in passage.words.items()}
    rows = [
        {"term_id": term, "passages": number, "word": words.get(term)}
        for term, number in _having(passages).items()
    ]
    await connection.execute(_ADD, {"index_id": index_id, **rows_bound(rows)})


async def take(connection: AsyncConnection, index_id: UUID, passages: Sequence[Analysed]) -> None:
    """Count passages out."""
    if not passages:
        return
    await connection.execute(_COUNT, {"index_id": index_id, "more": -len(passages)})
    counts = _having(passages)
    await connection.execute(
        _TAKE,
        {"index_id": index_id, "ids": list(counts), "passages": list(counts.values())},
    )


async def frequencies(
    connection: AsyncConnection, index_id: UUID, term_ids: Iterable[int]
) -> dict[int, int]:
    """Say how many passages have each of the terms; those that none has are left out."""
    found = await connection.execute(_FREQUENCIES, {"index_id": index_id, "ids": list(term_ids)})
    return {row.term_id: row.passages for row in found}


_FREQUENCIES = text("""
    SELECT term_id, passages FROM term_frequencies
    WHERE index_id = :index_id AND term_id = ANY(CAST(:ids AS int[]))
""")


async def outstanding(
    connection: AsyncConnection,
    index_id: UUID,
    weights: Mapping[int, float],
    *,
    passages: int,
    most: int,
) -> dict[int, int]:
    """Say how many of all ``passages`` have each of the terms that stand out most.

    They are the ``most`` with the highest product of weight and IDF, those that none has left out.
    """
    values = {
        "index_id": index_id,
        # As texts: thousands of numbers would each be written by themselves.
        "ids": f"{{{','.join(map(str, weights))}}}",
        "weights": f"{{{','.join(map(repr, weights.values()))}}}",
        "all": passages,
        "most": most,
    }
    found = await connection.execute(_OUTSTANDING, values)
    return {row.term_id: row.passages for row in found}


_OUTSTANDING = text("""
    SELECT term_id, passages
    FROM unnest(CAST(:ids AS int[]), CAST(:weights AS float8[])) AS asked (term, weight)
    JOIN term_frequencies ON index_id = :index_id AND term_id = term
    WHERE passages > 0
    ORDER BY weight * ln(
        1 + (greatest(:all, passages) - passages + 0.5::float8) / (passages + 0.5::float8)
    ) DESC, term_id
    LIMIT :most
""")


async def words(connection: AsyncConnection, index_id: UUID, most: int) -> list[tuple[str, int]]:
    """List the words of an index and in how many passages each is, the commonest first."""
    found = await connection.execute(_WORDS, {"index_id": index_id, "most": most})
    return [(row.word, row.passages) for row in found]


_WORDS = text("""
    SELECT word, passages FROM term_frequencies
    WHERE index_id = :index_id AND word IS NOT NULL
    ORDER BY passages DESC, term_id LIMIT :most
""")


def _having(passages: Sequence[Analysed]) -> dict[int, int]:
    having = Counter(term for passage in passages for term in passage.counts)
    # In the order of the key, in which they are stored.
    return dict(sorted(having.items()))
