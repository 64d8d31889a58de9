import base64
import itertools
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import loaders
from ingest.boundaries import PROSE, Cut, Piece
from ingest.chunker import TokenCounter, chunk
from ingest.plain import first_title, plain_blocks
from ingest.sources import discover
from ingest.types import ChunkSpan, LoadedDocument, SourceRef, Structure
from search_app.embedders import e5_tokenizer
from search_app.types import Chunking

DATA = Path(__file__).parent.parent.parent / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the sample data")


class Words:
    """Counts a token for each word or symbol, and for each character of Japanese."""

    def count_tokens(self, text: str) -> int:
        return len(re.findall(r"[a-zA-Z0-9]+|[^\sa-zA-Z0-9]", text))


class Characters:
    """Counts characters, so that parts always have fewer tokens than the whole they make."""

    def count_tokens(self, text: str) -> int:
        return len(text)


E5 = e5_tokenizer.TokenCounter()
SMALL = Chunking(max_tokens=32)


def document(
    text: str, structure: Structure = "plain", page_starts: tuple[int, ...] = ()
) -> LoadedDocument:
    return LoadedDocument(
        uri="u",
        source="s",
        title="t",
        titled=False,
        text=text,
        language="und",
        media_type="text",
        structure=structure,
        page_starts=page_starts,
    )


def check(text: str, spans: list[ChunkSpan], chunking: Chunking, tokens: TokenCounter) -> None:
    assert spans[0].start == 0
    assert spans[-1].end == len(text)
    assert all(a.end == b.start for a, b in itertools.pairwise(spans))
    for span in spans:
        stripped = text[span.start : span.end].strip()
        assert stripped
        assert span.tokens == tokens.count_tokens(stripped) <= chunking.max_tokens


def cut(
    text: str, structure: Structure = "plain", limit: int = 32, tokens: TokenCounter | None = None
) -> list[str]:
    """Cut a text, see that nothing is lost, and give the chunks stripped."""
    counter, chunking = tokens or Words(), Chunking(max_tokens=limit)
    spans = chunk(document(text, structure), chunking, counter)
    check(text, spans, chunking, counter)
    return [text[span.start : span.end].strip() for span in spans]


def paths(text: str, limit: int = 32) -> list[tuple[str, ...]]:
    spans = chunk(document(text, "markdown"), Chunking(max_tokens=limit), Words())
    return [span.heading_path for span in spans]


def words(count: int) -> str:
    return " ".join(["word"] * count)


# What holds for every text.

FRAGMENTS = st.sampled_from(
    [
        *("# A\n", "## B\n\n", "Title\n===\n", "```\n", "~~~ py\n# x\n", "- item\n", "1. one\n"),
        *("> quote\n", "| a | b |\n|---|---|\n", "| 1 | 2 |\n", "<div>\n", "    code\n", "---\n"),
        *("\n", "\n\n", " ", "\t", "\u3000", "\x0b", "\x1c", "\u2028", "\x85", "\u200b"),
        *(
            "これは文です。",
            "「はい。」と言った。",
            "すごい！？",
            "東京、大阪。",
            "Hello there. ",
            "e.g. x",
        ),
        *(
            "def f():\n    pass\n",
            "}\n",
            "a" * 40,
            "👩‍👩‍👧‍👦",
            "🇯🇵",
            "👍🏽",
            "e\u0301",
            "か\u3099",
            "\u0301",
        ),
    ]
)
TEXTS = st.one_of(
    st.lists(st.one_of(FRAGMENTS, st.text(max_size=10)), max_size=60).map("".join),
    st.text(max_size=400),
)


@given(
    text=TEXTS,
    structure=st.sampled_from(["markdown", "plain", "code"]),
    limit=st.integers(min_value=4, max_value=80),
    counter=st.sampled_from([Words, Characters]),
)
@settings(max_examples=600, deadline=None)
def test_chunks_are_the_whole_text_and_keep_the_limit(
    text: str, structure: Structure, limit: int, counter: Callable[[], TokenCounter]
) -> None:
    chunking = Chunking(max_tokens=limit)
    spans = chunk(document(text, structure), chunking, counter())
    if text.strip():
        check(text, spans, chunking, counter())
    else:
        assert spans == []
    assert spans == chunk(document(text, structure), chunking, counter())


