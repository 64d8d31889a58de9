"""A report made ready for showing: sentences, plots, lists beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from search_app.catalog.nights import Night
from search_app.consistency.evidence import ALARM, interval
from search_app.reports import plots
from search_app.reports.plots import Plot, Rule, Value
from search_app.reports.wording import FAULTS, Headline, Said, also, headline, unchecked
from search_app.types import JSON
from search_app.wording import gettext_noop
from search_app.words import Words

SHOWN_IDS = 5
"""Ids of passages that are shown; all of them are in the JSON."""

MOST_NIGHTS = 200
"""Nights that plots go back."""

LISTED_NIGHTS = 30
"""Nights whose numbers stand in a table beside the plots."""

_SMALLEST = -9
"""Power of ten of 1 - cos below which vectors of float32 count as equal."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A document of a list: its place, its score and how far the next one is behind.

    ``other`` is its place in the other list; None where it is not in it.
    """

    rank: int
    title: str
    chunk_id: str
    score: float
    margin: float | None
    other: int | None


@dataclass(frozen=True, kw_only=True)
class Lists:
    """A question whose list changed: both lists, and how much was reversed."""

    text: str | None
    before: Sequence[Row]
    after: Sequence[Row]
    lead: float
    loss: float
    cosine: float

    @property
    def left(self) -> int:
        """How many documents left the list."""
        return sum(row.other is None for row in self.before)


@dataclass(frozen=True, kw_only=True)
class Affected:
    """Passages with the same fault: the first ids, and how many there are."""

    name: str
    detail: str
    ids: Sequence[str]
    number: int


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A cause with what speaks for it."""

    name: str
    confirmed: bool
    remedy: str
    evidence: Sequence[Said]


@dataclass(frozen=True, kw_only=True)
class View:
    """All that a report shows; ``nights`` are this check and those before it, newest first."""

    report: Mapping[str, JSON]
    at: datetime
    verdict: str
    headline: Headline
    also: Sequence[Said]
    plots: Sequence[Plot]
    causes: Sequence[Explained]
    worst: Sequence[Lists]
    affected: Sequence[Affected]
    runs: Sequence[tuple[str, int]]
    unchecked: Sequence[tuple[str | None, Said]]
    nights: Sequence[Night]
    accepted_at: datetime | None = None
    alarm: float = ALARM


def view_of(report: Mapping[str, JSON], nights: Sequence[Night], words: Words) -> View:
    """Make a report ready, with the nights up to and including it, newest first."""
    layers = report["layers"]
    queries, documents = layers.get("queries") or {}, layers.get("documents") or {}
    own = [night for night in nights if str(night.id) == report["check_id"]]
    distances = _distances(queries, documents, words)
    return View(
        report=report,
        at=datetime.fromisoformat(report["started_at"]),
        verdict=report["verdict"],
        headline=headline(report),
        also=also(report),
        plots=[*history(nights, words), *([distances] if distances else [])],
        causes=[_explained(cause) for cause in report["causes"]],
        worst=[_lists(query) for query in queries.get("worst", [])],
        affected=_affected(layers.get("integrity") or {}),
        runs=_runs(documents),
        unchecked=[unchecked(reason) for reason in report["not_checked"]],
        nights=nights[:LISTED_NIGHTS],
        accepted_at=own[0].accepted_at if own else None,
    )


def history(nights: Sequence[Night], words: Words) -> Sequence[Plot]:
    """Plot evidence, changes, wavering and noise over nights, given newest first."""
    if not nights:
        return []
    ordered = list(reversed(nights[:MOST_NIGHTS]))
    labels = _labels(ordered, words)
    marks = [
        (number, words.translated(gettext_noop("accepted")))
        for number, night in enumerate(ordered)
        if night.accepted_at is not None
    ]
    made = [
        _evidence(ordered, labels, marks, words),
        _shares(
            words.translated(gettext_noop("Questions that find other documents than before (p)")),
            [(night.changed, night.sampled) for night in ordered],
            labels,
            words,
        ),
        _shares(
            words.translated(gettext_noop("Questions whose list changes when asked twice (r)")),
            [(night.unsteady, night.repeated) for night in ordered],
            labels,
            words,
        ),
        _noise(ordered, labels, words),
    ]
    return [plot for plot in made if plot is not None]


def power(exponent: int) -> str:
    """Write a power of ten as people do; small ones in full."""
    if 0 <= exponent <= 4:  # noqa: PLR2004 - up to ten thousand
        return f"{10**exponent:,}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _labels(nights: Sequence[Night], words: Words) -> list[str]:
    days = [words.date(night.at) for night in nights]
    if len(set(days)) == 1 and len(days) > 1:
        return [f"{night.at:%H:%M}" for night in nights]
    return days


def _evidence(
    nights: Sequence[Night],
    labels: Sequence[str],
    marks: Sequence[tuple[int, str]],
    words: Words,
) -> Plot:
    most = max(max(night.drift, night.reproducibility) for night in nights)
    _, high = plots.decades([most, ALARM * 2], lowest=0, highest=9)
    axis = plots.logarithmic(-1, high, power, bottom="0")

    def values(name: str) -> list[Value]:
        return [
            Value(
                value=getattr(night, name),
                told=f"{label}: {words.number(round(getattr(night, name), 2))}",
            )
            for night, label in zip(nights, labels, strict=True)
        ]

    return plots.over_nights(
        words.translated(gettext_noop("Evidence over the nights")),
        labels,
        [
            (words.translated(gettext_noop("that results moved (p)")), values("drift")),
            (words.translated(gettext_noop("that they waver (r)")), values("reproducibility")),
        ],
        axis,
        rule=Rule(
            at=axis.place(ALARM),
            label=words.translated(gettext_noop("alarm at")) + " " + words.number(int(ALARM)),
        ),
        marks=marks,
    )


