"""What is kept of e-mail, books, markup, notebooks and JSON."""

import json
from base64 import b64encode
from email.header import Header
from email.message import EmailMessage
from textwrap import dedent

import pytest

from ingest.types import LoadedDocument, LoadOptions
from search_app.errors import SourceError
from tests.office_files import epub
from tests.test_loaders import Desk, desk, short

__all__ = ["desk"]

# Messages.


def message(body: str, charset: str, **headers: str) -> bytes:
    head = "".join(f"{name}: {value}\n" for name, value in headers.items())
    kind = f'Content-Type: text/plain; charset="{charset}"\n\n'
    return (head + kind).encode("ascii") + body.encode(charset)


@pytest.mark.parametrize("charset", ["iso-2022-jp", "shift_jis", "euc-jp", "utf-8"])
def test_japanese_messages_in_every_encoding_they_come_in(desk: Desk, charset: str) -> None:
    names = {
        "Subject": Header("会議の議事録", charset).encode(),
        "From": f"{Header('山田 太郎', charset).encode()} <yamada@example.jp>",
        "To": "a@example.jp, b@example.jp",
        "Date": "Tue, 02 Jan 2024 12:00:00 +0900",
    }
    document = desk.document("a.eml", message("本文です。\nよろしく。\n", charset, **names))
    assert document.text == "本文です。\nよろしく。\n"
    assert (document.title, document.language) == ("会議の議事録", "ja")
    assert document.meta == {
        "from": "山田 太郎 <yamada@example.jp>",
        "to": ["a@example.jp", "b@example.jp"],
        "date": "2024-01-02T12:00:00+09:00",
    }
    assert (document.media_type, document.structure) == ("email", "plain")


def test_messages_that_name_the_wrong_encoding(desk: Desk) -> None:
    # What Japanese mail programs write as ISO-2022-JP goes beyond it; and headers hold raw bytes.
    body = "①株式会社㈱の髙橋です。本文はここから始まります。".encode("cp932")
    head = b'Subject: \x83e\x83X\x83g\nContent-Type: text/plain; charset="shift_jis"\n\n'
    document = desk.document("a.eml", head + body)
    assert document.text == "①株式会社㈱の髙橋です。本文はここから始まります。\n"
    assert document.title == "テスト"
    wrong = message("本文はここから始まります。", "utf-8", Subject="x").replace(
        b'"utf-8"', b'"us-ascii"'
    )
    assert desk.document("b.eml", wrong).text == "本文はここから始まります。\n"
    nonsense = message("plain words", "utf-8", Subject="x").replace(b'"utf-8"', b'"quopri"')
    assert desk.document("c.eml", nonsense).text == "plain words\n"


def test_the_body_is_the_plain_one_and_attachments_are_named(desk: Desk) -> None:
    built = EmailMessage()
    built["Subject"], built["From"] = "Report", "a@example.com"
    built.set_content("Plain words.\n")
    built.add_alternative("<p>Plain <b>words</b>.</p>", subtype="html")
    built.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="報告書.pdf")
    built.add_attachment("not the body", filename="notes.txt")
    forwarded = EmailMessage()
    forwarded["Subject"] = "Earlier"
    forwarded.set_content("inner")
    built.add_attachment(forwarded)
    document = desk.document("a.eml", bytes(built))
    assert document.text == "Plain words.\n"
    assert document.meta["attachments"] == ["報告書.pdf", "notes.txt", "Earlier"]


def test_a_message_of_html_alone_becomes_markdown(desk: Desk) -> None:
    built = EmailMessage()
    built["Subject"] = "News"
    built.set_content(
        "<html lang='ja'><h1>見出し</h1><p>本文 <a href='http://x/'>続き</a></p>", subtype="html"
    )
    document = desk.document("a.eml", bytes(built))
    assert (document.text, document.structure) == ("# 見出し\n\n本文 続き\n", "markdown")


