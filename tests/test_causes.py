"""Every signature of the tree of causes: what must show it, what must not, what always holds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.consistency.causes import TREE, UNKNOWN, Signature, explain
from search_app.consistency.hypotheses import Hypothesis, Outcome
from search_app.consistency.spaces import Relation, Spaces
from search_app.consistency.symptoms import Answered, Sample, Symptoms
from search_app.consistency.types import Clause, FaultKind
from search_app.identity import CANARIES

NAMES = [canary.name for canary in CANARIES]


def sample(
    between: Sequence[float] = (0, 0, 0),
    *,
    within: float = 0.0,
    norms: Sequence[float] | None = None,
    flagged: Sequence[int] = (),
    elsewhere: Sequence[int] = (),
    **more: Any,
) -> Sample:
    places = np.arange(len(between))
    return Sample(
        between=np.array(between, np.float64),
        within=np.full(len(between), within),
        norms=np.ones(len(between)) if norms is None else np.array(norms, np.float64),
        flagged=np.isin(places, flagged),
        elsewhere=np.isin(places, elsewhere),
        **more,
    )


def canaries(far: float = 0.0, **others: float) -> dict[str, float]:
    return {name: others.get(name.replace("-", "_"), far) for name in NAMES}


THEN, NOW = Clause(sentence="texts were so"), Clause(sentence="texts are so now")


def tried(cause: str, *, then: int = 0, now: int = 0, of: int = 3) -> Outcome:
    hypothesis = Hypothesis(name="some", cause=cause, edit=str.lower, then=THEN, now=NOW)
    return Outcome(hypothesis=hypothesis, tried=of, then=then, now=now)


QUIET = Symptoms(
    documents=sample(),
    canaries_between=canaries(),
    canaries_within=canaries(),
    queries_between=[0.0] * 43,
    queries_within=[0.0] * 20,
    recall=1.0,
    spaces=Spaces(relation=Relation.ROTATED, alignment=1.0, texts=43),
)


def with_(**changes: Any) -> Symptoms:
    return replace(QUIET, **changes)


def faulty(**numbers: int) -> dict[FaultKind, int]:
    return {FaultKind[name.upper()]: number for name, number in numbers.items()}


SWAPPED = with_(
    documents=sample([0.4, 0.5, 0.3]),
    canaries_between=canaries(0.4),
    queries_between=[0.4] * 43,
    changed=[(0.4, 0.0)] * 40,
    spaces=Spaces(relation=Relation.UNRELATED, alignment=0.1, texts=43),
)
NOISY = with_(
    documents=sample([3e-3, 2e-3, 3e-3], within=3e-3),
    canaries_between=canaries(3e-3),
    canaries_within=canaries(3e-3),
    queries_between=[3e-3] * 43,
    queries_within=[3e-3] * 20,
    limit=9e-3,
)

SHOWS: Mapping[str, Sequence[Symptoms]] = {
    "wrong_mapping": [
        with_(documents=sample([0.3, 0, 0.4], elsewhere=[0, 2])),
        with_(documents=sample([0.3, 0.2, 0.4], elsewhere=[0, 1, 2], shifts=[1, 1, 1])),
    ],
    "collapse": [with_(faults=faulty(collapsed=2))],
    "stale_text": [with_(faults=faulty(stale_text=1))],
    "normalisation": [
        with_(faults=faulty(norm=100), documents=sample(norms=[0.5, 0.5, 1])),
        # None of those that were drawn: then nobody knows where they point.
        with_(faults=faulty(norm=3)),
        with_(faults=faulty(norm=3), documents=None),
    ],
    "truncated_dimensions": [
        with_(documents=sample([0.2, 0.3, 0.2], head=np.zeros(3), head_dimensions=192)),
        with_(answered=Answered(dimensions=256, head=1e-5)),
    ],
    "stored_dtype": [with_(grids={"fp16": 4000}), with_(grids={"int8": 1, "bf16": 3})],
    "corruption": [
        with_(faults=faulty(altered=1)),
        with_(faults=faulty(not_finite=2), documents=sample([1, 0, 0], flagged=[0])),
        with_(faults=faulty(zero=2), documents=None),
    ],
    "lost_or_left": [with_(faults=faulty(missing=3)), with_(faults=faulty(orphaned=1))],
    "prefix": [
        with_(prefixed=12),
        with_(faults=faulty(prefix=3)),
        with_(tried=[tried("prefix", then=2)], documents=sample([0.05, 0.04, 0.03])),
        with_(tried=[tried("prefix", now=3)], canaries_between=canaries(0.05)),
    ],
    "truncation": [
        with_(tried=[tried("truncation", now=3)], documents=sample([0.05, 0.04, 0])),
        with_(canaries_between=canaries(long=0.05)),
        with_(canaries_between=canaries(long=0.05, long_truncated=0.02)),
    ],
    "preprocessing": [
        with_(tried=[tried("text preprocessing", then=3)], documents=sample([0.01, 0.02, 0])),
    ],
    "tokenizer": [
        with_(canaries_between=canaries(accents=0.05)),
        with_(canaries_between=canaries(case_upper=0.05, case_lower=0.01)),
    ],
    "index_error": [with_(recall=0.42), with_(recall=0.0)],
    "batch_noise": [
        NOISY,
        # In company only.
        with_(canaries_within=canaries(1e-3)),
        with_(queries_within=[0.0] * 19 + [2e-3]),
    ],
    "build": [with_(canaries_between=canaries(1.2e-4))],
    "model_swap": [SWAPPED, with_(answered=Answered(dimensions=1024, head=0.9))],
    "other_answers": [with_(changed=[(0.05, 0.0), (0.04, 0.0)], queries_between=[0.05, 0.04, 0])],
    "foreign_vectors": [with_(documents=sample([0.4, 0, 0]))],
    "noise_at_ingest": [with_(documents=sample([5e-4, 0, 0]))],
}
"""For each signature, by the name of its function, symptoms in which it must hold."""

HIDES: Mapping[str, Sequence[Symptoms]] = {
    "wrong_mapping": [with_(documents=sample([0.3, 0, 0])), with_(documents=None)],
    "collapse": [with_(faults=faulty(altered=2))],
    "stale_text": [with_(faults=faulty(stale=1))],
    "normalisation": [
        # Another length and another direction.
        with_(faults=faulty(norm=2), documents=sample([0.2, 0, 0], norms=[0.5, 1, 1])),
        with_(documents=sample(norms=[0.5, 1, 1])),
    ],
    "truncated_dimensions": [
        with_(documents=sample([0.2] * 3, head=np.full(3, 0.2), head_dimensions=192)),
        with_(answered=Answered(dimensions=256, head=0.2)),
        with_(documents=None),
    ],
    "stored_dtype": [QUIET],
    "corruption": [
        with_(faults=faulty(altered=9), grids={"fp16": 9}),
        with_(faults=faulty(altered=9, norm=9), documents=sample(norms=[2, 2, 2])),
        with_(faults=faulty(altered=9), documents=sample([0.3, 0, 0], elsewhere=[0])),
        with_(faults=faulty(missing=9)),
    ],
    "lost_or_left": [with_(faults=faulty(altered=3))],
    "prefix": [
        with_(tried=[tried("prefix", then=1)]),
        with_(tried=[tried("truncation", then=3)]),
    ],
    "truncation": [
        with_(canaries_between=canaries(0.05)),
        with_(canaries_between=canaries(long=0.05, emoji=0.02)),
        with_(canaries_between=canaries(long=1e-4)),
        with_(tried=[tried("truncation", now=1)]),
    ],
    "preprocessing": [with_(tried=[tried("text preprocessing", then=1, now=1)])],
    "tokenizer": [
        with_(canaries_between=canaries(accents=0.05, japanese=0.02)),
        with_(
            canaries_between=canaries(case_upper=0.05),
            tried=[tried("text preprocessing", now=3)],
        ),
    ],
    "index_error": [with_(recall=None), with_(recall=0.9)],
    "batch_noise": [
        SWAPPED,
        # Noise, and a change that is far beyond it.
        replace(SWAPPED, canaries_within=canaries(1e-3), queries_within=[1e-3] * 20),
        with_(canaries_within=canaries(1e-9)),
    ],
    "build": [SWAPPED, NOISY, with_(canaries_between=canaries(1e-8))],
    "model_swap": [NOISY, with_(canaries_between=canaries(1.2e-4)), with_(recall=0.1)],
    "other_answers": [
        SWAPPED,
        # No further than answers of one time are.
        with_(changed=[(0.05, 0.03)] * 2),
        # One alone may have been a noisy send.
        with_(changed=[(0.05, 0.0)]),
        # Few of the lists that changed.
        with_(changed=[(0.05, 0.0), (1e-5, 0.0), (1e-5, 0.0)]),
    ],
    "foreign_vectors": [
        SWAPPED,
        with_(documents=sample([0.4, 0, 0], flagged=[0])),
        with_(documents=sample([0.4, 0, 0], elsewhere=[0])),
        with_(documents=sample([5e-4, 0, 0])),
    ],
    "noise_at_ingest": [
        SWAPPED,
        with_(documents=sample([0.4, 5e-4, 0])),
        with_(documents=sample([5e-4, 0, 0], flagged=[0])),
        # A new build moves the canaries as well.
        with_(documents=sample([5e-4, 5e-4, 5e-4]), canaries_between=canaries(5e-4)),
    ],
}
"""Likewise, symptoms in which it must not hold."""


def signature(function: str) -> Signature:
    (found,) = [each for each in TREE if each.seen.__name__ == function]
    return found


def pairs(cases: Mapping[str, Sequence[Symptoms]]) -> list[Any]:
    return [
        pytest.param(name, symptoms, id=f"{name}-{number}")
        for name, several in cases.items()
        for number, symptoms in enumerate(several)
    ]


def test_every_signature_has_cases() -> None:
    functions = {each.seen.__name__ for each in TREE}
    assert set(SHOWS) == set(HIDES) == functions
    assert all(each.remedy for each in TREE)


@pytest.mark.parametrize(("function", "symptoms"), pairs(SHOWS))
def test_what_shows_a_cause(function: str, symptoms: Symptoms) -> None:
    expected = signature(function)
    seen = expected.seen(symptoms)
    assert seen is not None
    found = explain(symptoms)
    assert [cause.name for cause in found] == [expected.name]
    assert (found[0].clauses, found[0].confirmed) == seen
    assert (found[0].remedy, UNKNOWN in found) == (expected.remedy, False)


@pytest.mark.parametrize(("function", "symptoms"), pairs(HIDES))
def test_what_does_not_show_it(function: str, symptoms: Symptoms) -> None:
    assert signature(function).seen(symptoms) is None


def test_only_what_was_embedded_again_is_confirmed() -> None:
    generic = {each.name for each in TREE if each.generic}
    for function, several in SHOWS.items():
        for symptoms in several:
            (cause,) = explain(symptoms)
            if cause.name in generic:
                assert not cause.confirmed, function
    assert explain(with_(tried=[tried("prefix", then=3)]))[0].confirmed
    assert not explain(with_(canaries_between=canaries(long=0.05)))[0].confirmed


def test_specific_causes_keep_generic_ones_away() -> None:
    restored = replace(SWAPPED, tried=[tried("prefix", now=3)])
    assert [cause.name for cause in explain(restored)] == ["prefix"]
    # What is stored is explained, and what the model answers is not.
    mapped = replace(SWAPPED, documents=sample([0.3, 0.4, 0.3], elsewhere=[0, 1, 2]))
    assert [cause.name for cause in explain(mapped)] == ["wrong mapping", "model swap"]


def test_two_faults_are_both_named() -> None:
    both = with_(faults=faulty(missing=2, stale_text=1), recall=0.5)
    assert [cause.name for cause in explain(both)] == [
        "stale text",
        "lost or left behind",
        "approximate index",
    ]


def test_what_nothing_explains_is_unknown() -> None:
    lists = with_(changed=[(1e-7, 0.0)])
    assert explain(lists) == [UNKNOWN]
    assert explain(QUIET) == []
    assert explain(Symptoms()) == []


def test_the_shift_of_an_ordering_bug_is_told() -> None:
    told = explain(with_(documents=sample([0.3] * 3, elsewhere=[0, 1, 2], shifts=[1, 1])))[0]
    assert "each is +1 places off" in told.evidence
    mixed = explain(with_(documents=sample([0.3] * 3, elsewhere=[0, 1, 2], shifts=[1, 2])))[0]
    assert "places off" not in mixed.evidence


DISTANCES = st.sampled_from([0.0, 1e-8, 1e-6, 1e-4, 1e-3, 4e-3, 0.05, 1.0, 2.0]) | st.floats(0, 2)
SHARES = st.integers(0, 3)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    size = draw(st.integers(0, 6))

    def column(values: Any) -> Any:
        return np.array(draw(st.lists(values, min_size=size, max_size=size)))

    head = draw(st.booleans()) and size > 0
    return Sample(
        between=column(DISTANCES).astype(np.float64),
        within=column(DISTANCES).astype(np.float64),
        norms=column(st.floats(0, 1e6)).astype(np.float64),
        flagged=column(st.booleans()).astype(np.bool_),
        elsewhere=column(st.booleans()).astype(np.bool_),
        shifts=draw(st.lists(st.integers(-9, 9), max_size=4)),
        head=column(DISTANCES).astype(np.float64) if head else None,
        head_dimensions=draw(st.integers(1, 384)) if head else None,
    )


OUTCOMES = st.builds(
    lambda cause, then, now, more: tried(cause, then=then, now=now, of=max(1, then, now) + more),
    st.sampled_from(["prefix", "truncation", "text preprocessing"]),
    SHARES,
    SHARES,
    SHARES,
)
SYMPTOMS = st.builds(
    Symptoms,
    documents=st.none() | samples(),
    canaries_between=st.dictionaries(st.sampled_from(NAMES), DISTANCES),
    canaries_within=st.dictionaries(st.sampled_from(NAMES), DISTANCES),
    queries_between=st.lists(DISTANCES, max_size=5),
    queries_within=st.lists(DISTANCES, max_size=5),
    changed=st.lists(st.tuples(DISTANCES, DISTANCES), max_size=4),
    faults=st.dictionaries(st.sampled_from(FaultKind), st.integers(1, 10**6), max_size=4),
    grids=st.dictionaries(st.sampled_from(["fp16", "bf16", "int8"]), st.integers(1, 9)),
    recall=st.none() | st.floats(0, 1),
    prefixed=st.sampled_from([0, 0, 0, 3]),
    limit=st.floats(1e-3, 0.05),
    tried=st.lists(OUTCOMES, max_size=3),
    spaces=st.none()
    | st.builds(
        Spaces, relation=st.sampled_from(Relation), alignment=st.floats(-1, 1), texts=st.just(43)
    ),
    answered=st.none() | st.builds(Answered, dimensions=st.integers(1, 999), head=DISTANCES),
)


@given(SYMPTOMS)
def test_whatever_was_seen_something_can_be_said(symptoms: Symptoms) -> None:
    found = explain(symptoms)
    holding = [each for each in TREE if each.seen(symptoms) is not None]
    names = [cause.name for cause in found]
    assert len(set(names)) == len(names)
    assert set(names) - {"unknown"} <= {each.name for each in holding}
    # Every specific one, and none is unknown where one holds.
    assert {each.name for each in holding if not each.generic} <= set(names)
    assert (UNKNOWN in found) <= (not holding)
    if holding:
        assert found
    generic = {each.name for each in TREE if each.generic}
    flags = [name in generic for name in names]
    assert flags == sorted(flags)
    assert all(cause.evidence and cause.remedy for cause in found)


@given(SYMPTOMS, st.randoms())
def test_the_order_of_rows_does_not_matter(symptoms: Symptoms, random: Any) -> None:
    def shuffled(values: Sequence[Any]) -> list[Any]:
        return list(random.sample(list(values), len(values)))

    documents = symptoms.documents
    if documents is not None:
        order = np.array(shuffled(range(len(documents.between))), np.intp)
        documents = replace(
            documents,
            between=documents.between[order],
            within=documents.within[order],
            norms=documents.norms[order],
            flagged=documents.flagged[order],
            elsewhere=documents.elsewhere[order],
            shifts=shuffled(documents.shifts),
            head=None if documents.head is None else documents.head[order],
        )
    again = replace(
        symptoms,
        documents=documents,
        canaries_between=dict(shuffled([*symptoms.canaries_between.items()])),
        canaries_within=dict(shuffled([*symptoms.canaries_within.items()])),
        queries_between=shuffled(symptoms.queries_between),
        queries_within=shuffled(symptoms.queries_within),
        changed=shuffled(symptoms.changed),
        faults=dict(shuffled([*symptoms.faults.items()])),
        tried=shuffled(symptoms.tried),
    )
    before, after = explain(symptoms), explain(again)
    assert [(cause.name, cause.confirmed, cause.remedy) for cause in before] == [
        (cause.name, cause.confirmed, cause.remedy) for cause in after
    ]


@given(
    st.lists(st.floats(0, 1e-6), max_size=6),
    st.lists(st.floats(0, 1e-6), min_size=12, max_size=12),
    st.lists(st.floats(0, 1e-6), max_size=43),
)
def test_no_difference_has_no_cause(
    between: list[float], fixed: list[float], asked: list[float]
) -> None:
    nothing = with_(
        documents=sample(between),
        canaries_between=dict(zip(NAMES, fixed, strict=True)),
        queries_between=asked,
        recall=0.95,
    )
    assert explain(nothing) == []
