"""Answers: whether quotations hold the answer, and how fast they come.

    python -m benchmarks.answers --documents 500 --queries 150
    python -m benchmarks.answers --speed 100000

Of JSQuAD the answers are known. When nothing is answered at all, ``benchmarks.strength`` measures.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.passages import GOLDEN
from benchmarks.search import RECORDS, SPEC, Precomputed, queries_of, write_records
from benchmarks.strength import fill, qrels_of, rows_of
from benchmarks.workplace import figure, heading, scratch_services
from ingest.pipeline import IngestRequest, ingest
from search_app.answering.types import Question
from search_app.bootstrap import Services
from search_app.embedders.bundled import BundledEmbedder
from search_app.retrieval import SearchRequest
from search_app.types import Kind, Matrix


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.answers", description=__doc__)
    parser.add_argument("--documents", type=int, default=500, help="documents of JSQuAD")
    parser.add_argument("--queries", type=int, default=120, help="questions that are asked")
    parser.add_argument("--speed", type=int, help="only time answers over so many chunks")
    options = parser.parse_args(arguments)
    if not GOLDEN.is_dir():
        print(f"no golden sets in {GOLDEN}: nothing to measure")
        return
    if options.speed:
        asyncio.run(time_answers(options.speed))
        return
    asyncio.run(measure(options.documents, options.queries))


async def measure(documents: int, queries: int) -> None:
    """Ingest some of JSQuAD, ask, and count how often the quotations hold a known answer."""
    heading(f"quotations over {documents} documents of JSQuAD, bundled model")
    draw = random.Random("answers")
    rows = [row for row in rows_of("ja_jsquad", "corpus") if row["text"].strip()]
    draw.shuffle(rows)
    inside = {row["id"] for row in rows[:documents]}
    relevant = qrels_of("ja_jsquad")
    answers = {
        row["text"]: [known for known in row["answers"] if known]
        for row in rows_of("ja_jsquad", "queries")
        if row.get("answers") and relevant.get(row["id"], set()) & inside
    }
    async with scratch_services("bundled") as services:
        await fill(services, "ja_jsquad", rows[:documents])
        await _quotations(services, answers, draw, queries)


async def _quotations(
    services: Services, known: Mapping[str, Sequence[str]], draw: random.Random, most: int
) -> None:
    """Count how often the quotations of an answer hold one that is known."""
    chosen = draw.sample(sorted(known), min(most, len(known)))
    held = given = refused = 0
    for question in chosen:
        answer = await services.answerer.answer(
            Question(text=question, collection="ja_jsquad", logged=False)
        )
        quoted = " ".join(sentence.text for sentence in answer.sentences)
        passages = " ".join(passage.text for passage in answer.passages)
        held += any(each in quoted for each in known[question])
        given += any(each in passages for each in known[question])
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


if __name__ == "__main__":
    main(sys.argv[1:])
