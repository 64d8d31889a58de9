"""Golden sets: documents, queries and judgements in a folder of the form that BEIR made common.

    corpus.jsonl     {"_id": "d1", "title": "…", "text": "…", "metadata": {…}} a line
    queries.jsonl    {"_id": "q1", "text": "…"} a line
    qrels.tsv        query-id, corpus-id and score, tab-separated below a line of headings;
                     or qrels/test.tsv

Each may be compressed (``.gz``), and ``id`` stands for ``_id`` as well. Everything is checked
before anything is done with it.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search_app.errors import InvalidInputError
from search_app.retrieval import SearchRequest, check_request
from search_app.types import JSON

SEED = 0
"""Chooses the queries where only some are asked."""

_NAMED = 3
"""Most ids that a line about a fault names."""
_QRELS = ("qrels.tsv", "qrels/test.tsv")
_IDS = ("_id", "id")
_OWN = frozenset({*_IDS, "title", "text", "metadata"})
_COLUMNS = 3


class GoldenSetError(InvalidInputError):
    """A folder cannot be evaluated with; ``faults`` has a line for each thing that is wrong."""

    def __init__(self, *faults: str) -> None:
        """Keep the lines apart, since a command prints each by itself."""
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query and the documents judged for it; those of a score of 1 or more answer it."""

    id: str
    text: str
    judgements: Mapping[str, int]

    @property
    def relevant(self) -> frozenset[str]:
        """The documents that answer it."""
        return frozenset(name for name, score in self.judgements.items() if score > 0)


@dataclass(frozen=True, kw_only=True)
class GoldenSet:
    """A set that was checked.

    ``queries`` are those with an answer, in their order; ``unjudged`` had no judgement and
    ``unanswerable`` none of 1 or more. ``empty`` are documents without text, which are not
    indexed, so that they count as missed where they are judged.
    """

    name: str
    corpus: Path
    documents: int
    titles: bool
    empty: Sequence[str]
    queries: Sequence[Query]
    unjudged: int
    unanswerable: int

    def records(self) -> Iterator[dict[str, JSON]]:
        """Read the documents once more, as records that the loader of JSON lines takes.

        A document without text but with a title has its title as text.

        Raises:
            GoldenSetError: the file is not any more what it was when it was checked.
        """
        faults: list[str] = []
        for _, row in _rows(self.corpus, faults):
            text, title = _text_of(row, titles=self.titles)
            if text:
                yield {**_meta(row), "id": _id(row), "title": title, "text": text}
        if faults:
            raise GoldenSetError(*faults)


def read_golden_set(folder: Path, *, qrels: str = "", titles: bool = True) -> GoldenSet:
    """Read and check a folder; ``qrels`` names another file of judgements in it.

    ``titles`` False leaves the titles of documents out of all that is read.

    Raises:
        GoldenSetError: the set cannot be used; says all that is wrong with it.
    """
    if not folder.is_dir():
        raise GoldenSetError(f"{folder}: no such folder")
    paths = _find(folder, ("corpus.jsonl",), ("queries.jsonl",), (qrels,) if qrels else _QRELS)
    faults: list[str] = []
    documents, empty = _read_corpus(paths[0], faults, titles=titles)
    texts = _read_queries(paths[1], faults)
    judged = _read_qrels(paths[2], faults)
    where = paths[2].name
    _note(faults, f"{where}: unknown queries", (name for name in judged if name not in texts))
    named = dict.fromkeys(name for judgements in judged.values() for name in judgements)
    _note(faults, f"{where}: unknown documents", (name for name in named if name not in documents))
    queries = [
        Query(id=name, text=text, judgements=judged[name])
        for name, text in texts.items()
        if name in judged
    ]
    _check_texts(faults, paths[1].name, queries)
    answerable = [query for query in queries if query.relevant]
    if not answerable and not faults:
        faults.append(f"{where}: no query has a document with a score of 1 or more")
    if faults:
        raise GoldenSetError(*(f"{folder}: {fault}" for fault in faults))
    return GoldenSet(
        name=folder.resolve().name,
        corpus=paths[0],
        documents=len(documents) - len(empty),
        titles=titles,
        empty=empty,
        queries=answerable,
        unjudged=len(texts) - len(queries),
        unanswerable=len(queries) - len(answerable),
    )


def chosen(queries: Sequence[Query], limit: int | None) -> Sequence[Query]:
    """Draw ``limit`` queries at random, the same ones every time, and keep their order."""
    if limit is None or limit >= len(queries):
        return queries
    places = np.random.default_rng(SEED).choice(len(queries), limit, replace=False)
    return [queries[place] for place in sorted(places)]


def _find(folder: Path, *wanted: Sequence[str]) -> list[Path]:
    found, faults = [], []
    for names in wanted:
        paths = [folder / f"{name}{packed}" for name in names for packed in ("", ".gz")]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            faults.append(f"{folder}: has no {' or '.join(names)} (or .gz)")
        else:
            found.append(path)
    if faults:
        raise GoldenSetError(*faults)
    return found