def _shares(
    name: str, counts: Sequence[tuple[int, int]], labels: Sequence[str], words: Words
) -> Plot | None:
    if not any(asked for _, asked in counts):
        return None
    values = []
    for (changed, asked), label in zip(counts, labels, strict=True):
        if not asked:
            values.append(Value(value=None))
            continue
        found = interval(changed, asked)
        values.append(
            Value(
                value=found.estimate,
                low=found.low,
                high=found.high,
                told=f"{label}: {words.number(changed)} / {words.number(asked)}",
            )
        )
    top = max(value.high or 0.0 for value in values)
    axis = plots.linear(min(top, 1.0), lambda share: words.percent(share, 1 if top < 0.1 else 0))  # noqa: PLR2004 - where whole percents say too little
    return plots.over_nights(name, labels, [(name, values)], axis)


def _noise(nights: Sequence[Night], labels: Sequence[str], words: Words) -> Plot | None:
    known = [
        value
        for night in nights
        for value in (night.noise_median, night.noise_max)
        if value is not None
    ]
    if not known:
        return None
    low, high = plots.decades(known, lowest=_SMALLEST, highest=0)
    axis = plots.logarithmic(low, high, power, bottom="0" if min(known) <= 0 else None)

    def values(name: str) -> list[Value]:
        return [
            Value(value=noise, told="" if noise is None else f"{label}: {noise:.1e}")
            for night, label in zip(nights, labels, strict=True)
            for noise in [_rounded(getattr(night, name))]
        ]

    return plots.over_nights(
        words.translated(gettext_noop("Noise: how far the same text, sent twice, is apart")),
        labels,
        [
            (words.translated(gettext_noop("largest")), values("noise_max")),
            (words.translated(gettext_noop("usual")), values("noise_median")),
        ],
        axis,
    )


def _rounded(distance: float | None) -> float | None:
    """Give a distance; what rounding makes of equal vectors may lie below zero."""
    return None if distance is None else max(distance, 0.0)


def _distances(
    queries: Mapping[str, JSON], documents: Mapping[str, JSON], words: Words
) -> Plot | None:
    rows = [
        (words.translated(name), [max(value, 0.0) for value in values])
        for name, values in (
            (gettext_noop("questions, against then"), queries.get("distances", [])),
            (gettext_noop("questions, sent twice now"), queries.get("noise", [])),
            (gettext_noop("passages, against what is stored"), documents.get("distances", [])),
        )
        if values
    ]
    if not rows:
        return None
    _, high = plots.decades([one for _, each in rows for one in each], lowest=_SMALLEST, highest=1)
    name = words.translated(gettext_noop("Distances of this check (1 − cosine)"))
    equal = words.translated(gettext_noop("equal"))
    axis = plots.along(_SMALLEST, max(high, -3), power, bottom=equal)
    return plots.strips(name, rows, axis)


def _lists(query: Mapping[str, JSON]) -> Lists:
    before, after = query["before"], query["after"]
    return Lists(
        text=query["text"],
        before=_rows(before, after, "before"),
        after=_rows(after, before, "after"),
        lead=query["lead"],
        loss=query["loss"],
        cosine=query["cosine"],
    )


def _rows(ranked: Sequence[JSON], others: Sequence[JSON], score: str) -> Sequence[Row]:
    places = {each["chunk_id"]: place for place, each in enumerate(others, 1)}
    following = [each[score] for each in ranked[1:]]
    return [
        Row(
            rank=rank,
            title=each["title"],
            chunk_id=each["chunk_id"],
            score=each[score],
            margin=each[score] - following[rank - 1] if rank <= len(following) else None,
            other=places.get(each["chunk_id"]),
        )
        for rank, each in enumerate(ranked, 1)
    ]


def _explained(cause: Mapping[str, JSON]) -> Explained:
    # Reports that earlier versions kept have the evidence in English alone.
    told = [
        Said(sentence=clause["sentence"], values=clause["values"])
        for clause in cause.get("clauses", [])
    ]
    return Explained(
        name=cause["name"],
        confirmed=cause["confirmed"],
        remedy=cause["remedy"],
        evidence=told or [Said(sentence=cause["evidence"], foreign=True)],
    )


def _affected(integrity: Mapping[str, JSON]) -> Sequence[Affected]:
    return [
        Affected(
            name=FAULTS.get(fault["kind"], fault["kind"]),
            detail=fault["detail"],
            ids=fault["ids"][:SHOWN_IDS],
            number=len(fault["ids"]),
        )
        for fault in integrity.get("faults", [])
    ]


def _runs(documents: Mapping[str, JSON]) -> Sequence[tuple[str, int]]:
    """Count the passages that moved by the run that made their vectors."""
    counts: dict[str, int] = {}
    for each in documents.get("moved", []):
        counts[each["run_id"]] = counts.get(each["run_id"], 0) + 1
    return sorted(counts.items(), key=lambda entry: -entry[1])
