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
from search_app.consistency.types import Cause, Clause, FaultKind
from search_app.identity import MOST_NOISE
from search_app.wording import gettext_noop

ALIKE = 2
"""Queries that must have changed alike before one cause is named for them."""

RECALL = 0.9
"""Share of the exact list that the approximate index must find."""


class Moving(StrEnum):
    """What a cause may account for the movement of."""

    MODEL = "what the model answers"
    PASSAGES = "what is stored"


Seen = tuple[Sequence[Clause], bool]
"""What shows a cause, and whether embedding again confirmed it."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A cause, what shows it, and what to do about it.

    ``seen`` gives the evidence, and whether embedding again confirmed it; None where the signature
    does not hold. ``accounts`` for these movements where it holds; a signature that
    is ``generic`` is only looked at while its own movement is not accounted for.
    """

    name: str
    remedy: str
    seen: Callable[[Symptoms], Seen | None]
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
        clauses, confirmed = seen
        # Two signatures may show one cause, once in the model and once in what is stored.
        if all(cause.name != signature.name for cause in found):
            found.append(
                Cause(
                    name=signature.name,
                    confirmed=confirmed,
                    clauses=clauses,
                    remedy=signature.remedy,
                )
            )
    return found if found or not _differs(symptoms) else [UNKNOWN]


