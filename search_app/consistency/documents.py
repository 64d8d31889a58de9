"""Layer 3: do passages still get the vectors that are stored for them?"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from search_app.catalog.chunks import indexed_text
from search_app.catalog.sampling import Drawn
from search_app.consistency.asking import Asker
from search_app.consistency.hypotheses import SAME, Trial
from search_app.consistency.streaming import Neighbours
from search_app.consistency.symptoms import Sample
from search_app.consistency.types import Documents, MovedDocument
from search_app.consistency.values import Mask, leading
from search_app.identity import distance
from search_app.types import Matrix, Vector


@dataclass(frozen=True, kw_only=True)
class Again:
    """Passages embedded again: what was drawn, what is stored, and what came tonight.

    Places correspond; ``stored`` and ``fresh`` are (n, d), ``fresh`` normalised. ``noise`` is how
    far apart two sends of tonight were, in 1 - cos (n): where the first did not give what is
    stored, a second was made, and ``fresh`` is the one that came nearer.
    """

    drawn: Sequence[Drawn]
    stored: Matrix
    fresh: Matrix
    noise: Matrix


async def embed_again(
    asker: Asker, drawn: Sequence[Drawn], stored: Mapping[UUID, Vector], noise: float
) -> Again:
    """Send the texts of passages one by one, each in as many pieces as it was sent in.

    Those that the store has no vector of are left out, and those that would be cut into another
    number of pieces now.

    Args:
        asker: the model.
        drawn: passages.
        stored: their vectors, by id.
        noise: 1 - cos that sends of one text are known to differ by.

    Raises:
        SpentUpError: no more texts may be sent.
        EmbedderError: the model does not answer.
    """
    there, answers = [], []
    for each in drawn:
        if each.chunk_id not in stored:
            continue
        answer = await asker.in_pieces(text_of(each), "document", each.pieces)
        if answer is not None:
            there.append(each)
            answers.append(answer)
    fresh = asker.rows(answers)
    rows = [stored[each.chunk_id] for each in there]
    within = np.full(len(there), noise, np.float32)
    if not there:
        return Again(drawn=there, stored=fresh, fresh=fresh, noise=within)
    units = directions(np.stack(rows))
    for place, each in enumerate(there):
        first = fresh[place]
        if distance(units[place], first) > max(SAME, 3 * noise):
            second = await asker.in_pieces(text_of(each), "document", each.pieces)
            if second is None:
                continue
            within[place] = max(noise, distance(first, second))
            fresh[place] = min(first, second, key=lambda one: distance(units[place], one))
    return Again(drawn=there, stored=np.stack(rows), fresh=fresh, noise=within)


def text_of(drawn: Drawn) -> str:
    """Give the text that is embedded for a passage, before the model's own prefix."""
    return indexed_text(drawn.context, drawn.text)


def directions(stored: Matrix) -> Matrix:
    """Give stored vectors at length 1, whatever their length; zero and broken rows as zero."""
    safe = np.where(np.isfinite(stored), stored, 0).astype(np.float64)
    norms = np.linalg.norm(safe, axis=1, keepdims=True)
    return np.asarray(safe / np.where(norms > 0, norms, 1), np.float32)


def sampled(again: Again, near: Neighbours, flagged: AbstractSet[UUID]) -> Sample:
    """Sum up how passages compare.

    Args:
        again: the passages.
        near: the stored vectors nearest to the fresh ones.
        flagged: passages of which something is known to be wrong with the stored vector.
    """
    units = directions(again.stored)
    between = np.array(
        [distance(one, other) for one, other in zip(units, again.fresh, strict=True)], np.float64
    )
    exact = np.where(np.isfinite(again.stored), again.stored, 0).astype(np.float64)
    elsewhere, shifts = _elsewhere(again, near, between)
    cut = leading(again.stored, again.fresh)
    return Sample(
        between=between,
        within=again.noise.astype(np.float64),
        norms=np.linalg.norm(exact, axis=1),
        flagged=np.array([each.chunk_id in flagged for each in again.drawn], np.bool_),
        elsewhere=elsewhere,
        shifts=shifts,
        head=None if cut is None else cut[0],
        head_dimensions=None if cut is None else cut[1],
    )


def _elsewhere(
    again: Again, near: Neighbours, between: NDArray[np.float64]
) -> tuple[Mask, list[int]]:
    """Find texts whose vector is stored under another passage, and how far off in the order."""
    found = np.zeros(len(again.drawn), np.bool_)
    places = {each.chunk_id: each for each in again.drawn}
    shifts = []
    for place, each in enumerate(again.drawn):
        noise = float(again.noise[place])
        if between[place] <= max(SAME, 3 * noise) or not near.ids[place]:
            continue
        other, away = near.ids[place][0], 1 - float(near.scores[place][0])
        # Neighbours may be near each other; the text's own vector is nearer by far. What scores
        # above 1 is only longer.
        limit = min(max(1e-5, 3 * noise), between[place] / 4)
        if other == each.chunk_id or abs(away) > limit:
            continue
        found[place] = True
        if other in places:
            shifts.append(places[other].batch_position - each.batch_position)
    return found, shifts


def trials(again: Again, sample: Sample) -> list[Trial]:
    """Give what hypotheses are tried on: passages whose stored vectors are sound."""
    units = directions(again.stored)
    return [
        Trial(
            text=text_of(each),
            kind="document",
            stored=units[place],
            fresh=again.fresh[place],
            within=float(again.noise[place]),
            proved=False,
        )
        for place, each in enumerate(again.drawn)
        # What an edit of a text does cannot be seen where it was sent in pieces.
        if not sample.flagged[place] and not sample.elsewhere[place] and each.pieces == 1
    ]


def summed_up(again: Again, sample: Sample) -> Documents:
    """Give what the report tells of the passages."""
    moved = [
        MovedDocument(
            chunk_id=again.drawn[place].chunk_id,
            title=again.drawn[place].title,
            run_id=again.drawn[place].run_id,
            cosine=1 - float(sample.between[place]),
            noise=float(sample.within[place]),
        )
        for place in np.flatnonzero(sample.moved).tolist()
    ]
    return Documents(
        sampled=len(again.drawn), moved=moved, distances=[float(one) for one in sample.between]
    )