def _read_corpus(path: Path, faults: list[str], *, titles: bool) -> tuple[set[str], list[str]]:
    """Give the ids of all documents, and of those without text."""
    ids: set[str] = set()
    empty: list[str] = []
    twice: list[str] = []
    for name, row in _rows(path, faults):
        if name in ids:
            twice.append(name)
        ids.add(name)
        if not _text_of(row, titles=titles)[0]:
            empty.append(name)
    _note(faults, f"{path.name}: ids that are there twice", twice)
    if len(empty) == len(ids) and not faults:
        faults.append(f"{path.name}: no document has text")
    return ids, empty


def _read_queries(path: Path, faults: list[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    twice: list[str] = []
    for name, row in _rows(path, faults):
        if name in texts:
            twice.append(name)
        texts[name] = _string(row.get("text"))
    _note(faults, f"{path.name}: ids that are there twice", twice)
    return texts


def _check_texts(faults: list[str], where: str, queries: Sequence[Query]) -> None:
    """Note the queries that no search takes, with the reason that a search would give."""
    refused: dict[str, list[str]] = {}
    for query in queries:
        try:
            check_request(SearchRequest(query=query.text))
        except InvalidInputError as exc:
            kind = "without text" if not query.text.strip() else f"that cannot be asked ({exc})"
            refused.setdefault(kind, []).append(query.id)
    for kind, names in refused.items():
        _note(faults, f"{where}: queries {kind}", names)


def _read_qrels(path: Path, faults: list[str]) -> dict[str, dict[str, int]]:
    judged: dict[str, dict[str, int]] = {}
    unreadable: list[str] = []
    twice: list[str] = []
    for number, line in _lines(path, faults):
        cells = [cell.strip() for cell in line.split("\t")]
        score = _score(cells)
        if score is None:
            # The first line is a line of headings, unless it can be read as a judgement.
            if number > 1:
                unreadable.append(f"line {number}")
            continue
        judgements = judged.setdefault(cells[0], {})
        if cells[1] in judgements:
            twice.append(f"{cells[0]} {cells[1]}")
        judgements[cells[1]] = score
    _note(
        faults,
        f"{path.name}: lines that are not query-id, corpus-id and a whole score between tabs",
        unreadable,
    )
    _note(faults, f"{path.name}: judgements that are there twice", twice)
    if not judged and not faults:
        faults.append(f"{path.name}: holds no judgement")
    return judged


def _score(cells: Sequence[str]) -> int | None:
    if len(cells) != _COLUMNS or not all(cells):
        return None
    try:
        return int(cells[2])
    except ValueError:
        return None


def _rows(path: Path, faults: list[str]) -> Iterator[tuple[str, dict[str, JSON]]]:
    """Read the JSON objects of a file with their ids; notes lines that are none."""
    broken: list[str] = []
    nameless: list[str] = []
    for number, line in _lines(path, faults):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            broken.append(f"line {number}")
        elif not (name := _id(row)) or name != name.strip():
            nameless.append(f"line {number}")
        else:
            yield name, row
    _note(faults, f"{path.name}: lines that are not JSON objects", broken)
    _note(faults, f"{path.name}: lines without a usable _id", nameless)


def _lines(path: Path, faults: list[str]) -> Iterator[tuple[int, str]]:
    """Read the lines of a file that are not empty, numbered from 1."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, octets in enumerate(file, start=1):
                line = octets.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if line.strip():
                    yield number, line
    except UnicodeDecodeError:
        faults.append(f"{path.name}: is not UTF-8")
    except (OSError, EOFError, zlib.error) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "is damaged"
        faults.append(f"{path.name}: cannot be read: {reason.lower()}")


def _id(row: Mapping[str, JSON]) -> str:
    value = next((row[name] for name in _IDS if name in row), "")
    # True is an int to Python, and no id.
    return str(value) if type(value) is int else _string(value)


def _text_of(row: Mapping[str, JSON], *, titles: bool) -> tuple[str, str]:
    """Give text and title of a document; a title alone is text."""
    text = _string(row.get("text"))
    title = _string(row.get("title")) if titles else ""
    if not text.strip():
        return title.strip(), ""
    return text, title


def _string(value: JSON) -> str:
    return value if isinstance(value, str) else ""


def _meta(row: Mapping[str, JSON]) -> dict[str, JSON]:
    given = row.get("metadata")
    nested = given if isinstance(given, dict) else {}
    return {name: value for name, value in {**row, **nested}.items() if name not in _OWN}


def _note(faults: list[str], what: str, names: Iterable[str]) -> None:
    """Note a fault with how often it is there and the first few places, unless there are none."""
    found = list(names)
    if found:
        first = ", ".join(found[:_NAMED])
        more = ", …" if len(found) > _NAMED else ""
        faults.append(f"{what}: {len(found):,} ({first}{more})")
