"""The table that compares models: what their providers say, and what probes found here."""

from collections.abc import Iterator, Mapping, Sequence

from ingest.probes import KeptProbe
from search_app.embedders.known import KNOWN, Known, choices_of

COLUMNS = (
    *("embedder", "dimensions", "choice", "tokens/text", "tokens/request", "texts/request"),
    *("length 1", "equal vectors", "prices"),
)


def rows(probes: Sequence[KeptProbe] = ()) -> Iterator[Sequence[str]]:
    """Give a row for each listed model, and for each other spec that was probed here."""
    by_spec = {probe.spec: probe for probe in probes}
    for known in KNOWN:
        yield _row(known, by_spec.pop(known.spec, None))
    for probe in by_spec.values():
        yield _probed_row(probe)


def markdown(lines: Iterator[Sequence[str]]) -> str:
    """Write rows as a table in Markdown."""
    table = [COLUMNS, ["---"] * len(COLUMNS)]
    table += [[_cell(place, text) for place, text in enumerate(line)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def as_json(probes: Sequence[KeptProbe] = ()) -> list[Mapping[str, object]]:
    """Give the same as JSON, with what was measured under ``probe``."""
    by_spec = {probe.spec: probe for probe in probes}
    listed: list[Mapping[str, object]] = [
        {
            "spec": known.spec,
            "dimensions": known.dimensions,
            "choices": choices_of(known) or None,
            "text_tokens": known.text_tokens,
            "request_tokens": known.request_tokens,
            "request_texts": known.request_texts,
            "unit": known.unit,
            "determinism": known.determinism.value,
            "source": known.source or None,
            "price": known.price or None,
            "probe": _probe_json(by_spec.pop(known.spec, None)),
        }
        for known in KNOWN
    ]
    return [*listed, *({"spec": spec, "probe": p.as_json()} for spec, p in by_spec.items())]


def _row(known: Known, probe: KeptProbe | None) -> Sequence[str]:
    return (
        known.spec,
        str(known.dimensions or (probe.dimensions if probe else "the model's")),
        choices_of(known),
        _number(known.text_tokens),
        _number(known.request_tokens),
        _number(known.request_texts),
        {True: "yes", False: "no", None: ""}[known.unit],
        known.determinism.value if probe is None else _measured(probe),
        known.price.removeprefix("https://"),
    )


def _probed_row(probe: KeptProbe) -> Sequence[str]:
    unit = "yes" if probe.unit else "no"
    return (probe.spec, str(probe.dimensions), "", "", "", "", unit, _measured(probe), "")


def _measured(probe: KeptProbe) -> str:
    noise = f", 1 - cos up to {probe.noise:.0e}" if probe.noise else ""
    return f"{probe.stability}, measured {probe.at:%Y-%m-%d}{noise}"


def _probe_json(probe: KeptProbe | None) -> Mapping[str, object] | None:
    return None if probe is None else probe.as_json()


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _cell(place: int, text: str) -> str:
    text = text.replace("|", "\\|")
    if place == 0:
        return f"`{text}`"
    if COLUMNS[place] == "prices" and text:
        return f"[{text.partition('/')[0]}](https://{text})"
    return text
