"""Text → terms, for documents and queries alike: English stems, Japanese character pairs.

A text is cut into runs by script. Letters and digits become words: lower case, accents of Latin
letters dropped, possessives cut, common words left out, the rest stemmed (Snowball's English).
What joints hold together (``PPR-9087``, ``snake_case``, ``CamelCase``, ``3.14``) counts in parts,
and whole as well where it looks like a name rather than like two words with a hyphen. Scripts that
put no space between words become pairs of characters, and every Han character stands by itself
too, so that one kanji alone can be found; or words, where Sudachi is chosen.
"""

import re
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import Stemmer

from search_app.errors import ConfigurationError

TERM_IDS = 1_000_000_000
"""Terms get ids below: the most dimensions that pgvector's ``sparsevec`` has."""

ANALYZERS = ("bigram", "sudachi")
"""How scripts without spaces are cut: pairs of characters, or words (the extra ``sudachi``)."""

VERSION = 2
"""Rises with every change of these rules that would give some text other terms."""

STOP_WORDS = frozenset(
    re.findall(
        "[a-z]+",
        "a an and are as at be but by for if in into is it no not of on or such that the their "
        "then there these they this to was will with",
    )
)

LONGEST_TERM = 128
"""Most characters of a word or an identifier; nobody looks for what is longer, as encoded data is.

No hash in common use is longer. Its parts, where it has any, are terms all the same.
"""

HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
SPACELESS = (
    HAN + "\u3041-\u3096\u3099\u309a\u309d\u309e\u30a1-\u30fa\u30fc-\u30fe\u31f0-\u31ff"
    "\u1100-\u11ff\uac00-\ud7a3\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0eff\u1000-\u109f\u1780-\u17d3"
)
"""Han, kana, Hangul, Thai, Lao, Burmese and Khmer, as the inside of a character class."""

_LETTER = rf"[^\W_{SPACELESS}]"
_MARKED = rf"(?:{_LETTER}[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u064b-\u065f\u0900-\u0dff]*)"
_RUN = re.compile(
    rf"(?P<spaceless>[{SPACELESS}]+)"
    # C++ and C# keep their signs; a joint holds together only what stands on both of its sides.
    rf"|(?P<joined>{_MARKED}+(?:(?:[-./:@+'’]|_++|,(?=\d{{3}})){_MARKED}+)*"
    r"(?:\+\+(?![\w+])|#(?!\w))?)"
)
_PART = re.compile(rf"{_MARKED}+(?:['’]{_MARKED}+)?")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NAME = re.compile(rf"\d|[_/:@+#.]|{_HUMP.pattern}")
_POSSESSIVE = re.compile("['’]s?$")
_HAN = re.compile(f"[{HAN}]")
_WITHIN = re.compile(f"[{SPACELESS}]")

_JOINING = frozenset(
    "ﾞﾟ\u09be\u09d7\u0b3e\u0b56\u0b57\u0bbe\u0bd7\u0cc2\u0cd5\u0cd6\u0d3e\u0d57\u0dcf\u0ddf\u102e"
).union(map(chr, [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]))
"""What may become one character with the one before it, though it is no mark: か ﾞ, ᄒ ᅡ ᆫ, ெ ா."""

_SUDACHI_TAKES = 12_000
"""Characters that are certainly less than the 49,149 bytes that Sudachi takes at once."""

_local = threading.local()


@dataclass(frozen=True, slots=True)
class Token:
    """A term and the characters ``start`` to ``end`` (exclusive) of the text that it stands for."""

    term: str
    start: int
    end: int


_Term = tuple[str, int, int]
"""What a token is made of. Documents have so many terms that objects of them take their time."""


def tokens(text: str, analyzer: str = "bigram") -> list[Token]:
    """Give all terms of a text in order; an identifier and its parts overlap.

    Raises:
        ConfigurationError: the analyzer is not known, or its package is missing.
    """
    return [Token(*each) for each in _terms(text, analyzer)]


def _terms(text: str, analyzer: str) -> list[_Term]:
    cut = _cutter(analyzer)
    folded, places = _normalised(text)
    found: list[_Term] = []
    for run in _RUN.finditer(folded):
        joined, start = run["joined"], run.start()
        if joined is None:
            found += cut(run["spaceless"], start)
        else:
            known = len(joined) <= LONGEST_TERM
            within = _known_terms(joined) if known else _joined_terms(joined)
            found += [(term, start + low, start + high) for term, low, high in within]
    if places is None:
        return found
    return [(term, places[start][0], places[end - 1][1]) for term, start, end in found]


@dataclass(frozen=True, kw_only=True)
class Analysed:
    """How often each term stands in a text, by its id, and how those that are words are written."""

    counts: Mapping[int, int]
    words: Mapping[int, str]

    @property
    def length(self) -> int:
        """How many terms the text has."""
        return sum(self.counts.values())


def analyse(text: str, analyzer: str = "bigram") -> Analysed:
    """Count the terms of a text."""
    counts: dict[int, int] = {}
    words: dict[int, str] = {}
    for term, start, end in _terms(text, analyzer):
        number = term_id(term)
        if number not in counts and is_word(term):
            words[number] = text[start:end].casefold()
        counts[number] = counts.get(number, 0) + 1
    return Analysed(counts=counts, words=words)


