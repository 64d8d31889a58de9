"""Why vectors or lists differ: one small function for each signature, the specific ones first.

W is what sends of one night differ by, B what tonight differs from what is stored by; both are
1 - cos. Every signature is looked at, and all that hold are named. ``TREE`` is the list of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from search_app.consistency.hypotheses import RESTORED, SAME
from search_app.consistency.spaces import Relation
from search_app.consistency.symptoms import FEW, Symptoms
from search_app.consistency.types import Cause, FaultKind
from search_app.identity import MOST_NOISE

ALIKE = 2
"""Queries that must have changed alike before one cause is named for them."""

RECALL = 0.9
"""Share of the exact list that the approximate index must find."""


class Moving(StrEnum):
    """What a cause may account for the movement of."""

    MODEL = "what the model answers"
    PASSAGES = "what is stored"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A cause, what shows it, and what to do about it.

    ``seen`` gives the evidence in one line, and whether embedding again confirmed it; None where
    the signature does not hold. ``accounts`` for these movements where it holds; a signature that
    is ``generic`` is only looked at while its own movement is not accounted for.
    """

    name: str
    remedy: str
    seen: Callable[[Symptoms], tuple[str, bool] | None]
    accounts: frozenset[Moving] = frozenset()
    generic: bool = False


def explain(symptoms: Symptoms) -> list[Cause]:
    """Name every cause whose signature holds, the specific ones first."""
    found: list[Cause] = []
    accounted: set[Moving] = set()
    for signature in sorted(TREE, key=lambda signature: signature.generic):
        if signature.generic and signature.accounts <= accounted:
            continue
        seen = signature.seen(symptoms)
        if seen is None:
            continue
        accounted |= signature.accounts
        evidence, confirmed = seen
        # Two signatures may show one cause, once in the model and once in what is stored.
        if all(cause.name != signature.name for cause in found):
            found.append(
                Cause(
                    name=signature.name,
                    confirmed=confirmed,
                    evidence=evidence,
                    remedy=signature.remedy,
                )
            )
    return found if found or not _differs(symptoms) else [UNKNOWN]


UNKNOWN = Cause(
    name="unknown",
    confirmed=False,
    evidence="vectors or lists differ, and no signature that is known explains it",
    remedy="look at the worst queries below; keep the index as it is until it is clear",
)


def _differs(symptoms: Symptoms) -> bool:
    documents = symptoms.documents
    return bool(
        symptoms.changed
        or symptoms.faults
        or (documents is not None and documents.moved.any())
        or _largest(symptoms.canaries_between) > max(SAME, 3 * _largest(symptoms.canaries_within))
    )


def _largest(values: Mapping[str, float]) -> float:
    return max(values.values(), default=0.0)