@given(text=TEXTS, structure=st.sampled_from(["markdown", "plain", "code"]))
@settings(max_examples=60, deadline=None)
def test_the_limit_holds_for_the_real_tokenizer(text: str, structure: Structure) -> None:
    if text.strip():
        cut(text, structure, tokens=E5)


RANDOM = random.Random(7)
HOSTILE = {
    "base64": base64.b64encode(RANDOM.randbytes(60_000)).decode(),
    "one letter": "a" * 50_000,
    "emoji": "👩‍👩‍👧‍👦🇯🇵👍🏽" * 2_000,
    "combining": "a" + "\u0301" * 5_000,
    "spaces": " " * 50_000 + "x" + " " * 50_000,
    "newlines": "\n" * 100_000 + ")",
    "blank lines": " \n" * 50_000 + "x",
    "crumbs": "a\n\n" * 5_000,
    "headings": "# a\n" * 3_000,
    "fence": "```\n" + "x = 1\n" * 5_000,
    "table": "|a|b|\n|-|-|\n" + "|1|2|\n" * 2_000,
    "list": "- item\n" * 3_000,
    "nested": "> " * 5_000 + "a",
    "stops": "。" * 20_000,
    "dots": ". " * 20_000,
    "closers": "」" * 20_000,
    "kanji": "東京都千代田区" * 3_000,
    "numbers": "1. " * 10_000,
    "invisible": "\u200b" * 20_000,
    "heading": "# " + "long " * 10_000,
}


