"""Phrases and exclusions: what they are, and which passages they let through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.question import Question, read_question


@pytest.mark.parametrize(
    ("query", "text", "phrases", "excluded"),
    [
        ("plain words", "plain words", (), ()),
        ('the "exact phrase" here', "the exact phrase here", ("exact phrase",), ()),
        ("tea -green", "tea", (), ("green",)),
        ('tea -"earl grey"', "tea", (), ("earl grey",)),
        ("“東京都”の案内 -京都", "東京都の案内", ("東京都",), ("京都",)),
        ("state-of-the-art", "state-of-the-art", (), ()),
        ("a - b", "a - b", (), ()),
        ('"unbalanced words', '"unbalanced words', (), ()),
        ('5"x7" frames', '5"x7" frames', (), ()),
        ("-green", "-green", (), ()),
        ('-"all of it"', '-"all of it"', (), ()),
        ('""', '""', (), ()),
        ('" " tea', "tea", (), ()),
    ],
)
def test_reading(
    query: str, text: str, phrases: tuple[str, ...], excluded: tuple[str, ...]
) -> None:
    assert read_question(query) == Question(text, phrases, excluded)


@pytest.mark.parametrize(
    ("query", "passage", "accepted"),
    [
        ('"rose tea"', "A Rose\n  TEA for two.", True),
        ('"rose tea"', "prose tea", False),
        ('"rose tea"', "rose teas", False),
        ('"rose tea"', "tea and rose", False),
        ('"ROSE" "TEA"', "tea and rose", True),
        ('"全文検索"', "日本語の全文検索エンジン", True),
        ('"全文検索"', "全文の検索", False),
        ('"ﾃｽﾄ"', "テストをする", True),
        ("tea -green", "black tea", True),
        ("tea -green", "Green tea", False),
        ("tea -runs", "tea while running", False),
        ("tea -PPR-9087", "tea, order ppr-9087", False),
        ("tea -PPR-9087", "tea, order ppr-9088", True),
        ('tea -"earl grey"', "Earl Grey tea", False),
        ('tea -"earl grey"', "grey tea of an earl", True),
        ("案内 -英語", "英語の案内", False),
        ("案内 -英語", "日本語の案内", True),
    ],
)
def test_accepting(query: str, passage: str, *, accepted: bool) -> None:
    assert read_question(query).accepts(passage) is accepted


@given(st.text(alphabet='ab東 -"“”', max_size=20))
def test_every_query_is_read_and_something_is_left_to_look_for(query: str) -> None:
    question = read_question(query)
    assert bool(question.text.strip()) == bool(query.strip())
    question.accepts("ab 東")