def test_a_message_without_words_says_what_it_has(desk: Desk) -> None:
    built = EmailMessage()
    built["Subject"] = "Scan"
    built.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="scan.pdf")
    reason = desk.reason("a.eml", bytes(built))
    assert reason == "no text of its own; attachments are not read: scan.pdf"
    assert desk.reason("b.eml", "just words\n") == (
        "not an e-mail: it has none of a message's header fields"
    )


# Books.


def test_chapters_follow_each_other_and_get_their_names(desk: Desk) -> None:
    meta = (
        "<dc:title>本の題</dc:title><dc:creator>山田</dc:creator><dc:creator>鈴木</dc:creator>"
        "<dc:language>ja</dc:language><dc:date>2024-01-02</dc:date><dc:publisher>社</dc:publisher>"
    )
    data = epub(
        {
            "1.xhtml": "<html><body><p>名のない<ruby>章<rt>しょう</rt></ruby>。</p></body></html>",
            "2.xhtml": "<h1>第二章</h1><p>本文<img src='data:image/png;base64,AAAA'/>。</p>",
        },
        toc={"1.xhtml": "第一章", "2.xhtml": "別の名"},
        meta=meta,
    )
    document = desk.document("a.epub", data)
    assert document.text == "# 第一章\n\n名のない章。\n\n# 第二章\n\n本文。\n"
    assert (document.title, document.language) == ("本の題", "ja")
    assert document.meta == {"author": ["山田", "鈴木"], "created": "2024-01-02", "publisher": "社"}
    assert (document.media_type, document.structure) == ("epub", "markdown")


# Rich text and markup.


def test_japanese_rich_text(desk: Desk) -> None:
    heading = "".join(f"\\'{byte:02x}" for byte in "見出し".encode("cp932"))
    body = "".join(f"\\u{ord(c)}\\'81\\'48" for c in "本文です。")
    rtf = (
        r"{\rtf1\ansi\ansicpg932\uc2{\fonttbl{\f0\fcharset128 MS Mincho;}}"
        r"{\info{\title Report 2.5!}{\author Yamada}}{\stylesheet{\s1 heading 1;}}"
        rf"\pard\s1\outlinelevel0\f0 {heading}\par\pard {body}\par "
        r'{\field{\*\fldinst{HYPERLINK "http://x/"}}{\fldrslt link}}\par'
        r"\trowd\cellx9\cellx99 A\cell B\cell\row\trowd\cellx9\cellx99 1\cell 2\cell\row\pard}"
    )
    document = desk.document("a.rtf", rtf)
    assert (
        document.text == "# 見出し\n\n本文です。\n\nlink\n\n| A | B |\n| --- | --- |\n| 1 | 2 |\n"
    )
    assert (document.title, document.meta) == ("Report 2.5!", {"author": "Yamada"})


def test_org(desk: Desk) -> None:
    text = dedent("""\
        #+TITLE: 題名
        * 見出し
        本文 *太字* [[https://example.com][リンク]] 2.5!
        | a | b |
        |---+---|
        | 1 | 2 |
        ** 下位
        - 項目
        #+BEGIN_SRC python
        print("a_b")
        #+END_SRC
        """)
    document = desk.document("a.org", text)
    assert document.text == dedent("""\
        # 見出し

        本文 太字 リンク 2.5!

        | a | b |
        | --- | --- |
        | 1 | 2 |

        ## 下位

        - 項目

        ```python
        print("a_b")
        ```
        """)
    assert document.title == "題名"


def test_restructuredtext(desk: Desk) -> None:
    text = dedent("""\
        ====
        題名
        ====
        :Author: 山田

        .. contents::

        節 A
        ----

        本文 ``code`` と :ref:`参照 <x>` と `リンク <http://x/>`_ です。

        .. code-block:: python
           :linenos:

           def f(x):
               return x

        .. note:: 注意事項
           続き

        .. list-table::
           :header-rows: 1

           * - A
             - B

        例::

            literal *block*

        小節
        ~~~~

        .. py:function:: open(path)

           Opens it.

        節 B
        ----

        === ===
        a   b
        === ===
        1   2
        === ===

        .. comment
           hidden
        .. [1] 脚注
        """)
    document = desk.document("a.rst", text)
    assert document.text == dedent("""\
        # 題名

        :Author: 山田

        ## 節 A

        本文 `code` と 参照 と リンク です。

        ```python
        def f(x):
            return x
        ```

        注意事項
        続き

        * - A
          - B

        例:

        ```
        literal *block*
        ```

        ### 小節

        open(path)

        Opens it.

        ## 節 B

        ```
        === ===
        a   b
        === ===
        1   2
        === ===
        ```

        [1] 脚注
        """)
    assert (document.title, document.meta) == ("題名", {"author": "山田"})


