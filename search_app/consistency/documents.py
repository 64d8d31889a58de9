"""Layer 3: do passages still get the vectors that are stored for them? And if not, why."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from search_app.catalog.chunks import indexed_text
from search_app.catalog.sampling import Drawn
from search_app.consistency.asking import Asker, SpentUpError
from search_app.consistency.causes import SAME, Numbers, Sample
from search_app.consistency.streaming import Neighbours
from search_app.consistency.types import Documents, MovedDocument
from search_app.consistency.values import Mask, leading
from search_app.identity import distance
from search_app.types import Kind, Matrix, ModelVersion, Vector

TRIED = 3
"""Texts embedded again under each hypothesis."""

MOST_HYPOTHESES = 8

_LINES = re.compile(r"\s*\n\s*")


@dataclass(frozen=True, kw_only=True)
class Again:
    """Passages embedded again: what was drawn, what is stored, and what came tonight.

    Places correspond; ``stored`` and ``fresh`` are (n, d), ``fresh`` normalised.
    """

    drawn: Sequence[Drawn]
    stored: Matrix
    fresh: Matrix


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A way in which a text may have been embedded: an edit of it, and in which role."""

    name: str
    edit: Callable[[str], str]
    kind: Kind = "document"


async def embed_again(asker: Asker, drawn: Sequence[Drawn], stored: Mapping[UUID, Vector]) -> Again:
    """Send the texts of passages one by one; those that the store has no vector of are left out.

    Raises:
        SpentUpError: no more texts may be sent.
        EmbedderError: the model does not answer.
    """
    there = [each for each in drawn if each.chunk_id in stored]
    fresh = await asker.each([text_of(each) for each in there], "document")
    rows = [stored[each.chunk_id] for each in there]
    return Again(drawn=there, stored=np.stack(rows) if rows else fresh, fresh=fresh)


def text_of(drawn: Drawn) -> str:
    """Give the text that is embedded for a passage, before the model's own prefix."""
    return indexed_text(drawn.context, drawn.text)


def directions(stored: Matrix) -> Matrix:
    """Give stored vectors at length 1, whatever their length; zero and broken rows as zero."""
    safe = np.where(np.isfinite(stored), stored, 0).astype(np.float64)
    norms = np.linalg.norm(safe, axis=1, keepdims=True)
    return np.asarray(safe / np.where(norms > 0, norms, 1), np.float32)


def sampled(again: Again, near: Neighbours, noise: float) -> Sample:
    """Sum up how passages compare; ``near`` are the stored vectors nearest to the fresh ones."""
    units = directions(again.stored)
    between = np.array(
        [distance(one, other) for one, other in zip(units, again.fresh, strict=True)], np.float64
    )
    exact = np.where(np.isfinite(again.stored), again.stored, 0).astype(np.float64)
    moved = between > max(SAME, 3 * noise)
    elsewhere, shifts = _elsewhere(again, near, moved, noise)
    cut = leading(again.stored, again.fresh) if again.drawn else None
    return Sample(
        between=between,
        within=np.full(len(again.drawn), noise),
        norms=np.linalg.norm(exact, axis=1),
        elsewhere=elsewhere,
        shifts=shifts,
        head=None if cut is None else cut[0],
        head_dimensions=None if cut is None else cut[1],
    )


def _elsewhere(
    again: Again,
    near: Neighbours,
    moved: Mask,
    noise: float,
) -> tuple[Mask, list[int]]:
    """Find texts whose vector is stored under another passage, and how far off in the order."""
    found = np.zeros(len(again.drawn), np.bool_)
    places = {each.chunk_id: each for each in again.drawn}
    shifts = []
    for place, each in enumerate(again.drawn):
        if not moved[place] or not near.ids[place]:
            continue
        other, cosine = near.ids[place][0], float(near.scores[place][0])
        if other == each.chunk_id or 1 - cosine > max(1e-5, 3 * noise):
            continue
        found[place] = True
        if other in places:
            shifts.append(places[other].batch_position - each.batch_position)
    return found, shifts


def hypotheses(version: ModelVersion, sample: Sample) -> list[Hypothesis]:
    """List what is worth trying on passages that moved, the likeliest first."""
    prefix = version.identity.document_prefix
    tried = [
        Hypothesis(name="query prefix", edit=lambda text: text, kind="query"),
        Hypothesis(name="newlines as spaces", edit=lambda text: _LINES.sub(" ", text)),
        Hypothesis(name="lower case", edit=str.lower),
        Hypothesis(name="NFKC", edit=lambda text: unicodedata.normalize("NFKC", text)),
        Hypothesis(name="stripped", edit=lambda text: " ".join(text.split())),
        Hypothesis(name="truncated", edit=lambda text: text[: len(text) // 2]),
    ]
    if prefix:
        tried.insert(0, Hypothesis(name="doubled prefix", edit=lambda text: prefix + text))
    return tried[:MOST_HYPOTHESES] if sample.moved.any() else []


async def try_out(
    asker: Asker, again: Again, sample: Sample, tried: Sequence[Hypothesis]
) -> Mapping[str, Numbers]:
    """Embed a few moved passages under each hypothesis; give 1 - cos to what is stored.

    Places that were not tried, or that a hypothesis would not change, hold NaN. Ends early where
    no more texts may be sent.

    Raises:
        EmbedderError: the model does not answer.
    """
    units = directions(again.stored)
    results: dict[str, Numbers] = {}
    for hypothesis in tried:
        distances = np.full(len(again.drawn), np.nan)
        left = TRIED
        for place in np.flatnonzero(sample.moved).tolist():
            text = text_of(again.drawn[place])
            edited = hypothesis.edit(text)
            if not left or not edited or (edited == text and hypothesis.kind == "document"):
                continue
            left -= 1
            try:
                vector = await asker.alone(edited, hypothesis.kind)
            except SpentUpError:
                return results
            distances[place] = distance(units[place], vector)
        if not np.isnan(distances).all():
            results[hypothesis.name] = distances
    return results


def summed_up(again: Again, sample: Sample) -> Documents:
    """Give what the report tells of the passages."""
    moved = [
        MovedDocument(
            chunk_id=again.drawn[place].chunk_id,
            title=again.drawn[place].title,
            run_id=again.drawn[place].run_id,
            cosine=1 - float(sample.between[place]),
        )
        for place in np.flatnonzero(sample.moved).tolist()
    ]
    return Documents(
        sampled=len(again.drawn), moved=moved, distances=[float(one) for one in sample.between]
    )
