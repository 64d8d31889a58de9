"""How well a function is found by what it is for, when files of code are cut into definitions.

    python -m benchmarks.code flask httpx svcs --limit 500

The functions of the golden set, which come without their docstrings, are put back into files and
classes as far as it tells; the files are ingested once as their layout tells functions apart (as
before) and once as their syntax does. A query is the docstring of one of them. What is found are
lines, and a function is found by a passage that has lines of it, the one with most of them first.
"""

import argparse
import asyncio
import gzip
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from textwrap import indent
from typing import Any

from benchmarks.quality import GOLDEN, METRIC
from benchmarks.workplace import figure, heading, scratch_services
from ingest import reading
from ingest.evaluation.golden import Query, chosen
from ingest.evaluation.resampling import mean_of
from ingest.evaluation.scoring import Scores, score
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.retrieval import SearchRequest
from search_app.types import Hit, Mode

MODES: Sequence[Mode] = ("keyword", "semantic", "hybrid")
_HITS = 50
_NAME = "code_search_py"


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function of the set and its lines in the file that was made, from 1."""

    id: str
    first: int
    last: int


Files = Mapping[str, Sequence[Function]]
"""The functions of each file, by its path."""


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.code", description=__doc__)
    parser.add_argument("repos", nargs="*", help="only these repositories")
    parser.add_argument("--limit", type=int, help="ask only so many queries")
    parser.add_argument("--embedder", default="bundled")
    options = parser.parse_args(arguments)
    if not (GOLDEN / _NAME).is_dir():
        print(f"no golden set in {GOLDEN / _NAME}: nothing to measure")
        return
    repos = frozenset(options.repos)
    asyncio.run(measure(repos, options.limit, options.embedder))


async def measure(repos: frozenset[str], limit: int | None, embedder: str) -> None:
    """Ingest the files both ways, and ask for every function by every mode."""
    with tempfile.TemporaryDirectory(prefix="unmoved-code-") as folder:
        files = write_files(Path(folder), repos)
        known = {function.id for functions in files.values() for function in functions}
        queries = chosen(_queries(known), limit)
        heading(
            f"{_NAME}: {len(known):,} functions in {len(files):,} files, {len(queries):,} queries"
        )
        async with scratch_services(embedder) as services:
            scores: dict[tuple[str, Mode], Scores] = {}
            for way in ("layout", "syntax"):
                with _cut_by_layout(wanted=way == "layout"):
                    report = await ingest(
                        services, IngestRequest(arguments=[folder], collection=way)
                    )
                figure(f"{way}, passages", f"{report.chunks.embedded + report.chunks.reused:,}")
                for mode in MODES:
                    found = await _rankings(services, files, queries, way, mode)
                    scores[way, mode] = score(queries, found, 10)[:, 0]
                    _show(f"{way}, {mode}, {METRIC}", scores[way, mode])
            for mode in MODES:
                gain = mean_of(scores["syntax", mode] - scores["layout", mode])
                name = f"syntax - layout, {mode}, {METRIC}"
                figure(name, f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})")


def _show(name: str, values: Scores) -> None:
    mean = mean_of(values)
    figure(name, f"{mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f})")


@contextmanager
def _cut_by_layout(*, wanted: bool) -> Iterator[None]:
    """Let the chunker know nothing of the syntax, as where no grammar is installed."""
    reader: Any = reading
    cut = reader.chunk
    if wanted:
        reader.chunk = lambda document, *rest: cut(replace(document, outline=None), *rest)
    try:
        yield
    finally:
        reader.chunk = cut


def write_files(folder: Path, repos: frozenset[str]) -> Files:
    """Put the functions back into files, methods into their classes."""
    by_path: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in _rows("corpus.jsonl.gz"):
        if not repos or record["repo"] in repos:
            by_path[f"{record['repo']}/{record['path']}"].append(record)
    files = {}
    for path, records in by_path.items():
        records.sort(key=lambda record: int(record["id"].rpartition(":")[2]))
        text, functions = _file(records)
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        files[place.as_posix()] = functions
    return files


def _file(records: Sequence[dict[str, Any]]) -> tuple[str, list[Function]]:
    text = ""
    functions = []
    for owner, members in groupby(records, key=lambda record: record["title"].rpartition(".")[0]):
        # Whether an owner is a class or a function that it is in, the set does not say.
        text += f"class {owner.replace('.', '_')}:\n" if owner else ""
        for record in members:
            body = indent(record["text"], "    ") if owner else record["text"]
            first = text.count("\n") + 1
            text += f"{body}\n"
            functions.append(Function(id=record["id"], first=first, last=text.count("\n")))
            text += "\n" if owner else "\n\n"
    return text, functions


def _queries(known: set[str]) -> list[Query]:
    judged: dict[str, dict[str, int]] = defaultdict(dict)
    lines = (GOLDEN / _NAME / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for query, function, value in (line.split("\t") for line in lines):
        if function in known:
            judged[query][function] = int(value)
    return [
        Query(id=row["id"], text=row["text"], judgements=judged[row["id"]])
        for row in _rows("queries.jsonl.gz")
        if row["id"] in judged
    ]


async def _rankings(
    services: Services, files: Files, queries: Sequence[Query], collection: str, mode: Mode
) -> dict[str, list[str]]:
    found = {}
    for query in queries:
        request = SearchRequest(
            query=query.text, collection=collection, mode=mode, k=_HITS, kind="code"
        )
        result = await services.searcher.search(request)
        names = (name for hit in result.hits for name in _functions(hit, files))
        found[query.id] = list(dict.fromkeys(names))
    return found


def _functions(hit: Hit, files: Files) -> list[str]:
    place = hit.code
    if place is None:
        return []

    def shared(function: Function) -> int:
        return min(function.last, place.last_line) - max(function.first, place.first_line) + 1

    met = [function for function in files[hit.document.source] if shared(function) > 0]
    return [function.id for function in sorted(met, key=shared, reverse=True)]


def _rows(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(GOLDEN / _NAME / name, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


if __name__ == "__main__":
    main(sys.argv[1:])
