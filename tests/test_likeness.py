"""Examples for and against, and groups as mean vectors: what holds whatever the vectors are."""

from collections.abc import Sequence
from random import Random
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_app.errors import InvalidInputError, NotFoundError
from search_app.groups import (
    LEAST_PULL,
    MOST_PULL,
    UNKNOWN_PULL,
    Group,
    Grouping,
    by_chance,
    pull_of,
    told,
    vector_of,
)
from search_app.likeness import (
    MOST_EXAMPLES,
    Example,
    check_examples,
    direction,
    read_example,
    reasons_of,
)
from search_app.types import Matrix, Vector

ONE = UUID("3f0f5d0e-8a3c-5f0e-9d58-0c2b7f7a9e11")


def drawn(seed: int, rows: int, dimensions: int = 16) -> Matrix:
    rows_ = np.random.default_rng(seed).standard_normal((rows, dimensions))
    unit: Matrix = (rows_ / np.linalg.norm(rows_, axis=1, keepdims=True)).astype(np.float32)
    return unit


SEEDS = st.integers(0, 10_000)
SIDE = st.integers(1, 6)


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, like=SIDE, unlike=st.integers(0, 6), order=st.randoms(use_true_random=False))
def test_the_order_of_examples_changes_no_bit(
    seed: int, like: int, unlike: int, order: Random
) -> None:
    rows = list(drawn(seed, like + unlike))
    wanted, against = rows[:like], rows[like:]
    asked = direction(wanted, against)
    order.shuffle(wanted)
    order.shuffle(against)
    assert direction(wanted, against).tobytes() == asked.tobytes()
    assert float(np.linalg.norm(asked)) == pytest.approx(1, abs=1e-6)


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, like=SIDE, unlike=st.integers(0, 6))
def test_what_is_wanted_is_nearer_than_what_is_not(seed: int, like: int, unlike: int) -> None:
    rows = drawn(seed, like + unlike)
    asked = direction(list(rows[:like]), list(rows[like:])).astype(np.float64)
    wanted = rows[:like].astype(np.float64).mean(axis=0)
    if unlike:
        against = rows[like:].astype(np.float64).mean(axis=0)
        # Whatever the two are, the difference of them points the way that is asked.
        gain = asked @ wanted - asked @ against
        length = np.linalg.norm(2 * wanted - against)
        expected = ((2 * wanted - against) @ (wanted - against)) / length
        assert gain == pytest.approx(expected, abs=1e-5)
    else:
        others = drawn(seed + 1, 20).astype(np.float64)
        assert asked @ wanted >= np.max(others @ wanted) - 1e-6


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_a_single_example_is_asked_with_bit_for_bit(seed: int) -> None:
    (row,) = drawn(seed, 1)
    assert direction([row]).tobytes() == row.tobytes()
    # Against itself, nothing is taken off but what is doubled before.
    assert direction([row], [row]) @ row == pytest.approx(1, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, like=SIDE)
def test_an_example_given_again_pulls_its_way(seed: int, like: int) -> None:
    rows = list(drawn(seed, like + 1))
    once = direction(rows)
    twice = direction([*rows, rows[0]])
    assert twice @ rows[0] >= once @ rows[0] - 1e-6


def test_examples_that_cancel_each_other_out_are_refused() -> None:
    (row,) = drawn(1, 1)
    with pytest.raises(InvalidInputError, match="cancel each other out"):
        direction([row, -row])
    third = drawn(2, 1)[0]
    with pytest.raises(InvalidInputError, match="cancel each other out"):
        direction([row, third, -row, -third])


# Reading and checking


@pytest.mark.parametrize(
    ("written", "example"),
    [
        (str(ONE), Example(kind="passage", id=ONE)),
        (f"  {ONE} ", Example(kind="passage", id=ONE)),
        (f"passage:{ONE}", Example(kind="passage", id=ONE)),
        (f"document:{ONE}", Example(kind="document", id=ONE)),
        ("text:quiet places: libraries", Example(kind="text", text="quiet places: libraries")),
    ],
)
def test_examples_are_read_and_written_alike(written: str, example: Example) -> None:
    assert read_example(written) == example
    assert read_example(str(example)) == example


