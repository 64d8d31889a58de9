"""A hundred thousand passages' worth of terms from a few thousand real paragraphs.

A passage joins paragraphs until it is about as long as a chunk. So that terms are as rare as in a
corpus of that size, the paragraphs are read again and again in "dialects": a term keeps its name
everywhere if it is common, and is renamed from one group of dialects to the next if it is not, in
the more groups the rarer it is. What is common stays common, and names grow as the corpus does.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from pathlib import Path

from search_app.lexical import TERM_IDS, term_id, tokens

GOLDEN = Path(__file__).parents[2] / "shared/data/golden"

_COMMON = 0.01
"""Share of the paragraphs from which a term keeps its name everywhere."""

Counts = Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class Language:
    """Where real texts lie, and how many characters a chunk of the default size has."""

    name: str
    folders: Sequence[str]
    characters: int


LANGUAGES = (
    Language(name="English", folders=("en_npl", "en_cranfield"), characters=1_500),
    Language(name="Japanese", folders=("ja_jsquad",), characters=570),
)


class Dialects:
    """Draws passages and queries, each from one of many dialects of the same paragraphs."""

    def __init__(self, language: Language, passages: int) -> None:
        """Read and cut the real texts.

        Raises:
            FileNotFoundError: they are not there.
        """
        self._draw = random.Random(language.name)
        self._characters = language.characters
        texts = list(_texts(language, "corpus.jsonl"))
        self._paragraphs = [(len(text), _counts(text)) for text in texts]
        self._queries = [_counts(text) for text in _texts(language, "queries.jsonl")]
        having = Counter(term for _, counts in self._paragraphs for term in counts)
        repeats = passages * language.characters / sum(map(len, texts))
        self._dialects = max(1, round(repeats))
        self._groups = {
            term: ceil(self._dialects * (1 - share) ** 2) if share < 1 else 1
            for term, number in having.items()
            for share in [number / (_COMMON * len(texts))]
        }

    def passage(self) -> Counts:
        """Join paragraphs of one dialect at random."""
        dialect, length = self._draw.randrange(self._dialects), 0
        counts: Counter[int] = Counter()
        while length < self._characters:
            size, some = self._draw.choice(self._paragraphs)
            # The last paragraph is cut where the chunk ends.
            rest = min(1.0, (self._characters - length) / size)
            counts.update(
                {term: n for term, n in some.items() if rest == 1 or self._draw.random() < rest}
            )
            length += size
        return {self._renamed(term, dialect): number for term, number in counts.items()}

    def query(self, least: int = 3, most: int = 12) -> Counts:
        """Draw a real query in one dialect, cut to at most so many terms."""
        while True:
            asked = self._draw.choice(self._queries)
            if len(asked) >= least:
                break
        kept = list(asked)[: self._draw.randint(least, most)]
        dialect = self._draw.randrange(self._dialects)
        return {self._renamed(term, dialect): asked[term] for term in kept}

    def _renamed(self, term: int, dialect: int) -> int:
        group = dialect * self._groups.get(term, 1) // self._dialects
        if group == 0:
            return term
        key = group.to_bytes(4) + term.to_bytes(4)
        return int.from_bytes(blake2b(key, digest_size=8).digest()) % TERM_IDS


def _texts(language: Language, file: str) -> Iterator[str]:
    for folder in language.folders:
        with (GOLDEN / folder / file).open(encoding="utf-8") as lines:
            for line in lines:
                if text := json.loads(line)["text"]:
                    yield text


def _counts(text: str) -> Counts:
    return Counter(term_id(token.term) for token in tokens(text))
