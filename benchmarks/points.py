"""Points that measurements of stores share, and how searches are timed and judged.

The vectors are synthetic: 50 broad topics in a space of 40 dimensions, mapped to 384 with a little
noise in all of them. The widths are chosen so that an HNSW search among 20,000 of them is about as
hard as among 20,000 short English passages embedded by multilingual-e5-small: at ef 100 it reads
about 2,200 pages and finds 0.99 of the ten nearest (e5: 1,960 pages, 0.989).
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID, uuid4

import numpy as np

from search_app.filters import AnyOf
from search_app.stores.base import VectorStore
from search_app.types import JSON, Matrix, Point, Vector

DIMENSIONS = 384
QUERIES = 200
K = 10

Search = Callable[[Vector], Awaitable[list[UUID]]]

SHARES = (
    ("1 %", AnyOf(field="meta.shelf", values=(7,))),
    ("4 %", AnyOf(field="meta.year", values=(2007,))),
    ("33 %", AnyOf(field="language", values=("ja",))),
)
"""Filters, and the share of the points that pass each."""


def passing(points: Sequence[Point], wanted: AnyOf) -> list[Point]:
    """Give the points that pass one of these filters."""
    return [
        point
        for point in points
        if wanted.values[0] in (*point.fields["meta"].values(), point.fields["language"])
    ]


def synthetic(rows: int) -> Matrix:
    """Make unit vectors that lie in topics."""
    draw = np.random.default_rng(5)
    spread = draw.standard_normal((40, DIMENSIONS)) / np.sqrt(40)
    topics = draw.standard_normal((50, 40))[draw.integers(50, size=rows)]
    inner = topics + 1.75 * draw.standard_normal((rows, 40))
    outer = (inner @ spread + 0.1 * draw.standard_normal((rows, DIMENSIONS))).astype(np.float32)
    vectors: Matrix = outer / np.linalg.norm(outer, axis=1, keepdims=True)
    return vectors


def points_of(index_id: UUID, vectors: Matrix) -> list[Point]:
    """Make points of documents of ten chunks each."""
    run, version = uuid4(), uuid4()
    documents = [(uuid4(), fields_of(number)) for number in range(len(vectors) // 10 + 1)]
    return [
        Point(
            chunk_id=uuid4(),
            document_id=documents[number // 10][0],
            index_id=index_id,
            model_version_id=version,
            run_id=run,
            fields=documents[number // 10][1],
            vector=vector,
        )
        for number, vector in enumerate(vectors)
    ]


def fields_of(number: int) -> dict[str, JSON]:
    """Make the filter fields of one document."""
    return {
        "language": "en" if number % 3 else "ja",
        "source": f"docs/part{number}.md",
        "folder": ["docs"],
        "type": "markdown",
        "meta": {"year": 2000 + number % 25, "shelf": number % 100},
    }


async def scan_rate(store: VectorStore, index_id: UUID, *, vectors: bool) -> float:
    """Read everything page by page; give points a second."""
    started, seen, after = time.perf_counter(), 0, None
    while page := await store.scan(index_id, after=after, limit=5000, vectors=vectors):
        seen, after = seen + len(page), page[-1].chunk_id
    return seen / (time.perf_counter() - started)


async def timed(queries: Matrix, search: Search) -> list[float]:
    """Time one search for every query, in seconds."""
    return (await in_turns(queries, search))[0]


async def in_turns(queries: Matrix, *searches: Search) -> list[list[float]]:
    """Time every search for every query, in turns, so that a busy moment meets them all."""
    for search in searches:
        for query in queries[:10]:
            await search(query)
    taken: list[list[float]] = [[] for _ in searches]
    for query in queries:
        for search, seconds in zip(searches, taken, strict=True):
            started = time.perf_counter()
            await search(query)
            seconds.append(time.perf_counter() - started)
    return taken


def percentiles(seconds: Sequence[float]) -> str:
    """Write median and 95th percentile in milliseconds."""
    half, most = 1e3 * np.quantile(seconds, [0.5, 0.95])
    return f"{half:.1f}, {most:.1f} ms"


async def recall_of(points: Sequence[Point], queries: Matrix, search: Search) -> float:
    """Say which share of the true ten nearest a search finds."""
    matrix = np.stack([point.vector for point in points if point.vector is not None])
    found = 0
    for query in queries:
        nearest = np.argpartition(-(matrix @ query), K)[:K]
        wanted = {points[row].chunk_id for row in nearest}
        found += len(wanted.intersection(await search(query)))
    return found / (K * len(queries))