UNKNOWN = Cause(
    name="unknown",
    confirmed=False,
    clauses=[
        Clause(
            sentence=gettext_noop(
                "vectors or lists differ, and no signature that is known explains it"
            )
        )
    ],
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


def wrong_mapping(symptoms: Symptoms) -> Seen | None:
    """Look for texts whose vector is stored under another chunk."""
    documents = symptoms.documents
    if documents is None or not documents.elsewhere.any():
        return None
    clauses = [
        _clause(
            gettext_noop("%(some)s of %(all)s texts have the stored vector of another passage"),
            some=int(documents.elsewhere.sum()),
            all=len(documents.between),
        )
    ]
    if len(documents.shifts) > 1 and len(set(documents.shifts)) == 1:
        sentence = gettext_noop("each is %(places)s places off in its request")
        clauses.append(_clause(sentence, places=f"{documents.shifts[0]:+d}"))
    return clauses, True


def collapse(symptoms: Symptoms) -> Seen | None:
    """Look for one vector under texts that differ."""
    number = symptoms.faults.get(FaultKind.COLLAPSED, 0)
    sentence = gettext_noop("%(number)s passages with different texts share vectors")
    return _counted(sentence, number)


def stale_text(symptoms: Symptoms) -> Seen | None:
    """Look for vectors of texts that have changed since."""
    number = symptoms.faults.get(FaultKind.STALE_TEXT, 0)
    return _counted(gettext_noop("%(number)s vectors were made of an earlier text"), number)


def normalisation(symptoms: Symptoms) -> Seen | None:
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
        sentence = gettext_noop("%(number)s stored vectors are not of length 1")
        return [_clause(sentence, number=number)], False
    if (documents.between[off] > np.maximum(SAME, 3 * documents.within[off])).any():
        return None
    length = float(np.median(documents.norms[off]))
    sentence = gettext_noop(
        "%(number)s stored vectors point the right way with another length (about %(length)s)"
    )
    return [_clause(sentence, number=number, length=f"{length:.3g}")], True


def truncated_dimensions(symptoms: Symptoms) -> Seen | None:
    """Look for vectors whose tail is zero or missing, and whose head is right."""
    answered = symptoms.answered
    if answered is not None and answered.head <= RESTORED:
        sentence = gettext_noop("the model answers the first %(number)s dimensions only")
        return [_clause(sentence, number=answered.dimensions)], True
    documents = symptoms.documents
    if documents is None or documents.head is None or documents.head_dimensions is None:
        return None
    if np.median(documents.head) > RESTORED:
        return None
    sentence = gettext_noop("the first %(number)s dimensions agree, the rest is zero")
    return [_clause(sentence, number=documents.head_dimensions)], True


def stored_dtype(symptoms: Symptoms) -> Seen | None:
    """Look for values that a coarser number format left."""
    if not symptoms.grids:
        return None
    formats = ", ".join(f"{name}: {number:,}" for name, number in symptoms.grids.items())
    sentence = gettext_noop(
        "stored values lie on the grid of a coarser number format (%(formats)s)"
    )
    return [_clause(sentence, formats=formats)], True


def corruption(symptoms: Symptoms) -> Seen | None:
    """Look for bytes that are not those that were written, unless something explains them."""
    kinds = (FaultKind.ALTERED, FaultKind.NOT_FINITE, FaultKind.ZERO)
    number = max((symptoms.faults.get(kind, 0) for kind in kinds), default=0)
    explained = (normalisation, truncated_dimensions, stored_dtype, wrong_mapping)
    if not number or any(seen(symptoms) is not None for seen in explained):
        return None
    sentence = gettext_noop("%(number)s stored vectors are not the bytes that were written")
    return _counted(sentence, number)


def lost_or_left(symptoms: Symptoms) -> Seen | None:
    """Look for vectors that are missing, or that belong to nothing."""
    missing = symptoms.faults.get(FaultKind.MISSING, 0)
    orphaned = symptoms.faults.get(FaultKind.ORPHANED, 0)
    if not missing and not orphaned:
        return None
    sentence = gettext_noop("%(missing)s vectors are missing, %(orphaned)s belong to nothing")
    return [_clause(sentence, missing=missing, orphaned=orphaned)], True


def index_error(symptoms: Symptoms) -> Seen | None:
    """Look for an approximate index that misses what exact search finds."""
    recall = symptoms.recall
    if recall is None or recall >= RECALL:
        return None
    sentence = gettext_noop("exact search holds; the approximate one finds %(share)s of it")
    return [_clause(sentence, share=f"{recall:.1%}")], True


def _clause(sentence: str, **values: str | int) -> Clause:
    """Fill a sentence; numbers are written with their digits in groups."""
    written = {
        name: f"{value:,}" if isinstance(value, int) else value for name, value in values.items()
    }
    return Clause(sentence=sentence, values=written)


def _counted(sentence: str, number: int) -> Seen | None:
    """Say how many there are, which is proof; None where there are none."""
    return ([_clause(sentence, number=number)], True) if number else None


def _shown(symptoms: Symptoms, cause: str) -> Seen | None:
    """Say which hypothesis about a cause held, the best one; None where none did."""
    shown: list[tuple[float, Sequence[Clause]]] = []
    sent_so = gettext_noop("shown by %(held)s of %(tried)s texts that were sent so")
    for outcome in symptoms.tried:
        if outcome.hypothesis.cause != cause:
            continue
        for held, sentence in (
            (outcome.then, outcome.hypothesis.then),
            (outcome.now, outcome.hypothesis.now),
        ):
            if sentence is not None and held / outcome.tried >= FEW:
                told = _clause(sent_so, held=held, tried=outcome.tried)
                shown.append((held / outcome.tried, [sentence, told]))
    return (max(shown, key=lambda one: one[0])[1], True) if shown else None


def prefix(symptoms: Symptoms) -> Seen | None:
    """Look for texts that were embedded with another prefix, or without theirs."""
    now = gettext_noop("%(number)s texts were sent with another prefix than now")
    models = gettext_noop("%(number)s texts were sent with another prefix than the model's")
    return (
        _counted(now, symptoms.prefixed)
        or _counted(models, symptoms.faults.get(FaultKind.PREFIX, 0))
        or _shown(symptoms, "prefix")
    )


def truncation(symptoms: Symptoms) -> Seen | None:
    """Look for long texts that alone move, and come back when cut."""
    shown = _shown(symptoms, "truncation")
    if shown is not None:
        return shown
    moved = [name for name, far in symptoms.canaries_between.items() if far > symptoms.limit]
    if moved and set(moved) <= {"long", "long-truncated"}:
        return [_clause(gettext_noop("of the fixed texts only the long ones moved"))], False
    return None


def tokenizer(symptoms: Symptoms) -> Seen | None:
    """Look for case or accents making a difference that they did not make."""
    if preprocessing(symptoms) is not None:
        return None
    moved = [name for name, far in symptoms.canaries_between.items() if far > symptoms.limit]
    if moved and set(moved) <= {"case-upper", "case-lower", "accents"}:
        sentence = gettext_noop("of the fixed texts only these moved: %(names)s")
        return [_clause(sentence, names=", ".join(sorted(moved)))], False
    return None


def preprocessing(symptoms: Symptoms) -> Seen | None:
    """Look for texts that the client edits, or edited, before it sends them."""
    return _shown(symptoms, "text preprocessing")


def batch_noise(symptoms: Symptoms) -> Seen | None:
    """Look for sends of one night that differ as much as tonight differs from what is stored."""
    within = [*symptoms.queries_within, *symptoms.canaries_within.values()]
    between = [*symptoms.queries_between, *symptoms.canaries_between.values()]
    if not within or max(within) <= SAME:
        return None
    noise, change = _usual(within), _usual(between) if between else 0.0
    if change > 4 * noise and change > SAME:
        return None
    sentence = gettext_noop(
        "the same text sent twice differs by up to 1 - cos = %(most)s, as much as tonight differs "
        "from what is stored"
    )
    return [_clause(sentence, most=f"{max(within):.1e}")], False


def build(symptoms: Symptoms) -> Seen | None:
    """Look for a small difference everywhere of a model that repeats itself."""
    far = list(symptoms.canaries_between.values())
    if not far or not SAME < max(far) <= symptoms.limit:
        return None
    if _largest(symptoms.canaries_within) > max(far) / 4:
        return None
    sentence = gettext_noop("every fixed text moved a little, up to 1 - cos = %(most)s, repeatably")
    clauses = [_clause(sentence, most=f"{max(far):.1e}")]
    packages = ", ".join(f"{name} {versions}" for name, versions in symptoms.upgraded.items())
    if packages:
        clauses.append(_clause(gettext_noop("upgraded since: %(packages)s"), packages=packages))
    return clauses, False


def model_swap(symptoms: Symptoms) -> Seen | None:
    """Look for a difference far beyond noise, everywhere, that nothing restores."""
    if symptoms.answered is not None:
        sentence = gettext_noop("vectors of %(number)s dimensions are answered")
        return [_clause(sentence, number=symptoms.answered.dimensions)], False
    far = list(symptoms.canaries_between.values())
    noise = _largest(symptoms.canaries_within)
    if not far or max(far) <= max(symptoms.limit, 3 * noise):
        return None
    sentence = gettext_noop("%(some)s of %(all)s fixed texts moved, up to 1 - cos = %(most)s")
    some = sum(one > symptoms.limit for one in far)
    clauses = [_clause(sentence, some=some, all=len(far), most=f"{max(far):.2g}")]
    spaces = symptoms.spaces
    if spaces is not None:
        values = {"alignment": f"{spaces.alignment:.2f}", "texts": f"{spaces.texts:,}"}
        clauses.append(Clause(sentence=_RELATIONS[spaces.relation], values=values))
    return clauses, False


_RELATIONS: Mapping[Relation, str] = {
    Relation.ROTATED: gettext_noop("what answers is a rotation of the same space"),
    Relation.RELATED: gettext_noop(
        "what answers is a relative, such as a fine-tuned or coarser one (CKA %(alignment)s over "
        "%(texts)s texts)"
    ),
    Relation.UNRELATED: gettext_noop(
        "what answers is unrelated (CKA %(alignment)s over %(texts)s texts)"
    ),
}


def foreign_vectors(symptoms: Symptoms) -> Seen | None:
    """Look for stored vectors that are sound, and that this model does not give."""
    documents = symptoms.documents
    if documents is None or _largest(symptoms.canaries_between) > symptoms.limit:
        return None
    far = documents.foreign & (documents.between > max(MOST_NOISE, symptoms.limit))
    if not far.any():
        return None
    sentence = gettext_noop(
        "%(some)s of %(all)s passages have vectors that the model does not give, though it is "
        "unchanged"
    )
    return [_clause(sentence, some=int(far.sum()), all=len(far))], False


def noise_at_ingest(symptoms: Symptoms) -> Seen | None:
    """Look for passages whose vectors are off by no more than noise may be."""
    documents = symptoms.documents
    if documents is None or not documents.foreign.any():
        return None
    far = documents.between[documents.foreign]
    still = _largest(symptoms.canaries_between) <= max(SAME, 3 * _largest(symptoms.canaries_within))
    if far.max() > MOST_NOISE or not still:
        return None
    sentence = gettext_noop(
        "%(some)s of %(all)s passages are stored as a noisy send gave them, 1 - cos up to %(most)s"
    )
    some, most = len(far), f"{far.max():.1e}"
    return [_clause(sentence, some=some, all=len(documents.between), most=most)], False


def other_answers(symptoms: Symptoms) -> Seen | None:
    """Look for queries that get other vectors, repeatably, while the canaries get theirs."""
    if _largest(symptoms.canaries_between) > symptoms.limit:
        return None
    far = [away for away, noise in symptoms.changed if away > max(symptoms.limit, 4 * noise)]
    if len(far) < ALIKE or len(far) < FEW * len(symptoms.changed):
        return None
    sentence = gettext_noop(
        "%(number)s queries get other vectors than before (1 - cos %(least)s or more), while the "
        "fixed texts get theirs: another model answers some texts"
    )
    return [_clause(sentence, number=len(far), least=f"{min(far):.2g}")], False


def _usual(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.9))


_STORED = frozenset([Moving.PASSAGES])
_ANSWERED = frozenset([Moving.MODEL])
_BOTH = _STORED | _ANSWERED

TREE: tuple[Signature, ...] = (
    Signature(
        name="wrong mapping",
        remedy="look at how answers are put in order, then ingest reindex --fresh",
        seen=wrong_mapping,
        accounts=_STORED,
    ),
    Signature(
        name="collapse",
        remedy="stop ingest, look at how requests are batched, then ingest reindex --fresh",
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
        remedy="set the number of dimensions back, then ingest reindex --fresh",
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
        remedy="set the prefix back, then ingest reindex --fresh",
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
        remedy="make the client send texts as they are, then ingest reindex --fresh",
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
        remedy="nothing at once; should they become many, ingest reindex --fresh",
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
        remedy="ingest reindex --fresh embeds all again with the model of the index",
        seen=foreign_vectors,
        accounts=_STORED,
        generic=True,
    ),
)
