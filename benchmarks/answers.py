"""Answers: when to say that nothing was found, whether quotations hold the answer, and how fast.

    python -m benchmarks.answers --set ja_jsquad --documents 600 --queries 200

Questions of a set are asked of its own documents (answerable) and of another set's (not). The set
is embedded with the bundled model, which takes some minutes.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.passages import GOLDEN
from benchmarks.workplace import figure, heading, scratch_services
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services

SETS = ("ja_jsquad", "en_cranfield", "en_npl", "xling_fastapi")
"""Of the last, the Japanese documents alone, with the English questions that they answer."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a question came to; ``kind`` is own, near (its document was left out) or foreign."""

    corpus: str
    asked_of: str
    kind: str
    distance: float | None
    coverage: float | None


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.answers", description=__doc__)
    parser.add_argument("--documents", type=int, default=500, help="documents of each set")
    parser.add_argument("--queries", type=int, default=120, help="questions of each kind")
    parser.add_argument("--csv", type=Path, help="write what each question came to")
    options = parser.parse_args(arguments)
    if not GOLDEN.is_dir():
        print(f"no golden sets in {GOLDEN}: nothing to measure")
        return
    asyncio.run(measure(options.documents, options.queries, options.csv))


async def measure(documents: int, queries: int, csv: Path | None) -> None:
    """Ingest some of each set, ask, and print what the threshold makes of it."""
    draw = random.Random("answers")
    heading(f"answers over {documents} documents of each set, bundled model")
    asked: list[Asked] = []
    async with scratch_services("bundled") as services:
        sets = {name: _Set(name, documents, draw) for name in SETS}
        for name, one in sets.items():
            await _fill(services, name, one)
        for corpus, one in sets.items():
            pools = {("own", corpus): one.own, ("near", corpus): one.near}
            pools |= {("foreign", o): x.own for o, x in sets.items() if o != corpus}
            for (kind, other), pool in pools.items():
                chosen = draw.sample(pool, min(queries, len(pool)))
                asked += [await _ask(services, corpus, kind, other, q) for q in chosen]
    if csv is not None:
        csv.write_text("\n".join(json.dumps(vars(each)) for each in asked), encoding="utf-8")
    _report(asked)


class _Set:
    """Some documents of a set, the questions they answer, and questions whose answer is not in."""

    def __init__(self, name: str, documents: int, draw: random.Random) -> None:
        rows = [row for row in _rows(name, "corpus") if row["text"].strip()]
        if name == "xling_fastapi":
            rows = [row for row in rows if row["lang"] == "ja"]
        draw.shuffle(rows)
        self.rows = rows[:documents]
        inside = {row["id"] for row in self.rows}
        queries = {row["id"]: row["text"] for row in _rows(name, "queries")}
        relevant: dict[str, set[str]] = {}
        with (GOLDEN / name / "qrels.tsv").open(encoding="utf-8") as file:
            for line in list(file)[1:]:
                query, document, score = line.rstrip("\n").split("\t")
                if int(score) > 0:
                    relevant.setdefault(query, set()).add(document)
        self.own = [queries[q] for q, found in relevant.items() if found & inside]
        self.near = [queries[q] for q, found in relevant.items() if not found & inside]


def _rows(name: str, part: str) -> list[Any]:
    with (GOLDEN / name / f"{part}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


async def _fill(services: Services, name: str, one: _Set) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.jsonl"
        lines = (json.dumps({"id": row["id"], "text": row["text"]}) for row in one.rows)
        path.write_text("\n".join(lines), encoding="utf-8")
        started = time.perf_counter()
        await ingest(services, IngestRequest(arguments=[folder], collection=name))
    figure(f"{name}: ingest", f"{time.perf_counter() - started:.0f} s")


async def _ask(services: Services, corpus: str, kind: str, other: str, question: str) -> Asked:
    from search_app.answering.strength import Backgrounds
    from search_app.retrieval import SearchRequest

    request = SearchRequest(query=question, collection=corpus, k=40, logged=False)
    result = await services.searcher.search(request)
    target, vector = await services.searcher.asked_with(request)
    background = _BACKGROUNDS.setdefault(id(services), Backgrounds(services.engine, services.store))
    found = await background.strength(question, result.hits, target, vector, 0.5)
    return Asked(
        corpus=corpus, asked_of=other, kind=kind, distance=found.distance, coverage=found.coverage
    )


_BACKGROUNDS: dict[int, Any] = {}


def _report(asked: Sequence[Asked]) -> None:
    for corpus in SETS:
        for kind in ("own", "near", "foreign"):
            part = [a for a in asked if a.corpus == corpus and a.kind == kind]
            if part:
                figure(f"{corpus} {kind} distance", _spread([a.distance or 0 for a in part]))
                figure(f"{corpus} {kind} coverage", _spread([a.coverage or 0 for a in part]))


def _spread(values: Sequence[float]) -> str:
    array: NDArray[np.float64] = np.percentile(values, [5, 25, 50, 75, 95])
    return " ".join(f"{value:.2f}" for value in array)


if __name__ == "__main__":
    main(sys.argv[1:])
