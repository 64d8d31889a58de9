"""Clusters and classifiers measured on 20 Newsgroups, and k-means on 100,000 vectors.

    python -m benchmarks analysis

2,000 posts drawn with seed 1; UNMOVED_BENCH_POSTS names another number, 0 all 11,014, whose
embedding takes a quarter of an hour. Vectors are kept in UNMOVED_BENCH_KEPT (a folder; unset: a
temporary one). UNMOVED_BENCH_ROWS names another number of vectors for the speed of k-means; 0
leaves that out.
"""

import asyncio
import gzip
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.workplace import figure, heading
from ingest.study import keeping
from ingest.study.measures import Interval, interval_of
from search_app.analysis import labels as labelling
from search_app.analysis.clusters import NONE, Labels, Method, clusters_of, default_least_size
from search_app.analysis.diversity import diversity_of
from search_app.analysis.labels import Classifier
from search_app.analysis.outliers import outlying
from search_app.analysis.quality import agreement_with, quality_of
from search_app.analysis.stability import STABLE, Stability, under_resampling
from search_app.bootstrap import make_embedder
from search_app.config import load_settings
from search_app.embedders.batching import embed_all
from search_app.types import Matrix

POSTS = Path(__file__).parents[2] / "shared/data/newsgroups20/train_stripped.jsonl.gz"
DRAWN, SEED, GROUPS = 2_000, 1, 20
SEEDS = range(5)
BLOCK = 128
ROWS, DIMENSIONS, CLUSTERS = 100_000, 384, 20

