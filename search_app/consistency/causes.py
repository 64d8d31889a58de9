"""Why vectors or lists differ: one small function for each signature, the specific ones first.

W is what sends of one night differ by, B what tonight differs from what is stored by; both are
1 - cos. Every signature is looked at, and all that hold are named. ``TREE`` is the list of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from search_app.consistency.types import Cause, FaultKind

Numbers = NDArray[np.float64]

SAME = 1e-6
"""1 - cos up to which two vectors are one, rounding aside."""

RESTORED = 1e-3
"""1 - cos up to which a hypothesis has brought a vector back."""

RECALL = 0.9
"""Share of the exact list that the approximate index must find."""

FEW = 0.5
"""Share of the moved texts that must be restored to confirm a hypothesis about all of them."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Passages that were embedded again, in columns.

    Args:
        between: 1 - cos of the stored vector and tonight's (n).
        within: largest 1 - cos between tonight's sends (n).
        norms: lengths of the stored vectors (n).
        elsewhere: places whose text's vector is another chunk's stored one (n).
        shifts: by how many places of its request such a vector is off, where that is known.
        restored: under each hypothesis, 1 - cos of the stored vector and what was embedded anew,
            for those places that were tried; NaN elsewhere (n).
        head: 1 - cos over the leading dimensions that are not zero (n), and their number.
    """

    between: Numbers
    within: Numbers
    norms: Numbers
    elsewhere: NDArray[np.bool_] | None = None
    shifts: Sequence[int] = ()
    restored: Mapping[str, Numbers] = field(default_factory=dict)
    head: Numbers | None = None
    head_dimensions: int | None = None

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Which vectors differ by more than sends of one night do."""
        moved: NDArray[np.bool_] = self.between > np.maximum(SAME, 3 * self.within)
        return moved


@dataclass(frozen=True, kw_only=True)
class Symptoms:
    """All that a night knows about a difference.

    ``canaries_between`` and ``canaries_within`` are 1 - cos by the canary's name; ``faults`` are
    how many vectors have each fault; ``grids`` name the number format that stored values lie on;
    ``recall`` is the approximate index's; ``prefixed`` counts vectors whose text was sent with the
    prefix of the model version where the embedder now adds another; ``queries_within`` are 1 - cos
    between sends of queries.
    """

    documents: Sample | None = None
    canaries_between: Mapping[str, float] = field(default_factory=dict)
    canaries_within: Mapping[str, float] = field(default_factory=dict)
    queries_between: Sequence[float] = ()
    queries_within: Sequence[float] = ()
    lists_changed: int = 0
    faults: Mapping[FaultKind, int] = field(default_factory=dict)
    grids: Mapping[str, int] = field(default_factory=dict)
    recall: float | None = None
    prefixed: int = 0
    limit: float = RESTORED


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A cause, what shows it, and what to do about it.

    ``seen`` gives the evidence in one line, and whether embedding again confirmed it; None where
    the signature does not hold.
    """

    name: str
    remedy: str
    seen: Callable[[Symptoms], tuple[str, bool] | None]
    generic: bool = False


def explain(symptoms: Symptoms) -> list[Cause]:
    """Name every cause whose signature holds; generic ones only where no specific one does."""
    specific = _held([signature for signature in TREE if not signature.generic], symptoms)
    if specific:
        return specific
    generic = _held([signature for signature in TREE if signature.generic], symptoms)
    if generic or not _differs(symptoms):
        return generic
    return [
        Cause(
            name="unknown",
            confirmed=False,
            evidence="vectors or lists differ, and no signature that is known explains it",
            remedy="look at the worst queries below; keep the index as it is until it is clear",
        )
    ]


def _held(signatures: Sequence[Signature], symptoms: Symptoms) -> list[Cause]:
    found = []
    for signature in signatures:
        seen = signature.seen(symptoms)
        if seen is not None:
            evidence, confirmed = seen
            found.append(
                Cause(
                    name=signature.name,
                    confirmed=confirmed,
                    evidence=evidence,
                    remedy=signature.remedy,
                )
            )
    return found


def _differs(symptoms: Symptoms) -> bool:
    documents = symptoms.documents
    return bool(
        symptoms.lists_changed
        or symptoms.faults
        or (documents is not None and documents.moved.any())
        or _largest(symptoms.canaries_between) > max(SAME, 3 * _largest(symptoms.canaries_within))
    )


def _largest(values: Mapping[str, float]) -> float:
    return max(values.values(), default=0.0)


def wrong_mapping(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for texts whose vector is stored under another chunk."""
    documents = symptoms.documents
    if documents is None or documents.elsewhere is None or not documents.elsewhere.any():
        return None
    number = int(documents.elsewhere.sum())
    text = f"{number} of {len(documents.between)} texts have the stored vector of another passage"
    if len(documents.shifts) > 1 and len(set(documents.shifts)) == 1:
        text += f", each {documents.shifts[0]:+d} places off in its request"
    return text, True


