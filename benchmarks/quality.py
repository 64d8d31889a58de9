"""How good search is on the golden sets, by the product's own command, in every mode and store.

    python -m benchmarks.quality --data FOLDER --limit 200 --stores pgvector --sets en_npl

With --data the indexes stay in a folder and the next measurement uses them again; embedding all
sets with the bundled model takes about half an hour on two cores, for each store.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workplace import figure, heading
from ingest.evaluation.resampling import Values, lower_bound, mean_of
from search_app.catalog.embedded import EmbeddedPostgres

GOLDEN = Path(__file__).parents[2] / "shared" / "data" / "golden"
STORES = ("pgvector", "qdrant")
MODES = ("keyword", "semantic", "hybrid")
METRIC = "nDCG@10"

TARGETS: Mapping[str, Mapping[str, float]] = {
    "ja_jsquad": {"keyword": 0.936, "semantic": 0.891, "hybrid": 0.949},
    "en_cranfield": {"keyword": 0.387, "semantic": 0.383, "hybrid": 0.418},
    "en_npl": {"keyword": 0.430, "semantic": 0.321, "hybrid": 0.436},
}
"""What the same methods reached in an experiment, outside of any product."""

INFORMATION = ("xling_fastapi", "code_search_py", "ja_koho")
OPTIONS: Mapping[str, Sequence[str]] = {
    # Its titles are the queries.
    "ja_koho": ("--no-title",),
}

Scores = Mapping[str, Values]
"""A metric for every query, by mode, in the same order of queries."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is measured, and where the indexes are."""

    data: Path
    stores: Sequence[str]
    sets: Sequence[str]
    limit: int | None


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.quality", description=__doc__)
    parser.add_argument("--data", type=Path, help="keep the indexes in this folder")
    parser.add_argument("--limit", type=int, help="ask only so many queries of each set")
    parser.add_argument("--stores", default=",".join(STORES), help="comma-separated")
    parser.add_argument("--sets", default=",".join((*TARGETS, *INFORMATION)), help="likewise")
    options = parser.parse_args(arguments)
    if not GOLDEN.is_dir():
        print(f"no golden sets in {GOLDEN}: nothing to measure")
        return
    with ExitStack() as stack:
        data = options.data
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="unmoved-bench-")))
            stack.callback(lambda: EmbeddedPostgres(data / "unmoved").destroy())
        measure(
            Work(
                data=data.absolute(),
                stores=options.stores.split(","),
                sets=options.sets.split(","),
                limit=options.limit,
            )
        )


def measure(work: Work) -> None:
    """Evaluate every set in every store, and judge hybrid search over all of them."""
    for store in work.stores:
        heading(f"quality in {store}: {METRIC}")
        scores = {name: _shown(work, store, name) for name in work.sets}
        _judge_hybrid({name: found for name, found in scores.items() if name in TARGETS})


def _shown(work: Work, store: str, name: str) -> Scores:
    report, scores = evaluated(work, store, name)
    for mode in MODES:
        mean = mean_of(scores[mode])
        target = TARGETS.get(name, {}).get(mode)
        figure(
            f"{name}, {mode}",
            f"{mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f})",
            target="" if target is None or work.limit else f">= {target:.3f}",
            reached=None if target is None or work.limit else round(mean.mean, 3) >= target,
        )
    best = max(MODES[:2], key=lambda mode: float(scores[mode].mean()))
    gain = mean_of(scores["hybrid"] - scores[best])
    figure(f"{name}, hybrid - {best}", f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})")
    for result in report["results"]:
        seconds = result["queries_s"] / report["queries"]["asked"]
        figure(f"{name}, {result['label']}, ms a query", f"{1000 * seconds:.1f}")
    return scores


def _judge_hybrid(scores: Mapping[str, Scores]) -> None:
    if not scores:
        return
    gains = []
    for found in scores.values():
        best = max(MODES[:2], key=lambda mode: float(found[mode].mean()))
        gains.append(found["hybrid"] - found[best])
    pooled = np.concatenate(gains)
    low = lower_bound(pooled)
    figure(f"hybrid - best single mode, {pooled.size:,} queries pooled", f"{pooled.mean():+.4f}")
    figure("  its paired 95 % lower bound", f"{low:+.4f}", target="> 0", reached=low > 0)


def evaluated(work: Work, store: str, name: str) -> tuple[Any, Scores]:
    """Run the command for one set and read what it prints and writes."""
    work.data.mkdir(parents=True, exist_ok=True)
    path = work.data / f"{name}-{store}.csv"
    command = [sys.executable, "-m", "ingest", "eval", str(GOLDEN / name)]
    command += ["--store", store, "--keep", f"quality-{name}-{store}", "--mode", "hybrid"]
    command += ["--compare", "mode=keyword", "--compare", "mode=semantic"]
    command += ["--csv", str(path), "--json", *OPTIONS.get(name, ())]
    command += [] if work.limit is None else ["--limit", str(work.limit)]
    own = {
        "UNMOVED_DATA_DIR": str(work.data / "unmoved"),
        "UNMOVED_QDRANT_URL": f"local:{work.data / 'qdrant'}",
    }
    others = {key: value for key, value in os.environ.items() if not key.startswith("UNMOVED_")}
    done = subprocess.run(
        command, env={**others, **own}, stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(done.stdout), _read(path)


def _read(path: Path) -> Scores:
    rows: dict[str, list[float]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["settings"].removeprefix("mode=")].append(float(row[METRIC]))
    return {mode: np.array(values) for mode, values in rows.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
