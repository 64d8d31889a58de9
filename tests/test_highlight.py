"""Marks and snippets: what is marked, where long passages are cut, and that nothing escapes."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from search_app.lexical import tokens
from search_app.web.highlight import CJK_SNIPPET_LENGTH, SNIPPET_LENGTH, highlight, snippet
from search_app.web.passages import passage_parts
from search_app.web.plain import plain
from search_app.web.terms import matches

NAUGHTY = Path(__file__).parents[2] / "shared" / "data" / "naughty" / "blns.json"


def marked(text: str, query: str) -> list[str]:
    return re.findall(r"<mark>(.*?)</mark>", highlight(text, query), re.DOTALL)


def words(markup: Markup) -> str:
    return Markup(re.sub(r"</?mark>", "", markup)).unescape()


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        (
            "run server",
            "Running servers; the SERVER runs.",
            ["Running", "servers", "SERVER", "runs"],
        ),
        ("libraries", "One library, two libraries.", ["library", "libraries"]),
        ("use", "It used the user's use of using.", ["used", "use", "using"]),
        ("user", "The users' and the user's own", ["users", "user's"]),
        ("class", "class classes classic", ["class", "classes"]),
        ("car", "carpet carrot car cars", ["car", "cars"]),
        ("resume", "The résumé, resumed", ["résumé", "resumed"]),
        ("how do I reset the password", "How do I do the reset?", ["reset"]),
        ("the who", "The Who", ["Who"]),
        ("max_tokens PPR-9087", "max_tokens of PPR-9087", ["max_tokens", "PPR-9087"]),
        ("max_tokens", "the tokens of maxTokens", ["tokens", "maxTokens"]),
        ("api", "FastAPI get_api ApiKey", ["API", "api", "Api"]),
        ("OAuth2", "OAuth2PasswordBearer", ["OAuth2"]),
        ("3.11", "Python 3.11 or 3.12", ["3.11"]),
        ("e-mail", "e-mail, e-commerce", ["e-mail"]),
        ("ＡＢＣ", "abc and ＡＢＣ", ["abc", "ＡＢＣ"]),
        ("검색", "검색은 빠르다", ["검색"]),
        ("ПОИСК", "поиск", ["поиск"]),
        ("tea -green", "Green tea", ["tea"]),
    ],
)
def test_words_are_found_by_their_stems_and_identifiers_in_parts(
    query: str, text: str, expected: list[str]
) -> None:
    assert marked(text, query) == [str(escape(word)) for word in expected]


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("図書館の休みはいつですか", "図書館は毎週月曜日に休館します。", ["図書館"]),
        ("図書館の休み", "体育館の利用と図書館の休み", ["図書館の休み"]),
        ("パスパラメータの型", "クエリパラメータとメタデータの型", ["パラメータ", "型"]),
        ("データ", "オープンデータ", ["データ"]),
        ("カタカナ", "ｶﾀｶﾅで書く", ["ｶﾀｶﾅ"]),
        ("ガイド", "ｶﾞｲﾄﾞを読む", ["ｶﾞｲﾄﾞ"]),
        ("水", "水がある。火山と水道。", ["水", "水"]),
        ("水と火山", "水がある。火山に登る。水道。", ["水", "火山"]),
        ("走る人", "走った人と人間", ["走", "人"]),
        ("使い方", "この方が使いやすい", ["使い"]),
        ("おはよう", "おはようございます", ["おはよう"]),
        ("検索できますか", "返却できますか", []),
        ("の", "本の中", []),
        ("やり方", "図書館のやり方", ["やり方"]),
        ("FastAPIの型ヒント", "fastapi は型ヒントを使う", ["fastapi", "型ヒント"]),
        ("检索系统", "检索系统的设计", ["检索系统"]),
    ],
)
def test_japanese_is_found_by_its_longest_runs(query: str, text: str, expected: list[str]) -> None:
    assert marked(text, query) == expected


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ('"green tea"', "Green  Tea is tea, and green.", ["Green  Tea"]),
        ('"green tea"', "Tea that is green", ["Tea", "green"]),
        ('"green tea" leaves', "Leaves of green tea, not tea.", ["Leaves", "green tea"]),
        ('"to be or not"', "To be or not to be", ["To be or not"]),
        ('"art of"', "The start of it", []),
        ("「図書館の」", "図書館の中", ["図書館"]),
        ('"図書館の"', "図書館の中", ["図書館の"]),
        ('-"green tea" leaves', "green tea leaves", ["leaves"]),
    ],
)
def test_phrases_are_marked_as_wholes(query: str, text: str, expected: list[str]) -> None:
    assert marked(text, query) == expected


_WORDS = st.sampled_from(
    ["running", "libraries", "図書館", "の", "休み", "Fast_API", "ｶﾞｲﾄﾞ", "é", "3.11", "데이터"]
)


@given(
    st.lists(_WORDS, min_size=1, max_size=4), st.lists(_WORDS, max_size=6), st.sampled_from("  \n")
)
@example(query=["図書館", "の"], text=["図書館", "の", "休み"], space="\u3000")
def test_whatever_is_marked_shares_its_terms_with_the_query(
    query: list[str], text: list[str], space: str
) -> None:
    wanted = {token.term for token in tokens(space.join(query))}
    shown = space.join(text)
    found = matches(shown, space.join(query))
    assert all(span.terms and span.terms <= wanted for span in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
    for span in found:
        assert span.terms & {token.term for token in tokens(shown[span.start : span.end])}


@given(st.text(), st.text())
def test_highlighting_only_adds_marks(text: str, query: str) -> None:
    found = highlight(text, query)
    assert found.replace("<mark>", "").replace("</mark>", "") == str(escape(text))


def naughty() -> list[str]:
    if not NAUGHTY.exists():
        pytest.skip(f"{NAUGHTY} is absent")
    strings: list[str] = json.loads(NAUGHTY.read_text(encoding="utf-8"))
    return strings


def assert_is_a_piece_with_marks(shown: Markup, text: str) -> None:
    line = " ".join(text.split())
    rest = shown.replace("<mark>", "").replace("</mark>", "")
    assert "<" not in rest
    piece = str(Markup(rest).unescape())
    assert any(
        candidate in line
        for candidate in (piece, piece[1:], piece[:-1].rstrip(), piece[1:-1].rstrip())
    )


def test_no_naughty_string_becomes_markup() -> None:
    strings = naughty()
    for text, other in zip(strings, [*strings[1:], strings[0]], strict=True):
        for query in (text, other, f'"{text}" {other}', f"-{text} {other}"):
            assert_is_a_piece_with_marks(snippet(text, query), text)
            assert words(highlight(text, query)) == text
    everything = " ".join(strings)
    for query in strings:
        assert_is_a_piece_with_marks(snippet(everything, query), everything)


@given(st.text(), st.text())
@example("a<b>&amp;c", "b amp")
def test_a_snippet_of_anything_is_a_piece_of_it(text: str, query: str) -> None:
    assert_is_a_piece_with_marks(snippet(text, query), text)


_PIECES = st.sampled_from(
    ["the store ", "図書館の", "休み。", "<b>&amp;", "データ", "running. ", "\n\n", "🧺", "x" * 40]
)


@given(st.lists(_PIECES, max_size=80).map("".join), st.lists(_PIECES, max_size=5).map("".join))
def test_a_snippet_is_a_piece_of_the_passage_on_one_line(text: str, query: str) -> None:
    shown = words(snippet(text, query))
    line = " ".join(text.split())
    assert shown.removeprefix("…").removesuffix("…").strip() in line
    assert len(shown) <= SNIPPET_LENGTH + 80
    assert "<b>" not in snippet(text, query)


def test_a_snippet_shows_the_densest_part() -> None:
    filler = "Nothing of interest happens here. " * 30
    text = f"{filler}The store is closed. {filler}The vector store keeps unit vectors. {filler}"
    shown = snippet(text, "vector store")
    assert "<mark>vector</mark> <mark>store</mark> keeps unit <mark>vectors</mark>." in shown
    assert shown.startswith("…The <mark>")
    assert shown.endswith(". …")


def test_a_japanese_snippet_is_shorter_and_cut_at_sentences() -> None:
    filler = "東京は日本の首都であり、多くの人が住んでいる。"
    text = f"{filler * 12}図書館は月曜日に休みます。返却は入口の箱へどうぞ。{filler * 20}"
    shown = snippet(text, "図書館の休み")
    assert "<mark>図書館</mark>は月曜日に<mark>休み</mark>ます。" in shown
    assert words(shown).startswith("…図書館は")
    assert shown.endswith("。…")
    assert len(words(shown)) <= CJK_SNIPPET_LENGTH + 10


@pytest.mark.parametrize(
    "sentence",
    [
        'He asked "Who?" and then Dr. Smith, e.g. Ann, saw the lantern at 3.5 m.',
        "彼は「はい。行きます。」と言ってランタンを見た。",
        "1. Take the lantern (as in Fig. 3) from its hook!",
        "• The lantern hangs there, without a full stop",
    ],
)
def test_snippets_begin_and_end_with_whole_sentences(sentence: str) -> None:
    japanese = "た。" in sentence
    filler = ("ここでは何も起きない。" if japanese else "Nothing of interest happens here. ") * 30
    text = f"{filler}\n\n{sentence}\n\n{filler}"
    shown = words(snippet(text, "ランタン" if japanese else "lantern"))
    assert sentence in shown
    assert re.match(r"…(Nothing|ここ|彼は|He|1\.|•)", shown)
    assert re.search(r"(here\. …|ない。…)$", shown)


def test_a_long_sentence_is_cut_between_words() -> None:
    text = "word " * 200 + "the needle and " + "word " * 200
    shown = words(snippet(text, "needle"))
    assert re.fullmatch(r"…(word )+the needle and (word )*word…", shown)


def test_a_short_passage_is_shown_whole() -> None:
    assert snippet("  One line,\n and another. ", "line") == "One <mark>line</mark>, and another."


def test_a_passage_without_the_words_is_shown_from_its_beginning() -> None:
    assert snippet("First words. " + "More of them. " * 99, "unseen").startswith("First words.")


def test_markup_in_documents_and_queries_stays_text() -> None:
    attack = '<script>alert("x")</script><img src=x onerror=alert(1)>'
    for shown in (highlight(attack, attack), snippet(attack, attack), snippet(attack, "")):
        assert set(re.findall(r"<[^>]*>", shown)) <= {"<mark>", "</mark>"}
        assert words(shown) == attack


def test_code_fences_are_told_apart_and_left_out() -> None:
    parts, inside = passage_parts("Before\n```python\nx = 1\n```\n\nAfter", "")
    assert [(part.text, part.code) for part in parts] == [
        ("Before", False),
        ("x = 1", True),
        ("After", False),
    ]
    assert not inside


def test_a_fence_may_span_passages() -> None:
    _, inside = passage_parts("```\nx = 1\n", "")
    parts, after = passage_parts("y = 2\n```\nAfter\n", "", in_code=inside)
    assert [(part.text, part.code) for part in parts] == [("y = 2", True), ("After", False)]
    assert not after


def test_a_fence_with_a_language_opens_even_where_one_seems_open() -> None:
    parts, inside = passage_parts("text\n```python\nx\n```\n", "", in_code=True)
    assert parts[-1].code
    assert not inside


def test_marks_of_markdown_are_taken_out_of_snippets() -> None:
    text = "## Install `pip` { #install }\n\nSee **the** [guide](g.md), `x_y`:\n\n```sh\nls\n```\n"
    shown = " ".join(plain(text, ["Guide", "Install pip"]).split())
    assert shown == "See the guide, x_y: ls"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**重要**なのは*ここ*です", "重要なのはここです"),
        ("a *star*, an __underline__, a ~~line~~", "a star, an underline, a line"),
        ("read __init__ and some_name_here, 2 * 3 * 4", "read init and some_name_here, 2 * 3 * 4"),
        ("関数_名_です 5*3*2", "関数_名_です 5*3*2"),
        ("- one\n  * two\n1. three", "• one\n  • two\n1. three"),
        ("| a | b |\n| --- | :-: |\n| 1 | |\n| 2 | `c` |", "a · b\n1\n2 · c"),
        (r"1\. \*not\* bold, a\_b", "1. *not* bold, a_b"),
        ("![map](m.png) see <https://example.org/a>", "map see https://example.org/a"),
        ("***both***", "both"),
        ("a\n\n* * *\n\n---\nb", "a\n\n\n\n\nb"),
        ("a | b", "a | b"),
        ('A <dfn title="x > y">term</dfn><br/>, <b\nid=i>bold</b>', "A term, bold"),
        ("Use `<b>` for\n```\n<b>bold</b>\n```\na < b", "Use <b> for\n\n<b>bold</b>\n\na < b"),
        ("/// note | Mind this\n\nText\n///", "Mind this\n\nText\n"),
        ("* " * 2500 + "a", "• " + "* " * 2499 + "a"),
        ("*a" * 2500, "*a" * 2500),
    ],
)
def test_every_kind_of_mark_is_taken_out_and_nothing_else(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_passage_shows_headings_as_such_and_no_marks_outside_of_code() -> None:
    text = "# A *title*\n\nSome **words**.\n\n```py\n# a comment\n**kw\n```\n## Next"
    parts, in_code = passage_parts(text, "words")
    assert [(str(p.text), p.code, p.heading) for p in parts] == [
        ("A title", False, True),
        ("Some <mark>words</mark>.", False, False),
        ("# a comment\n**kw", True, False),
        ("Next", False, True),
    ]
    assert not in_code
    parts, _ = passage_parts("# not a heading **here**", "", markdown=False)
    assert [str(part.text) for part in parts] == ["# not a heading **here**"]


def test_a_heading_alone_is_still_shown() -> None:
    assert plain("# Install", ["Install"]) == "Install"
