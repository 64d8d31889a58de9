"""A comparison of two sets of vectors in words, as tables, as JSON and as a page of HTML."""

from collections.abc import Sequence
from dataclasses import asdict
from html import escape

from ingest.study.pairs import CLAIM, Comparison, Correlation, Kinship, Spread
from search_app.types import JSON

VERSION = 1
SPREAD_COLUMNS = ("", "lowest", "median", "90 %", "99 %", "highest")
FEATURE_COLUMNS = ("1 − cos goes with", "ρ", "95 %", "others fixed", "claimed")
_BAR = 240
_STYLE = (
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;"
    "margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;margin:1rem 0}"
    "th,td{text-align:left;padding:.25rem .7rem;border-bottom:1px solid #8888}"
    "td{font-variant-numeric:tabular-nums}div{overflow-x:auto}h1{font-size:1.4rem}"
    "rect{fill:currentColor}svg{display:block;opacity:.7}"
)


def sentences(found: Comparison) -> list[str]:
    """Say what was found, the most important first."""
    return [_kinship(found), _lists(found), _cause(found)]


def spread_rows(found: Comparison) -> list[list[str]]:
    """Give the lines of the first table: distances and lengths."""
    return [
        ["1 − cos", *_numbers(found.distance, "{:.2e}")],
        ["length in A", *_numbers(found.norms[0], "{:.6f}")],
        ["length in B", *_numbers(found.norms[1], "{:.6f}")],
    ]


def feature_rows(found: Comparison) -> list[list[str]]:
    """Give the lines of the second table: what the distance goes with, the strongest first."""
    return [
        [
            each.feature.label,
            f"{each.rho:+.2f}",
            f"{each.low:+.2f} to {each.high:+.2f}",
            f"{each.partial:+.2f}",
            "yes" if each.claimed else "",
        ]
        for each in found.correlations
    ]


def as_json(found: Comparison) -> JSON:
    """Give every number and sentence."""
    strongest = found.strongest
    return {
        "version": VERSION,
        "texts": found.texts,
        "dimensions": found.dimensions,
        "distance": asdict(found.distance),
        "equal": found.equal,
        "norms": [asdict(each) for each in found.norms],
        "lists": asdict(found.lists),
        "correlations": [_correlation(each) for each in found.correlations],
        "claim_from": CLAIM,
        "strongest": None if strongest is None else _correlation(strongest),
        "geometry": {**asdict(found.geometry), "kinship": found.geometry.kinship.value},
        "sentences": sentences(found),
    }


def as_html(found: Comparison, names: Sequence[str]) -> str:
    """Write one page that needs nothing else."""
    said = "".join(f"<p>{escape(line)}</p>" for line in sentences(found))
    bars = "".join(
        f"<tr><td>{escape(each.feature.label)}</td><td>{each.partial:+.2f}</td><td>"
        f'<svg width="{_BAR}" height="12" role="img" aria-label="{each.partial:+.2f}">'
        f'<rect width="{abs(each.partial) * _BAR:.0f}" height="12"/></svg></td></tr>'
        for each in found.correlations
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Two sets of vectors</title>'
        f"<style>{_STYLE}</style><h1>{escape(' and '.join(names))}</h1>{said}"
        f"{_table(SPREAD_COLUMNS, spread_rows(found))}"
        f"{_table(FEATURE_COLUMNS, feature_rows(found))}"
        f"<div><table><tbody>{bars}</tbody></table></div></html>\n"
    )


def _kinship(found: Comparison) -> str:
    shape = found.geometry
    told = f"median cosine {shape.direct:.6f}, CKA {shape.cka:.3f}"
    match shape.kinship:
        case Kinship.EQUAL:
            return f"equal: all {found.texts:,} vectors are the same"
        case Kinship.SAME:
            return (
                f"the same space ({told}): the vectors moved, they are not those of another model; "
                f"{found.equal:,} of {found.texts:,} are equal to the bit"
            )
        case Kinship.ROTATED:
            return (
                f"rotated ({told}): a rotation fitted on half of the texts brings the others to a "
                f"median cosine of {shape.fitted:.6f}; the same model in other axes"
            )
        case Kinship.RELATED:
            return (
                f"related ({told}): no rotation explains it, but the same texts are near each "
                "other; a fine-tuned or otherwise related model"
            )
        case Kinship.UNRELATED:
            return f"unrelated ({told}): another model"


def _lists(found: Comparison) -> str:
    lists = found.lists
    return (
        f"lists of the {lists.k} nearest: overlap {lists.overlap:.3f}; {lists.changed:,} of "
        f"{lists.queries:,} changed, {lists.material:,} by more than a near-tie "
        f"({lists.tolerance:.4f})"
    )


def _cause(found: Comparison) -> str:
    strongest = found.strongest
    if found.geometry.kinship is Kinship.EQUAL:
        return "there is nothing to explain"
    if strongest is None:
        return (
            "what moved goes with nothing that can be counted in the texts strongly enough to be "
            f"named (|ρ| from {CLAIM:g}, surely, and with the others fixed)"
        )
    grows = strongest.rho > 0
    return (
        f"the cosine {'falls' if grows else 'rises'} with {strongest.feature.label} (ρ of 1 − cos "
        f"{strongest.rho:+.2f}, {strongest.low:+.2f} to {strongest.high:+.2f}; with the others "
        f"fixed {strongest.partial:+.2f}), which suggests: "
        f"{strongest.feature.more if grows else strongest.feature.less}"
    )


def _correlation(each: Correlation) -> JSON:
    return {
        "feature": each.feature.name,
        "rho": each.rho,
        "low": each.low,
        "high": each.high,
        "partial": each.partial,
        "claimed": each.claimed,
    }


def _numbers(spread: Spread, pattern: str) -> list[str]:
    return [pattern.format(value) for value in asdict(spread).values()]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