@pytest.mark.parametrize("written", ["", "x", "text:", "text:  ", "document:x", f"file:{ONE}", ":"])
def test_what_is_no_example_is_refused(written: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read; write the id of a passage"):
        read_example(written)


@settings(max_examples=200, deadline=None)
@given(words=st.text(min_size=1, max_size=60).filter(lambda text: text.strip() == text))
def test_any_text_can_be_an_example(words: str) -> None:
    assert read_example(f"text:{words}").text == words


def text_example(words: str) -> Example:
    return Example(kind="text", text=words)


@pytest.mark.parametrize(
    ("like", "unlike", "reason"),
    [
        ([], [], "there is no example"),
        ([], ["a"], "only examples against"),
        (["a", "b"], ["c", "a"], "given both for and against"),
        ([str(n) for n in range(MOST_EXAMPLES)], ["x"], "at most 100"),
    ],
)
def test_examples_that_cannot_be_meant(like: list[str], unlike: list[str], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        check_examples([text_example(each) for each in like], [text_example(e) for e in unlike])


def test_the_reason_is_the_nearest_example_on_each_side() -> None:
    rows = drawn(3, 5)
    examples = [text_example(str(n)) for n in range(4)]
    like = dict(zip(examples[:2], rows[:2], strict=True))
    unlike = dict(zip(examples[2:], rows[2:4], strict=True))
    reason = reasons_of({ONE: rows[4]}, like, unlike)[ONE]
    assert reason.like == max(like, key=lambda each: float(like[each] @ rows[4]))
    assert reason.unlike == max(unlike, key=lambda each: float(unlike[each] @ rows[4]))
    assert reason.cosine == pytest.approx(float(like[reason.like] @ rows[4]), abs=1e-6)
    assert reasons_of({ONE: rows[4]}, like, {})[ONE].unlike is None
    assert reasons_of({}, like, unlike) == {}


# Groups


def grouping_of(rows: Sequence[Matrix], pull: float = 2.0) -> Grouping:
    means = [each.astype(np.float64).mean(axis=0) for each in rows]
    everything = np.concatenate(rows).astype(np.float64).mean(axis=0)
    groups = [
        Group(
            value=f"group {number}",
            documents=len(each),
            passages=len(each),
            drawn=len(each),
            mean=mean,
            length=float(np.linalg.norm(mean)),
            by_chance=0.5,
        )
        for number, (each, mean) in enumerate(zip(rows, means, strict=True))
    ]
    return Grouping(
        target=None,  # type: ignore[arg-type] # read only where something is wrong
        field="meta.author",
        groups=groups,
        mean=everything,
        length=float(np.linalg.norm(everything)),
        pull=pull,
    )


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, sizes=st.lists(st.integers(1, 8), min_size=2, max_size=5))
def test_a_group_is_asked_with_what_sets_it_apart(seed: int, sizes: list[int]) -> None:
    found = grouping_of([drawn(seed + n, size) for n, size in enumerate(sizes)])
    group = found.groups[0]
    vector, known = vector_of(found, group, None, "group 0")
    assert known.basis == "passages"
    assert known.share == pytest.approx(sizes[0] / (sizes[0] + found.pull))
    apart = group.mean - found.mean
    assert vector @ apart == pytest.approx(np.linalg.norm(apart), abs=1e-5)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, sizes=st.lists(st.integers(1, 8), min_size=2, max_size=4))
def test_a_description_draws_a_group_toward_it_the_more_the_fewer_passages(
    seed: int, sizes: list[int]
) -> None:
    found = grouping_of([drawn(seed + n, size) for n, size in enumerate(sizes)])
    described = drawn(seed + 99, 1)[0]
    toward = described - found.mean
    alone, _ = vector_of(found, found.groups[0], None, "group 0")
    with_it, known = vector_of(found, found.groups[0], described, "group 0")
    assert known.basis == "described"

    def cosine(vector: Vector) -> float:
        return float(vector @ toward / np.linalg.norm(toward))

    assert cosine(with_it) >= cosine(alone) - 1e-6


def test_what_is_known_of_a_group_is_said() -> None:
    rows = [drawn(1, 1), drawn(2, 40)]
    found = grouping_of(rows)
    one, many = [vector_of(found, each, None, "")[1] for each in found.groups]
    assert "of so few passages" in told(one)
    assert "1 passage apart" in told(one)
    assert "of so few" not in told(many)
    described = drawn(3, 1)[0]
    vector, known = vector_of(found, None, described, "new")
    assert vector.tobytes() == described.tobytes()
    assert told(known) == "by the description alone: no document is of this group yet"


def test_groups_that_nothing_sets_apart_are_asked_with_their_mean() -> None:
    same = np.tile(drawn(1, 1), (3, 1))
    found = grouping_of([same, same])
    vector, known = vector_of(found, found.groups[0], None, "")
    assert known.basis == "everything"
    assert vector @ same[0] == pytest.approx(1, abs=1e-6)
    assert found.all_alike
    opposite = np.stack([same[0], -same[0]])
    with pytest.raises(InvalidInputError, match="cancel each other out"):
        vector_of(grouping_of([opposite, opposite]), grouping_of([opposite]).groups[0], None, "x")


@settings(max_examples=200, deadline=None)
@given(length=st.floats(0, 1), number=st.integers(1, 10_000))
def test_a_length_by_chance_lies_between_that_of_everything_and_one(
    length: float, number: int
) -> None:
    assert length - 1e-9 <= by_chance(length, number) <= 1 + 1e-9
    assert by_chance(length, number) >= by_chance(length, number + 1) - 1e-12
    assert by_chance(length, 1) == pytest.approx(1)


@settings(max_examples=200, deadline=None)
@given(
    length=st.floats(0, 1),
    groups=st.lists(st.tuples(st.integers(1, 50), st.floats(0, 1)), min_size=1, max_size=8),
)
def test_the_pull_has_bounds(length: float, groups: list[tuple[int, float]]) -> None:
    pull = pull_of(length, groups)
    assert LEAST_PULL <= pull <= MOST_PULL
    if all(number == 1 for number, _ in groups):
        assert pull == UNKNOWN_PULL


def test_the_pull_is_the_spread_within_groups_over_that_between_them() -> None:
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((200, 32)) * 1.0
    rows = centres[:, None, :] + draw.standard_normal((200, 20, 32)) * 2.0
    unit = rows / np.linalg.norm(rows, axis=2, keepdims=True)
    length = float(np.linalg.norm(unit.mean(axis=(0, 1))))
    lengths = [(20, float(np.linalg.norm(each.mean(axis=0)))) for each in unit]
    # Variances of 4 and 1: what is known without a group counts for four passages of it.
    assert pull_of(length, lengths) == pytest.approx(4, rel=0.15)


def test_nothing_is_made_up_of_an_unknown_group() -> None:
    found = grouping_of([drawn(1, 3)])
    target = type("Target", (), {"collection": type("Collection", (), {"name": "default"})})
    object.__setattr__(found, "target", target)
    with pytest.raises(NotFoundError, match=r"nothing is known of 'nobody'.*describe it in words"):
        vector_of(found, None, None, "nobody")


def test_ids_name_examples_apart() -> None:
    assert len({Example(kind="passage", id=uuid4()) for _ in range(3)}) == 3