def test_notebooks_keep_text_and_code(desk: Desk) -> None:
    picture = {"data": {"image/png": b64encode(b"x" * 99).decode()}}
    notebook = {
        "metadata": {"language_info": {"name": "python"}, "authors": [{"name": "Yamada"}]},
        "cells": [
            {"cell_type": "markdown", "source": ["# 題名\n", "本文"]},
            {"cell_type": "code", "source": "print('a_b')", "outputs": [picture]},
        ],
    }
    document = desk.document("a.ipynb", json.dumps(notebook))
    assert document.text == "# 題名\n本文\n\n```python\nprint('a_b')\n```\n"
    assert (document.title, document.media_type) == ("題名", "notebook")
    assert document.meta == {"code": "python", "author": "Yamada"}
    assert desk.reason("b.ipynb", "[]").startswith("not a notebook")
    assert desk.reason("c.ipynb", "{").startswith("not JSON: ")


# JSON.


def test_a_list_of_objects_is_one_document_each(desk: Desk) -> None:
    records = [{"id": "a", "text": "one", "n": 1}, {"id": "b", "text": "二"}]
    found = desk.read("a.json", json.dumps(records, indent=2, ensure_ascii=False))
    assert [short(item) for item in found] == [("a", "one"), ("b", "二")]
    first = found[0]
    assert isinstance(first, LoadedDocument)
    assert (first.media_type, first.structure, first.meta) == ("jsonl", "plain", {"n": 1})
    chosen = LoadOptions(text_fields=("n",))
    (one, other) = desk.read("b.json", json.dumps(records), chosen)
    assert (short(one)[1], short(other)[1]) == ("1", "! has no field 'n'; it has id, text")


def test_other_json_is_code(desk: Desk) -> None:
    for content in ('{"text": "x"}', "[1, 2]", "[]", '"x"'):
        document = desk.document("a.json", content)
        assert (document.text, document.media_type, document.structure) == (content, "json", "code")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            '[{"text": "a"}, 5, {"text": "b"}]',
            [("1", "a"), ("2", "! not a JSON object"), ("3", "b")],
        ),
        ('[{"text": "a"},{"text": ', [("1", "a"), ("2", "! not JSON: Expecting value; stopped")]),
        (
            '[{"text": "a"} {"text": "b"}]',
            [("1", "a"), ("", "! not JSON: the list ends amid entry 2")],
        ),
        (
            '[{"text": "a"}]\n[{"text": "b"}]',
            [
                ("1", "a"),
                ("", "! not JSON: more follows behind the end of the list, which is not read"),
            ],
        ),
        ('[{"text": "a"}]\n \n', [("1", "a")]),
        ('[{"text": "a", "n": NaN}]', [("1", "! not JSON: NaN is not a JSON number; stopped")]),
        ('\ufeff[{"text": "a"}]', [("1", "a")]),
    ],
)
def test_broken_lists(desk: Desk, content: str, found: list[tuple[str, str]]) -> None:
    read = [short(item) for item in desk.read("a.json", content)]
    assert [(key if "/" not in key else "", text) for key, text in read] == found


def test_long_lists_are_streamed(desk: Desk) -> None:
    many = (
        "[" + ",\n".join(json.dumps({"text": f"item {n} " + "x" * 500}) for n in range(5_000)) + "]"
    )
    ref = desk.write("a.json", many)
    from ingest import loaders

    stream = loaders.load(ref, LoadOptions(max_file_mb=1))
    first = next(stream)
    assert isinstance(first, LoadedDocument)
    assert not any(isinstance(item, SourceError) for item in stream)
