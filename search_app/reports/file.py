"""A report as one HTML file: it needs nothing else, runs nothing, and can be mailed."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from search_app.catalog.nights import Night
from search_app.reports.view import view_of
from search_app.reports.wording import LAYERS, VERDICTS
from search_app.translation import translations
from search_app.types import JSON
from search_app.words import Words

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
STYLES = (HERE / "static" / "file.css", HERE / "static" / "report.css")


def as_html(report: Mapping[str, JSON], nights: Sequence[Night], language: str) -> str:
    """Give a kept report as a whole HTML document.

    Args:
        report: the JSON that ``keeping.as_json`` gives.
        nights: the check itself and those of the same index before it, newest first.
        language: one of ``translation.LANGUAGES``.
    """
    template = _environment(language).get_template("report_file.html")
    return template.render(view=view_of(report, nights, Words(language)), linked=False)


def style() -> str:
    """Give the style sheet that stands in the file."""
    return "\n" + "".join(path.read_text(encoding="utf-8") for path in STYLES)


def policy() -> str:
    """Give the Content-Security-Policy that the file can be served under: its own style only."""
    digest = b64encode(sha256(style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_translations(  # type: ignore[attr-defined] # the extension adds it
        translations(language), newstyle=True
    )
    words = Words(language)
    environment.globals |= {
        "language": language,
        "style": Markup(style()),  # noqa: S704 - a file of ours
        "report_words": report_words(),
    }
    environment.filters |= report_filters(words)
    return environment


def report_words() -> Mapping[str, Mapping[str, JSON]]:
    """Give the names that templates of reports look up."""
    return {"verdicts": VERDICTS, "layers": LAYERS}


def report_filters(words: Words) -> Mapping[str, JSON]:
    """Give the filters that templates of reports use."""
    return {
        "date": words.date,
        "decimal": words.decimal,
        "label": words.label,
        "moment": words.moment,
        "number": words.number,
        "percent": words.percent,
        "short": lambda identity: str(identity)[:8],
        "told": words.told,
        "translated": words.translated,
    }
