"""Naming clusters by the terms that set each apart from the others.

Log-odds ratios with an informative Dirichlet prior (Monroe, Colaresi and Quinn, "Fightin' Words",
2008): how much likelier a passage of the cluster has the term than one of the others, shrunk
towards all of them and divided by its standard deviation, so that a rare term does not win by
chance. Terms are those of keyword search; what is shown is how they are written most often.

No candidates are what is written for machines, not for readers: whatever stands in an address, a
path or a name with dots or underscores in it, lines of mail headers, and tokens with digits. Nor is
a term of one document alone, where a cluster is of several.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from search_app.analysis.clusters import NONE, Labels
from search_app.lexical import HAN, is_word, tokens

TERMS = 8
"""Terms of a cluster."""

IN_NAME = 3
PRIOR = 100.0
"""Passages that the prior counts for."""

LONGEST = 40
_LEAST_SCORE = 1.0
_APOSTROPHE = re.compile("['’]")
_LEAST_LETTERS = 2
_LEAST_DOCUMENTS = 2
_OF_SEVERAL = 3
"""Documents from which a cluster is not about one of them."""

_USUALLY = 0.6
"""Share of how a term is written, from which its capitals are shown."""

# Lines that programs write into mail; of a subject, only the word itself.
_HEADERS = re.compile(
    r"""
    ^(?:From|To|Cc|Bcc|Date|Sender|Reply-To|Message-ID|In-Reply-To|References|Organi[sz]ation|Lines|
        Path|Newsgroups|Distribution|Followup-To|Received|Return-Path|Content-[A-Za-z-]{1,40}|
        MIME-Version|NNTP-[A-Za-z-]{1,40}|X-[A-Za-z-]{1,40}):.*$
    | ^(?:Subject|Keywords|Summary):[ ]?(?:(?:Re|Fwd?|AW):[ ]?){0,9}
    | ^In[ ]article[ ].*$
    | ^.{0,80}\b(?:writes|wrote):[ \t]*$
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE | re.ASCII,
)
# In Japanese an address ends where kana or kanji go on without a space.
_RUN = re.compile(r"[!-~]+")
_AROUND = "\"'`()[]{}<>,;:!?*|.-"
_ADDRESS = re.compile(r"://|@|^www\.|^[/~.]|^[A-Za-z]:\\|[A-Za-z0-9][._][A-Za-z0-9]")
_MANY_SLASHES = 2

# What holds sentences together tells nothing of what they are about; beyond STOP_WORDS of search,
# which keeps whatever somebody might look for.
FUNCTION_WORDS = frozenset(
    re.findall(
        "[a-z]+",
        "about after again all also am any anybody anyone anything because been before being both "
        "can cannot could did do does doing done down each else even ever every few from further "
        "get gets getting go goes going got had has have having he her here hers him his how i im "
        "ive its just let like made make many may me might mine more most much must my myself "
        "never now off once one only other our ours out over own please quite rather really same "
        "re say said says she should since so some somebody someone something still than thank "
        "thanks them themselves those though through thus too under until up upon us very want was "
        "way we well went were what when where whether which while who whom whose why within "
        "without would yes yet you your yours yourself",
    )
)

# Pairs of characters are good for finding and say little to a reader; what Japanese is written in
# without a break mostly is a word, or several that belong together.
_WRITTEN_WORDS = re.compile(rf"[{HAN}]{{2,8}}|[ァ-ヺー]{{2,20}}")


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term as it is written, its z-score, and the share of the cluster's passages with it."""

    text: str
    score: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Name:
    """The terms that set a cluster apart, the strongest first; there may be none."""

    terms: Sequence[Term]

    @property
    def text(self) -> str:
        """The first terms in one line; empty where there are none."""
        return " · ".join(term.text for term in self.terms[:IN_NAME])


