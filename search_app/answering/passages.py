"""From hits to the passages an answer may use: few of each document, neighbours made one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from uuid import UUID

from search_app.answering.types import PassageGiven
from search_app.sentences import sentence_spans
from search_app.types import Hit

DEPTH = 40
"""Hits that passages are made of."""

PER_DOCUMENT = 4
"""Most chunks of one document, so that a long one does not push all others out."""

BUDGET = 3000
"""Most tokens of all passages together, unless the settings say."""

Span = tuple[int, int]


def chosen(
    hits: Sequence[Hit],
    spans: Mapping[UUID, Span],
    *,
    most: int,
    budget: int,
    count_tokens: Callable[[str], int],
) -> list[PassageGiven]:
    """Make the passages of hits, the best first.

    The first that goes beyond the budget is cut behind its last sentence that fits; what comes
    after it is left out.

    Args:
        hits: as search found them, best first.
        spans: their places in their documents; hits without one are gone by now.
        most: most passages.
        budget: most tokens of all together.
        count_tokens: counts the tokens of a text.
    """
    given: list[PassageGiven] = []
    left = budget
    for passage in merged([hit for hit in capped(hits) if hit.chunk_id in spans], spans):
        if len(given) == most:
            break
        fitting = _fitted(passage, left, count_tokens)
        if fitting is None:
            break
        given.append(replace(fitting, number=len(given) + 1))
        left -= fitting.tokens
        if fitting.char_end != passage.char_end:
            break
    return given


def capped(hits: Sequence[Hit]) -> list[Hit]:
    """Leave out the lower hits of documents that have many."""
    taken: dict[UUID, int] = {}
    kept = []
    for hit in hits:
        number = taken[hit.document.id] = taken.get(hit.document.id, 0) + 1
        if number <= PER_DOCUMENT:
            kept.append(hit)
    return kept


def merged(hits: Sequence[Hit], spans: Mapping[UUID, Span]) -> list[PassageGiven]:
    """Make neighbours of one document one passage, at the place of the best of them."""
    by_document: dict[UUID, list[Hit]] = {}
    for hit in hits:
        by_document.setdefault(hit.document.id, []).append(hit)
    passages = []
    for own in by_document.values():
        own.sort(key=lambda hit: hit.ordinal)
        group = [own[0]]
        for hit in own[1:]:
            if _are_neighbours(group[-1], hit, spans):
                group.append(hit)
            else:
                passages.append(_joined(group, spans))
                group = [hit]
        passages.append(_joined(group, spans))
    return sorted(passages, key=lambda passage: passage.rank)


def _are_neighbours(one: Hit, other: Hit, spans: Mapping[UUID, Span]) -> bool:
    touching = spans[other.chunk_id][0] <= spans[one.chunk_id][1]
    return touching or other.ordinal == one.ordinal + 1


def _joined(hits: Sequence[Hit], spans: Mapping[UUID, Span]) -> PassageGiven:
    start, end = spans[hits[0].chunk_id]
    text = hits[0].text
    for hit in hits[1:]:
        low, high = spans[hit.chunk_id]
        if high > end:
            # What both have stands in the text once.
            text += hit.text[max(end - low, 0) :]
            end = high
    best = min(hits, key=lambda hit: hit.rank)
    return PassageGiven(
        number=0,
        chunk_ids=tuple(hit.chunk_id for hit in hits),
        document=best.document,
        text=text,
        char_start=start,
        char_end=end,
        heading_path=_headings([tuple(hit.heading_path) for hit in hits]),
        page=hits[0].page,
        rank=best.rank,
        score=best.score,
        scores=dict(best.scores),
    )


def _headings(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Give the headings that all parts share, then those next below in which they differ."""
    shared = paths[0]
    for path in paths[1:]:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(shared, path, strict=False))
        shared = tuple(one for one, _ in same)
    if shared in paths:
        return paths[0] if len(set(paths)) == 1 else shared
    below = dict.fromkeys(path[len(shared)] for path in paths)
    return (*shared, " / ".join(below))


def _fitted(
    passage: PassageGiven, left: int, count_tokens: Callable[[str], int]
) -> PassageGiven | None:
    """Give as much of a passage as fits, in whole sentences; None where not one does."""
    tokens = count_tokens(passage.text)
    if tokens <= left:
        return replace(passage, tokens=tokens)
    end = used = 0
    for low, high in sentence_spans(passage.text):
        more = count_tokens(passage.text[low:high])
        if used + more > left:
            break
        used, end = used + more, high
    if not end:
        return None
    return replace(
        passage,
        text=passage.text[:end],
        char_end=min(passage.char_start + end, passage.char_end),
        tokens=used,
    )
