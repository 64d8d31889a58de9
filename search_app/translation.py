"""The languages that are spoken besides English, and what their catalogs say.

How a text comes to be in another language, the same way everywhere:

* Templates word whatever is shown: ``{{ _("Runs") }}``, ``{% trans %}…{% endtrans %}`` and
  ``{{ ngettext("%(count)s run", "%(count)s runs", n, count=n|number) }}``. Values that are put
  in are escaped; a percent sign is written ``%%``.
* Python hands values over and translates nothing. A text that has to stand in Python (the title of
  a problem, the heading of a facet) is marked with ``gettext_noop`` and shown with
  ``{{ title|translated }}``, which also escapes it. Never give a value to ``_``: it would be taken
  for markup.
* Numbers, times, sizes and names of languages and file types go through the filters of words.py.
* ``make messages`` (web/messages.py) brings the catalogs up to date with all of these; the English
  texts are the keys, and a test fails while one has no translation.

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

DEFAULT = "en"
DIRECTORY = Path(__file__).parent / "web" / "locale"

LANGUAGES: Mapping[str, str] = {"en": "English", "ja": "日本語"}
"""The languages of pages and reports, each by its own name; English is the one of the code."""


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
