"""The language of a page: which one a request wants; see search_app/translation.py."""

from starlette.requests import Request

from search_app.translation import (
    DEFAULT,
    DIRECTORY,
    LANGUAGES,
    catalog_path,
    read_catalog,
    translations,
)
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
