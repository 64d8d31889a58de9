"""Where the words of a query stand in a text, in English, Japanese and whatever else has letters.

Spans are character offsets into the text as given: comparison works on a copy in which every
character was folded to exactly one.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

CJK = (
    "\u3005-\u3007\u3041-\u3096\u309d\u309e\u30a1-\u30fa\u30fc-\u30fe\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Characters of scripts that put no space between words, as the inside of a character class."""

_HIRAGANA = re.compile("[\u3041-\u3096\u309d\u309e\u30fc]+")
_CJK_RUN = re.compile(f"[{CJK}]+")
_WORD = re.compile(rf"[^\W_{CJK}]+")
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc]+")
_LEAST_INSIDE = 3
_NEVER_FIRST = frozenset("ァィゥェォッャュョヮンー")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_FIRST_PARTICLES = re.compile("[はがをにでともへのや]+(?=[^\u3041-\u3096])")
_LAST_PARTICLES = re.compile("(?:[はがを]|(?<=[^\u3041-\u3096])[にでともへのや]+)$")

_STOPWORDS = frozenset(
    re.findall(
        "[a-z]+",
        "a about an and are as at be been but by can could did do does for from had has have how "
        "i if in into is it its me my no not of on or our so than that the their them then there "
        "these they this to was we were what when where which who why will with would you your",
    )
)

_ENDINGS = (
    ("ings", 2),
    ("ing", 2),
    ("ies", 3),
    ("ied", 3),
    ("ed", 2),
    ("es", 2),
    ("s", 3),
    ("ly", 4),
    ("e", 2),
    ("y", 3),
)
"""English endings, and how many letters must be left for them to be one."""

_VOWEL = re.compile("[aeiouy]")
_SINGLE = re.compile(r"(.)\1$")


@dataclass(frozen=True, kw_only=True, order=True)
class Span:
    """Characters ``start`` to ``end`` (exclusive) of a text that match ``term`` of the query."""

    start: int
    end: int
    term: str


def fold(text: str) -> str:
    """Give the text with case, width and Latin accents evened out; its length stays the same."""
    return text.lower() if text.isascii() else "".join(map(_fold_character, text))


def _fold_character(character: str) -> str:
    folded = unicodedata.normalize("NFKC", character).casefold()
    if len(folded) != 1:
        return character
    base = unicodedata.normalize("NFD", folded)[0]
    return base if base.isascii() else folded


def matches(text: str, query: str) -> list[Span]:
    """Find the query's words in the text, in order, without overlaps."""
    folded, wanted = fold(text), fold(query)
    return sorted([*_words(folded, wanted), *_runs(folded, wanted)])


def stem(word: str) -> str:
    """Cut an English ending, so that ``run``, ``runs`` and ``running`` fall together.

    It needs to be no more than that: what it joins too much or too little only costs a mark.
    """
    for ending, least in _ENDINGS:
        root = word.removesuffix(ending)
        if root != word and len(root) >= least and _is_root(root, ending):
            # "stopped" doubled its p, "passed" did not double its s.
            doubled = ending[:2] in ("in", "ed") and len(root) > 3 and root[-1] not in "lsze"  # noqa: PLR2004 - shorter ones ("add") are words
            return _SINGLE.sub(r"\1", root) if doubled else root
    return word


def _is_root(root: str, ending: str) -> bool:
    """Tell "us-ed" from "spe-ed" and "walk-ing" from "str-ing", "bu-s" from "clas-s"."""
    if ending[:2] in ("in", "ed"):
        return _VOWEL.search(root) is not None and not (ending == "ed" and root[-1] == "e")
    return not (ending == "s" and root[-1] == "s")


def _words(text: str, query: str) -> Iterator[Span]:
    said = set(_WORD.findall(query))
    wanted = said - _STOPWORDS or said
    stems = {stem(word) for word in wanted}
    openings = tuple(word for word in wanted if _opens(word))
    for match in _WORD.finditer(text):
        word = match.group()
        found = stem(word)
        if found in stems or word.startswith(openings):
            yield Span(start=match.start(), end=match.end(), term=found)


def _opens(word: str) -> bool:
    """Say whether longer words that begin with this one count; Korean ones carry particles."""
    return len(word) >= (2 if _HANGUL.match(word) else 4)


def _runs(text: str, query: str) -> Iterator[Span]:
    """Find the longest runs of Japanese or Chinese that text and query share."""
    query_runs = _CJK_RUN.findall(query)
    if not query_runs:
        return
    joined = "\n".join(query_runs)
    # Endings and particles are in every sentence; they count only if nothing else was asked.
    kana_count = all(_HIRAGANA.fullmatch(run) for run in query_runs)
    least = 1 if max(map(len, query_runs)) == 1 else 2
    for run in _CJK_RUN.finditer(text):
        start = run.start()
        while start < run.end():
            end = _longest(text, start, run.end(), joined)
            span = _trimmed(text, start, end, kana_count=kana_count)
            if span is not None and span.end - span.start >= least:
                yield span
            start = max(end, start + 1)


def _longest(text: str, start: int, limit: int, joined: str) -> int:
    end = start
    while end < limit and text[start : end + 1] in joined:
        end += 1
    return end


def _trimmed(text: str, start: int, end: int, *, kana_count: bool) -> Span | None:
    """Take off the edges what says nothing; None where no more than an ending was shared."""
    start = _after_scrap(text, start, end)
    if not kana_count:
        if start >= end or _HIRAGANA.fullmatch(text, start, end):
            return None
        first = _FIRST_PARTICLES.match(text, start, end)
        start = first.end() if first else start
        last = _LAST_PARTICLES.search(text, start, end)
        end = last.start() if last else end
    return Span(start=start, end=end, term=text[start:end])


def _after_scrap(text: str, start: int, end: int) -> int:
    """Pass over the end of a katakana word that is too short, or begins within a syllable."""
    piece = _KATAKANA.match(text, start, end)
    if piece is None:
        return start
    inside = start > 0 and _KATAKANA.match(text, start - 1, start) is not None
    scrap = text[start] in _NEVER_FIRST or (inside and piece.end() - start < _LEAST_INSIDE)
    return piece.end() if scrap else start
