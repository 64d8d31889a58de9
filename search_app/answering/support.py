"""How near a sentence is to what it cites.

The similarity of the sentence to the best window of the passages it cites, a sentence or two of
theirs, on a scale from what unrelated passages of the index have to each other (0) to the same
words (1). It is no proof: what contradicts a passage is near it too. It shows citations that have
nothing to do with their sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from search_app.answering.types import PassageGiven, Sentence
from search_app.answering.vectors import SentenceVectors
from search_app.embedders.base import Embedder
from search_app.lexical import tokens
from search_app.sentences import sentence_spans
from search_app.types import Matrix

WINDOWS = 4
"""Windows of the passages cited by a sentence that are embedded: those that share most words."""


async def supported(
    sentences: Sequence[Sentence],
    passages: Sequence[PassageGiven],
    embedder: Embedder,
    vectors: SentenceVectors,
    background: Matrix,
) -> list[Sentence]:
    """Give the sentences with their support; quotations are their own.

    Args:
        sentences: of an answer.
        passages: those that were given.
        embedder: that of the index.
        vectors: what keeps vectors of sentences.
        background: unit vectors (n, d) of passages drawn at random.

    Raises:
        EmbedderError: the embedder failed.
    """
    cited = {number for sentence in sentences for number in sentence.citations}
    given = {each.number: _windows(each.text) for each in passages if each.number in cited}
    windows = {
        place: _likely(sentence.text, [given[number] for number in sentence.citations])
        for place, sentence in enumerate(sentences)
        if sentence.state == "cited"
    }
    texts = [sentences[place].text for place in windows]
    texts += [window for found in windows.values() for window in found]
    if not texts:
        return list(sentences)
    rows = await vectors.of(embedder, texts, "similarity")
    usual = _usual(background)
    done = list(sentences)
    at = len(windows)
    for row, (place, found) in enumerate(windows.items()):
        near = rows[at : at + len(found)].astype(np.float64) @ rows[row]
        at += len(found)
        if len(near):
            share = (float(near.max()) - usual) / (1 - usual)
            support = round(min(max(share, 0.0), 1.0), 4)
            done[place] = replace(sentences[place], support=support)
    return done


def _likely(sentence: str, cited: Sequence[Mapping[str, frozenset[str]]]) -> list[str]:
    wanted = _terms(sentence)
    windows = {window: terms for given in cited for window, terms in given.items()}
    return sorted(windows, key=lambda window: -len(wanted & windows[window]))[:WINDOWS]


def _windows(text: str) -> Mapping[str, frozenset[str]]:
    """Give the sentences of a text, and each with the next one, with the terms of each."""
    single = [text[start:end].strip() for start, end in sentence_spans(text)]
    terms = [_terms(sentence) for sentence in single]
    pairs = pairwise(zip(single, terms, strict=True))
    both = {f"{one} {other}": first | second for (one, first), (other, second) in pairs}
    return dict(zip(single, terms, strict=True)) | both


def _terms(text: str) -> frozenset[str]:
    return frozenset(token.term for token in tokens(text))


def _usual(background: Matrix) -> float:
    """Give a similarity of unrelated passages; 0 where there are too few to tell.

    A low one of all pairs: in a collection, many passages have to do with each other.
    """
    number = len(background)
    if number < 2:  # noqa: PLR2004 - a pair
        return 0.0
    exact = background.astype(np.float64)
    pairs = (exact @ exact.T)[np.triu_indices(number, 1)]
    return float(np.clip(np.percentile(pairs, LOW), 0.0, 0.95))


LOW = 10
"""Percentile of the similarities of pairs that stands for unrelated ones."""
