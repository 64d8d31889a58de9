"""Numbers, times and languages as people read them."""

from datetime import UTC, datetime, timedelta

_LANGUAGES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "ms": "Malay",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sr": "Serbian",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "und": "Unknown",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
_MINUTE, _HOUR = 60, 3600


def language_name(code: str) -> str:
    """Name a language by its ISO 639-1 code; an unknown code names itself."""
    return _LANGUAGES.get(code, code)


def amount(number: int, singular: str, plural: str | None = None) -> str:
    """Say how many, e.g. ``1 document`` or ``2,304 documents``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def moment(time: datetime) -> str:
    """Write a time in UTC, to the minute."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def duration(span: timedelta) -> str:
    """Write how long something took, in two units at most."""
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), _MINUTE)
    if seconds < _HOUR:
        return f"{minutes} min {left} s"
    return f"{minutes // 60} h {minutes % 60} min"
