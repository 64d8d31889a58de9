"""What a map is coloured by: the values of a field, as few groups with a name each."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search_app.types import JSON, Matrix

MOST_VALUES = 20
"""Values that have a colour of their own, the commonest; more cannot be told apart."""

MOST_STEPS = 8
"""Steps from low to high that numbers and dates are put into, of about as many points each."""

GRID = 24
"""Cells in each direction by which it is told where most of a group lies."""

LONGEST_LABEL = 80
_DAY = re.compile(r"\d{4}-\d\d-\d\d")

GroupKind = Literal["value", "others", "none"]
Codes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Points of one colour: those with a value, with any rarer one, or with none.

    ``x`` and ``y`` are where most of them lie.
    """

    code: int
    kind: GroupKind
    label: str
    count: int
    x: float
    y: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouping:
    """The group of each point, (n,) uint8, and the groups; ``ordered`` ones go from low to high."""

    codes: Codes
    groups: Sequence[Group]
    ordered: bool


def grouping_of(
    values: Sequence[str],
    xy: Matrix,
    *,
    last_of_several: bool = False,
    names: Mapping[int, str] | None = None,
) -> Grouping:
    """Put points at ``xy`` (n, 2) into groups by their values, texts of JSON.

    Of several values the first counts, or the last. ``names`` are those of clusters, by number;
    -1 is in none.
    """
    texts, which = np.unique(np.array(values, object).astype(str), return_inverse=True)
    found = [_single(json.loads(text), last=last_of_several) for text in texts.tolist()]
    if names is not None:
        found = [None if value == -1 else value for value in found]
    counts = Counter[JSON]()
    for value, number in zip(found, np.bincount(which, minlength=len(texts)).tolist(), strict=True):
        if value is not None:
            counts[_key(value)] += number
    ordered = names is None and _ordered(list(counts))
    labels, group_of = _stepped(counts) if ordered else _commonest(counts, names or {})
    others, absent = len(labels), len(labels) + 1
    by_text = [absent if value is None else group_of.get(_key(value), others) for value in found]
    codes = np.array(by_text, np.uint8)[which.ravel()] if values else np.empty(0, np.uint8)
    kinds: list[tuple[GroupKind, str]] = [("value", label) for label in labels]
    groups = []
    for code, (kind, label) in enumerate([*kinds, ("others", ""), ("none", "")]):
        inside = xy[codes == code]
        if len(inside):
            x, y = _thickest(inside)
            groups.append(Group(code=code, kind=kind, label=label, count=len(inside), x=x, y=y))
    return Grouping(codes=codes, groups=groups, ordered=ordered)


def _single(value: JSON, *, last: bool) -> JSON:
    if isinstance(value, list):
        value = value[-1 if last else 0] if value else None
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _key(value: JSON) -> JSON:
    # True and 1 are one key of a dictionary, and no one value.
    return str(value).lower() if isinstance(value, bool) else value


def _ordered(values: Sequence[JSON]) -> bool:
    numbers = all(isinstance(value, int | float) for value in values)
    days = all(isinstance(value, str) and _DAY.match(value) for value in values)
    return bool(values) and (numbers or days)


def _stepped(counts: Mapping[JSON, int]) -> tuple[list[str], dict[JSON, int]]:
    """Cut values from low to high into steps of about as many points each."""
    values = sorted(counts)
    if len(values) <= MOST_STEPS:
        return [_label(value) for value in values], {each: at for at, each in enumerate(values)}
    before = np.cumsum([0, *(counts[value] for value in values)])[:-1]
    steps = (before * MOST_STEPS // sum(counts.values())).tolist()
    used = sorted(set(steps))
    group_of = {value: used.index(step) for value, step in zip(values, steps, strict=True)}
    labels = []
    for step in range(len(used)):
        inside = [value for value in values if group_of[value] == step]
        low, high = _label(inside[0]), _label(inside[-1])
        labels.append(low if low == high else f"{low} – {high}")
    return labels, group_of


def _commonest(
    counts: Mapping[JSON, int], names: Mapping[int, str]
) -> tuple[list[str], dict[JSON, int]]:
    best = sorted(counts, key=lambda value: (-counts[value], str(value)))[:MOST_VALUES]
    labels = [names.get(value) or _label(value) for value in best]
    return labels, {value: at for at, value in enumerate(best)}


def _label(value: JSON) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def _thickest(xy: Matrix) -> tuple[float, float]:
    """Give the middle of the points in and about the cell that has most of them."""
    cells = np.clip(((xy + 1) / 2 * GRID).astype(int), 0, GRID - 1)
    padded = np.zeros((GRID + 2, GRID + 2), int)
    np.add.at(padded, (cells[:, 0] + 1, cells[:, 1] + 1), 1)
    around = sum(padded[dx : dx + GRID, dy : dy + GRID] for dx in range(3) for dy in range(3))
    best = np.array(np.unravel_index(np.argmax(around), (GRID, GRID)))
    inside = xy[(np.abs(cells - best) <= 1).all(axis=1)]
    x, y = inside.mean(axis=0).tolist()
    return x, y
