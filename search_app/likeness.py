"""Examples: what is asked with where passages, documents and texts stand in for a query.

Each example is one unit vector: that of a passage, the mean of a document's passages, or a text's
as a query. Of those for (P) and those against (N), the direction asked with is that of
mean(P) + (mean(P) - mean(N)), after Rocchio (1971): the mean of what is wanted, moved away from
what is not by as much as the two differ. The words are those that are strong in what is wanted and
stronger there than in what is not. All of it is worked out here, so stores only ever see a vector
and terms, as of any search.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.bm25 import passage_terms, query_terms
from search_app.catalog import chunks, documents, examples, lexicons
from search_app.catalog.engine import reading
from search_app.catalog.examples import Standing
from search_app.catalog.lexicons import Lexicon
from search_app.catalog.serving import Serving, serving
from search_app.embedders.batching import normalise
from search_app.errors import InvalidInputError, NotFoundError
from search_app.lexical import analyse
from search_app.stores.base import VectorStore
from search_app.types import DocumentRef, Matrix, TermQuery, Vector

MOST_TERMS = 25
"""Terms that passages are looked for by, the strongest."""

MOST_EXAMPLES = 100
"""Examples for and against together."""

_FETCHED = 500
_LOOKED_AT = 4 * MOST_TERMS
"""Terms of which the catalog gives the frequencies; in the last bits it may rank otherwise."""

_NO_DIRECTION = 1e-6

ExampleKind = Literal["passage", "document", "text"]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A passage or a document by its id, or a text in one's own words."""

    kind: ExampleKind
    id: UUID | None = None
    text: str = ""

    def __str__(self) -> str:
        """Write it as ``read_example`` reads it."""
        if self.kind == "passage":
            return str(self.id)
        return f"document:{self.id}" if self.kind == "document" else f"text:{self.text}"

    @property
    def told(self) -> str:
        """How a message calls it."""
        return f"the text {self.text[:40]!r}" if self.kind == "text" else f"{self.kind} {self.id}"


def read_example(written: str) -> Example:
    """Read an example: the id of a passage, ``document:ID`` or ``text:WORDS``.

    Raises:
        InvalidInputError: it is none of these.
    """
    kind, colon, rest = written.strip().partition(":")
    if colon and kind == "text" and rest.strip():
        return Example(kind="text", text=rest.strip())
    try:
        if colon and kind in ("document", "passage"):
            return Example(kind="document" if kind == "document" else "passage", id=UUID(rest))
        return Example(kind="passage", id=UUID(written.strip()))
    except ValueError as exc:
        raise InvalidInputError(
            f"example {written[:60]!r} cannot be read; write the id of a passage, document:ID "
            "or text:WORDS"
        ) from exc


def check_examples(like: Sequence[Example], unlike: Sequence[Example]) -> None:
    """See that examples can be meant.

    Raises:
        InvalidInputError: none is for, one is on both sides, or there are too many.
    """
    if not like and unlike:
        raise InvalidInputError(
            "there are only examples against; what is not wanted does not say what is: name at "
            "least one example of what is wanted"
        )
    if not like:
        raise InvalidInputError("there is no example; name at least one of what is wanted")
    for example in like:
        if example in unlike:
            raise InvalidInputError(
                f"{example.told} is given both for and against; take it away on one side"
            )
    if len(like) + len(unlike) > MOST_EXAMPLES:
        raise InvalidInputError(
            f"there are {len(like) + len(unlike):,} examples; at most {MOST_EXAMPLES} work"
        )