def names_of(
    texts: Sequence[str],
    labels: Labels,
    *,
    documents: Sequence[int] | None = None,
    analyzer: str = "bigram",
) -> list[Name]:
    """Name every cluster by the texts of its passages, in the order of their numbers.

    Args:
        texts: of the passages, or of a sample of them.
        labels: the cluster of each.
        documents: what tells the documents apart that they are of; None: each is one.
        analyzer: that of the index, see lexical.py.
    """
    number = int(labels.max(initial=NONE)) + 1
    having: dict[str, Counter[int]] = defaultdict(Counter)
    written: dict[str, Counter[str]] = defaultdict(Counter)
    owners: dict[str, set[int]] = defaultdict(set)
    of_cluster: list[set[int]] = [set() for _ in range(number)]
    sizes = np.zeros(number)
    known = range(len(texts)) if documents is None else documents
    for text, label, document in zip(texts, labels.tolist(), known, strict=True):
        if label == NONE:
            continue
        sizes[label] += 1
        of_cluster[label].add(document)
        for term, surface in dict(_terms(text, analyzer)).items():
            having[term][label] += 1
            written[term][surface] += 1
            if len(owners[term]) < _LEAST_DOCUMENTS:
                owners[term].add(document)
    narrow = {label for label in range(number) if len(of_cluster[label]) < _OF_SEVERAL}
    kept = [
        term
        for term, counts in having.items()
        if counts.total() > 1
        and (len(owners[term]) >= _LEAST_DOCUMENTS or narrow.intersection(counts))
    ]
    counts = np.zeros((len(kept), number))
    for row, term in enumerate(kept):
        for label, count in having[term].items():
            counts[row, label] = count
    scores = log_odds(counts)
    return [
        _name(kept, written, scores[:, label], counts[:, label] / max(sizes[label], 1))
        for label in range(number)
    ]


def log_odds(counts: np.ndarray) -> np.ndarray:
    """Give the z-score of each term (row) in each cluster (column) against all the others."""
    everywhere = counts.sum(axis=1, keepdims=True)
    total = everywhere.sum()
    if total == 0:
        return np.zeros_like(counts)
    prior = PRIOR * everywhere / total
    sizes = counts.sum(axis=0, keepdims=True)
    inside, outside = counts + prior, everywhere - counts + prior
    rest_inside = np.maximum(sizes + PRIOR - inside, prior)
    rest_outside = np.maximum(total - sizes + PRIOR - outside, prior)
    difference = np.log(inside / rest_inside) - np.log(outside / rest_outside)
    scores: np.ndarray = difference / np.sqrt(1 / inside + 1 / outside)
    return scores


def _name(
    terms: Sequence[str],
    written: dict[str, Counter[str]],
    scores: np.ndarray,
    shares: np.ndarray,
) -> Name:
    chosen: list[Term] = []
    for row in np.argsort(-scores, kind="stable").tolist():
        if scores[row] < _LEAST_SCORE or len(chosen) == TERMS:
            break
        surface = _shown(written[terms[row]])
        # A part of a longer word that is named already says nothing new.
        folded = surface.casefold()
        if any(folded in known or known in folded for known in (t.text.casefold() for t in chosen)):
            continue
        chosen.append(Term(text=surface, score=float(scores[row]), share=float(shares[row])))
    return Name(terms=tuple(chosen))


def _if_a_word(run: re.Match[str]) -> str:
    """Keep what stands between spaces unless it is an address, a path or a dotted name."""
    inner = run[0].strip(_AROUND)
    slashes = inner.count("/") + inner.count("\\")
    # The dot of an ending such as .txt was taken off.
    ending = run[0].startswith(".") and inner.isalnum()
    is_address = ending or slashes >= _MANY_SLASHES or _ADDRESS.search(inner) is not None
    return " " if is_address else run[0]


def _shown(written: Counter[str]) -> str:
    """Choose how a term is shown: its commonest form, with capitals where it usually has them."""
    forms: Counter[str] = Counter()
    for surface, count in written.items():
        forms[surface.casefold()] += count
    form, often = forms.most_common(1)[0]
    capitals = max(
        (each for each in written if each.casefold() == form and each != form),
        key=lambda each: (written[each], each),
        default=form,
    )
    return capitals if written[capitals] >= _USUALLY * often else form


def _terms(text: str, analyzer: str) -> Iterator[tuple[str, str]]:
    """Give terms with how they are written: words, and in Japanese what is written as one."""
    text = _RUN.sub(_if_a_word, _HEADERS.sub(" ", text))
    if analyzer == "bigram":
        for found in _WRITTEN_WORDS.finditer(text):
            yield found[0], found[0]
    for token in tokens(text, analyzer):
        surface = text[token.start : token.end]
        wanted = is_word(token.term) or (analyzer != "bigram" and token.term.isalpha())
        shown = surface.casefold()
        if (
            wanted
            and not any(map(str.isdigit, shown))
            and _LEAST_LETTERS <= len(shown) <= LONGEST
            and shown not in FUNCTION_WORDS
            and not _APOSTROPHE.search(shown)
        ):
            yield token.term, surface