def collapse(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for one vector under texts that differ."""
    number = symptoms.faults.get(FaultKind.COLLAPSED, 0)
    return (f"{number} passages with different texts share vectors", True) if number else None


def stale_text(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for vectors of texts that have changed since."""
    number = symptoms.faults.get(FaultKind.STALE_TEXT, 0)
    return (f"{number} vectors were made of an earlier text", True) if number else None


def normalisation(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for vectors that point the right way and have another length."""
    number = symptoms.faults.get(FaultKind.NORM, 0)
    documents = symptoms.documents
    if not number:
        return None
    if documents is None or not len(documents.between):
        return f"{number} stored vectors are not of length 1", False
    off = np.abs(documents.norms - 1) > RESTORED
    if off.any() and (documents.between[off] > max(RESTORED, symptoms.limit)).any():
        return None
    lengths = documents.norms[off] if off.any() else documents.norms
    return (
        (
            f"{number} stored vectors point the right way with another length "
            f"(about {float(np.median(lengths)):.3g})"
        ),
        bool(off.any()),
    )


def truncated_dimensions(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for vectors whose tail is zero or missing, and whose head is right."""
    documents = symptoms.documents
    if documents is None or documents.head is None or documents.head_dimensions is None:
        return None
    if not len(documents.head) or np.median(documents.head) > RESTORED:
        return None
    return (
        f"the first {documents.head_dimensions} dimensions agree, the rest is zero or missing",
        True,
    )


def stored_dtype(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for values that a coarser number format left."""
    if not symptoms.grids:
        return None
    formats = ", ".join(f"{number:,} as {name}" for name, number in symptoms.grids.items())
    return f"stored values lie on the grid of a coarser number format: {formats}", True


def corruption(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for bytes that are not those that were written, unless something explains them."""
    kinds = (FaultKind.ALTERED, FaultKind.NOT_FINITE, FaultKind.ZERO)
    number = max((symptoms.faults.get(kind, 0) for kind in kinds), default=0)
    explained = (normalisation, truncated_dimensions, stored_dtype, wrong_mapping)
    if not number or any(seen(symptoms) is not None for seen in explained):
        return None
    return f"{number:,} stored vectors are not the bytes that were written", True


def lost_or_left(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for vectors that are missing, or that belong to nothing."""
    missing = symptoms.faults.get(FaultKind.MISSING, 0)
    orphaned = symptoms.faults.get(FaultKind.ORPHANED, 0)
    if not missing and not orphaned:
        return None
    return f"{missing:,} vectors are missing, {orphaned:,} belong to nothing", True


def index_error(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for an approximate index that misses what exact search finds."""
    recall = symptoms.recall
    if recall is None or recall >= RECALL:
        return None
    return f"exact search holds; the approximate one finds {recall:.1%} of it", True


def _confirmed(symptoms: Symptoms, hypothesis: str) -> tuple[float, int] | None:
    """Give the share of moved texts that a hypothesis brought back, of those tried."""
    documents = symptoms.documents
    if documents is None or hypothesis not in documents.restored:
        return None
    after = documents.restored[hypothesis]
    tried = ~np.isnan(after) & documents.moved
    if not tried.any():
        return None
    near = after[tried] <= np.minimum(RESTORED, documents.between[tried] / 4)
    return float(near.mean()), int(tried.sum())


def prefix(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for texts that were embedded with another prefix, or without theirs."""
    if symptoms.prefixed:
        return f"{symptoms.prefixed:,} texts were sent with another prefix than now", True
    for hypothesis, told in (
        ("query prefix", "was embedded as a query"),
        ("doubled prefix", "was embedded with its prefix twice"),
    ):
        found = _confirmed(symptoms, hypothesis)
        if found is not None and found[0] >= FEW:
            return f"what is stored {told}: doing so gives {found[0]:.0%} of {found[1]} back", True
    return None


def truncation(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for long texts that alone move, and come back when cut."""
    found = _confirmed(symptoms, "truncated")
    if found is not None and found[0] >= FEW:
        return f"cutting long texts gives {found[0]:.0%} of {found[1]} back", True
    moved = [name for name, far in symptoms.canaries_between.items() if far > symptoms.limit]
    if moved and set(moved) <= {"long", "long-truncated"}:
        return "of the fixed texts only the long one moved", False
    return None


def tokenizer(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for case or accents making a difference that they did not make."""
    moved = [name for name, far in symptoms.canaries_between.items() if far > symptoms.limit]
    if moved and set(moved) <= {"case-upper", "case-lower", "accents"}:
        return f"of the fixed texts only {', '.join(sorted(moved))} moved", False
    return None


PREPROCESSING = ("newlines as spaces", "stripped", "lower case", "NFKC")


def preprocessing(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for texts that the client edited before it sent them."""
    for hypothesis in PREPROCESSING:
        found = _confirmed(symptoms, hypothesis)
        if found is not None and found[0] >= FEW:
            return (
                f"sending texts with {hypothesis} gives {found[0]:.0%} of {found[1]} back",
                True,
            )
    return None


def batch_noise(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for sends of one night that differ as much as tonight differs from what is stored."""
    within = [*symptoms.queries_within, *symptoms.canaries_within.values()]
    between = [*symptoms.queries_between, *symptoms.canaries_between.values()]
    if not within or max(within) <= SAME:
        return None
    noise, change = _usual(within), _usual(between) if between else 0.0
    if change > 4 * noise and change > SAME:
        return None
    return (
        (
            f"the same text sent twice differs by up to 1 - cos = {max(within):.1e}, as much as "
            "tonight differs from what is stored"
        ),
        False,
    )


def build(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for a small difference everywhere of a model that repeats itself."""
    far = list(symptoms.canaries_between.values())
    if not far or not SAME < max(far) <= symptoms.limit:
        return None
    if _largest(symptoms.canaries_within) > max(far) / 4:
        return None
    return f"every fixed text moved a little, up to 1 - cos = {max(far):.1e}, repeatably", False


def model_swap(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for a difference far beyond noise, everywhere, that nothing restores."""
    far = list(symptoms.canaries_between.values())
    noise = _largest(symptoms.canaries_within)
    if not far or max(far) <= max(symptoms.limit, 3 * noise):
        return None
    moved = sum(one > symptoms.limit for one in far)
    return (
        (
            f"{moved} of {len(far)} fixed texts moved, up to 1 - cos = {max(far):.2g}; "
            f"sends of tonight agree to {noise:.1e}"
        ),
        False,
    )


def _usual(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.9))


TREE: tuple[Signature, ...] = (
    Signature(
        name="wrong mapping",
        remedy="embed the affected runs again: ingest reconcile --repair",
        seen=wrong_mapping,
    ),
    Signature(
        name="collapse",
        remedy="stop ingest, look at how requests are batched, and embed the run again",
        seen=collapse,
    ),
    Signature(name="stale text", remedy="ingest the documents again", seen=stale_text),
    Signature(
        name="normalisation",
        remedy="set normalisation back, then ingest reconcile --repair",
        seen=normalisation,
    ),
    Signature(
        name="dimension truncation",
        remedy="set the number of dimensions back, then embed the affected runs again",
        seen=truncated_dimensions,
    ),
    Signature(
        name="stored dtype",
        remedy="accept it if it is meant, or embed again and store float32",
        seen=stored_dtype,
    ),
    Signature(
        name="corruption",
        remedy="ingest reconcile --repair embeds those ids again; then check again",
        seen=corruption,
    ),
    Signature(
        name="lost or left behind",
        remedy="ingest reconcile --repair",
        seen=lost_or_left,
    ),
    Signature(
        name="prefix",
        remedy="set the prefix back, and embed the affected runs again",
        seen=prefix,
    ),
    Signature(
        name="truncation",
        remedy="pin the model's revision and its token limit",
        seen=truncation,
    ),
    Signature(name="tokenizer", remedy="pin the model's revision", seen=tokenizer),
    Signature(
        name="text preprocessing",
        remedy="make the client send texts as they are; embed the affected runs again",
        seen=preprocessing,
    ),
    Signature(
        name="approximate index",
        remedy="rebuild the index; do not embed anything again",
        seen=index_error,
    ),
    Signature(
        name="batch or replica noise",
        remedy="keep query vectors cached, send one text a request, or average several sends",
        seen=batch_noise,
        generic=True,
    ),
    Signature(
        name="precision or build",
        remedy="pin the runtime; accept the new build only on purpose",
        seen=build,
        generic=True,
    ),
    Signature(
        name="model swap",
        remedy="stop ingest; pin the model, or ingest reindex, compare and activate",
        seen=model_swap,
        generic=True,
    ),
)
