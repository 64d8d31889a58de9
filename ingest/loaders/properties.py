"""What files state about themselves: title, authors, dates, as metadata to filter by."""

import re
from collections.abc import Iterable, Mapping
from datetime import date

from ingest.loaders.markdown_text import clean
from search_app.types import JSON

_LONGEST = 256
"""Longest text, in characters, that is still a value to filter by and not prose."""
_MOST_VALUES = 100
_NO_TITLE = re.compile(
    r"untitled|microsoft \w+ - .*|.*\.(docx?|pptx?|xlsx?|odt|pdf|tex|dvi|indd|rtf|txt)|"
    r"(document|presentation|book|文書|プレゼンテーション)\s?\d*|"
    r"(powerpoint|word|excel)[ -](presentation|document|プレゼンテーション|文書)|"
    r"slide 1|スライド 1|無題.*|名称未設定.*",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_DAY = re.compile(
    r"(?P<year>[0-9]{4})(?:(?P<mark>[-/.])(?P<month>[0-9]{1,2})(?P=mark)(?P<day>[0-9]{1,2})|"
    r"年(?P<tsuki>[0-9]{1,2})月(?P<hi>[0-9]{1,2})日)(?![0-9])"
)
_DATES = ("date", "published", "created", "updated", "modified")
"""Metadata that dates a document, what its author says first, what a program notes last."""
_AUTHOR_SEPARATOR = re.compile(r"\s*;\s*")


def metadata(values: Mapping[str, JSON]) -> dict[str, JSON]:
    """Keep what can be filtered by: numbers, short texts, lists of them; a list of one is it."""
    kept: dict[str, JSON] = {}
    for name, value in values.items():
        many = value if isinstance(value, list) else [value]
        usable = [item for item in map(_usable, many[:_MOST_VALUES]) if item is not None]
        if usable:
            kept[name] = usable[0] if len(usable) == 1 else usable
    return kept


def _usable(value: JSON) -> str | int | float | None:
    if isinstance(value, str):
        text = " ".join(clean(value).split())
        return text if text and len(text) <= _LONGEST and "\ufffd" not in text else None
    return value if isinstance(value, int | float) else None


def stated_title(title: str | None) -> str:
    """Give a title that a file states, or nothing where a program made it up."""
    text = " ".join(clean(title or "").split())
    return "" if "\ufffd" in text or _NO_TITLE.fullmatch(text) else text


def stated_date(text: str | None) -> str:
    """Give a date of ISO 8601 as it is, or nothing where it is none."""
    text = (text or "").strip()
    return text if _DATE.fullmatch(text) else ""


def dated(meta: Mapping[str, JSON]) -> str:
    """Give the day that metadata dates a document to, yyyy-mm-dd; nothing where none can be read.

    A day is read where a text begins with it, year first; a time after it, and in which zone, make
    no difference.
    """
    stated = {name.casefold().removesuffix("_at"): value for name, value in meta.items()}
    for name in _DATES:
        value = stated.get(name)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and (day := _day(text)):
                return day
    return ""


def _day(text: str) -> str:
    found = _DAY.match(text.strip())
    if found is None:
        return ""
    month, day = found["month"] or found["tsuki"], found["day"] or found["hi"]
    try:
        return date(int(found["year"]), int(month), int(day)).isoformat()
    except ValueError:
        return ""


def authors(stated: Iterable[str]) -> list[JSON]:
    """Split names that programs write into one field with semicolons; each once."""
    names = (name for text in stated for name in _AUTHOR_SEPARATOR.split(text.strip()))
    return list(dict.fromkeys(name for name in names if name))
