"""What the facts of a night come to. The first verdict that applies, the gravest first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from search_app.consistency.causes import RECALL
from search_app.consistency.evidence import Evidence
from search_app.consistency.types import (
    SEVERITY,
    Canaries,
    Documents,
    FaultKind,
    Finding,
    FindingKind,
    Integrity,
    Layers,
    Queries,
    Verdict,
)
from search_app.identity import MOST_NOISE

FEWEST = 30
"""References that must be compared before a night without findings counts as stable."""

_ORDER = tuple(Verdict)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What was accepted, or was measured when references were set.

    ``noise_high`` is the upper bound of the usual 1 - cos between sends; ``unsteady_high`` the
    upper bound of the accepted share of unsteady lists, 0 where nobody accepted any.
    """

    noise_high: float | None = None
    unsteady_high: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that the verdict depends on; ``proved``: why stored vectors differ was shown."""

    layers: Layers
    drift: Evidence
    reproducibility: Evidence
    baseline: Baseline = Baseline()
    unreachable: Sequence[str] = ()
    proved: bool = False
    fail_on_noisy: bool = False


def decide(facts: Facts) -> tuple[Verdict, list[Finding]]:
    """Say what a night comes to, and why: all findings, the gravest first."""
    findings = sorted(_findings(facts), key=lambda finding: _ORDER.index(finding.severity))
    return (findings[0].severity if findings else Verdict.STABLE), findings


def _findings(facts: Facts) -> Iterator[Finding]:
    layers = facts.layers
    if layers.integrity is not None:
        yield from _of_integrity(layers.integrity)
    if layers.canaries is not None:
        yield from _of_canaries(layers.canaries)
    for reason in facts.unreachable:
        yield _finding(FindingKind.UNREACHABLE, reason)
    if layers.documents is not None and not _explained(layers.canaries):
        yield from _of_passages(layers.documents, proved=facts.proved)
    if layers.queries is not None:
        yield from _of_queries(layers.queries, facts)


def _finding(kind: FindingKind, sentence: str, severity: Verdict | None = None) -> Finding:
    return Finding(kind=kind, severity=severity or SEVERITY[kind], sentence=sentence)


def _of_integrity(integrity: Integrity) -> Iterator[Finding]:
    broken = [fault for fault in integrity.faults if fault.kind is not FaultKind.STALE_TEXT]
    stale = [fault for fault in integrity.faults if fault.kind is FaultKind.STALE_TEXT]
    if broken:
        number = len({chunk_id for fault in broken for chunk_id in fault.ids})
        kinds = ", ".join(fault.kind.value.replace("_", " ") for fault in broken)
        yield _finding(
            FindingKind.CORRUPT,
            f"{number:,} of {integrity.scanned:,} vectors are not what was written ({kinds})",
        )
    for fault in stale:
        yield _finding(
            FindingKind.STALE,
            f"{len(fault.ids):,} vectors were made of a text that has changed since",
        )


def _of_canaries(canaries: Canaries) -> Iterator[Finding]:
    if canaries.outcome == "other model":
        yield _finding(
            FindingKind.MODEL_CHANGED,
            "another model answers: the fixed test texts get other vectors "
            f"(lowest cosine {canaries.lowest_cosine:.6f}, {canaries.canary})",
        )
    elif canaries.outcome == "new build":
        yield _finding(
            FindingKind.NEW_BUILD,
            "a new build of the same model answers "
            f"(lowest cosine {canaries.lowest_cosine:.8f}, {canaries.canary})",
        )


def _explained(canaries: Canaries | None) -> bool:
    """Whether a model that is not quite the one of the index has been said to answer."""
    return canaries is not None and canaries.outcome != "same"


def _of_passages(documents: Documents, *, proved: bool) -> Iterator[Finding]:
    if not documents.moved:
        return
    # Beyond all noise that a model may have, it is no longer a question of how much.
    surely = [each for each in documents.moved if 1 - each.cosine > max(MOST_NOISE, 3 * each.noise)]
    yield _finding(
        FindingKind.PASSAGES,
        f"{len(documents.moved)} of {documents.sampled} passages that were embedded again have "
        f"another vector stored (lowest cosine {min(one.cosine for one in documents.moved):.6f})",
        Verdict.FAIL if surely or proved else None,
    )


def _of_queries(queries: Queries, facts: Facts) -> Iterator[Finding]:
    if facts.drift.alarm and not queries.sampled:
        yield _finding(
            FindingKind.DRIFTED,
            "rankings had moved in the nights before, and nothing could be compared tonight",
        )
    elif facts.drift.alarm:
        yield _finding(
            FindingKind.DRIFTED,
            f"rankings moved: {queries.changed} of {queries.sampled} queries find other documents "
            "than before, beyond what repeating them explains",
        )
    elif queries.changed:
        yield _finding(
            FindingKind.UNCERTAIN,
            f"{queries.changed} of {queries.sampled} queries changed; too little to be sure yet",
        )
    if not queries.references:
        yield _finding(
            FindingKind.TOO_FEW,
            "there was nothing to compare with yet; the first check of an index sets its reference "
            "queries, and the next one compares",
        )
    elif queries.sampled < min(FEWEST, queries.references):
        yield _finding(
            FindingKind.TOO_FEW,
            f"only {queries.sampled} of {queries.references} reference queries could be compared",
        )
    yield from _of_noise(queries, facts)
    if queries.recall is not None and queries.recall < RECALL:
        yield _finding(
            FindingKind.RECALL,
            f"the approximate index finds {queries.recall:.1%} of what exact search finds",
        )


def _of_noise(queries: Queries, facts: Facts) -> Iterator[Finding]:
    unsteady = queries.unsteady / queries.repeated if queries.repeated else 0.0
    if facts.reproducibility.alarm and unsteady > facts.baseline.unsteady_high:
        yield _finding(
            FindingKind.NOISY,
            f"identical requests give different lists: {queries.unsteady} of {queries.repeated} "
            "queries sent twice tonight",
            Verdict.FAIL if facts.fail_on_noisy else None,
        )
    high = facts.baseline.noise_high
    if high is not None and queries.noise and max(queries.noise) > high:
        yield _finding(
            FindingKind.NOISE,
            f"the model is noisier than it was: 1 - cos between sends up to "
            f"{max(queries.noise):.1e}, {high:.1e} was usual",
        )
