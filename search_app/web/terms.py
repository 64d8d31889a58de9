"""Where what a query asks for stands in a text, cut into terms as keyword search cuts them.

Terms come from lexical.py, so that what is marked is what search finds by: a stem marks its whole
word, an identifier counts whole and in parts. Pairs of Japanese characters that overlap make runs,
from whose edges goes what says nothing. Two things are marked more sparingly than searched: words
of questions ("how do I"), and what two texts share only because both are Japanese.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from search_app.lexical import HAN, SPACELESS, Token, tokens
from search_app.question import read_question

CJK = SPACELESS + "\uff66-\uff9f"
"""Scripts that put no space between words, half-width kana too; the inside of a class."""

_HIRAGANA = re.compile("[\u3041-\u3096\u309d\u309e\u30fc]+")
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc\uff66-\uff9f]+")
_KANA = re.compile("[\u3041-\u30ff\uff66-\uff9f]+")
_HAN = re.compile(f"[{HAN}]")
_SPACELESS = re.compile(f"[{CJK}]")
_PIECE = re.compile(rf"(?P<spaceless>[{CJK}]+)|[^\s{CJK}]+")
_LEAST_INSIDE = 3
_NEVER_FIRST = frozenset("ァィゥェォッャュョヮンーｧｨｩｪｫｯｬｭｮﾝｰﾞﾟ")
_FIRST_PARTICLES = re.compile("[はがをにでともへのや]+(?=[^\u3041-\u3096])")
_LAST_PARTICLES = re.compile("(?:[はがを]|(?<=[^\u3041-\u3096])[にでともへのや]+)$")
_FORMAL = frozenset("何事物時方中上下間前後者等様為的")
"""Characters that work as grammar where they stand alone."""

_QUESTION_WORDS = (
    "a about am been can could did do does from had has have how i it its me my our should so than "
    "them us we were what when where which who why would you your"
)

_LONGEST_KEPT = 40
"""Characters of a word whose terms are remembered; what is longer hardly comes again."""

_SPACED_LETTER = "[a-z0-9\u00c0-\u052f]"


@dataclass(frozen=True, kw_only=True)
class Span:
    """Characters ``start`` to ``end`` (exclusive) of a text that match ``terms`` of the query."""

    start: int
    end: int
    terms: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Sought:
    """What is marked of a query.

    ``words`` are terms of spaced scripts and ``pairs`` of the others; ``alone`` are characters
    that were asked for by themselves, ``stems`` such as stand between kana and so begin a word.
    ``kana`` says that nothing but hiragana was asked for, so that it counts.
    """

    phrases: Sequence[re.Pattern[str]] = ()
    words: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()
    alone: frozenset[str] = frozenset()
    stems: frozenset[str] = frozenset()
    kana: bool = False
    near: re.Pattern[str] | None = None


def matches(text: str, query: str) -> list[Span]:
    """Find what a query asks for in a text, in order, without overlaps.

    Words of a phrase in quotes count by themselves only where the phrase is not there.
    """
    phrases, rest, everything = _sought(query)
    found = [*_phrases(text, phrases)]
    found += _spans(text, rest if found else everything)
    return _merged(found)


@lru_cache(maxsize=256)
def _sought(query: str) -> tuple[Sequence[re.Pattern[str]], Sought, Sought]:
    """Read a query: its phrases, what it asks for besides them, and what with their words."""
    question = read_question(query)
    if not question.phrases:
        everything = _read(question.text)
        return (), everything, everything
    rest = question.text
    for phrase in question.phrases:
        rest = rest.replace(" ".join(phrase.split()), "\n", 1)
    return (
        [_phrase(phrase) for phrase in question.phrases],
        _read(rest),
        _read(question.text),
    )


def _read(text: str) -> Sought:
    found = tokens(text)
    spaceless = [token for token in found if _SPACELESS.match(token.term)]
    words = {token.term for token in found} - {token.term for token in spaceless}
    pairs = {token.term for token in spaceless if len(token.term) > 1}
    alone, stems = _lone(text, spaceless)
    telling = words - _question_words()
    near = pairs | alone | stems
    return Sought(
        words=frozenset(telling if telling or near else words),
        pairs=frozenset(pairs),
        alone=frozenset(alone),
        stems=frozenset(stems),
        kana=bool(pairs) and all(map(_HIRAGANA.fullmatch, pairs)),
        near=re.compile("|".join(map(re.escape, sorted(near)))) if near else None,
    )


@cache
def _question_words() -> frozenset[str]:
    return frozenset(token.term for token in tokens(_QUESTION_WORDS))


def _lone(text: str, spaceless: Sequence[Token]) -> tuple[set[str], set[str]]:
    """Find the characters of a query that were written by themselves, or only among kana."""
    alone, stems = set(), set()
    for token in spaceless:
        if len(token.term) > 1 or _KANA.match(token.term):
            continue
        around = text[max(token.start - 1, 0) : token.start] + text[token.end : token.end + 1]
        if not _SPACELESS.search(around):
            alone.add(token.term)
        elif not _HAN.search(around) and token.term not in _FORMAL:
            stems.add(token.term)
    return alone, stems


def _phrase(phrase: str) -> re.Pattern[str]:
    """Make the pattern of a phrase in folded texts; within words of spaced scripts it is not."""
    pattern = r"\s+".join(map(re.escape, _folded(phrase).split()))
    return re.compile(
        rf"(?:(?<!{_SPACED_LETTER})|(?!{_SPACED_LETTER})){pattern}"
        rf"(?:(?!{_SPACED_LETTER})|(?<!{_SPACED_LETTER}))"
    )


def _phrases(text: str, patterns: Sequence[re.Pattern[str]]) -> Iterator[Span]:
    if not patterns:
        return
    folded = _folded(text)
    for pattern in patterns:
        for match in pattern.finditer(folded):
            yield Span(start=match.start(), end=match.end(), terms=frozenset(match[0].split()))


def _folded(text: str) -> str:
    """Give the text with case and width evened out; its length stays the same."""
    return text.lower() if text.isascii() else "".join(map(_folded_character, text))


@lru_cache(maxsize=2**14)
def _folded_character(character: str) -> str:
    folded = unicodedata.normalize("NFKC", character).casefold()
    return folded if len(folded) == 1 else character


_Found = tuple[int, int, Collection[str]]
"""Where something sought begins and ends in a piece of text, and which terms it is."""


def _spans(text: str, sought: Sought) -> Iterator[Span]:
    for piece in _PIECE.finditer(text):
        start = piece.start()
        found: Iterable[_Found]
        if piece["spaceless"] is not None:
            found = _runs(piece["spaceless"], sought)
        else:
            found = _words(piece[0], sought.words)
        for low, high, terms in found:
            yield Span(start=start + low, end=start + high, terms=frozenset(terms))


def _words(piece: str, sought: frozenset[str]) -> Sequence[_Found]:
    cut, terms = _kept_tokens(piece) if len(piece) <= _LONGEST_KEPT else _tokens(piece)
    if sought.isdisjoint(terms):
        return ()
    found = [token for token in cut if token.term in sought]
    return [
        (token.start, token.end, (token.term,))
        for token in found
        if len(cut) == 1 or not _is_scrap(token, found)
    ]


def _is_scrap(token: Token, found: Sequence[Token]) -> bool:
    """Say whether a token is no more than the 3 of 3.12, which says nothing by itself."""
    if token.end - token.start > 1:
        return False
    return not any(
        other is not token and other.start <= token.end + 1 and other.end >= token.start - 1
        for other in found
    )


@lru_cache(maxsize=2**16)
def _kept_tokens(piece: str) -> tuple[Sequence[Token], frozenset[str]]:
    return _tokens(piece)


def _tokens(piece: str) -> tuple[Sequence[Token], frozenset[str]]:
    cut = tokens(piece)
    return cut, frozenset(token.term for token in cut)


def _runs(text: str, sought: Sought) -> Iterable[_Found]:
    """Find the runs of pairs, and the lone characters, in a text of a script without spaces."""
    # Most sentences share nothing with the query; cutting them into terms is what takes time.
    plain = text if unicodedata.is_normalized("NFKC", text) else unicodedata.normalize("NFKC", text)
    if sought.near is None or sought.near.search(plain) is None:
        return
    found = tokens(text)
    pairs = [token for token in found if token.term in sought.pairs]
    for start, end in _chained(pairs):
        low, high = _trimmed(text, start, end, kana=sought.kana)
        if high - low > 1:
            yield low, high, [pair.term for pair in pairs if low <= pair.start < high - 1]
    for token in found:
        if token.term in sought.alone or (token.term in sought.stems and _is_lone(text, token)):
            yield token.start, token.end, (token.term,)


def _chained(pairs: Iterable[Token]) -> list[tuple[int, int]]:
    """Join pairs of characters that share one."""
    chains: list[tuple[int, int]] = []
    for pair in pairs:
        if chains and pair.start < chains[-1][1]:
            chains[-1] = (chains[-1][0], pair.end)
        else:
            chains.append((pair.start, pair.end))
    return chains


def _is_lone(text: str, token: Token) -> bool:
    around = text[max(token.start - 1, 0) : token.start] + text[token.end : token.end + 1]
    return _HAN.search(around) is None


def _trimmed(text: str, start: int, end: int, *, kana: bool) -> tuple[int, int]:
    """Take off the edges what says nothing; nothing is left where only an ending was shared."""
    start = _after_scrap(text, start, end)
    if not kana:
        if start >= end or _HIRAGANA.fullmatch(text, start, end):
            return start, start
        first = _FIRST_PARTICLES.match(text, start, end)
        start = first.end() if first else start
        last = _LAST_PARTICLES.search(text, start, end)
        end = last.start() if last else end
    return start, end


def _after_scrap(text: str, start: int, end: int) -> int:
    """Pass over the end of a katakana word that is too short, or begins within a syllable."""
    piece = _KATAKANA.match(text, start, end)
    if piece is None:
        return start
    inside = start > 0 and _KATAKANA.match(text, start - 1, start) is not None
    scrap = text[start] in _NEVER_FIRST or (inside and piece.end() - start < _LEAST_INSIDE)
    return piece.end() if scrap else start


def _merged(spans: list[Span]) -> list[Span]:
    """Put spans in order, each that overlaps the one before it joined to that."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if not merged or span.start >= merged[-1].end:
            merged.append(span)
        else:
            last = merged[-1]
            merged[-1] = Span(
                start=last.start, end=max(last.end, span.end), terms=last.terms | span.terms
            )
    return merged
