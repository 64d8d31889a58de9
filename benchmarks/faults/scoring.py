"""From episodes to figures."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmarks.faults.catalogue import TENTH
from search_app.consistency.evidence import interval

LIMIT_OF_PAID = 100


@dataclass(frozen=True, kw_only=True)
class Night:
    """What a check said; causes with whether they were confirmed."""

    verdict: str
    findings: Sequence[str]
    causes: Mapping[str, bool]
    texts: int
    decided_after: int | None
    changed: int
    sampled: int
    listed: bool | None = None
    """Whether every passage that an integrity scan must list was listed by kind and id."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One planting and the nights after it, up to the first that found it."""

    name: str
    world: str
    seed: int
    expected: Sequence[str]
    causes: Sequence[str]
    nights: Sequence[Night]
    alarms: Mapping[str, bool] = field(default_factory=dict)
    null: bool = False
    true_share: float | None = None

    @property
    def found(self) -> Night | None:
        """The first night whose verdict is right."""
        return next((night for night in self.nights if night.verdict in self.expected), None)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure and what it is to reach; ``reached`` None where it was not measured.

    A run ends with an error where one that is ``vital`` is not reached: right verdicts, no false
    ones. Of the rest the table tells.
    """

    name: str
    value: str
    target: str
    reached: bool | None
    vital: bool = True


def figures(episodes: Sequence[Episode]) -> list[Figure]:
    """Compare with what is to be reached."""
    nulls = [each for each in episodes if each.null]
    planted = [each for each in episodes if not each.null]
    loud = _of(nulls, "noise 0.085")
    quiet = [*_of(nulls, "noise 1e-4"), *_of(nulls, "noise 5e-3")]
    swaps = [each for each in planted if each.name in {"another model", "a rotation"}]
    tenth = [each for each in planted if each.name == TENTH]
    integrity = [each for each in planted if any(n.listed is not None for n in each.nights)]
    macro, wrong = causes(planted)
    false_fails = sum(any(n.verdict == "fail" for n in each.nights) for each in nulls)
    paid = [n.texts for each in nulls for n in each.nights if "free" not in each.world]
    still = [
        n.texts
        for each in nulls
        for n in each.nights
        if "free" not in each.world and n.verdict == "stable"
    ]
    return [
        _share(
            "integrity faults listed by id, with no text sent",
            integrity,
            lambda each: bool(each.nights[0].listed),
            1.0,
        ),
        _share("full swap: FAIL the first night, within 3 texts", swaps, _at_once, 1.0),
        Figure(
            name=f"false FAILs over {len(nulls)} null episodes",
            value=str(false_fails),
            target="0",
            reached=not false_fails if nulls else None,
        ),
        _share(
            "NOISY within two nights, noise 0.085 on every send",
            loud,
            lambda each: any("noisy" in n.findings for n in each.nights[:2]),
            0.99,
        ),
        _share(
            "NOISY never, noise 1e-4 and 5e-3",
            quiet,
            lambda each: all("noisy" not in n.findings for n in each.nights),
            0.99,
        ),
        Figure(
            name="cause macro-F1 over detected episodes",
            value=f"{macro:.3f}",
            target=">= 0.95",
            reached=macro >= 0.95 if planted else None,
            vital=False,
        ),
        Figure(
            name="confidently wrong causes",
            value=f"{wrong:.1%}",
            target="<= 1 %",
            reached=wrong <= 0.01 if planted else None,
        ),
        Figure(
            name="texts on a quiet night, paid (largest; all nights of nulls)",
            value=f"{max(still, default=0)}; {max(paid, default=0)}",
            target="<= 100",
            reached=max(still, default=0) <= LIMIT_OF_PAID if still else None,
            vital=False,
        ),
        _share(
            "a tenth of the queries changed: FAIL within 4 nights",
            tenth,
            lambda each: any(n.verdict == "fail" for n in each.nights[:4]),
            0.95,
        ),
        _coverage([*tenth, *_of(nulls, "bit-exact")]),
    ]


def _of(episodes: Sequence[Episode], world: str) -> list[Episode]:
    return [each for each in episodes if each.world == world]


def _at_once(episode: Episode) -> bool:
    night = episode.nights[0]
    return (
        night.verdict == "fail"
        and "model_changed" in night.findings
        and night.decided_after is not None
        and night.decided_after <= 3
    )


def _share(
    name: str, episodes: Sequence[Episode], right: Callable[[Episode], bool], target: float
) -> Figure:
    if not episodes:
        return Figure(name=name, value="not run", target=f">= {target:.0%}", reached=None)
    number = sum(right(each) for each in episodes)
    return Figure(
        name=name,
        value=f"{number} of {len(episodes)}",
        target=f">= {target:.0%}",
        reached=number >= target * len(episodes),
    )


def _coverage(episodes: Sequence[Episode]) -> Figure:
    """Say how often the true share lies below the upper bound of a night."""
    inside, number = 0, 0
    for each in episodes:
        for night in each.nights:
            if each.true_share is not None and night.sampled:
                number += 1
                inside += interval(night.changed, night.sampled).high >= each.true_share
    return Figure(
        name="nights whose upper bound covers the true share",
        value=f"{inside} of {number}",
        target=">= 95%",
        reached=inside >= 0.95 * number if number else None,
    )


def causes(planted: Sequence[Episode]) -> tuple[float, float]:
    """Give macro-F1 of the causes named on the night of detection, and the share sure and wrong."""
    hits: dict[str, int] = defaultdict(int)
    extra: dict[str, int] = defaultdict(int)
    missed: dict[str, int] = defaultdict(int)
    wrong = number = 0
    for each in planted:
        night = each.found
        if night is None or not each.causes:
            continue
        number += 1
        true, named = set(each.causes), set(night.causes)
        for cause in true & named:
            hits[cause] += 1
        for cause in named - true:
            extra[cause] += 1
        for cause in true - named:
            missed[cause] += 1
        wrong += any(sure and cause not in true for cause, sure in night.causes.items())
    # A name that is never true counts too, with nothing right.
    scores = [
        2 * hits[cause] / (2 * hits[cause] + extra[cause] + missed[cause])
        for cause in {*hits, *extra, *missed}
    ]
    return (float(np.mean(scores)) if scores else 0.0, wrong / number if number else 0.0)


def rows(episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """Sum up each null and each fault."""
    groups: dict[tuple[str, str], list[Episode]] = defaultdict(list)
    for each in episodes:
        groups[each.world, each.name].append(each)
    found = []
    for (world, name), group in groups.items():
        nights = [place + 1 for each in group if (place := _place(each)) is not None]
        texts = [_texts(each) for each in group if each.found is not None]
        verdicts: dict[str, int] = defaultdict(int)
        named: dict[str, int] = defaultdict(int)
        for each in group:
            night = each.found or each.nights[-1]
            verdicts[night.verdict] += 1
            for cause in night.causes:
                named[cause] += 1
        found.append(
            {
                "world": world,
                "fault": name,
                "episodes": len(group),
                "found": sum(each.found is not None for each in group),
                "nights": _spread(nights),
                "texts": _spread(texts),
                "verdicts": dict(verdicts),
                "causes": dict(named),
                "true causes": list(group[0].causes),
                "baselines": {
                    key: sum(each.alarms.get(key, False) for each in group)
                    for key in group[0].alarms
                },
            }
        )
    return found


def _place(episode: Episode) -> int | None:
    night = episode.found
    return None if night is None else list(episode.nights).index(night)


def _texts(episode: Episode) -> int:
    """Give the texts sent until the fault was clear."""
    place = _place(episode) or 0
    before = sum(night.texts for night in episode.nights[:place])
    night = episode.nights[place]
    return before + (night.decided_after or night.texts)


def _spread(values: Sequence[int]) -> dict[str, float] | None:
    if not values:
        return None
    return {
        "median": float(np.median(values)),
        "p95": float(np.quantile(values, 0.95)),
    }


def as_markdown(episodes: Sequence[Episode]) -> str:
    """Give figures and rows as two tables."""
    lines = ["| figure | measured | to reach | |", "| --- | --- | --- | --- |"]
    for found in figures(episodes):
        said = "" if found.reached is None else "reached" if found.reached else "not reached"
        lines.append(f"| {found.name} | {found.value} | {found.target} | {said} |")
    head = (
        "world",
        "what was planted",
        "found",
        "nights (median, p95)",
        "texts (median, p95)",
        "causes named",
        *("mean cosine", "MMD", "hash equality", "overlap@10"),
    )
    lines += ["", _row(head), _row(["---"] * len(head))]
    for row in rows(episodes):
        alarms = [str(number) for number in row["baselines"].values()]
        is_null = row["fault"] == "nothing"
        told = ", ".join(f"{name} {number}" for name, number in row["causes"].items())
        verdicts = ", ".join(f"{name} {number}" for name, number in row["verdicts"].items())
        lines.append(
            _row(
                (
                    row["world"],
                    row["fault"],
                    f"{row['found']} of {row['episodes']}" if not is_null else verdicts,
                    _pair(row["nights"]),
                    _pair(row["texts"]),
                    told,
                    *alarms,
                )
            )
        )
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _pair(spread: Mapping[str, float] | None) -> str:
    return "" if spread is None else f"{spread['median']:g}, {spread['p95']:g}"


def as_json(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Give everything, for a file."""
    return {
        "figures": [asdict(figure) for figure in figures(episodes)],
        "rows": rows(episodes),
        "episodes": [asdict(each) for each in episodes],
    }


def read_episodes(text: str) -> list[Episode]:
    """Read the episodes of what ``as_json`` gave."""
    return [
        Episode(**{**one, "nights": [Night(**night) for night in one["nights"]]})
        for one in json.loads(text)["episodes"]
    ]
