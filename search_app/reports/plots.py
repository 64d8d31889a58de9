"""Plots as numbers: where lines, dots, bars and labels stand. What draws them decides nothing.

Everything is in the units of a picture WIDTH wide, small enough that its labels can still be read
where it is as wide as a telephone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 380.0, 200.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 10.0, 14.0, 24.0

CROWDED = 45
"""Nights beyond which intervals are drawn as one band."""

MOST_TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A mark on an axis: where, and what is written there; ``anchor`` as SVG calls it."""

    at: float
    label: str
    anchor: str = "middle"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Values that belong together; ``number`` says how they are drawn.

    ``line`` is the text of an SVG path, ``dots`` are (x, y, what it is), ``bars`` (x, from, to).
    """

    number: int
    name: str
    line: str = ""
    band: str = ""
    dots: Sequence[tuple[float, float, str]] = ()
    bars: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A line across a plot that means something."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot; ``name`` says what it shows."""

    name: str
    across: Sequence[Tick]
    up: Sequence[Tick]
    series: Sequence[Series]
    rule: Rule | None = None
    marks: Sequence[tuple[float, str]] = ()
    height: float = HEIGHT
    left: float = LEFT


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value with its bounds, where it has any, and what it is in words."""

    value: float | None
    low: float | None = None
    high: float | None = None
    told: str = ""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """How values become heights, and which ones are labelled."""

    place: Callable[[float], float]
    ticks: Sequence[Tick] = field(default_factory=list)


def over_nights(
    name: str,
    nights: Sequence[str],
    series: Sequence[tuple[str, Sequence[Value]]],
    axis: Axis,
    *,
    rule: Rule | None = None,
    marks: Sequence[tuple[int, str]] = (),
) -> Plot:
    """Plot series over the nights, the earliest first; ``nights`` are their labels.

    ``marks`` are nights on which something happened, and what.
    """
    places = [_night(number, len(nights)) for number in range(len(nights))]
    drawn = [
        _series(number, title, values, places, axis)
        for number, (title, values) in enumerate(series)
    ]
    return Plot(
        name=name,
        across=_night_ticks(nights, places),
        up=axis.ticks,
        series=drawn,
        rule=rule,
        marks=[(places[number], told) for number, told in marks],
    )


def strips(name: str, rows: Sequence[tuple[str, Sequence[float]]], axis: Axis) -> Plot:
    """Plot each row of distances as dots along a logarithmic axis, equal vectors at its foot.

    Dots of a row stand at several heights, so that few hide others.
    """
    height, step = TOP + BOTTOM + 52.0 * len(rows), 52.0
    drawn = []
    for number, (title, values) in enumerate(rows):
        middle = TOP + step * (number + 0.62)
        dots = [
            (round(axis.place(value), 1), round(middle + _spread(place), 1), "")
            for place, value in enumerate(sorted(values))
        ]
        drawn.append(Series(number=number, name=title, dots=dots))
    up = [
        Tick(at=TOP + step * (number + 0.2), label=title, anchor="start")
        for number, (title, _) in enumerate(rows)
    ]
    return Plot(name=name, across=axis.ticks, up=up, series=drawn, height=height, left=14.0)


def linear(top: float, write: Callable[[float], str]) -> Axis:
    """Give an axis from zero to somewhat above ``top``, with round labels."""
    step = _round_step(max(top, 1e-9) / (MOST_TICKS - 1))
    last = step * max(1, math.ceil(max(top, 1e-9) / step - 1e-9))
    count = round(last / step)

    def place(value: float) -> float:
        return _height(min(max(value / last, 0.0), 1.0))

    ticks = [Tick(at=place(step * each), label=write(step * each)) for each in range(count + 1)]
    return Axis(place=place, ticks=ticks)


def logarithmic(
    low: int, high: int, write: Callable[[int], str], *, bottom: str | None = None
) -> Axis:
    """Give an axis from 10**low to 10**high; what is below stands at its foot.

    ``bottom`` is what is written there instead of the power.
    """

    def place(value: float) -> float:
        return _height(_share(value, low, high))

    return Axis(
        place=place,
        ticks=[
            Tick(
                at=_height((power - low) / (high - low)),
                label=bottom if bottom is not None and power == low else write(power),
            )
            for power in _powers(low, high)
        ],
    )


def along(low: int, high: int, write: Callable[[int], str], *, bottom: str) -> Axis:
    """Give the same axis from left to right, for strips."""
    left, span = 22.0, WIDTH - 22.0 - 18.0

    def place(value: float) -> float:
        return left + span * _share(value, low, high)

    return Axis(
        place=place,
        ticks=[
            Tick(
                at=left + span * (power - low) / (high - low),
                label=bottom if power == low else write(power),
            )
            for power in _powers(low, high)
        ],
    )


def decades(values: Sequence[float], *, lowest: int, highest: int) -> tuple[int, int]:
    """Give powers of ten around values, at least two apart, the lower one below all of them."""
    known = [value for value in values if value > 0]
    if not known:
        return lowest, lowest + 2
    low = math.floor(math.log10(min(known)) - 1e-9) - 1
    high = math.ceil(math.log10(max(known)) + 1e-9)
    low = max(lowest, min(low, highest - 2))
    return low, min(highest, max(high, low + 2))


def _share(value: float, low: int, high: int) -> float:
    if value <= 10.0**low:
        return 0.0
    return min((math.log10(value) - low) / (high - low), 1.0)


def _powers(low: int, high: int) -> list[int]:
    step = math.ceil((high - low) / MOST_TICKS)
    return list(range(low, high + 1, step))


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= least * (1 - 1e-9))


def _height(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 2)


def _night(number: int, count: int) -> float:
    span = WIDTH - LEFT - RIGHT - 16
    return round(LEFT + 8 + span * (0.5 if count == 1 else number / (count - 1)), 2)


def _night_ticks(nights: Sequence[str], places: Sequence[float]) -> list[Tick]:
    """Label the first and the last night, and one between them where there is room."""
    if not nights:
        return []
    if len(nights) == 1:
        return [Tick(at=places[0], label=nights[0])]
    ticks = [Tick(at=places[0], label=nights[0], anchor="start")]
    if len(nights) > 4:  # noqa: PLR2004 - else labels would touch
        middle = len(nights) // 2
        ticks.append(Tick(at=places[middle], label=nights[middle]))
    return [*ticks, Tick(at=places[-1], label=nights[-1], anchor="end")]


def _series(
    number: int, title: str, values: Sequence[Value], places: Sequence[float], axis: Axis
) -> Series:
    known = [(x, each) for x, each in zip(places, values, strict=True) if each.value is not None]
    dots = [(x, axis.place(each.value or 0.0), each.told) for x, each in known]
    bounds = [
        (x, axis.place(each.low), axis.place(each.high))
        for x, each in zip(places, values, strict=True)
        if each.low is not None and each.high is not None
    ]
    return Series(
        number=number,
        name=title,
        line=_path(dots),
        band=_band(bounds) if len(bounds) > CROWDED else "",
        dots=dots,
        bars=bounds if len(bounds) <= CROWDED else (),
    )


def _path(dots: Sequence[tuple[float, float, str]]) -> str:
    if len(dots) < 2:  # noqa: PLR2004 - a line has two ends
        return ""
    return "M" + "L".join(f"{x:g},{y:g}" for x, y, _ in dots)


def _band(bounds: Sequence[tuple[float, float, float]]) -> str:
    there = [f"{x:g},{high:g}" for x, _, high in bounds]
    back = [f"{x:g},{low:g}" for x, low, _ in reversed(bounds)]
    return "M" + "L".join([*there, *back]) + "Z"


def _spread(place: int) -> float:
    return ((place * 7) % 11 - 5) * 2.2
