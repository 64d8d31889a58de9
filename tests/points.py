"""Points and filters that tests of stores and of filters share."""

import math
from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

import numpy as np

from search_app.filters import AnyOf, Compare, Condition, Not
from search_app.stores.base import VectorStore
from search_app.types import JSON, Matrix, Point, Sparse, TermQuery, Vector

DIMENSIONS = 8
MODEL_VERSION, RUN = uuid4(), uuid4()

DOCUMENTS: Sequence[Mapping[str, JSON]] = (
    {"language": "en", "source": "docs/a.md", "folder": ["docs"], "type": "markdown"},
    {"language": "ja", "source": "日本/案内.pdf", "folder": ["日本", "日本/東京"], "type": "pdf"},
    {"language": "ja", "meta": {"year": 2020, "price": 1.5, "draft": True, "tags": ["a", "b"]}},
    {"language": "en", "meta": {"year": 2024, "price": -0.25, "draft": False, "tags": ["b"]}},
    {"language": "en", "meta": {"year": "2024", "tags": [], "author": 'O\'Brien \\ "Sato"'}},
    {"language": "de", "meta": {'it\'s "x"': "yes", "ключ 鍵 🔑": "ñ", "a.b": 1, "%s": "%(x)s"}},
    {"language": "fr", "meta": {"year": 1, "draft": 1, "mixed": [1, "1", True, None, {"k": 1}]}},
    {"meta": {"author": None, "year": None, "title": "𝔘nicode \U0010ffff"}},
    {},
)


def any_of(field: str, *values: str | float | bool) -> AnyOf:
    return AnyOf(field=field, values=values)


CONDITIONS: Sequence[Condition] = (
    any_of("language", "ja"),
    any_of("language", "ja", "de"),
    any_of("language", "it"),
    any_of("source", "docs/a.md"),
    any_of("type", "pdf", "markdown"),
    any_of("folder", "docs"),
    any_of("folder", "日本/東京"),
    any_of("meta.year", 2024),
    any_of("meta.year", "2024"),
    any_of("meta.year", "2024", 2024),
    any_of("meta.year", 1.0),
    any_of("meta.price", 1.5),
    any_of("meta.draft", True),
    any_of("meta.draft", 1),
    any_of("meta.draft", False),
    any_of("meta.tags", "b"),
    any_of("meta.tags", "a", "c"),
    any_of("meta.mixed", 1),
    any_of("meta.mixed", "1"),
    any_of("meta.author", 'O\'Brien \\ "Sato"'),
    any_of('meta.it\'s "x"', "yes"),
    any_of("meta.ключ 鍵 🔑", "ñ"),
    any_of("meta.a.b", 1),
    any_of("meta.%s", "%(x)s"),
    any_of("meta.title", "𝔘nicode \U0010ffff"),
    any_of("meta.absent", "x"),
    Not(condition=any_of("language", "en")),
    Not(condition=any_of("meta.tags", "b")),
    Not(condition=Not(condition=any_of("meta.draft", True))),
    Not(condition=Compare(field="meta.year", comparison=">=", value=2020)),
    Compare(field="meta.year", comparison=">=", value=2020),
    Compare(field="meta.year", comparison=">", value=2020),
    Compare(field="meta.year", comparison="<", value=2020.5),
    Compare(field="meta.year", comparison="<=", value="2024"),
    Compare(field="meta.price", comparison="<", value=0),
    Compare(field="meta.tags", comparison=">", value="a"),
    Compare(field="meta.mixed", comparison=">=", value=1),
    Compare(field='meta.it\'s "x"', comparison=">", value="xyz"),
    Compare(field="meta.title", comparison=">", value="\uffff"),
    Compare(field="language", comparison=">=", value="en"),
    Compare(field="meta.absent", comparison=">", value=0),
)


def units(rows: int, dimensions: int = DIMENSIONS, seed: int = 1) -> Matrix:
    """Make random unit vectors."""
    drawn = np.random.default_rng(seed).standard_normal((rows, dimensions))
    vectors: Matrix = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return vectors


def make_point(
    index_id: UUID,
    vector: Vector,
    fields: Mapping[str, JSON] | None = None,
    chunk_id: UUID | None = None,
    terms: Sparse | None = None,
) -> Point:
    return Point(
        chunk_id=chunk_id or uuid4(),
        document_id=uuid4(),
        index_id=index_id,
        model_version_id=MODEL_VERSION,
        run_id=RUN,
        fields={} if fields is None else fields,
        vector=vector,
        terms=terms,
    )


def make_points(index_id: UUID, vectors: Matrix) -> list[Point]:
    return [
        make_point(index_id, vector, {"language": "en", "meta": {"n": number}})
        for number, vector in enumerate(vectors)
    ]


def sparse(weights: Mapping[int, float]) -> Sparse:
    """Make a passage's terms from weights by id."""
    ids = sorted(weights)
    return Sparse(
        ids=np.array(ids, np.int32),
        weights=np.array([weights[number] for number in ids], np.float32),
    )


def term_query(weights: Mapping[int, float], points: Sequence[Point] = ()) -> TermQuery:
    """Make a query from weights by id, its frequencies counted over the points, at least 1."""
    asked = sparse(weights)
    held = [point.terms.ids for point in points if point.terms is not None]
    counted = [max(1, sum(number in ids for ids in held)) for number in asked.ids]
    return TermQuery(ids=asked.ids, weights=asked.weights, passages=np.array(counted, np.int64))


def best_by_terms(
    points: Sequence[Point], query: TermQuery, k: int = 1000
) -> list[tuple[UUID, float]]:
    """Rank the points that share a term by plain arithmetic in float64."""
    asked = dict(zip(query.ids.tolist(), query.weights.tolist(), strict=True))
    scored = []
    for point in points:
        if point.terms is None:
            continue
        held = dict(zip(point.terms.ids.tolist(), point.terms.weights.tolist(), strict=True))
        shared = asked.keys() & held.keys()
        if shared:
            score = math.fsum(asked[number] * held[number] for number in shared)
            scored.append((point.chunk_id, score))
    return sorted(scored, key=lambda each: (-each[1], each[0]))[:k]


def by_id(points: Sequence[Point]) -> list[Point]:
    return sorted(points, key=lambda point: point.chunk_id)


def vector_of(point: Point) -> Vector:
    assert point.vector is not None
    return point.vector


def same(left: Sequence[Point], right: Sequence[Point]) -> bool:
    """Compare points and the bytes of their vectors."""
    return list(left) == list(right) and all(
        vector_of(one).tobytes() == vector_of(other).tobytes()
        for one, other in zip(left, right, strict=True)
    )


def nearest(points: Sequence[Point], query: Vector, k: int) -> list[UUID]:
    """Rank by plain arithmetic in float64."""
    scored = [(-float(vector_of(p).astype(np.float64) @ query), p.chunk_id) for p in points]
    return [chunk_id for _, chunk_id in sorted(scored)[:k]]


async def everything(store: VectorStore, index_id: UUID, *, page: int = 1000) -> list[Point]:
    """Read a whole index page by page."""
    found: list[Point] = []
    while some := await store.scan(
        index_id, after=found[-1].chunk_id if found else None, limit=page, vectors=True
    ):
        found += some
    return found
