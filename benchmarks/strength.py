"""When to say "I did not find this in the documents": how often that errs, on the golden sets.

    python -m benchmarks.strength --data FOLDER --queries 200 --json FILE

Questions of a set are asked of its own documents (own), of these without the documents that answer
them (gone), and of the documents of other sets (foreign): own ones should be answered, the others
not. Counted for the weights that are shipped, and for weights that are fitted on all other sets,
which have seen neither the documents nor the questions that they are judged by; of each share, the
95 % interval. With --data the indexes stay in a folder and the next measurement uses them again;
embedding all sets with the bundled model takes about half an hour on two cores.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.passages import GOLDEN
from benchmarks.workplace import heading, scratch_services
from ingest.pipeline import IngestRequest, ingest
from search_app.answering.passages import DEPTH
from search_app.answering.strength import RULE, THRESHOLD, Rule, crossed, value_of
from search_app.answering.wording import language_of
from search_app.bootstrap import Services, open_services
from search_app.config import load_settings
from search_app.errors import NotFoundError
from search_app.retrieval import SearchRequest
from search_app.types import Hit

STRICT = 0.8
"""A stricter threshold that the figures are given for too."""

OF_GONE = 0.05
"""What questions whose documents are left out weigh in the fits, beside those of other sets.

Search can hardly tell them from questions that are answered: with more, the fits refuse these too.
"""

_RIDGE = 1e-4
_STEPS = 200
_SURE = 1.96
"""Standard deviations of a normal distribution that 95 % lie within."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Documents of a golden set and questions that they answer; ``family`` are those alike."""

    name: str
    family: str
    golden: str
    documents: str = ""
    questions: str = ""
    qrels: str = "qrels.tsv"

    @property
    def collection(self) -> str:
        """The name of the collection with these documents."""
        return f"{self.golden}-{self.documents[:2]}" if self.documents else self.golden


