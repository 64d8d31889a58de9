"""Numbers, times, sizes and names as people of one language read them; the filters of templates."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from babel import Locale
from babel.dates import format_date, format_time, get_datetime_format
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit
from markupsafe import Markup, escape

from search_app.translation import translations
from search_app.wording import gettext_noop

CODE_TYPES: Mapping[str, str] = {
    "c": "C",
    "cpp": "C++",
    "csharp": "C#",
    "css": "CSS",
    "go": "Go",
    "ini": "INI",
    "java": "Java",
    "javascript": "JavaScript",
    "json": "JSON",
    "julia": "Julia",
    "kotlin": "Kotlin",
    "lua": "Lua",
    "perl": "Perl",
    "php": "PHP",
    "python": "Python",
    "r": "R",
    "ruby": "Ruby",
    "rust": "Rust",
    "scala": "Scala",
    "shell": gettext_noop("Shell script"),
    "sql": "SQL",
    "swift": "Swift",
    "toml": "TOML",
    "typescript": "TypeScript",
    "xml": "XML",
    "yaml": "YAML",
}
"""Values of the field ``type`` whose text is code, and what they are called."""

TYPES: Mapping[str, str] = {
    **CODE_TYPES,
    "csv": "CSV",
    "doc": "Word 97–2003",
    "docx": "Word",
    "email": gettext_noop("E-mail"),
    "epub": "EPUB",
    "html": "HTML",
    "jsonl": "JSONL",
    "markdown": "Markdown",
    "notebook": gettext_noop("Jupyter notebook"),
    "odp": gettext_noop("OpenDocument presentation"),
    "ods": gettext_noop("OpenDocument spreadsheet"),
    "odt": gettext_noop("OpenDocument text"),
    "org": "Org",
    "pdf": "PDF",
    "ppt": "PowerPoint 97–2003",
    "pptx": "PowerPoint",
    "rst": "reStructuredText",
    "rtf": "RTF",
    "text": gettext_noop("Plain text"),
    "tsv": "TSV",
    "xls": "Excel 97–2003",
    "xlsx": "Excel",
}
"""All values of the field ``type`` and what they are called."""

LABELS: Mapping[str, str] = {
    "active": gettext_noop("Active"),
    "added": gettext_noop("Added"),
    "building": gettext_noop("Building"),
    "cancelled": gettext_noop("Cancelled"),
    "check": gettext_noop("Check"),
    "chunks": gettext_noop("Chunks"),
    "delete": gettext_noop("Removal of the collection"),
    "documents": gettext_noop("Documents"),
    "embedded": gettext_noop("Embedded"),
    "fail": gettext_noop("Failed"),
    "failed": gettext_noop("Failed"),
    "import": gettext_noop("Import of vectors"),
    "inconclusive": gettext_noop("Inconclusive"),
    "indexed": gettext_noop("Indexed"),
    "ingest": gettext_noop("Ingest"),
    "interrupted": gettext_noop("Interrupted"),
    "new build": gettext_noop("New build of the same model"),
    "other model": gettext_noop("Another model"),
    "partial": gettext_noop("Partly failed"),
    "pending": gettext_noop("Pending"),
    "ready": gettext_noop("Ready"),
    "reconcile": gettext_noop("Repair"),
    "reindex": gettext_noop("Building an index"),
    "analyse": gettext_noop("Analysing"),
    "remove": gettext_noop("Removal"),
    "removed": gettext_noop("Removed"),
    "removing": gettext_noop("Being removed"),
    "retired": gettext_noop("Retired"),
    "retry": gettext_noop("Retry of failures"),
    "reused": gettext_noop("Reused"),
    "running": gettext_noop("Running"),
    "same": gettext_noop("The same model"),
    "skipped": gettext_noop("Skipped"),
    "stable": gettext_noop("Stable"),
    "standby": gettext_noop("Standby"),
    "succeeded": gettext_noop("Succeeded"),
    "unchanged": gettext_noop("Unchanged"),
    "updated": gettext_noop("Updated"),
    "waiting": gettext_noop("Waiting"),
    "warn": gettext_noop("Warning"),
}
"""Kinds, states, verdicts and counts as the catalog keeps them, and what pages call them."""

_SECONDS_IN_MINUTE, _SECONDS_IN_HOUR = 60, 3600
_BYTES = (
    (1000**3, "digital-gigabyte"),
    (1000**2, "digital-megabyte"),
    (1000, "digital-kilobyte"),
)


class Words:
    """The words of one language; every public method is a filter of its templates."""

    def __init__(self, language: str) -> None:
        """Take the language, one of ``translation.LANGUAGES``."""
        self._locale = Locale(language)
        self._translations = translations(language)

    def translated(self, message: str) -> str:
        """Translate a text that was marked with ``gettext_noop``; any other stays as it is."""
        # The empty message is the catalog's header.
        return self._translations.gettext(message) if message else message

    def told(self, message: str, values: Mapping[str, object]) -> Markup:
        """Translate a sentence that was marked with ``gettext_noop``, with its values in it.

        Names and other texts from outside are marked as such, runs lead to their pages.
        """
        written = {
            name: self._written(name, value)
            for name, value in values.items()
            if f"%({name})s" in message
        }
        return escape(self.translated(message)) % written

    def number(self, value: float) -> str:
        """Write a number with its digits in groups, to three decimals, e.g. ``2,304``."""
        return format_decimal(value, locale=self._locale)

    def decimal(self, value: float, digits: int = 3) -> str:
        """Write a number with exactly so many decimals."""
        pattern = "#,##0." + "0" * digits if digits else "#,##0"
        return format_decimal(value, pattern, locale=self._locale)

    def percent(self, share: float, digits: int = 0) -> str:
        """Write a share of one as a percentage."""
        pattern = "#,##0." + "0" * digits + "%" if digits else "#,##0%"
        return format_percent(share, pattern, locale=self._locale)

    def moment(self, time: datetime) -> str:
        """Write a time in UTC, to the minute."""
        at = time.astimezone(UTC)
        pattern = str(get_datetime_format("medium", self._locale))
        date = format_date(at, "medium", locale=self._locale)
        return pattern.format(format_time(at, "HH:mm", locale=self._locale), date) + " UTC"

    def date(self, time: datetime) -> str:
        """Write the day of a time in UTC."""
        return format_date(time.astimezone(UTC), "medium", locale=self._locale)

    def duration(self, span: timedelta) -> str:
        """Write how long something took, in two units at most."""
        seconds = span.total_seconds()
        if seconds < 1:
            return self._unit(round(seconds * 1000), "duration-millisecond")
        if seconds < _SECONDS_IN_MINUTE:
            return self._unit(round(seconds, 1), "duration-second")
        minutes, left = divmod(round(seconds), _SECONDS_IN_MINUTE)
        if minutes < _SECONDS_IN_HOUR // _SECONDS_IN_MINUTE:
            return f"{self._unit(minutes, 'duration-minute')} {self._unit(left, 'duration-second')}"
        hours, minutes = divmod(minutes, 60)
        return f"{self._unit(hours, 'duration-hour')} {self._unit(minutes, 'duration-minute')}"

    def file_size(self, size: int) -> str:
        """Write a number of bytes in the largest unit of which it makes one or more."""
        for unit, name in _BYTES:
            if size >= unit:
                return self._unit(round(size / unit, 1), name)
        return format_unit(size, "digital-byte", "long", locale=self._locale)

    def language_name(self, code: str) -> str:
        """Name a language by its ISO 639-1 code; an unknown code names itself."""
        return str(self._locale.languages.get(code, code))

    def type_name(self, value: str) -> str:
        """Name a type of documents, e.g. ``Markdown`` for ``markdown``; an unknown one, itself."""
        return self.translated(TYPES.get(value, value))

    def label(self, value: str) -> str:
        """Name a kind, a state, a verdict or a count; an unknown one names itself."""
        return self.translated(LABELS.get(value, value))

    def _written(self, name: str, value: object) -> str | Markup:
        match value:
            case datetime():
                return self.moment(value)
            case int():
                return self.number(value)
            case float():
                return self.decimal(value, 4)
        return _named(name, value)

    def _unit(self, value: float, name: str) -> str:
        return format_unit(value, name, "short", locale=self._locale)


def _named(name: str, value: object) -> Markup:
    """Write what users and machines call their things, so that nobody translates it."""
    if isinstance(value, UUID):
        form = '<a href="/runs/{0}"><code>{1}</code></a>' if name == "run" else "<code>{1}</code>"
        return Markup(form).format(value, str(value)[:8])  # noqa: S704 - one of two texts of ours
    if isinstance(value, list | tuple):
        return Markup(", ").join(_named(name, each) for each in value)
    return Markup('<span translate="no">{}</span>').format(value)
