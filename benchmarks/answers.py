"""Answers: when to say that nothing was found, whether quotations hold the answer, and how fast.

    python -m benchmarks.answers --documents 500 --queries 150
    python -m benchmarks.answers --speed 100000

Questions of a set are asked of its own documents (own), of the rest of it whose document is not in
(near), and of other sets' documents (foreign). Of JSQuAD the answers are known, so it is counted
how often the quotations hold one. Four sets are embedded with the bundled model, some minutes each.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.passages import GOLDEN
from benchmarks.search import RECORDS, SPEC, Precomputed, queries_of, write_records
from benchmarks.workplace import figure, heading, scratch_services
from ingest.pipeline import IngestRequest, ingest
from search_app.answering.strength import THRESHOLD
from search_app.answering.types import Question
from search_app.bootstrap import Services
from search_app.embedders.bundled import BundledEmbedder
from search_app.retrieval import SearchRequest
from search_app.types import Kind, Matrix

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
    enough: bool


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.answers", description=__doc__)
    parser.add_argument("--documents", type=int, default=500, help="documents of each set")
    parser.add_argument("--queries", type=int, default=120, help="questions of each kind")
    parser.add_argument("--json", type=Path, help="write what each question came to, line by line")
    parser.add_argument("--speed", type=int, help="only time answers over so many chunks")
    options = parser.parse_args(arguments)
    if not GOLDEN.is_dir():
        print(f"no golden sets in {GOLDEN}: nothing to measure")
        return
    if options.speed:
        asyncio.run(time_answers(options.speed))
        return
    asyncio.run(measure(options.documents, options.queries, options.json))


async def measure(documents: int, queries: int, path: Path | None) -> None:
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
        _report(asked)
        await _quotations(services, sets["ja_jsquad"], draw, queries)
    if path is not None:
        path.write_text("\n".join(json.dumps(vars(each)) for each in asked), encoding="utf-8")


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
        self.answers = {
            row["text"]: [known for known in row["answers"] if known]
            for row in _rows(name, "queries")
            if row.get("answers") and relevant.get(row["id"], set()) & inside
        }
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
    request = SearchRequest(query=question, collection=corpus, k=40, logged=False)
    result = await services.searcher.search(request)
    target, vector = await services.searcher.asked_with(request)
    backgrounds = services.answerer._backgrounds
    found = await backgrounds.strength(question, result.hits, target, vector, THRESHOLD)
    return Asked(
        corpus=corpus,
        asked_of=other,
        kind=kind,
        distance=found.distance,
        coverage=found.coverage,
        enough=found.enough,
    )


def _report(asked: Sequence[Asked]) -> None:
    heading("shares of questions that are answered at the threshold")
    for corpus, kind in ((corpus, kind) for corpus in SETS for kind in ("own", "near", "foreign")):
        part = [each for each in asked if each.corpus == corpus and each.kind == kind]
        if part:
            share = sum(each.enough for each in part) / len(part)
            figure(f"{corpus}, {kind}, {len(part)} questions", f"{share:.3f}")
            figure("  distance at 5, 25, 50, 75, 95 %", _spread([a.distance or 0 for a in part]))
            figure("  coverage likewise", _spread([a.coverage or 0 for a in part]))


async def _quotations(services: Services, one: "_Set", draw: random.Random, most: int) -> None:
    """Count how often the quotations of an answer hold one that is known."""
    heading("quotations of JSQuAD that hold the answer")
    chosen = draw.sample(sorted(one.answers), min(most, len(one.answers)))
    held = given = refused = 0
    for question in chosen:
        answer = await services.answerer.answer(
            Question(text=question, collection="ja_jsquad", logged=False)
        )
        quoted = " ".join(sentence.text for sentence in answer.sentences)
        passages = " ".join(passage.text for passage in answer.passages)
        held += any(known in quoted for known in one.answers[question])
        given += any(known in passages for known in one.answers[question])
        refused += answer.outcome != "answered"
    figure("held by the quotations", f"{held / len(chosen):.3f}")
    figure("held by the passages given", f"{given / len(chosen):.3f}")
    figure("said not to be found", f"{refused / len(chosen):.3f}")


class _Sentences(Precomputed):
    """Gives numbered passages drawn vectors, and sentences those of the bundled model.

    So what embedding sentences costs is measured, and embedding 100,000 passages is not waited for.
    """

    batch_size = 16

    def __init__(self) -> None:
        super().__init__()
        self._bundled = BundledEmbedder()
        self.drawn = False

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Look passages and queries up; embed whatever else comes once they are all in."""
        if kind == "query" or not self.drawn:
            return await super().embed(texts, kind)
        return await self._bundled.embed(texts, kind)


async def time_answers(records: int) -> None:
    """Time extractive answers over drawn vectors and real sentences."""
    heading(f"extractive answers over {records:,} chunks, query vectors cached")
    async with scratch_services(SPEC) as services:
        embedder = _Sentences()
        services._embedders[SPEC] = embedder
        with tempfile.TemporaryDirectory() as folder:
            write_records(Path(folder) / "records.jsonl", records)
            await ingest(services, IngestRequest(arguments=[folder]))
        questions = [Question(text=text, logged=True) for text in queries_of(RECORDS)[::2]]
        services.answerer._defaults = replace(services.answerer._defaults, threshold=0.0)
        services.answerer.retriever._defaults = services.answerer._defaults
        for question in questions:
            await services.searcher.search(SearchRequest(query=question.text))
        # From here on: the model has proved itself with vectors that are drawn.
        embedder.drawn = True
        await services.answerer.answer(questions[0])
        for name in ("sentences met first", "sentences known"):
            answers = [await services.answerer.answer(question) for question in questions]
            for part in ("retrieval", "first", "writing", "total"):
                times = [answer.times.get(part, 0.0) for answer in answers]
                p50, p95 = np.percentile(times, [50, 95])
                reached = bool(p95 <= 150) if part == "total" else None
                target = "<= 150 ms" if part == "total" else ""
                told = f"{p50:.1f}, {p95:.1f} ms"
                figure(f"{name}, {part}, p50, p95", told, target=target, reached=reached)


def _spread(values: Sequence[float]) -> str:
    array: NDArray[np.float64] = np.percentile(values, [5, 25, 50, 75, 95])
    return " ".join(f"{value:.2f}" for value in array)


if __name__ == "__main__":
    main(sys.argv[1:])
