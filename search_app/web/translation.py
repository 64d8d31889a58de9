"""The languages of the pages: which one a request wants, and what its catalog says.

How a text comes to be in another language, the same way everywhere:

* Templates word whatever is shown: ``{{ _("Runs") }}``, ``{% trans %}…{% endtrans %}`` and
  ``{{ ngettext("%(count)s run", "%(count)s runs", n, count=n|number) }}``. Values that are put
  in are escaped; a percent sign is written ``%%``.
* Python hands values over and translates nothing. A text that has to stand in Python (the title of
  a problem, the heading of a facet) is marked with ``gettext_noop`` and shown with
  ``{{ title|translated }}``, which also escapes it. Never give a value to ``_``: it would be taken
  for markup.
* Numbers, times, sizes and names of languages and file types go through the filters of words.py.
* ``make messages`` (messages.py) brings the catalogs in ``locale/`` up to date with all of these;
  the English texts are the keys, and a test fails while one has no translation.

Catalogs are read as they are when they are first needed; there is no build step.
"""

from collections.abc import Mapping
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from starlette.requests import Request

from search_app.wording import gettext_noop

__all__ = [
    "COOKIE",
    "DEFAULT",
    "DIRECTORY",
    "LANGUAGES",
    "catalog_path",
    "gettext_noop",
    "language_of",
    "read_catalog",
    "translations",
]

COOKIE = "unmoved_language"
DEFAULT = "en"
DIRECTORY = Path(__file__).parent / "locale"

LANGUAGES: Mapping[str, str] = {"en": "English", "ja": "日本語"}
"""The languages of the pages, each by its own name; English is the one that the code speaks."""

_MOST_RANGES = 50
"""Entries of an Accept-Language header that are looked at."""


def language_of(request: Request) -> str:
    """Choose the language of an answer: the one chosen, else the first one wanted, else English."""
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    return next(filter(LANGUAGES.__contains__, _wanted(request)), DEFAULT)


def _wanted(request: Request) -> list[str]:
    """List the languages that the browser asks for, dearest first, without their regions."""
    header = ",".join(request.headers.getlist("accept-language"))
    ranges = []
    for entry in header.split(",")[:_MOST_RANGES]:
        tag, *parameters = (part.strip().lower() for part in entry.split(";"))
        if quality := _quality(parameters):
            ranges.append((quality, tag.partition("-")[0]))
    return [tag for _, tag in sorted(ranges, key=lambda found: -found[0])]


def _quality(parameters: list[str]) -> float:
    """Read how much a language is wanted; what cannot be read counts as not at all."""
    if not parameters:
        return 1.0
    name, _, value = parameters[0].partition("=")
    try:
        quality = float(value)
    except ValueError:
        return 0.0
    return quality if name == "q" and 0 < quality <= 1 else 0.0


def catalog_path(language: str) -> Path:
    """Say where the catalog of a language is; English needs none."""
    return DIRECTORY / f"{language}.po"


def read_catalog(language: str) -> Catalog:
    """Read a catalog with everything that translators see of it."""
    with catalog_path(language).open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


@cache
def translations(language: str) -> NullTranslations:
    """Give what translates into a language; what its catalog lacks stays English."""
    if language == DEFAULT:
        return NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, read_catalog(language))
    compiled.seek(0)
    return GNUTranslations(compiled)