NAMES: Mapping[str, str] = {
    "alt.atheism": "atheism and arguments about the existence of gods",
    "comp.graphics": "computer graphics, image formats and rendering",
    "comp.os.ms-windows.misc": "Microsoft Windows, its files, drivers and programs",
    "comp.sys.ibm.pc.hardware": "hardware of IBM-compatible PCs: disks, controllers, cards",
    "comp.sys.mac.hardware": "hardware of Apple Macintosh computers",
    "comp.windows.x": "the X Window System and programming for it",
    "misc.forsale": "things offered for sale, with prices",
    "rec.autos": "cars and driving",
    "rec.motorcycles": "motorcycles and riding",
    "rec.sport.baseball": "baseball games, teams and players",
    "rec.sport.hockey": "ice hockey games, teams and players",
    "sci.crypt": "cryptography, encryption chips and privacy",
    "sci.electronics": "electronic circuits and components",
    "sci.med": "medicine, diseases and treatment",
    "sci.space": "space flight, satellites and astronomy",
    "soc.religion.christian": "Christian faith, church and Bible",
    "talk.politics.guns": "guns, gun control and firearms law",
    "talk.politics.mideast": "politics of the Middle East, Israel, Armenia, Turkey",
    "talk.politics.misc": "politics and government in general",
    "talk.religion.misc": "religion in general, sects and morality",
}
"""Newsgroups and what they are about, in our words, for zero-shot classification."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Posts:
    """Unit vectors of posts, of the names of their groups, and the group of each."""

    vectors: Matrix
    labels: Matrix
    groups: Sequence[str]
    available: int


def main() -> None:
    """Print the tables of docs/en/analysis.md."""
    if not POSTS.is_file():
        print(f"no posts in {POSTS}: nothing to cluster or classify")
    else:
        wanted = int(os.environ.get("UNMOVED_BENCH_POSTS", DRAWN))
        with tempfile.TemporaryDirectory() as scratch:
            kept = Path(os.environ.get("UNMOVED_BENCH_KEPT", scratch))
            posts = asyncio.run(read_posts(wanted, kept))
        heading(f"{len(posts.groups):,} of {posts.available:,} posts, drawn with seed {SEED}")
        _clusterings(posts)
        _classifiers(posts)
        _whole(posts)
    rows = int(os.environ.get("UNMOVED_BENCH_ROWS", ROWS))
    if rows:
        _speed(rows)


async def read_posts(wanted: int, kept: Path) -> Posts:
    """Read posts and embed them, or take the vectors that were kept in a folder."""
    text = gzip.decompress(POSTS.read_bytes()).decode()
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    places = np.arange(len(rows))
    if 0 < wanted < len(rows):
        places = np.sort(np.random.default_rng(SEED).choice(len(rows), wanted, replace=False))
    texts = [rows[place]["text"] for place in places]
    embedder = make_embedder("bundled", load_settings())

    async def block(start: int, end: int) -> Matrix:
        return (await embed_all(embedder, texts[start:end], "document")).vectors

    try:
        path = kept / f"bundled-{len(texts)}-{SEED}.npy"
        vectors = await keeping.in_blocks(path, len(texts), BLOCK, block, lambda _: None)
        told = [f"{name}: {meaning}" for name, meaning in NAMES.items()]
        labels = (await embed_all(embedder, told, "query")).vectors
    finally:
        await embedder.aclose()
    return Posts(
        vectors=_unit(vectors),
        labels=_unit(labels),
        groups=[rows[place]["id"].partition("/")[0] for place in places],
        available=len(rows),
    )


def _unit(rows: Matrix) -> Matrix:
    scaled: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def _clusterings(posts: Posts) -> None:
    print(
        "| clustering | clusters | ARI with the group | NMI, V-measure | silhouette | "
        "Davies–Bouldin | stability: ARI, lowest | stable clusters | in none |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    least = default_least_size(len(posts.vectors))
    for method, number in (
        (Method.KMEANS, GROUPS),
        (Method.AGGLOMERATIVE, GROUPS),
        (Method.HDBSCAN, least),
    ):
        aris, nmis, widths, spreads, found_none, clusters = [], [], [], [], [], []
        for seed in SEEDS:
            # Ward and HDBSCAN draw nothing; what varies is which nine tenths they see.
            draw = np.random.default_rng(seed)
            rows = np.sort(draw.choice(len(posts.vectors), len(posts.vectors) * 9 // 10, False))
            vectors = posts.vectors[rows]
            found = clusters_of(vectors, method, number=number, seed=seed)
            agreement = agreement_with(found, [posts.groups[row] for row in rows], "group")
            quality = quality_of(vectors, found, seed=seed)
            aris.append(agreement.ari if agreement else 0.0)
            nmis.append(agreement.nmi if agreement else 0.0)
            widths.append(quality.silhouette or 0.0)
            spreads.append(quality.davies_bouldin or 0.0)
            found_none.append(float((found == NONE).mean()))
            clusters.append(int(found.max()) + 1)
        stable = _stability(posts.vectors, method, number)
        steady = sum(each >= STABLE for each in stable.jaccards)
        print(
            f"| {method} | {_range(clusters)} | {_shown(interval_of(aris))} | "
            f"{_shown(interval_of(nmis))} | {_shown(interval_of(widths))} | "
            f"{_shown(interval_of(spreads, most=np.inf))} | "
            f"{stable.ari:.3f}, {min(stable.aris):.3f} | "
            f"{steady} of {len(stable.jaccards)} | {np.mean(found_none):.0%} |",
            flush=True,
        )


def _stability(vectors: Matrix, method: Method, number: int) -> Stability:
    """Cluster four fifths of the posts five times, as ``ingest cluster`` does."""

    def again(rows: Matrix, seed: int) -> Labels:
        # A cluster of a part of the rows has that part of its size.
        size = number
        if method is Method.HDBSCAN:
            size = round(number * len(rows) / len(vectors))
        return clusters_of(rows, method, number=size, seed=seed)

    return under_resampling(vectors, again(vectors, 0), again, repeats=5, seed=0)


def _classifiers(posts: Posts) -> None:
    print("| classifier | accuracy | macro F1 | calibration error | Brier | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    names = list(NAMES)
    truth = np.array([names.index(group) for group in posts.groups])
    for method in Classifier:
        began = time.monotonic()
        if method is Classifier.ZERO_SHOT:
            report = labelling.zero_shot_report(posts.vectors, posts.labels, names, truth, seed=0)
        else:
            report = labelling.cross_validated(method, posts.vectors, posts.groups, seed=0)
        calibration = report.calibration
        print(
            f"| {method} | {_spread(report.accuracy)} | {_spread(report.macro_f1)} | "
            f"{calibration.ece:.3f} | {calibration.brier:.3f} | {time.monotonic() - began:.0f} |",
            flush=True,
        )
    figure("always the commonest group", f"{report.baseline:.3f}")


def _whole(posts: Posts) -> None:
    found = outlying(posts.vectors)
    measured = diversity_of(posts.vectors)
    figure("far from everything", f"{len(found.far):,}")
    figure("groups of near-duplicates", f"{len(found.groups):,}")
    figure("mean distance, Vendi score", f"{measured.mean_distance:.4f}, {measured.vendi:.2f}")


def _speed(rows: int) -> None:
    heading(f"k-means of {rows:,} × {DIMENSIONS} into {CLUSTERS}")
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((CLUSTERS, DIMENSIONS), np.float32)
    vectors = draw.standard_normal((rows, DIMENSIONS), np.float32)
    vectors += 0.5 * centres[draw.integers(0, CLUSTERS, rows)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    began = time.monotonic()
    found = clusters_of(vectors, Method.KMEANS, number=CLUSTERS, seed=0)
    figure("seconds", f"{time.monotonic() - began:.1f}")
    figure("clusters", str(int(found.max()) + 1))


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _shown(interval: Interval) -> str:
    return f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _spread(spread: labelling.Spread) -> str:
    return f"{spread.value:.3f} ({spread.low:.3f} to {spread.high:.3f})"
