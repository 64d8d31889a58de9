"""A determinism study as Markdown, as a page of HTML, and as JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib import metadata

from ingest.study.determinism import Row, Study
from ingest.study.rows import PUBLISHED
from search_app.types import JSON

VERSION = 1
COLUMNS = (
    "row",
    "lowest cosine",
    "median cosine",
    "equal to the bit",
    "ARI",
    "95 % over seeds",
    "published ARI",
)
LIBRARIES = ("unmoved", "numpy", "scipy", "scikit-learn", "onnxruntime")
_STYLE = (
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:70rem;"
    "margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8888}"
    "td:nth-child(n+2){font-variant-numeric:"
    "tabular-nums}div{overflow-x:auto}"
)


def cells(row: Row) -> list[str]:
    """Give a line of the table."""
    ari, seeds = row.ari, len(row.ari.values)
    return [
        row.name,
        _cosine(row.lowest),
        _cosine(row.median),
        f"{row.equal:.2%}",
        f"{ari.mean:.4f}",
        f"{ari.low:.4f} to {ari.high:.4f} ({seeds})" if seeds > 1 else "",
        "" if row.published is None else f"{row.published:.4f}",
    ]


def caption(study: Study) -> str:
    """Say in a line what was studied."""
    texts = study.plan.texts
    drawn = f", drawn with seed {texts.seed}" if len(texts.texts) < texts.available else ""
    return (
        f"{len(texts.texts):,} of {texts.available:,} texts of {texts.path.name}{drawn}; "
        f"AgglomerativeClustering into {study.clusters}; intervals: Student's t over seeds, ended "
        "at 1; noise is put on the vectors of the first row"
    )


def published() -> str:
    """Say in a line what the publication found."""
    pairs = ", ".join(f"{ari:.4f} at {lowest}" for lowest, ari in PUBLISHED.items())
    return f"published ARI at lowest cosine: {pairs}"


def as_markdown(study: Study) -> str:
    """Write the table with what stands above and below it."""
    lines = [_line(COLUMNS), _line(["---"] * len(COLUMNS))]
    lines += [_line([cell.replace("|", "\\|") for cell in cells(row)]) for row in study.rows]
    return "\n".join([caption(study), "", *lines, "", published(), ""])


def as_html(study: Study) -> str:
    """Write one page that needs nothing else."""
    head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells(row)) + "</tr>"
        for row in study.rows
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Determinism study</title>'
        f"<style>{_STYLE}</style><h1>Determinism study</h1><p>{escape(caption(study))}</p>"
        f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"<p>{escape(published())}</p></html>\n"
    )


def as_json(study: Study, *, peak_mb: float) -> JSON:
    """Give everything, every seed's ARI included."""
    texts = study.plan.texts
    return {
        "version": VERSION,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            "name": texts.path.name,
            "texts": len(texts.texts),
            "available": texts.available,
            "seed": texts.seed,
            "sha256": texts.digest,
        },
        "clusters": study.clusters,
        "interval": "Student's t over seeds, 95 %, ended at 1",
        "rows": [_row(row) for row in study.rows],
        "published": [{"lowest_cosine": low, "ari": ari} for low, ari in PUBLISHED.items()],
        "seconds": round(study.seconds, 1),
        "peak_rss_mb": round(peak_mb, 1),
        "library_versions": {name: metadata.version(name) for name in LIBRARIES},
    }


def _row(row: Row) -> JSON:
    return {
        "name": row.name,
        "model": row.model,
        "dimensions": row.dimensions,
        "lowest_cosine": row.lowest,
        "median_cosine": row.median,
        "equal_share": row.equal,
        "ari": {
            "mean": row.ari.mean,
            "low": row.ari.low,
            "high": row.ari.high,
            "values": list(row.ari.values),
        },
        "published_ari": row.published,
        "seconds": round(row.seconds, 1),
    }


def _cosine(value: float) -> str:
    return "1" if value == 1 else f"{value:.8f}"


def _line(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"