@pytest.mark.parametrize("structure", ["markdown", "plain", "code"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts(name: str, structure: Structure) -> None:
    cut(HOSTILE[name], structure, limit=256, tokens=E5)


def test_white_space_alone_has_no_chunks() -> None:
    assert chunk(document(" \n\u3000\n"), SMALL, Words()) == []


@pytest.mark.parametrize(
    "cluster", ["👩‍👩‍👧‍👦", "🇯🇵", "👍🏽", "e\u0301\u0323", "か\u3099", "각", "ﾊﾟ"]
)
def test_visible_characters_are_not_torn(cluster: str) -> None:
    for part in cut("x" + cluster * 300, limit=40, tokens=Characters()):
        assert part.removeprefix("x").replace(cluster, "") == ""


# Sections.


def test_sections_stay_apart_unless_small() -> None:
    text = f"# One\n\n{words(20)}\n\n# Two\n\n{words(20)}\n"
    assert [part[:5] for part in cut(text, "markdown")] == ["# One", "# Two"]
    assert paths(text) == [("One",), ("Two",)]


def test_small_neighbours_under_one_parent_share_a_chunk() -> None:
    text = "# Top\n\n## A\n\none two\n\n## B\n\nthree four\n\n## C\n\n" + words(24)
    assert [len(part.split("##")) for part in cut(text, "markdown")] == [3, 2]
    assert paths(text) == [("Top",), ("Top", "C")]


def test_small_neighbours_under_different_parents_do_not() -> None:
    text = f"# A\n\n## B\n\n{words(20)}\n\n# C\n\n## D\n\n{words(3)}\n"
    assert paths(text) == [("A", "B"), ("C", "D")]


def test_what_is_next_to_nothing_joins_any_neighbour() -> None:
    text = f"# A\n\n## B\n\n{words(20)}\n\n# C\n"
    assert len(cut(text, "markdown", limit=64)) == 1


def test_a_remainder_is_not_left_alone() -> None:
    sizes = [Words().count_tokens(part) for part in cut("One two three four. " * 25, limit=33)]
    assert min(sizes) > 20


def test_a_heading_stays_with_its_body() -> None:
    text = f"# Top\n\n## Sub\n\n{words(31)}. {words(20)}.\n"
    chunks = cut(text, "markdown", limit=40)
    assert chunks[0].startswith("# Top\n\n## Sub\n\nword")
    assert len(chunks) == 2


def test_heading_paths_are_plain_words() -> None:
    text = (
        f"{words(40)}\n\n# A *b* `c` [d](http://e) {{ #anchor }}\n\n" + words(40) + "\n\n"
        "Two\nlines\n---\n\n" + words(40) + "\n\n### Deep { #x }\n\n" + words(40) + "\n\n"
        "# <abbr title='x'>HTML</abbr> &amp; {braces}\n\n" + words(40) + "\n\n#\n\n" + words(40)
    )
    assert paths(text, limit=64) == [
        (),
        ("A b c d",),
        ("A b c d", "Two lines"),
        ("A b c d", "Two lines", "Deep"),
        ("HTML & {braces}",),
        (),
    ]


@pytest.mark.parametrize("fence", ["```", "~~~~", "    "])
def test_a_hash_in_code_is_no_heading(fence: str) -> None:
    code = "    # not a heading" if fence == "    " else f"{fence}\n# not a heading\n{fence}"
    text = f"# Real\n\nSome words.\n\n{code}\n\nMore words.\n"
    assert paths(text) == [("Real",)]


RST = """\
=========
マニュアル
=========

はじめに
========
本文です。

Using :mod:`email`
==================

Body of it.

詳しく
------

Name  Value
----  -----
a     1

The last words before a rule.
-----------------------------------------------------------------------------
"""


def test_underlined_titles_are_headings_as_they_come_up() -> None:
    headings = [(block.level, block.title) for block in plain_blocks(RST) if block.level]
    assert headings == [(1, "マニュアル"), (2, "はじめに"), (2, "Using email"), (3, "詳しく")]
    assert "".join(RST[block.start : block.end] for block in plain_blocks(RST)) == RST
    assert first_title(RST) == "マニュアル"


def test_numbered_lines_are_headings_where_nothing_is_underlined() -> None:
    text = (
        "第1章 総則\n\n本文です。\n\n第２節　目的とは何か？\n\n本文。\n\n1.2. Methods\n\nBody.\n\n"
        "1. 一つ目\n\n2. 二つ目\n\n3. 三つ目\n\n"
        "2024 was a good year\n\n10 時に開きます。\n\n第3章 終わり\n"
    )
    headings = [(block.level, block.title) for block in plain_blocks(text) if block.level]
    assert headings == [
        *((2, "第1章 総則"), (3, "第２節 目的とは何か？"), (3, "1.2. Methods"), (2, "3. 三つ目")),
    ]


def test_a_title_of_plain_text_stays_with_its_body() -> None:
    text = f"Title\n=====\n\n{words(20)}.\n\nPart\n----\n{words(31)}. {words(20)}.\n"
    spans = chunk(document(text), Chunking(max_tokens=40), Words())
    assert [span.heading_path for span in spans] == [
        ("Title",),
        ("Title", "Part"),
        ("Title", "Part"),
    ]
    assert text[spans[1].start :].startswith("Part\n----\nword")


@needs_data
@pytest.mark.parametrize(
    ("name", "chapters"),
    [
        ("developers-reference.ja.txt", ("5. パッケージの取扱い方", "5.8.5.3. セキュリティ勧告")),
        ("debian-faq.ja.txt", ("第8章 Debian パッケージ管理ツール", "8.1.3. aptitude")),
    ],
)
def test_chapters_of_a_manual_as_text(name: str, chapters: tuple[str, str]) -> None:
    text = (DATA / "files/debian" / name).read_text(encoding="utf-8")
    found = {span.heading_path for span in chunk(document(text), Chunking(), E5)}
    titles = {title for path in found for title in path}
    assert set(chapters) <= titles
    assert all(len(path) < 7 for path in found)


def test_headings_in_lists_and_quotations_divide_nothing() -> None:
    assert paths("# A\n\n> # quoted\n\n- # item\n") == [("A",)]


# What is kept whole.


@pytest.mark.parametrize(
    "block", ["```py\nx = 1\n\n\ny = 2\n# z\n```", "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"]
)
def test_code_and_tables_are_whole_where_they_fit(block: str) -> None:
    for before in range(5, 40, 3):
        text = f"{words(before)}.\n\n{block}\n\n{words(before)}.\n"
        assert any(block in part for part in cut(text, "markdown"))


def test_code_that_does_not_fit_is_cut_between_lines() -> None:
    lines = [f"value_{number} = call(number, {number})" for number in range(40)]
    text = "```\n" + "\n".join(lines) + "\n```\n"
    got = [line for part in cut(text, "markdown") for line in part.split("\n")]
    assert got == ["```", *lines, "```"]


def test_what_introduces_a_list_stays_with_it() -> None:
    text = f"{words(20)}.\n\nChoose one of these:\n\n- {words(4)}\n- {words(4)}\n"
    assert cut(text, "markdown")[1].startswith("Choose one of these:\n\n- word")


def test_list_items_are_cut_between() -> None:
    text = "".join(f"- This is item {number}. It has two sentences.\n" for number in range(20))
    for part in cut(text, "markdown", limit=64):
        assert all(line.startswith("- This") for line in part.split("\n"))


def test_definitions_are_kept_whole() -> None:
    functions = [
        f"# About {name}.\n@decorated\ndef {name}(a, b):\n    x = a\n\n    return x + b"
        for name in ("first", "second", "third", "fourth")
    ]
    text = "import os\n\n\n" + "\n\n\n".join(functions) + "\n"
    chunks = cut(text, "code", limit=40)
    assert [sum(function in part for part in chunks) for function in functions] == [1] * 4


# Sentences.

SENTENCES = st.text("日本語東京今日は良い天気ですねカタカナ、", min_size=1, max_size=20).flatmap(
    lambda body: st.sampled_from(
        [
            f"字{body}。",
            f"字{body}！？",
            f"「{body}。」",
            f"「{body}。」と言った。",
            f"（{body}。）",
        ]
    )
)


@given(sentences=st.lists(SENTENCES, min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_japanese_sentences_that_fit_are_never_torn(sentences: list[str]) -> None:
    text = "".join(sentences)
    ends = set(itertools.accumulate(map(len, sentences)))
    spans = chunk(document(text), SMALL, Characters())
    assert {span.end for span in spans} <= ends


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("彼は「はい。」と言った。次の文です。", ["彼は「はい。」と言った。", "次の文です。"]),
        ("本当ですか？！そうです。", ["本当ですか？！", "そうです。"]),
        ("すごい!次だ。終わり｡半角", ["すごい!", "次だ。", "終わり｡", "半角"]),
        ("終わり。（注。）次。", ["終わり。", "（注。）", "次。"]),
        ("Pi is 3.14 here. Next one.", ["Pi is 3.14 here.", "Next one."]),
        ("See J. Smith, e.g. here. Then!", ["See J. Smith, e.g. here.", "Then!"]),
        ('He said "Stop." Then (really.) Wait... Go', None),
        ("1. First item here\n2. Second", ["1. First item here", "2. Second"]),
        ("項目\n・一つ目\n・二つ目", ["項目", "・一つ目", "・二つ目"]),
        ("Contents . . . . . . 5", ["Contents . . . . . . 5"]),
        ("See Dr. Smith, Fig. 3 and pp. 5–7. Then", ["See Dr. Smith, Fig. 3 and pp. 5–7.", "Then"]),
        ("The U.S. Army, i.e. Them. Ends", ["The U.S. Army, i.e. Them.", "Ends"]),
        ("Say no. Then go, No. 5 is it.", ["Say no.", "Then go, No. 5 is it."]),
        ("He said “No!” and left. So?", ["He said “No!” and left.", "So?"]),
        ("What?! Yes… “Go.” End", ["What?!", "Yes… “Go.”", "End"]),
        ("まさか⁉本当⁈そう‼次", ["まさか⁉", "本当⁈", "そう‼", "次"]),
        ("えっ?!本当!?はい…。次", ["えっ?!", "本当!?", "はい…。", "次"]),
        (
            "待って……そして来た。『え？』「うん！」次",
            ["待って……そして来た。", "『え？』", "「うん！」", "次"],
        ),
        ("終わり。[1]次の文。[12] 最後。", ["終わり。[1]", "次の文。[12]", "最後。"]),
        ("終わり。\u3000次の段落", ["終わり。", "次の段落"]),
    ],
)
def test_where_sentences_end(text: str, parts: list[str] | None) -> None:
    parts = parts or ['He said "Stop."', "Then (really.)", "Wait...", "Go"]
    whole = Piece(start=0, end=len(text), cut=Cut.BLOCK)
    pieces = PROSE.pieces(text, whole, 0, small=0)
    assert [text[piece.start : piece.end].strip() for piece in pieces] == parts


def test_lines_of_a_pdf_end_no_sentence() -> None:
    lines = [
        "この文は紙の幅で折り返され",
        "ているので二行になります。次の文",
        "も同じように続きます。",
    ]
    chunks = cut("\n".join(lines * 3), limit=40, tokens=Characters())
    assert all(part.endswith("。") for part in chunks)


def test_a_sentence_that_does_not_fit_is_cut_at_lines_then_clauses_then_words() -> None:
    verse = "\n".join(["a line of some verse"] * 20)
    assert {part.split("\n")[-1] for part in cut(verse)} == {"a line of some verse"}
    clauses = "、".join(["十文字以上の長い節がある"] * 20)
    assert all(part.endswith(("、", "ある")) for part in cut(clauses, tokens=Characters()))
    assert all(part.endswith("word") for part in cut(words(100), tokens=Characters()))


def test_paragraphs_are_preferred_to_sentences() -> None:
    text = "\n\n".join(["One two three. Four five six. Seven eight."] * 12)
    assert all(part.endswith("Seven eight.") for part in cut(text))


# Pages.


def test_a_chunk_is_on_the_page_it_begins_on() -> None:
    pages = ["", f"{words(25)}.", f" \n{words(25)}.", f"{words(25)}."]
    starts = [0, *itertools.accumulate(len(page) + 1 for page in pages[:-1])]
    text = "\n".join(pages)
    spans = chunk(document(text, page_starts=tuple(starts)), SMALL, Words())
    assert [span.page for span in spans] == [2, 3, 4]
    assert {span.page for span in chunk(document(text), SMALL, Words())} == {None}


# Real texts.


@needs_data
@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_documentation_tree(language: str) -> None:
    sizes = []
    for ref in discover([str(DATA / "docs_fastapi" / language / "tutorial")]):
        assert isinstance(ref, SourceRef)
        (page,) = loaders.load(ref, loaders.LoadOptions())
        assert isinstance(page, LoadedDocument)
        spans = chunk(page, Chunking(), E5)
        check(page.text, spans, Chunking(), E5)
        sizes += [span.tokens for span in spans]
        for span in spans:
            text = page.text[span.start : span.end]
            assert text.count("```") % 2 == 0 or span.tokens > 128, text
            if span.heading_path:
                assert "{" not in span.heading_path[-1].replace("{item_id}", "")
    assert min(sizes) >= 16
    assert 140 < sum(sizes) / len(sizes) < 220


@needs_data
@pytest.mark.parametrize("place", [0, 0.5])
def test_an_inserted_paragraph_leaves_the_other_chunks_alone(place: float) -> None:
    text = (DATA / "files/debian/developers-reference.ja.txt").read_text(encoding="utf-8")
    at = text.index("\n\n", int(place * len(text))) + 2
    longer = text[:at] + "ここに一つの段落を挿入しました。\n\n" + text[at:]
    before, after = (set(cut(each, limit=256, tokens=E5)) for each in (text, longer))
    assert len(before) > 300
    assert len(after - before) <= 5


@needs_data
def test_japanese_prose_is_cut_between_sentences() -> None:
    lines = (DATA / "golden/ja_jsquad/corpus.jsonl").read_text(encoding="utf-8").splitlines()
    paragraphs = [json.loads(line)["text"] for line in lines[:400]]
    prose = "".join(text for text in paragraphs if text.endswith("。"))
    chunks = cut(prose, limit=256, tokens=E5)
    assert len(chunks) > 150
    assert all(part.endswith(("。", "。」", "。）", "？", "！")) for part in chunks)
