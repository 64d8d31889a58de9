"""What files state about themselves: title, authors, dates, as metadata to filter by."""

import re
from collections.abc import Iterable, Mapping

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


def stated_date(date: str | None) -> str:
    """Give a date of ISO 8601 as it is, or nothing where it is none."""
    text = (date or "").strip()
    return text if _DATE.fullmatch(text) else ""


def authors(stated: Iterable[str]) -> list[JSON]:
    """Split names that programs write into one field with semicolons; each once."""
    names = (name for text in stated for name in _AUTHOR_SEPARATOR.split(text.strip()))
    return list(dict.fromkeys(name for name in names if name))
