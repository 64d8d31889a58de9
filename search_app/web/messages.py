"""What there is to translate, and the catalogs brought up to date with it (``make messages``).

Messages are found in templates, in Python where ``gettext_noop`` marks them, here and in BESIDE,
in the causes that checks name, and in the API's description, which its page shows. Updating keeps
translations, adds new messages without one, and drops those that nothing says any more; nothing is
guessed.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_from_file
from babel.messages.pofile import write_po

from search_app.config import load_settings
from search_app.consistency.causes import TREE
from search_app.types import JSON
from search_app.web.app import create_app
from search_app.web.description import body_fields
from search_app.web.translation import DEFAULT, LANGUAGES, catalog_path, read_catalog

PACKAGE = Path(__file__).parent
BESIDE = (PACKAGE.parent / "why", PACKAGE.parent / "reports", PACKAGE.parent / "consistency")
"""Sentences that commands say too, evidence of checks, templates that pages share with files."""

WORDS = PACKAGE.parent / "words.py"

_METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
_OPTIONS = {
    "templates/**.html": {
        "trimmed": "true",
        "newstyle_gettext": "true",
        "silent": "false",
        "trim_blocks": "true",
        "lstrip_blocks": "true",
    }
}
_KEYWORDS = {**DEFAULT_KEYWORDS, "gettext_noop": None}


def extracted() -> Catalog:
    """Collect every message, each with the files that say it."""
    catalog = Catalog(project="Unmoved", charset="utf-8")
    found = extract_from_dir(
        PACKAGE, _METHODS, _OPTIONS, keywords=_KEYWORDS, strip_comment_tags=True
    )
    told = [
        extract_from_dir(folder, _METHODS, _OPTIONS, keywords=_KEYWORDS, strip_comment_tags=True)
        for folder in BESIDE
    ]
    own = (
        (WORDS.name, *message) for message in extract_from_file("python", WORDS, keywords=_KEYWORDS)
    )
    for file, line, message, comments, context in chain(found, *told, own):
        catalog.add(message, locations=[(file, line)], auto_comments=comments, context=context)
    with TemporaryDirectory() as folder:
        description = create_app(load_settings(data_dir=Path(folder))).openapi()
    for signature in TREE:
        for text in (signature.name, signature.remedy):
            catalog.add(text, locations=[("causes.py", 0)])
    for text in described(description):
        catalog.add(text, locations=[("api.py", 0)])
    return catalog


def described(description: JSON) -> Iterator[str]:
    """Give the sentences of an OpenAPI description that the API's page shows."""
    for methods in description["paths"].values():
        for operation in methods.values():
            yield operation["description"]
            for parameter in operation.get("parameters", []):
                if "description" in parameter:
                    yield parameter["description"]
            fields = body_fields(operation, description["components"]["schemas"])
            yield from (field["description"] for field in fields.values())


def updated(language: str) -> Catalog:
    """Give the catalog of a language as it ought to be for the messages that there are now."""
    path = catalog_path(language)
    catalog = read_catalog(language) if path.exists() else Catalog(locale=language)
    catalog.update(extracted(), no_fuzzy_matching=True, update_creation_date=False)
    catalog.obsolete.clear()
    return catalog


def main() -> None:
    """Rewrite all catalogs."""
    for language in LANGUAGES:
        if language == DEFAULT:
            continue
        catalog, path = updated(language), catalog_path(language)
        with path.open("wb") as file:
            # Without line numbers, so that an edit elsewhere in a file changes no catalog.
            write_po(file, catalog, width=100, sort_by_file=True, include_lineno=False)
        left = sum(1 for message in catalog if message.id and not message.string)
        print(f"{path.name}: {len(catalog)} messages, {left} without a translation")  # noqa: T201 - what a command says


if __name__ == "__main__":
    main()