@dataclass(frozen=True, kw_only=True)
class Seed:
    """An example that was found: its passages in the index that answers, none of a text."""

    example: Example
    document: DocumentRef | None = None
    chunk_ids: Sequence[UUID] = ()


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Examples for and against, in the index that answers for their collection.

    ``own`` are the passages that are no answer: these, and all others of a whole document.
    """

    target: Serving
    like: Sequence[Seed]
    unlike: Sequence[Seed]
    own: frozenset[UUID]


async def find_seeds(
    engine: AsyncEngine,
    like: Sequence[Example],
    unlike: Sequence[Example],
    *,
    collection: str | None = None,
    index: str | None = None,
    otherwise: str = "default",
    other_documents: bool = False,
) -> Seeds:
    """Find examples and what answers for their collection, ``otherwise`` where all are texts.

    With ``other_documents``, the documents of passages are left out whole, too.

    Raises:
        NotFoundError: one is not there, or nothing of it can be found yet or any more.
        InvalidInputError: they are of several collections, or not in the index.
    """
    passages = [each.id for each in (*like, *unlike) if each.kind == "passage" and each.id]
    wholes = [each.id for each in (*like, *unlike) if each.kind == "document" and each.id]
    async with reading(engine) as connection:
        rows = await examples.standing(connection, passages, wholes)
        by_example = _by_example(rows, (*like, *unlike))
        for example, found in by_example.items():
            if not any(row.shown for row in found) and example.kind == "document" and example.id:
                # Says so where there is no such document at all.
                await documents.get(connection, example.id)
                raise NotFoundError(f"document {example.id} has no passage that can be found")
            if not any(row.shown for row in found):
                raise NotFoundError(f"no passage {example.id}; its document may have changed")
        name = _one_collection(by_example, collection) or otherwise
        target = await serving(connection, name, b"", index=index)
        every = {}
        if other_documents:
            ids = sorted({row.document.id for row in rows})
            every = await chunks.ids_by_document(connection, ids)
    own = {row.chunk_id for row in rows}.union(*every.values())
    return Seeds(
        target=target,
        like=[_seed(example, by_example, target) for example in like],
        unlike=[_seed(example, by_example, target) for example in unlike],
        own=frozenset(own),
    )


def _by_example(
    rows: Sequence[Standing], wanted: Sequence[Example]
) -> dict[Example, list[Standing]]:
    by_chunk = {row.chunk_id: row for row in rows}
    by_document: dict[UUID, list[Standing]] = {}
    for row in rows:
        by_document.setdefault(row.document.id, []).append(row)
    found: dict[Example, list[Standing]] = {}
    for example in wanted:
        if example.kind == "passage" and example.id is not None:
            found[example] = [by_chunk[example.id]] if example.id in by_chunk else []
        elif example.kind == "document" and example.id is not None:
            found[example] = by_document.get(example.id, [])
    return found


def _one_collection(
    by_example: Mapping[Example, Sequence[Standing]], wanted: str | None
) -> str | None:
    """Name the collection that all examples are of; None where nothing says."""
    name = wanted
    of = "the search is in"
    for example, rows in by_example.items():
        if name is not None and rows[0].collection != name:
            raise InvalidInputError(
                f"{example.told} is of collection {rows[0].collection!r}, but {of} {name!r}; "
                "examples must be of one collection, since vectors of two indexes cannot be "
                "compared"
            )
        name, of = rows[0].collection, f"{example.told} of"
    return name


def _seed(
    example: Example, by_example: Mapping[Example, Sequence[Standing]], target: Serving
) -> Seed:
    if example.kind == "text":
        return Seed(example=example)
    rows = by_example[example]
    ids = [row.chunk_id for row in rows if row.shown and row.chunking == target.index.chunking.name]
    if not ids:
        raise _not_in_index(example, target)
    return Seed(example=example, document=rows[0].document, chunk_ids=ids)


def _not_in_index(example: Example, target: Serving) -> InvalidInputError:
    return InvalidInputError(
        f"{example.told} is not in index {str(target.index.id)[:8]}, which answers for collection "
        f"{target.collection.name!r}; examples must be in it, since vectors of two indexes cannot "
        "be compared"
    )


async def example_vectors(
    store: VectorStore, seeds: Seeds, texts: Mapping[str, Vector]
) -> dict[Example, Vector]:
    """Give the unit vector of each example; ``texts`` has those of texts.

    Raises:
        NotFoundError: nothing of an example has a vector.
    """
    every = (*seeds.like, *seeds.unlike)
    wanted = list(dict.fromkeys(chunk_id for seed in every for chunk_id in seed.chunk_ids))
    vectors: dict[UUID, Vector] = {}
    for start in range(0, len(wanted), _FETCHED):
        vectors |= await store.vectors(seeds.target.index.id, wanted[start : start + _FETCHED])
    found: dict[Example, Vector] = {}
    for seed in every:
        if seed.example.kind == "text":
            found[seed.example] = texts[seed.example.text]
            continue
        rows = [vectors[chunk_id] for chunk_id in seed.chunk_ids if chunk_id in vectors]
        if not rows:
            uri = seed.document.uri if seed.document else ""
            raise NotFoundError(
                f"nothing of {uri!r} that was asked for has a vector in index "
                f"{seeds.target.index.id}"
            )
        mean = _unit(_mean(rows)) if len(rows) > 1 else None
        # Of vectors that cancel each other out no mean can be asked for, but one of them can.
        found[seed.example] = rows[0] if mean is None else mean
    return found


def direction(like: Sequence[Vector], unlike: Sequence[Vector] = ()) -> Vector:
    """Give the unit vector that examples ask with; of a single one, its own bit for bit.

    Their order changes nothing, not even the last bit.

    Raises:
        InvalidInputError: they cancel each other out.
    """
    if len(like) == 1 and not unlike:
        return like[0]
    wanted = _mean(like)
    asked = _unit(2 * wanted - _mean(unlike) if unlike else wanted)
    if asked is None:
        raise InvalidInputError(
            "the examples cancel each other out, so that no direction is left to search in; "
            "take some away, or add others"
        )
    return asked


def _mean(rows: Sequence[Vector]) -> NDArray[np.float64]:
    # Sorted, a column has the same sum in whatever order its numbers came.
    mean: NDArray[np.float64] = np.sort(np.stack(rows).astype(np.float64), axis=0).mean(axis=0)
    return mean


def _unit(vector: NDArray[np.float64]) -> Vector | None:
    if np.linalg.norm(vector) <= _NO_DIRECTION:
        return None
    unit: Vector = normalise(vector.astype(np.float32).reshape(1, -1))[0][0]
    return unit


async def strongest_terms(engine: AsyncEngine, seeds: Seeds, lexicon: Lexicon) -> TermQuery:
    """Give the terms that set the examples apart most: the highest of their weights × IDF."""
    index_id, analyzer = seeds.target.index.id, lexicon.weighting.analyzer
    async with reading(engine) as connection:
        like, unlike = [
            [
                *(each.example.text for each in side if each.example.kind == "text"),
                *await _texts(connection, index_id, side),
            ]
            for side in (seeds.like, seeds.unlike)
        ]
        # Beside the loop: a book takes seconds.
        counts = await asyncio.to_thread(_counted, like, analyzer)
        against = await asyncio.to_thread(_counted, unlike, analyzer)
        left = _left(counts, against, lexicon)
        frequencies = await lexicons.outstanding(
            connection, index_id, left, passages=lexicon.passages, most=_LOOKED_AT
        )
    return _strongest(left, frequencies, lexicon)


async def _texts(connection: AsyncConnection, index_id: UUID, side: Sequence[Seed]) -> list[str]:
    ids = [chunk_id for seed in side for chunk_id in seed.chunk_ids]
    recorded = await chunks.recorded(connection, index_id, ids) if ids else []
    return [f"{each.context}\n\n{each.text}" for each in recorded]


def strongest(
    counts: Mapping[int, int],
    frequencies: Mapping[int, int],
    lexicon: Lexicon,
    against: Mapping[int, int] | None = None,
) -> TermQuery:
    """Weight the terms of a text as a passage's and as a query's at once; keep the strongest.

    What a term weighs in a text ``against`` is taken off; terms with nothing left go.
    """
    return _strongest(_left(counts, against or {}, lexicon), frequencies, lexicon)


def _left(
    counts: Mapping[int, int], against: Mapping[int, int], lexicon: Lexicon
) -> dict[int, float]:
    """Weight the terms of a text, less what they weigh in another; those with nothing left go."""
    wanted = passage_terms(counts, lexicon.weighting)
    weights = wanted.weights.astype(np.float64)
    if against:
        minus = passage_terms(against, lexicon.weighting)
        _, ours, theirs = np.intersect1d(
            wanted.ids, minus.ids, assume_unique=True, return_indices=True
        )
        weights[ours] -= minus.weights[theirs]
    return {
        term: weight
        for term, weight in zip(wanted.ids.tolist(), weights.tolist(), strict=True)
        if weight > 0
    }


def _strongest(
    left: Mapping[int, float], frequencies: Mapping[int, int], lexicon: Lexicon
) -> TermQuery:
    known = {term: 1 for term in frequencies if term in left}
    query = query_terms(known, frequencies, lexicon.passages)
    both = query.weights * np.array([left[term] for term in query.ids.tolist()], np.float32)
    # Those that stand out first, equal ones by their ids; then in the order of ids again.
    ranked = np.lexsort((query.ids, -both))[:MOST_TERMS]
    kept = np.sort(ranked[both[ranked] > 0])
    return TermQuery(ids=query.ids[kept], weights=both[kept], passages=query.passages[kept])


def _counted(texts: Sequence[str], analyzer: str) -> Counter[int]:
    counts: Counter[int] = Counter()
    for text in texts:
        counts.update(_counts(text, analyzer))
    return counts


# Whoever adds an example asks with all the others again.
@lru_cache(maxsize=1024)
def _counts(text: str, analyzer: str) -> Mapping[int, int]:
    return analyse(text, analyzer).counts


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a passage was recommended: the example for it that is nearest, and one against it."""

    like: Example
    cosine: float
    unlike: Example | None = None
    unlike_cosine: float | None = None


def reasons_of(
    found: Mapping[UUID, Vector],
    like: Mapping[Example, Vector],
    unlike: Mapping[Example, Vector],
) -> dict[UUID, Reason]:
    """Find the nearest example on each side; of equally near ones, the first in their own order."""
    if not found:
        return {}
    rows = np.stack(list(found.values()))
    nearest = _nearest(rows, like)
    far: Sequence[tuple[Example | None, float | None]] = [(None, None)] * len(found)
    if unlike:
        far = _nearest(rows, unlike)
    return {
        chunk_id: Reason(like=example, cosine=cosine, unlike=other, unlike_cosine=against)
        for chunk_id, (example, cosine), (other, against) in zip(found, nearest, far, strict=True)
    }


def _nearest(rows: Matrix, examples: Mapping[Example, Vector]) -> list[tuple[Example, float]]:
    ordered = sorted(examples, key=str)
    cosines = rows.astype(np.float64) @ np.stack([examples[each] for each in ordered]).T
    places = cosines.argmax(axis=1).tolist()
    return [(ordered[place], float(cosines[row, place])) for row, place in enumerate(places)]