_OWN = "qrels_monolingual.tsv"
SUBJECTS = (
    Subject(name="JSQuAD", family="jsquad", golden="ja_jsquad"),
    Subject(name="Cranfield", family="cranfield", golden="en_cranfield"),
    Subject(name="NPL", family="npl", golden="en_npl"),
    *(
        Subject(
            name=f"FastAPI {documents}, asked in {questions}",
            family="fastapi",
            golden="xling_fastapi",
            documents=f"{documents}/",
            questions=f"q-{questions}/",
            qrels=_OWN if documents == questions else "qrels.tsv",
        )
        for documents in ("en", "ja")
        for questions in ("en", "ja")
    ),
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a question came to; ``kind`` is own, gone or foreign, ``of`` the family that asks."""

    subject: str
    family: str
    of: str
    kind: str
    crossed: bool
    distance: float | None
    coverage: float | None

    def answered(self, rule: Rule, threshold: float) -> bool:
        """Say whether an answer would be given."""
        value = value_of(self.distance, self.coverage, is_crossed=self.crossed, rule=rule)
        return value >= threshold


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.strength", description=__doc__)
    parser.add_argument("--data", type=Path, help="keep the indexes in this folder")
    parser.add_argument("--queries", type=int, default=200, help="questions of each kind")
    parser.add_argument("--documents", type=int, help="only so many documents of each set")
    parser.add_argument("--json", type=Path, help="write what each question came to, line by line")
    options = parser.parse_args(arguments)
    if not GOLDEN.is_dir():
        print(f"no golden sets in {GOLDEN}: nothing to measure")
        return
    asked = asyncio.run(measure(options.data, options.queries, options.documents))
    if options.json is not None:
        lines = (json.dumps(vars(each)) for each in asked)
        options.json.write_text("\n".join(lines), encoding="utf-8")
    report(asked)


async def measure(data: Path | None, queries: int, documents: int | None) -> list[Asked]:
    """Ingest the sets where they are not yet, and ask."""
    asked: list[Asked] = []
    async with _services(data) as services:
        for subject in SUBJECTS:
            rows = [
                row
                for row in rows_of(subject.golden, "corpus")
                if row["text"].strip() and row["id"].startswith(subject.documents)
            ]
            await fill(services, subject.collection, rows[:documents])
        for subject in SUBJECTS:
            asked += await _asked(services, subject, queries)
            print(f"asked of {subject.name}", flush=True)
    return asked


@asynccontextmanager
async def _services(data: Path | None) -> AsyncIterator[Services]:
    if data is None:
        async with scratch_services("bundled") as services:
            yield services
        return
    settings = load_settings(data_dir=data.absolute(), DATABASE_URL=None, embedder="bundled")
    async with open_services(settings) as services:
        yield services


def rows_of(name: str, part: str) -> list[Any]:
    """Read the documents ("corpus") or the questions ("queries") of a golden set."""
    with (GOLDEN / name / f"{part}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def qrels_of(name: str, file: str = "qrels.tsv") -> dict[str, set[str]]:
    """Read which documents answer a question, by its id."""
    relevant: dict[str, set[str]] = {}
    with (GOLDEN / name / file).open(encoding="utf-8") as lines:
        for line in list(lines)[1:]:
            query, document, score = line.rstrip("\n").split("\t")
            if int(score) > 0:
                relevant.setdefault(query, set()).add(document)
    return relevant


async def fill(services: Services, collection: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Ingest documents into a collection, unless it is there already."""
    try:
        await services.searcher.asked_with(SearchRequest(query="anything", collection=collection))
    except NotFoundError:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "records.jsonl"
            kept = ("id", "title", "text")
            lines = (json.dumps({name: row.get(name, "") for name in kept}) for row in rows)
            path.write_text("\n".join(lines), encoding="utf-8")
            await ingest(services, IngestRequest(arguments=[folder], collection=collection))


async def _asked(services: Services, subject: Subject, queries: int) -> list[Asked]:
    draw = random.Random(subject.name)
    relevant = qrels_of(subject.golden, subject.qrels)
    own = [
        (row["text"], relevant[row["id"]])
        for row in rows_of(subject.golden, "queries")
        if row["id"].startswith(subject.questions) and row["id"] in relevant
    ]
    asked: list[Asked] = []
    for text, answering in draw.sample(own, min(queries, len(own))):
        hits = await _hits(services, subject, text)
        left = [hit for hit in hits if _id(hit) not in answering]
        if len(left) < len(hits):
            asked.append(await _met(services, subject, text, hits, of=subject.family, kind="own"))
            asked.append(await _met(services, subject, text, left, of=subject.family, kind="gone"))
    others = sorted({(each.family, each.golden) for each in SUBJECTS})
    others = [(family, golden) for family, golden in others if family != subject.family]
    for family, golden in others:
        texts = [row["text"] for row in rows_of(golden, "queries")]
        for text in draw.sample(texts, min(queries // len(others), len(texts))):
            hits = await _hits(services, subject, text)
            asked.append(await _met(services, subject, text, hits, of=family, kind="foreign"))
    return asked


async def _hits(services: Services, subject: Subject, text: str) -> list[Hit]:
    request = SearchRequest(query=text, collection=subject.collection, k=100, logged=False)
    return list((await services.searcher.search(request)).hits)


async def _met(
    services: Services, subject: Subject, text: str, hits: Sequence[Hit], *, of: str, kind: str
) -> Asked:
    request = SearchRequest(query=text, collection=subject.collection, logged=False)
    target, vector = await services.searcher.asked_with(request)
    backgrounds = services.answerer._backgrounds
    found = await backgrounds.strength(text, hits[:DEPTH], target, vector, THRESHOLD)
    return Asked(
        subject=subject.name,
        family=subject.family,
        of=of,
        kind=kind,
        crossed=crossed(language_of(text), hits[:DEPTH]),
        distance=found.distance,
        coverage=found.coverage,
    )


def _id(hit: Hit) -> str:
    return hit.document.uri.partition("#")[2]


def report(asked: Sequence[Asked]) -> None:
    """Print how often the rule errs: as shipped, and fitted on the other sets."""
    _table(f"as shipped, at {THRESHOLD}", asked, lambda _: RULE, THRESHOLD)
    _table(f"as shipped, at {STRICT}", asked, lambda _: RULE, STRICT)
    families = dict.fromkeys(each.family for each in asked)
    fits = {
        family: fitted([each for each in asked if family not in {each.family, each.of}])
        for family in families
    }
    _table(f"fitted on the other sets, at {THRESHOLD}", asked, fits.__getitem__, THRESHOLD)
    heading("weights")
    for name, rule in (*fits.items(), ("all", fitted(asked)), ("shipped", RULE)):
        both, alone = np.round(rule.both, 2), np.round(rule.by_distance, 2)
        print(f"{'without ' * (name in fits) + name:<24} {both.tolist()} {alone.tolist()}")


def _table(
    title: str, asked: Sequence[Asked], rule: Callable[[str], Rule], threshold: float
) -> None:
    heading(title)
    print(f"{'documents':<28} {'own refused':>20} {'gone answered':>20} {'foreign answered':>20}")
    for subject in dict.fromkeys(each.subject for each in asked):
        cells = []
        for kind in ("own", "gone", "foreign"):
            part = [each for each in asked if each.subject == subject and each.kind == kind]
            answered = sum(each.answered(rule(each.family), threshold) for each in part)
            wrong = len(part) - answered if kind == "own" else answered
            low, high = interval(wrong, len(part))
            share = wrong / max(len(part), 1)
            cells.append(f"{100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f})")
        print(f"{subject:<28}" + "".join(f" {cell:>20}" for cell in cells), flush=True)


def interval(number: int, of: int) -> tuple[float, float]:
    """Give the 95 % interval of a share (Wilson, 1927)."""
    if not of:
        return 0.0, 1.0
    share, square = number / of, _SURE**2
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = _SURE / (1 + square / of) * np.sqrt(share * (1 - share) / of + square / (4 * of**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def fitted(asked: Sequence[Asked]) -> Rule:
    """Fit both log odds: every set weighs the same, and answerable questions as much as others."""
    known = [each for each in asked if each.distance is not None]
    worded = [each for each in known if not each.crossed and each.coverage is not None]
    both = _fit([(each.distance, each.coverage) for each in worded], worded)
    alone = _fit([(each.distance,) for each in known], known)
    return Rule(both=(both[0], both[1], both[2]), by_distance=(alone[0], alone[1]))


def _fit(values: Sequence[Any], asked: Sequence[Asked]) -> list[float]:
    """Fit a logistic regression by Newton's method, weighted, with a small ridge."""
    features = np.column_stack([np.ones(len(asked)), np.array(values, np.float64)])
    wanted = np.array([each.kind == "own" for each in asked], np.float64)
    often = Counter((each.subject, each.kind) for each in asked)
    shares = {"own": 1.0, "gone": OF_GONE, "foreign": 1 - OF_GONE}
    families = Counter(
        (family, kind) for _, family, kind in {(a.subject, a.family, a.kind) for a in asked}
    )
    weights = np.array(
        [
            shares[each.kind] / often[each.subject, each.kind] / families[each.family, each.kind]
            for each in asked
        ]
    )
    found: Floats = np.zeros(features.shape[1])
    ridge = _RIDGE * np.eye(features.shape[1])
    for _ in range(_STEPS):
        likely = 1 / (1 + np.exp(-np.clip(features @ found, -30, 30)))
        slope = features.T @ (weights * (wanted - likely)) - ridge @ found
        curve = (features.T * (weights * likely * (1 - likely))) @ features + ridge
        found = found + np.linalg.solve(curve, slope)
    return [float(value) for value in found]


if __name__ == "__main__":
    main(sys.argv[1:])
