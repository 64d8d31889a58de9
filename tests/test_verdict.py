"""What facts come to: the gravest first, and never healthy where something is unknown."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from search_app.consistency.evidence import ALARM, ALTERNATIVES, Evidence
from search_app.consistency.types import (
    Canaries,
    Fault,
    FaultKind,
    FindingKind,
    Integrity,
    Layers,
    Queries,
    Verdict,
)
from search_app.consistency.verdict import Baseline, Facts, decide

CERTAIN = Evidence(processes=(ALARM,) * len(ALTERNATIVES))
IDS = [UUID(int=1), UUID(int=2)]


def queries(**values: Any) -> Queries:
    usual = {
        "references": 100,
        "sampled": 43,
        "changed": 0,
        "repeated": 20,
        "unsteady": 0,
        "near_ties": 0,
        "tolerance": 0.002,
    }
    return Queries(**{**usual, **values})


def night(
    *,
    found: Queries | None = None,
    faults: Sequence[Fault] = (),
    outcome: str = "same",
    **other: Any,
) -> Facts:
    found = found or queries()
    layers = Layers(
        integrity=Integrity(scanned=1000, faults=faults),
        canaries=Canaries(outcome=outcome, lowest_cosine=0.5, canary="short"),
        queries=found,
    )
    facts = Facts(
        layers=layers,
        drift=Evidence(),
        reproducibility=Evidence(),
    )
    return replace(facts, **other)


def fault(kind: FaultKind) -> Fault:
    return Fault(kind=kind, ids=IDS, detail="")


def test_a_night_without_findings_is_stable() -> None:
    assert decide(night()) == (Verdict.STABLE, [])


@pytest.mark.parametrize(
    ("facts", "verdict", "kind"),
    [
        (night(faults=[fault(FaultKind.ALTERED)]), Verdict.FAIL, FindingKind.CORRUPT),
        (night(faults=[fault(FaultKind.STALE_TEXT)]), Verdict.WARN, FindingKind.STALE),
        (night(outcome="other model"), Verdict.FAIL, FindingKind.MODEL_CHANGED),
        (night(outcome="new build"), Verdict.WARN, FindingKind.NEW_BUILD),
        (night(found=queries(changed=5), drift=CERTAIN), Verdict.FAIL, FindingKind.DRIFTED),
        (night(found=queries(changed=1)), Verdict.INCONCLUSIVE, FindingKind.UNCERTAIN),
        (night(found=queries(sampled=29)), Verdict.INCONCLUSIVE, FindingKind.TOO_FEW),
        (night(found=queries(references=0, sampled=0)), Verdict.INCONCLUSIVE, FindingKind.TOO_FEW),
        (night(unreachable=["no store"]), Verdict.INCONCLUSIVE, FindingKind.UNREACHABLE),
        (
            night(found=queries(unsteady=9), reproducibility=CERTAIN),
            Verdict.WARN,
            FindingKind.NOISY,
        ),
        (
            night(found=queries(unsteady=9), reproducibility=CERTAIN, fail_on_noisy=True),
            Verdict.FAIL,
            FindingKind.NOISY,
        ),
        (night(found=queries(recall=0.5)), Verdict.WARN, FindingKind.RECALL),
        (
            night(found=queries(noise=[1e-3]), baseline=Baseline(noise_high=1e-4)),
            Verdict.WARN,
            FindingKind.NOISE,
        ),
    ],
)
def test_each_finding_has_its_verdict(facts: Facts, verdict: Verdict, kind: FindingKind) -> None:
    assert decide(facts)[0] is verdict
    assert [finding.kind for finding in decide(facts)[1]] == [kind]


def test_all_references_are_enough_where_there_are_few() -> None:
    assert decide(night(found=queries(references=12, sampled=12)))[0] is Verdict.STABLE


def test_accepted_unsteadiness_is_said_again_only_above_it() -> None:
    noisy = night(found=queries(unsteady=8), reproducibility=CERTAIN)
    assert decide(replace(noisy, baseline=Baseline(unsteady_high=0.5)))[0] is Verdict.STABLE
    assert decide(replace(noisy, baseline=Baseline(unsteady_high=0.3)))[0] is Verdict.WARN


def test_the_gravest_is_said_first_and_nothing_is_left_out() -> None:
    verdict, findings = decide(
        night(
            found=queries(changed=2, recall=0.1),
            faults=[fault(FaultKind.STALE_TEXT), fault(FaultKind.ZERO)],
            unreachable=["no answer"],
        )
    )
    assert verdict is Verdict.FAIL
    assert [finding.severity for finding in findings] == [
        Verdict.FAIL,
        Verdict.INCONCLUSIVE,
        Verdict.INCONCLUSIVE,
        Verdict.WARN,
        Verdict.WARN,
    ]
    assert [verdict.exit_code for verdict in Verdict] == [2, 3, 1, 0]
