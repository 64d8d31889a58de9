"""Maps: time and memory on 20 Newsgroups and on 100,000 vectors, and how well groups lie apart.

    python -m benchmarks map

2,000 posts drawn with seed 1, with UNMOVED_BENCH_POSTS another number, 0 all 11,014; vectors are
kept in UNMOVED_BENCH_KEPT, as for the benchmark of analyses. UNMOVED_BENCH_ROWS names another
number of vectors than 100,000; 0 leaves them out. Each map is made in a process of its own, so that
the memory told is its own.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks.analysis import DIMENSIONS, DRAWN, POSTS, ROWS, SEED, read_posts
from benchmarks.workplace import figure, heading
from search_app.analysis.neighbours import neighbourhood
from search_app.analysis.projection import Projection, neighbours_kept, projected
from search_app.types import JSON, Matrix

GROUPS = 20
NEAREST = 10
MOST_JUDGED = 12_000


def main() -> None:
    """Print the table of docs/en/analysis.md; with arguments, make one map and tell of it."""
    if os.environ.get("UNMOVED_BENCH_MAP"):
        _one(json.loads(os.environ["UNMOVED_BENCH_MAP"]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(os.environ.get("UNMOVED_BENCH_KEPT", scratch))
        if POSTS.is_file():
            wanted = int(os.environ.get("UNMOVED_BENCH_POSTS", DRAWN))
            posts = asyncio.run(read_posts(wanted, kept))
            heading(f"{len(posts.groups):,} of {posts.available:,} posts, drawn with seed {SEED}")
            _compared(posts.vectors, posts.groups, Path(scratch))
        else:
            print(f"no posts in {POSTS}: only made vectors are mapped")
        rows = int(os.environ.get("UNMOVED_BENCH_ROWS", ROWS))
        if rows:
            heading(f"{rows:,} × {DIMENSIONS}, around {GROUPS} centres")
            vectors, groups = _made(rows)
            _compared(vectors, groups, Path(scratch))


def _compared(vectors: Matrix, groups: Sequence[str], scratch: Path) -> None:
    path = scratch / "vectors.npy"
    np.save(path, vectors)
    print("| map | seconds | peak MB | same again | group of neighbours | neighbours kept |")
    print("| --- | --- | --- | --- | --- | --- |")
    for method in Projection:
        result = scratch / f"{method}.npy"
        wish = json.dumps({"vectors": str(path), "method": method.value, "result": str(result)})
        told = [_apart(wish) for _ in range(2 if len(vectors) <= MOST_JUDGED else 1)]
        places: Matrix = np.load(result)
        same = "yes" if len({each["hash"] for each in told}) == 1 else "no"
        agreeing = _agreeing(places, groups) if len(places) <= MOST_JUDGED else None
        kept = neighbours_kept(vectors, places)
        print(
            f"| {method} | {told[-1]['seconds']:.1f} | {told[-1]['peak_mb']:,} | "
            f"{same if len(told) > 1 else '-'} | "
            f"{'-' if agreeing is None else f'{agreeing:.3f}'} | "
            f"{'-' if kept is None else f'{kept:.3f}'} |",
            flush=True,
        )
    if len(vectors) <= MOST_JUDGED:
        figure(
            "group of neighbours by the vectors themselves", f"{_by_vectors(vectors, groups):.3f}"
        )


def _apart(wish: str) -> dict[str, JSON]:
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks", "map"],
        env={**os.environ, "UNMOVED_BENCH_MAP": wish},
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, JSON] = json.loads(answer.stdout.splitlines()[-1])
    return told


def _one(wish: dict[str, str]) -> None:
    vectors = np.load(wish["vectors"])
    began = time.monotonic()
    places = projected(vectors, method=Projection(wish["method"]))
    seconds = time.monotonic() - began
    np.save(wish["result"], places)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        json.dumps(
            {"seconds": seconds, "peak_mb": peak, "hash": sha256(places.tobytes()).hexdigest()}
        )
    )


def _agreeing(places: Matrix, groups: Sequence[str]) -> float:
    """Give the share of points whose group is the commonest among their nearest on the map."""
    names, own = np.unique(np.array(groups), return_inverse=True)
    right = 0
    for point, place in enumerate(places):
        away = ((places - place) ** 2).sum(axis=1)
        away[point] = np.inf
        near = np.argpartition(away, NEAREST)[:NEAREST]
        right += int(np.bincount(own[near], minlength=len(names)).argmax() == own[point])
    return right / len(places)


def _by_vectors(vectors: Matrix, groups: Sequence[str]) -> float:
    names, own = np.unique(np.array(groups), return_inverse=True)
    near = own[neighbourhood(vectors, NEAREST).places]
    found = [np.bincount(each, minlength=len(names)).argmax() for each in near]
    return float((np.array(found) == own).mean())


def _made(rows: int) -> tuple[Matrix, list[str]]:
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((GROUPS, DIMENSIONS), np.float32)
    of = draw.integers(0, GROUPS, rows)
    vectors = draw.standard_normal((rows, DIMENSIONS), np.float32) + 0.5 * centres[of]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, [str(each) for each in of.tolist()]
