"""What a night knows about a difference, in numbers: all that causes are judged by.

W is what sends of one night differ by, B what tonight differs from what is stored by; both are
1 - cos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from search_app.consistency.hypotheses import RESTORED, SAME, Outcome
from search_app.consistency.spaces import Spaces
from search_app.consistency.types import FaultKind

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEW = 0.5
"""Share of the texts tried that must be restored to confirm a hypothesis about all of them."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Passages that were embedded again, in columns.

    Args:
        between: 1 - cos of the stored vector and tonight's (n).
        within: largest 1 - cos between tonight's sends (n).
        norms: lengths of the stored vectors (n).
        flagged: places of which the stored bytes are known to be wrong (n).
        elsewhere: places whose text's vector is another chunk's stored one (n).
        shifts: by how many places of its request such a vector is off, where that is known.
        head: 1 - cos over the leading dimensions of rows that end in zeros, and their number.
    """

    between: Numbers
    within: Numbers
    norms: Numbers
    flagged: Mask
    elsewhere: Mask
    shifts: Sequence[int] = ()
    head: Numbers | None = None
    head_dimensions: int | None = None

    @property
    def moved(self) -> Mask:
        """Which vectors differ by more than sends of one night do."""
        moved: Mask = self.between > np.maximum(SAME, 3 * self.within)
        return moved

    @property
    def foreign(self) -> Mask:
        """Which vectors are sound as such, and not what their text gives."""
        foreign: Mask = self.moved & ~self.flagged & ~self.elsewhere
        return foreign


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Vectors of other dimensions than the model version's.

    ``head`` is the largest 1 - cos of such a vector to as many leading dimensions of the registered
    one.
    """

    dimensions: int
    head: float


@dataclass(frozen=True, kw_only=True)
class Symptoms:
    """All that a night knows about a difference.

    ``canaries_between`` and ``canaries_within`` are 1 - cos by the canary's name; ``faults`` are
    how many vectors have each fault; ``grids`` name the number format that stored values lie on;
    ``changed`` are, for each list that changed materially, the least 1 - cos between sends of
    before and of tonight, and the largest among those of one time; ``recall`` is the approximate
    index's; ``prefixed`` counts vectors whose text was sent with the prefix of the model version
    where the embedder now adds another; ``queries_within`` are 1 - cos between sends of queries;
    ``tried`` are hypotheses and what became of them; ``spaces`` says how tonight's vectors of
    queries and canaries are related to those of before; ``upgraded`` are packages of other versions
    than at registration.
    """

    documents: Sample | None = None
    canaries_between: Mapping[str, float] = field(default_factory=dict)
    canaries_within: Mapping[str, float] = field(default_factory=dict)
    queries_between: Sequence[float] = ()
    queries_within: Sequence[float] = ()
    changed: Sequence[tuple[float, float]] = ()
    faults: Mapping[FaultKind, int] = field(default_factory=dict)
    grids: Mapping[str, int] = field(default_factory=dict)
    recall: float | None = None
    prefixed: int = 0
    limit: float = RESTORED
    tried: Sequence[Outcome] = ()
    spaces: Spaces | None = None
    answered: Answered | None = None
    upgraded: Mapping[str, str] = field(default_factory=dict)

    @property
    def proved(self) -> bool:
        """Whether something was shown to explain vectors that are stored."""
        misplaced = self.documents is not None and bool(self.documents.elsewhere.any())
        return misplaced or any(outcome.then >= FEW * outcome.tried for outcome in self.tried)
