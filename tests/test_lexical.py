"""Which terms texts are cut into, and that documents and queries are cut alike."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.errors import ConfigurationError
from search_app.lexical import TERM_IDS, analyse, check_analyzer, term_id, tokens


def terms(text: str, analyzer: str = "bigram") -> list[str]:
    return [token.term for token in tokens(text, analyzer)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Running runs RUN", ["run", "run", "run"]),
        ("John's café, don't", ["john", "cafe", "dont"]),
        ("the and of", []),
        ("state-of-the-art", ["state", "art"]),
        ("PPR-9087", ["ppr-9087", "ppr", "9087"]),
        (
            "text-embedding-3-small",
            ["text-embedding-3-small", "text", "embed", "3", "small"],
        ),
        ("snake_case", ["snake_case", "snake", "case"]),
        ("CamelCase", ["camelcase", "camel", "case"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("__init__", ["init"]),
        ("C++ and C#", ["c++", "c", "c#", "c"]),
        ("1,000,000", ["1000000", "1", "000", "000"]),
        ("3.14", ["3.14", "3", "14"]),
        ("ＡＢＣ１２３", ["abc123"]),
        ("ﬁne", ["fine"]),
        ("東", ["東"]),
        ("東京", ["東", "東京", "京"]),
        ("カメラ", ["カメ", "メラ"]),
        ("ｶﾞﾗｽ", ["ガラ", "ラス"]),
        ("東京Tower", ["東", "東京", "京", "tower"]),
        ("한국어", ["한국", "국어"]),
        ("!?… 😀 。", []),
        ("", []),
    ],
)
def test_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_an_identifier_is_found_by_each_part_and_as_a_whole() -> None:
    document = set(terms("See get_user_name in node.js, order PPR-9087."))
    for query in ("get_user_name", "user", "node.js", "node", "ppr-9087", "9087", "PPR"):
        assert set(terms(query)) <= document, query


def test_composed_and_decomposed_are_the_same() -> None:
    for text in ("café Ångström", "ガラスのがく", "İstanbul", "한국어 값", "கொடி কোন"):
        assert terms(unicodedata.normalize("NFD", text)) == terms(text)


def test_what_is_too_long_for_a_word_is_no_term_but_its_parts_are() -> None:
    digest = "0f" * 64
    assert terms(digest) == [digest]
    assert terms(f"before {digest}0 after") == ["befor", "after"]
    assert terms("e\u0301" * 129) == terms("x" * 1_000_000) == []
    address = "https://example.org/" + "/".join(["part"] * 40)
    assert terms(address) == ["https", "exampl", "org", *["part"] * 40]


def test_long_lines_are_read_to_their_end() -> None:
    # Where every place is a beginning that comes to nothing, trying each takes the square of them.
    line = "_" * 300_000
    assert terms(line) == []
    assert terms(f"form: {line}name_{line}x{line}") == ["form", "name", "x"]


def test_marks_that_make_letters_stay() -> None:
    assert terms("й") != terms("и")
    assert terms("ガ") != terms("カ")


def test_words_are_kept_as_they_are_written() -> None:
    analysed = analyse("Running 東京 PPR-9087 runs")
    assert set(analysed.words.values()) == {"running", "ppr"}
    assert analysed.counts[term_id("run")] == 2
    assert analysed.length == sum(analysed.counts.values()) == 8


def test_sudachi_cuts_words() -> None:
    pytest.importorskip("sudachipy", reason="the extra sudachi is not installed")
    check_analyzer("sudachi")
    assert terms("東京都の全文検索を使う。", "sudachi") == ["東京", "都", "全文", "検索", "使う"]
    assert terms("Running fast", "sudachi") == ["run", "fast"]
    assert terms("東京" * 30_000, "sudachi") == ["東京"] * 30_000


def test_an_unknown_analyzer_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'mecab'.*bigram or sudachi"):
        check_analyzer("mecab")


@given(st.text())
def test_every_term_stands_for_a_piece_of_the_text(text: str) -> None:
    for token in tokens(text):
        assert token.term
        assert 0 <= token.start < token.end <= len(text)
        assert 0 <= term_id(token.term) < TERM_IDS


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"])))
def test_width_and_case_do_not_matter(text: str) -> None:
    assert terms(unicodedata.normalize("NFKC", text)) == terms(text)


@given(st.text(), st.text())
def test_a_space_parts_texts(one: str, other: str) -> None:
    assert terms(f"{one} \n {other}") == terms(one) + terms(other)
