"""Golden sets made of feedback: what users said of hits, as a folder that search is measured with.

    corpus.jsonl     {"_id": "/notes/tea.md", "title": "…", "text": "…"} for every document
    queries.jsonl    {"_id": "q-3f0c…", "text": "…"} for every query that was judged
    qrels.tsv        query-id, corpus-id and score: 1 was what was looked for, 0 was not

A query is one however often it was asked, whatever its case and width. Of the votes on one passage
the majority counts, and none where they are as many. A document answers a query if a passage of it
does; it does not if passages were only voted down.
"""

import json
import re
import shutil
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import collections, feedback, indexes
from search_app.catalog.engine import reading
from search_app.catalog.feedback import Judgement
from search_app.catalog.texts import DocumentText, texts_after
from search_app.errors import InvalidInputError
from search_app.types import JSON

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels.tsv"

_PAGE = 200
_UNFINISHED = ".unfinished"
_UNFIT = re.compile(r"^\s+|\s+$|[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True)
class GoldenRequest:
    """What to write where; queries with fewer judged documents are left out."""

    folder: Path
    collection: str
    since: datetime | None = None
    min_judgements: int = 1


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A query and the scores of documents, by the ids that they have in the folder."""

    id: str
    text: str
    scores: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What feedback comes to, and what of it does not count.

    ``ties`` are pairs of query and document with as many votes for as against, ``gone`` such whose
    document is not there any more; ``thin`` are queries with fewer judgements than were wanted.
    """

    queries: Sequence[Judged]
    ties: int
    gone: int
    thin: int


@dataclass(frozen=True, kw_only=True)
class GoldenReport:
    """What was written: ``answers`` of the judged pairs have score 1. The rest as in Verdicts."""

    folder: Path
    documents: int
    queries: int
    judgements: int
    answers: int
    ties: int
    gone: int
    thin: int


async def write_golden(engine: AsyncEngine, request: GoldenRequest) -> GoldenReport:
    """Write the documents of a collection and what users said of them into an empty folder.

    Raises:
        InvalidInputError: the folder is not empty or cannot be written, or no feedback counts;
            nothing is written then.
        NotFoundError: no such collection, or nothing was ever ingested into it.
    """
    async with reading(engine) as connection:
        collection = await collections.get(connection, request.collection)
        chunking = (await indexes.active(connection, collection)).chunking.name
        given = await feedback.judgements(connection, collection, request.since)
    if not given:
        raise InvalidInputError(
            f"collection {request.collection!r} has no feedback"
            + (" since then" if request.since else "")
            + "; it is given with the buttons below hits, or by POST /api/v1/feedback"
        )
    with _Folder(request.folder) as folder:
        written: set[str] = set()
        after = ""
        async with reading(engine) as connection:
            while page := await texts_after(connection, collection, chunking, after, most=_PAGE):
                folder.append(CORPUS, (_line(_record(document)) for document in page))
                written.update(document_key(document.uri) for document in page)
                after = page[-1].uri
        verdicts = settled(given, written, min_judgements=request.min_judgements)
        if not verdicts.queries:
            raise InvalidInputError(
                f"no feedback of collection {request.collection!r} counts: {verdicts.ties:,} ties, "
                f"{verdicts.gone:,} on documents that are gone, {verdicts.thin:,} queries with "
                f"fewer than {request.min_judgements:,} judgements"
            )
        folder.append(
            QUERIES, (_line({"_id": query.id, "text": query.text}) for query in verdicts.queries)
        )
        folder.append(QRELS, ["query-id\tcorpus-id\tscore"])
        for query in verdicts.queries:
            folder.append(
                QRELS, (f"{query.id}\t{key}\t{score}" for key, score in query.scores.items())
            )
    scores = [score for query in verdicts.queries for score in query.scores.values()]
    return GoldenReport(
        folder=request.folder,
        documents=len(written),
        queries=len(verdicts.queries),
        judgements=len(scores),
        answers=sum(scores),
        ties=verdicts.ties,
        gone=verdicts.gone,
        thin=verdicts.thin,
    )


def document_key(uri: str) -> str:
    """Give the id of a document: its uri, with what ids cannot have as per cent signs and digits.

    That is white space at its ends, and line breaks, tabs and other control characters within.
    """
    return _UNFIT.sub(lambda found: quote(found[0], safe=""), uri)


def settled(
    given: Sequence[Judgement], documents: Collection[str], *, min_judgements: int = 1
) -> Verdicts:
    """Settle what all votes on the documents with these ids come to, query by query."""
    texts: dict[str, str] = {}
    votes: defaultdict[str, defaultdict[str, Counter[UUID]]] = defaultdict(
        lambda: defaultdict(Counter)
    )
    gone: set[tuple[str, UUID]] = set()
    for each in given:
        query = _evened(each.query)
        texts.setdefault(query, each.query)
        key = None if each.uri is None else document_key(each.uri)
        if key is None or key not in documents:
            gone.add((query, each.document_id))
        else:
            votes[query][key][each.chunk_id] += each.up - each.down
    queries, ties, thin = [], 0, 0
    for query, judged in votes.items():
        scores = {key: _score(passages) for key, passages in judged.items()}
        kept = {key: score for key, score in scores.items() if score is not None}
        ties += len(scores) - len(kept)
        if kept and len(kept) >= min_judgements:
            queries.append(Judged(id=_query_id(query), text=texts[query], scores=kept))
        else:
            thin += 1
    return Verdicts(queries=queries, ties=ties, gone=len(gone), thin=thin)


def _score(passages: Mapping[UUID, int]) -> int | None:
    """Give 1, 0 or, where nobody can say, None; of each passage the votes for less those against.

    What one passage answers, no other one unanswers.
    """
    if any(votes > 0 for votes in passages.values()):
        return 1
    return None if 0 in passages.values() else 0


def _evened(query: str) -> str:
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", query).casefold()).strip()


def _query_id(query: str) -> str:
    return f"q-{sha256(query.encode()).hexdigest()[:16]}"


def _record(document: DocumentText) -> JSON:
    return {"_id": document_key(document.uri), "title": document.title, "text": document.text}


def _line(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False)


class _Folder:
    """An empty folder that gets its files when all of them are whole, and none otherwise."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path / _UNFINISHED
        self._made = False

    def __enter__(self) -> Self:
        try:
            self._made = not self._path.exists()
            self._path.mkdir(parents=True, exist_ok=True)
            if any(self._path.iterdir()):
                raise InvalidInputError(
                    f"{self._path} is not empty; name a new folder, nothing is overwritten"
                )
            self._unfinished.mkdir()
        except OSError as exc:
            raise self._refused(exc) from exc
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                for file in sorted(self._unfinished.iterdir()):
                    file.rename(self._path / file.name)
                self._unfinished.rmdir()
            else:
                shutil.rmtree(self._unfinished)
                if self._made:
                    self._path.rmdir()
        except OSError as exc:
            raise self._refused(exc) from exc

    def append(self, name: str, lines: Iterable[str]) -> None:
        """Write lines at the end of a file."""
        try:
            with (self._unfinished / name).open("a", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in lines)
        except OSError as exc:
            raise self._refused(exc) from exc

    def _refused(self, error: OSError) -> InvalidInputError:
        reason = (error.strerror or str(error)).lower()
        return InvalidInputError(f"{self._path} cannot be written: {reason}")
