"""Numbers of tokens, as answers of hosted models write them."""

import json

import pytest

from search_app.embedders.hosted.vectors import count_of


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("4", 4),
        ("4.0", 4),
        ("0", 0),
        ("NaN", None),
        ("Infinity", None),
        ("-1", None),
        ("true", None),
        ('"4"', None),
        ("null", None),
    ],
)
def test_what_is_no_count_is_none(written: str, count: int | None) -> None:
    assert count_of(json.loads(written)) == count
