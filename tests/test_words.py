"""Numbers, times, sizes and names, as people of each language read them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from ingest.loaders.code import CODE_LANGUAGES
from search_app.words import CODE_TYPES, TYPES, Words

ENGLISH, JAPANESE = Words("en"), Words("ja")


@pytest.mark.parametrize(
    ("seconds", "english", "japanese"),
    [
        (0, "0 ms", "0 ms"),
        (0.25, "250 ms", "250 ms"),
        (12.34, "12.3 sec", "12.3 秒"),
        (65, "1 min 5 sec", "1 分 5 秒"),
        (3599.7, "1 hr 0 min", "1 時間 0 分"),
        (3 * 3600 + 125, "3 hr 2 min", "3 時間 2 分"),
    ],
)
def test_durations(seconds: float, english: str, japanese: str) -> None:
    span = timedelta(seconds=seconds)
    assert (ENGLISH.duration(span), JAPANESE.duration(span)) == (english, japanese)


def test_times_are_in_utc_whatever_zone_they_come_in() -> None:
    time = datetime(2026, 3, 5, 3, 6, 59, tzinfo=timezone(timedelta(hours=9)))
    assert ENGLISH.moment(time) == "Mar 4, 2026, 18:06 UTC"
    assert JAPANESE.moment(time) == "2026/03/04 18:06 UTC"
    assert JAPANESE.moment(datetime(2026, 3, 4, 9, 6, tzinfo=UTC)) == "2026/03/04 09:06 UTC"
    assert (ENGLISH.date(time), JAPANESE.date(time)) == ("Mar 4, 2026", "2026/03/04")


def test_numbers() -> None:
    assert JAPANESE.number(2304) == "2,304"
    assert ENGLISH.decimal(0.91266) == "0.913"
    assert ENGLISH.decimal(1234.5, 0) == "1,234"
    assert JAPANESE.percent(0.877, 1) == "87.7%"
    assert ENGLISH.percent(1) == "100%"


@pytest.mark.parametrize(
    ("size", "english", "japanese"),
    [
        (0, "0 bytes", "0 バイト"),
        (999, "999 bytes", "999 バイト"),
        (1500, "1.5 kB", "1.5 KB"),
        (2_300_000, "2.3 MB", "2.3 MB"),
        (7_000_000_000, "7 GB", "7 GB"),
    ],
)
def test_sizes(size: int, english: str, japanese: str) -> None:
    assert (ENGLISH.file_size(size), JAPANESE.file_size(size)) == (english, japanese)


def test_names_of_languages_and_types() -> None:
    assert (ENGLISH.language_name("ja"), JAPANESE.language_name("en")) == ("Japanese", "英語")
    assert ENGLISH.language_name("und") == "Unknown language"
    assert JAPANESE.language_name("xx") == "xx"
    assert (ENGLISH.type_name("markdown"), JAPANESE.type_name("docx")) == ("Markdown", "Word")
    assert ENGLISH.type_name("text") == "Plain text"
    assert JAPANESE.type_name("lisp") == "lisp"


def test_every_language_of_code_that_is_read_has_a_name() -> None:
    assert set(CODE_LANGUAGES.values()) == CODE_TYPES.keys()
    assert {name for name in TYPES.values() if name == name.lower()} == set()