def wrong_mapping(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for texts whose vector is stored under another chunk."""
    documents = symptoms.documents
    if documents is None or not documents.elsewhere.any():
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
    # A coarse number format changes lengths too.
    number = symptoms.faults.get(FaultKind.NORM, 0) - sum(symptoms.grids.values())
    documents = symptoms.documents
    if number <= 0:
        return None
    if documents is None or not (off := np.abs(documents.norms - 1) > RESTORED).any():
        # Bytes that were altered in any way are of another length now and then.
        if symptoms.faults.get(FaultKind.ALTERED, 0) > number:
            return None
        return f"{number:,} stored vectors are not of length 1", False
    if (documents.between[off] > np.maximum(SAME, 3 * documents.within[off])).any():
        return None
    length = float(np.median(documents.norms[off]))
    told = f"{number:,} stored vectors point the right way with another length"
    return f"{told} (about {length:.3g})", True


def truncated_dimensions(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for vectors whose tail is zero or missing, and whose head is right."""
    answered = symptoms.answered
    if answered is not None and answered.head <= RESTORED:
        return f"the model answers the first {answered.dimensions} dimensions only", True
    documents = symptoms.documents
    if documents is None or documents.head is None or documents.head_dimensions is None:
        return None
    if np.median(documents.head) > RESTORED:
        return None
    return (
        f"the first {documents.head_dimensions} dimensions agree, the rest is zero",
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


def _shown(symptoms: Symptoms, cause: str) -> str | None:
    """Say which hypothesis about a cause held, the best first; None where none did."""
    shown: list[tuple[float, str]] = []
    for outcome in symptoms.tried:
        if outcome.hypothesis.cause != cause:
            continue
        for held, sentence in (
            (outcome.then, outcome.hypothesis.then),
            (outcome.now, outcome.hypothesis.now),
        ):
            if sentence is not None and held / outcome.tried >= FEW:
                told = f"{sentence}: shown by {held} of {outcome.tried} texts that were sent so"
                shown.append((held / outcome.tried, told))
    return max(shown, key=lambda one: one[0])[1] if shown else None


def prefix(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for texts that were embedded with another prefix, or without theirs."""
    if symptoms.prefixed:
        return f"{symptoms.prefixed:,} texts were sent with another prefix than now", True
    if number := symptoms.faults.get(FaultKind.PREFIX, 0):
        return f"{number:,} texts were sent with another prefix than the model's", True
    told = _shown(symptoms, "prefix")
    return None if told is None else (told, True)


def truncation(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for long texts that alone move, and come back when cut."""
    told = _shown(symptoms, "truncation")
    if told is not None:
        return told, True
    moved = [name for name, far in symptoms.canaries_between.items() if far > symptoms.limit]
    if moved and set(moved) <= {"long", "long-truncated"}:
        return "of the fixed texts only the long ones moved", False
    return None


def tokenizer(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for case or accents making a difference that they did not make."""
    if preprocessing(symptoms) is not None:
        return None
    moved = [name for name, far in symptoms.canaries_between.items() if far > symptoms.limit]
    if moved and set(moved) <= {"case-upper", "case-lower", "accents"}:
        return f"of the fixed texts only {', '.join(sorted(moved))} moved", False
    return None


def preprocessing(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for texts that the client edits, or edited, before it sends them."""
    told = _shown(symptoms, "text preprocessing")
    return None if told is None else (told, True)


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
    told = f"every fixed text moved a little, up to 1 - cos = {max(far):.1e}, repeatably"
    packages = ", ".join(f"{name} {versions}" for name, versions in symptoms.upgraded.items())
    return (f"{told}; upgraded since: {packages}" if packages else told), False


def model_swap(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for a difference far beyond noise, everywhere, that nothing restores."""
    if symptoms.answered is not None:
        return f"vectors of {symptoms.answered.dimensions} dimensions are answered", False
    far = list(symptoms.canaries_between.values())
    noise = _largest(symptoms.canaries_within)
    if not far or max(far) <= max(symptoms.limit, 3 * noise):
        return None
    moved = sum(one > symptoms.limit for one in far)
    told = f"{moved} of {len(far)} fixed texts moved, up to 1 - cos = {max(far):.2g}"
    spaces = symptoms.spaces
    if spaces is not None:
        told += f"; what answers is {spaces.relation.value}"
        if spaces.relation is not Relation.ROTATED:
            told += f" (CKA {spaces.alignment:.2f} over {spaces.texts} texts)"
    return told, False


def foreign_vectors(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for stored vectors that are sound, and that this model does not give."""
    documents = symptoms.documents
    if documents is None or _largest(symptoms.canaries_between) > symptoms.limit:
        return None
    far = documents.foreign & (documents.between > max(MOST_NOISE, symptoms.limit))
    if not far.any():
        return None
    told = f"{int(far.sum())} of {len(far)} passages have vectors that the model does not give"
    return f"{told}, though it is unchanged", False


def noise_at_ingest(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for passages whose vectors are off by no more than noise may be."""
    documents = symptoms.documents
    if documents is None or not documents.foreign.any():
        return None
    far = documents.between[documents.foreign]
    still = _largest(symptoms.canaries_between) <= max(SAME, 3 * _largest(symptoms.canaries_within))
    if far.max() > MOST_NOISE or not still:
        return None
    told = f"{len(far)} of {len(documents.between)} passages are stored as a noisy send gave them"
    return f"{told}, 1 - cos up to {far.max():.1e}", False


def other_answers(symptoms: Symptoms) -> tuple[str, bool] | None:
    """Look for queries that get other vectors, repeatably, while the canaries get theirs."""
    if _largest(symptoms.canaries_between) > symptoms.limit:
        return None
    far = [away for away, noise in symptoms.changed if away > max(symptoms.limit, 4 * noise)]
    if len(far) < ALIKE or len(far) < FEW * len(symptoms.changed):
        return None
    told = f"{len(far)} queries get other vectors than before (1 - cos {min(far):.2g} or more)"
    return f"{told}, while the fixed texts get theirs: another model answers some texts", False


def _usual(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.9))


_STORED = frozenset([Moving.PASSAGES])
_ANSWERED = frozenset([Moving.MODEL])
_BOTH = _STORED | _ANSWERED

TREE: tuple[Signature, ...] = (
    Signature(
        name="wrong mapping",
        remedy="embed the affected runs again: ingest reconcile --repair",
        seen=wrong_mapping,
        accounts=_STORED,
    ),
    Signature(
        name="collapse",
        remedy="stop ingest, look at how requests are batched, and embed the run again",
        seen=collapse,
        accounts=_STORED,
    ),
    Signature(
        name="stale text",
        remedy="ingest the documents again",
        seen=stale_text,
        accounts=_STORED,
    ),
    Signature(
        name="normalisation",
        remedy="set normalisation back, then ingest reconcile --repair",
        seen=normalisation,
        accounts=_STORED,
    ),
    Signature(
        name="dimension truncation",
        remedy="set the number of dimensions back, then embed the affected runs again",
        seen=truncated_dimensions,
        accounts=_BOTH,
    ),
    Signature(
        name="stored dtype",
        remedy="accept it if it is meant, or embed again and store float32",
        seen=stored_dtype,
        accounts=_STORED,
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
        accounts=_BOTH,
    ),
    Signature(
        name="truncation",
        remedy="pin the model's revision and its token limit",
        seen=truncation,
        accounts=_BOTH,
    ),
    Signature(
        name="text preprocessing",
        remedy="make the client send texts as they are; embed the affected runs again",
        seen=preprocessing,
        accounts=_BOTH,
    ),
    Signature(
        name="tokenizer",
        remedy="pin the model's revision",
        seen=tokenizer,
        accounts=_BOTH,
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
        accounts=_ANSWERED,
        generic=True,
    ),
    Signature(
        name="batch or replica noise",
        remedy="nothing at once; should they become many, embed the affected runs again",
        seen=noise_at_ingest,
        accounts=_STORED,
        generic=True,
    ),
    Signature(
        name="precision or build",
        remedy="pin the runtime; accept the new build only on purpose",
        seen=build,
        accounts=_BOTH,
        generic=True,
    ),
    Signature(
        name="model swap",
        remedy="stop ingest; pin the model, or ingest reindex, compare and activate",
        seen=model_swap,
        accounts=_BOTH,
        generic=True,
    ),
    Signature(
        name="model swap",
        remedy="stop ingest; ask the provider, or pin the model and accept its check on purpose",
        seen=other_answers,
        accounts=_ANSWERED,
        generic=True,
    ),
    Signature(
        name="model swap",
        remedy="embed the affected runs again with the model of the index",
        seen=foreign_vectors,
        accounts=_STORED,
        generic=True,
    ),
)