@lru_cache(maxsize=2**17)
def term_id(term: str) -> int:
    """Give the id of a term, 0 to TERM_IDS − 1; two terms share one about once in a billion."""
    return int.from_bytes(blake2b(term.encode(), digest_size=8).digest()) % TERM_IDS


@lru_cache(maxsize=2**16)
def is_word(term: str) -> bool:
    """Say whether a term is a word of letters, as opposed to character pairs and numbers."""
    return term.isalpha() and _WITHIN.search(term) is None


def _normalised(text: str) -> tuple[str, list[tuple[int, int]] | None]:
    """Give the text in NFKC and, where that moved characters, what each of them came from."""
    if text.isascii() or unicodedata.is_normalized("NFKC", text):
        return text, None
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    for start, end in _clusters(text):
        part = unicodedata.normalize("NFKC", text[start:end])
        parts.append(part)
        places += [(start, end)] * len(part)
    return "".join(parts), places


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Cut a text into characters with what follows and belongs to them: ｶﾞ is one."""
    start = 0
    for place in range(1, len(text)):
        if not unicodedata.combining(text[place]) and text[place] not in _JOINING:
            yield start, place
            start = place
    if text:
        yield start, len(text)


def _joined_terms(run: str) -> Sequence[_Term]:
    """Give the terms of words and of what joints hold together, by their places in it."""
    parts = [
        (term, low, high)
        for low, high in _parts(run)
        if high - low <= LONGEST_TERM and (term := _word(run[low:high])) is not None
    ]
    whole = _whole(run)
    if whole is not None and [whole] != [term for term, _, _ in parts]:
        return ((whole, 0, len(run)), *parts)
    return tuple(parts)


# Words come back; what is too long for a term hardly does.
_known_terms = lru_cache(maxsize=2**16)(_joined_terms)


def _parts(run: str) -> Iterator[tuple[int, int]]:
    for part in _PART.finditer(run):
        low = part.start()
        for hump in _HUMP.finditer(run, part.start(), part.end()):
            yield low, hump.start()
            low = hump.start()
        yield low, part.end()


def _whole(run: str) -> str | None:
    """Give an identifier as one term; None where it is no more than its parts, or too long."""
    if len(run) > LONGEST_TERM or _NAME.search(run) is None:
        return None
    return _folded(_POSSESSIVE.sub("", run.replace(",", "")))


def _word(written: str) -> str | None:
    """Give the term of a word; None for words that are everywhere."""
    word = _POSSESSIVE.sub("", _folded(written)).replace("'", "").replace("’", "")
    if not word or word in STOP_WORDS:
        return None
    if not word.isascii():
        return word
    if not hasattr(_local, "stemmer"):
        # Not to be shared between threads; its own cache is off, since this one is before it.
        _local.stemmer = Stemmer.Stemmer("english", 0)
    return str(_local.stemmer.stemWord(word))


def _folded(text: str) -> str:
    """Lower the case, and drop the accents of Latin letters."""
    text = text.casefold()
    if text.isascii():
        return text
    kept: list[str] = []
    latin = False
    for character in unicodedata.normalize("NFD", text):
        if not unicodedata.combining(character):
            latin = character.isascii()
        if not (latin and "\u0300" <= character <= "\u036f"):
            kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


def _bigrams(run: str, start: int) -> Iterator[_Term]:
    """Give every pair of neighbours and every Han character; a lone character stands for itself."""
    for place, character in enumerate(run):
        if len(run) == 1 or _HAN.match(character):
            yield character, start + place, start + place + 1
        if place + 1 < len(run):
            yield run[place : place + 2], start + place, start + place + 2


def _sudachi_words(run: str, start: int) -> Iterator[_Term]:
    """Give the words of a run by their normal form; particles and endings are left out."""
    for low in range(0, len(run), _SUDACHI_TAKES):
        for morpheme in _sudachi().tokenize(run[low : low + _SUDACHI_TAKES]):
            if morpheme.part_of_speech()[0] in ("助詞", "助動詞", "補助記号", "空白"):
                continue
            place = start + low
            yield morpheme.normalized_form(), place + morpheme.begin(), place + morpheme.end()


def _sudachi() -> Any:
    if not hasattr(_local, "sudachi"):
        from sudachipy import Dictionary, SplitMode

        _local.sudachi = Dictionary().tokenizer(SplitMode.A)
    return _local.sudachi


_CUTTERS: Mapping[str, Callable[[str, int], Iterator[_Term]]] = {
    "bigram": _bigrams,
    "sudachi": _sudachi_words,
}


def _cutter(analyzer: str) -> Callable[[str, int], Iterator[_Term]]:
    if analyzer not in _CUTTERS:
        raise ConfigurationError(
            f"analyzer {analyzer!r} is not known; write {' or '.join(ANALYZERS)}"
        )
    return _CUTTERS[analyzer]


def check_analyzer(analyzer: str) -> None:
    """See that an analyzer can be used.

    Raises:
        ConfigurationError: it is not known, or its package is missing.
    """
    _cutter(analyzer)
    if analyzer == "sudachi":
        try:
            _sudachi()
        except ModuleNotFoundError as exc:
            raise ConfigurationError(
                f"the analyzer sudachi needs the package {exc.name}; "
                "run: pip install 'unmoved[sudachi]'"
            ) from exc
