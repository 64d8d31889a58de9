"""What is kept of office documents: Word, PowerPoint, Excel, OpenDocument."""

from itertools import pairwise

import pytest

from tests.office_files import (
    docx,
    element,
    odf,
    paragraph,
    placeholder,
    pptx,
    rows,
    run,
    styled,
    table,
    xlsx,
)
from tests.test_loaders import Desk, desk

__all__ = ["desk"]

STYLES = """
<w:style w:type="paragraph" w:default="1" w:styleId="a"><w:name w:val="Normal"/></w:style>
<w:style w:type="paragraph" w:styleId="1"><w:name w:val="heading 1"/></w:style>
<w:style w:type="paragraph" w:styleId="2"><w:name w:val="章の見出し"/><w:basedOn w:val="1"/>
  <w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="3"><w:name w:val="派生"/><w:basedOn w:val="2"/></w:style>
<w:style w:type="paragraph" w:styleId="9"><w:name w:val="本文"/>
  <w:pPr><w:outlineLvl w:val="9"/></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="t"><w:name w:val="Title"/></w:style>
<w:style w:type="paragraph" w:styleId="toc"><w:name w:val="toc 1"/></w:style>
"""


def body_of(desk: Desk, body: str, **more: object) -> str:
    return desk.document("a.docx", docx(body, styles=STYLES, **more)).text  # type: ignore[arg-type] # passed on


# Word.


def test_headings_come_from_styles_and_what_they_inherit(desk: Desk) -> None:
    body = styled("1", "一") + styled("2", "二") + styled("3", "三") + styled("9", "本文です。")
    direct = paragraph("直接", '<w:outlineLvl w:val="2"/>')
    assert body_of(desk, body + direct) == "# 一\n\n## 二\n\n## 三\n\n本文です。\n\n### 直接\n"


def test_the_title_is_the_title_paragraph_then_the_stated_one_then_a_heading(desk: Desk) -> None:
    core = (
        "<dc:title>述べられた題</dc:title><dc:creator>山田; 鈴木</dc:creator>"
        "<dcterms:created>2024-01-02T03:04:05Z</dcterms:created><dc:subject/>"
    )
    titled = desk.document(
        "a.docx", docx(styled("t", "題名") + paragraph("x"), styles=STYLES, core=core)
    )
    assert (titled.title, titled.titled) == ("題名", True)
    assert titled.meta == {"author": ["山田", "鈴木"], "created": "2024-01-02T03:04:05Z"}
    stated = desk.document("b.docx", docx(styled("1", "見出し"), styles=STYLES, core=core))
    assert stated.title == "述べられた題"
    made_up = "<dc:title>Microsoft Word - foo.doc</dc:title>"
    heading = desk.document("c.docx", docx(styled("1", "見出し"), styles=STYLES, core=made_up))
    assert heading.title == "見出し"
    assert (heading.media_type, heading.structure) == ("docx", "markdown")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (run("a") + "<w:r><w:tab/></w:r>" + run("b"), "a\tb"),
        (run("a") + "<w:r><w:br/></w:r>" + run("b"), "a\nb"),
        (run("co") + "<w:r><w:noBreakHyphen/></w:r>" + run("op"), "co-op"),
        ("<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r>" + run("seen"), "seen"),
        (
            '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText>PAGEREF x'
            '</w:instrText></w:r><w:r><w:fldChar w:fldCharType="separate"/></w:r>' + run("12"),
            "12",
        ),
        ('<w:hyperlink r:id="rId9">' + run("link") + "</w:hyperlink>", "link"),
        (f"<w:del>{run('gone')}</w:del><w:ins>{run('new')}</w:ins>", "new"),
        (f"<w:moveFrom>{run('gone')}</w:moveFrom><w:moveTo>{run('here')}</w:moveTo>", "here"),
        (
            f"<w:r><w:ruby><w:rt>{run('とうきょう')}</w:rt><w:rubyBase>{run('東京')}</w:rubyBase>"
            "</w:ruby></w:r>" + run("へ"),
            "東京へ",
        ),
        ("<m:oMath><m:r><m:t>E=mc²</m:t></m:r></m:oMath>", "E=mc²"),
        (f"<w:sdt><w:sdtContent>{run('filled in')}</w:sdtContent></w:sdt>", "filled in"),
    ],
)
def test_of_a_paragraph_the_words_are_kept(desk: Desk, content: str, text: str) -> None:
    assert body_of(desk, paragraph(content)) == f"{text}\n"


def test_text_has_no_escapes_and_never_turns_into_markup(desk: Desk) -> None:
    assert (
        body_of(desk, paragraph("2.5! *x* _y_ [z](w) &lt;b> a|b"))
        == "2.5! *x* _y_ [z](w) <b> a|b\n"
    )
    body = (
        paragraph("# no heading") + paragraph("```") + paragraph("&lt;!-- x") + styled("1", "One")
    )
    text = body_of(desk, body)
    assert text == "\\# no heading\n\n\\```\n\n\\<!-- x\n\n# One\n"
    from ingest.markdown import first_heading

    assert first_heading(text) == "One"


def test_numbers_that_word_only_shows_are_written(desk: Desk) -> None:
    levels = (
        '<w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/><w:lvlText w:val="第%1条"/></w:lvl>'
        '<w:lvl w:ilvl="1"><w:numFmt w:val="decimal"/><w:lvlText w:val="%1.%2"/></w:lvl>'
        '<w:lvl w:ilvl="2"><w:numFmt w:val="bullet"/><w:lvlText w:val="•"/></w:lvl>'
        '<w:lvl w:ilvl="3"><w:numFmt w:val="aiueoFullWidth"/><w:lvlText w:val="(%4)"/></w:lvl>'
    )
    numbering = element(
        "w:numbering",
        f'<w:abstractNum w:abstractNumId="0">{levels}</w:abstractNum>'
        '<w:num w:numId="5"><w:abstractNumId w:val="0"/></w:num>',
    )

    def item(text: str, level: int) -> str:
        place = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="5"/></w:numPr>'
        return paragraph(text, place)

    heading = paragraph("総則", '<w:pStyle w:val="1"/><w:numPr><w:numId w:val="5"/></w:numPr>')
    body = (
        heading
        + item("目的", 1)
        + item("範囲", 1)
        + item("点", 2)
        + item("甲", 3)
        + item("定義", 0)
    )
    text = body_of(desk, body + item("語", 1), parts={"numbering": ("numbering", numbering)})
    assert text.split("\n") == [
        "# 第1条 総則",
        "",
        "  - 1.1 目的",
        "  - 1.2 範囲",
        "    - 点",
        "      - (ア) 甲",
        "- 第2条 定義",
        "  - 2.1 語",
        "",
    ]


def test_tables_keep_rows_and_columns_whatever_is_merged(desk: Desk) -> None:
    span, start, goes_on = '<w:gridSpan w:val="2"/>', '<w:vMerge w:val="restart"/>', "<w:vMerge/>"
    inner = table([paragraph("x"), paragraph("y")])
    body = table(
        [f"<w:tcPr>{span}</w:tcPr>{paragraph('AB')}", paragraph("C")],
        [f"<w:tcPr>{start}</w:tcPr>{paragraph('部')}", paragraph("b|1") + paragraph("b2"), inner],
        [f"<w:tcPr>{goes_on}</w:tcPr>{paragraph('')}", paragraph("y"), paragraph("z")],
    )
    assert body_of(desk, body).split("\n") == [
        "| AB |  | C |",
        "| --- | --- | --- |",
        "| 部 | b\\|1 b2 | x y |",
        "| 部 | y | z |",
        "",
    ]


def test_a_box_around_text_is_no_table(desk: Desk) -> None:
    body = table([paragraph("boxed") + paragraph("text"), paragraph("")])
    assert body_of(desk, body) == "boxed\ntext\n"


def test_a_long_table_says_in_every_piece_what_its_columns_are(desk: Desk) -> None:
    lines = [[paragraph(f"item {n}"), paragraph("x" * 90)] for n in range(30)]
    text = body_of(desk, table([paragraph("name"), paragraph("value")], *lines))
    pieces = text.strip().split("\n\n")
    assert len(pieces) > 3
    assert all(piece.startswith("| name | value |\n| --- | --- |\n| item ") for piece in pieces)
    assert text.count("| item ") == 30


def test_what_stands_beside_the_text_is_written_after_its_paragraph(desk: Desk) -> None:
    box = (
        "<w:r><mc:AlternateContent><mc:Choice><w:drawing><wps:txbx><w:txbxContent>"
        f"{paragraph('in a box')}</w:txbxContent></wps:txbx></w:drawing></mc:Choice><mc:Fallback>"
        f"<w:pict><v:textbox><w:txbxContent>{paragraph('in a box')}</w:txbxContent></v:textbox>"
        "</w:pict></mc:Fallback></mc:AlternateContent></w:r>"
    )
    notes = element("w:footnotes", f'<w:footnote w:id="2">{paragraph("脚注。")}</w:footnote>')
    comments = element(
        "w:comments", f'<w:comment w:id="7" w:author="山田">{paragraph("直す")}</w:comment>'
    )
    header = element("w:hdr", paragraph("社外秘"))
    footer = element("w:ftr", paragraph("- 3 -"))
    body = paragraph(
        run("文")
        + '<w:r><w:footnoteReference w:id="2"/></w:r>'
        + run("。")
        + box
        + '<w:r><w:commentReference w:id="7"/></w:r>'
    )
    parts = {
        "footnotes": ("footnotes", notes),
        "comments": ("comments", comments),
        "header1": ("header", header),
        "header2": ("header", header),
        "footer1": ("footer", footer),
    }
    text = body_of(desk, body + paragraph("次。"), parts=parts)
    assert text.strip().split("\n\n") == [
        "文[1]。",
        "in a box",
        "[1] 脚注。",
        "> 山田: 直す",
        "次。",
        "社外秘",
    ]


def test_a_table_of_contents_is_left_out(desk: Desk) -> None:
    assert body_of(desk, styled("toc", "一 … 3") + styled("1", "一")) == "# 一\n"


def test_the_strict_edition_of_the_format_is_read_too(desk: Desk) -> None:
    import io
    import zipfile

    from tests.office_files import zipped

    with zipfile.ZipFile(io.BytesIO(docx(styled("1", "厳格"), styles=STYLES))) as archive:
        strict = {
            name: archive.read(name)
            .replace(b"http://schemas.openxmlformats.org/", b"http://purl.oclc.org/ooxml/")
            .replace(b"/2006/", b"/")
            for name in archive.namelist()
        }
    assert desk.document("a.docx", zipped(strict)).text == "# 厳格\n"


# PowerPoint.


def test_slides_are_pages_and_sections(desk: Desk) -> None:
    points = '<a:p><a:pPr lvl="1"/><a:r><a:t>下位</a:t></a:r></a:p>'
    number = '<a:p><a:fld type="slidenum"><a:t>1</a:t></a:fld></a:p>'
    cells = "".join(
        f"<a:tc><a:txBody><a:p><a:r><a:t>{c}</a:t></a:r></a:p></a:txBody></a:tc>" for c in "ab"
    )
    frame = f"<p:graphicFrame><a:tbl><a:tr>{cells}</a:tr></a:tbl></p:graphicFrame>"
    group = f"<p:grpSp>{placeholder(None, 'grouped')}</p:grpSp>"
    first = (
        placeholder("ctrTitle", "題名")
        + placeholder("body", "点", points)
        + placeholder("sldNum", number)
    )
    data = pptx(
        [first, group + frame, placeholder("", "x" * 200)],
        notes={1: "話すこと"},
        core="<dc:title>PowerPoint プレゼンテーション</dc:title>",
    )
    document = desk.document("a.pptx", data)
    pages = [*document.page_starts, len(document.text)]
    assert [document.text[a:b].strip() for a, b in pairwise(pages)] == [
        "## 題名\n\n- 点\n  - 下位\n\n> 話すこと",
        "## grouped\n\ngrouped\n\n| a | b |\n| --- | --- |",
        "## #3\n\n" + "x" * 200,
    ]
    assert (document.title, document.titled) == ("題名", True)
    assert document.meta == {"slides": 3}
    assert (document.media_type, document.structure) == ("pptx", "markdown")


# Workbooks.


def test_sheets_are_sections_and_values_are_written_as_people_read_them(desk: Desk) -> None:
    sales = (
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>額</t></is></c>'
        '<c r="C1" t="str"><v>日</v></c></row>'
        '<row r="2"><c r="A2" t="s"><v>1</v></c><c r="B2"><v>1200</v></c>'
        '<c r="C2" s="1"><v>45293</v></c></row>'
        '<row r="3"><c r="B3"><f>1/8</f><v>0.125</v></c><c r="C3" t="b"><v>1</v></c></row>'
    )
    phonetic = "<r><t>東</t></r><r><t>京</t></r><rPh sb='0' eb='2'><t>トウキョウ</t></rPh>"
    data = xlsx({"売上": sales, "空": ""}, shared=["<t>部</t>", phonetic], merges=["A2:A3"])
    document = desk.document("a.xlsx", data)
    assert document.text == (
        "## 売上\n\n| 部 | 額 | 日 |\n| --- | --- | --- |\n"
        "| 東京 | 1200 | 2024-01-02 |\n| 東京 | 0.125 | TRUE |\n"
    )
    assert document.meta == {"sheets": ["売上", "空"]}
    assert (document.media_type, document.structure) == ("xlsx", "markdown")


def test_a_title_above_a_table_is_not_its_header(desk: Desk) -> None:
    sheet = rows(["売上 2024"], [""], ["部", "額"], ["東", 1], [""], ["西", 2])
    assert desk.document("a.xlsx", xlsx({"S": sheet})).text == (
        "## S\n\n売上 2024\n\n| 部 | 額 |\n| --- | --- |\n| 東 | 1 |\n| 西 | 2 |\n"
    )


def test_workbooks_of_libreoffice(desk: Desk) -> None:
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    number = '<table:table-cell office:value-type="float" office:value="1.5"/>'
    empty = '<table:table-cell table:number-columns-repeated="16000"/>'
    far = '<table:table-row table:number-rows-repeated="1048000">' + empty + "</table:table-row>"
    body = (
        '<table:table table:name="表"><table:table-row>'
        + cell.format("a")
        + cell.format("b")
        + f"</table:table-row><table:table-row>{number}{empty}</table:table-row>{far}</table:table>"
    )
    document = desk.document("a.ods", odf("spreadsheet", body))
    assert document.text == "## 表\n\n| a | b |\n| --- | --- |\n| 1.5 |  |\n"
    assert document.media_type == "ods"


# OpenDocument.


def test_opendocument_text(desk: Desk) -> None:
    ruby = (
        "<text:ruby><text:ruby-base>東京</text:ruby-base><text:ruby-text>とうきょう</text:ruby-text>"
        "</text:ruby>"
    )
    note = (
        '<text:note text:note-class="footnote"><text:note-citation>1</text:note-citation>'
        "<text:note-body><text:p>脚注。</text:p></text:note-body></text:note>"
    )
    comment = "<office:annotation><text:p>直す</text:p></office:annotation>"
    cells = [
        '<table:table-cell table:number-columns-spanned="2"><text:p>A</text:p></table:table-cell>',
        "<table:covered-table-cell/>",
        "<table:table-cell><text:p>1</text:p></table:table-cell>" * 2,
    ]
    body = (
        "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
        "<text:table-of-content><text:p>一 … 3</text:p></text:table-of-content>"
        '<text:h text:outline-level="2">見出し</text:h>'
        '<text:p>a<text:s text:c="2"/>b<text:tab/>c<text:line-break/>d</text:p>'
        f"<text:p>{ruby}へ{note}。{comment}</text:p>"
        "<text:list><text:list-item><text:p>一</text:p><text:list><text:list-item><text:p>二</text:p>"
        "</text:list-item></text:list></text:list-item></text:list>"
        f"<table:table><table:table-row>{cells[0]}{cells[1]}</table:table-row>"
        f"<table:table-row>{cells[2]}</table:table-row></table:table>"
        "<text:section><text:p>節の中</text:p></text:section>"
        "<text:p><draw:frame><draw:text-box><text:p>枠の中</text:p></draw:text-box></draw:frame></text:p>"
    )
    meta = "<dc:title>題名</dc:title><meta:initial-creator>山田</meta:initial-creator>"
    document = desk.document("a.odt", odf("text", body, meta))
    assert document.text.strip().split("\n\n") == [
        "## 見出し",
        "a  b\tc\nd",
        "東京へ[1]。",
        "[1] 脚注。",
        "> 直す",
        "- 一\n  - 二",
        "| A |  |\n| --- | --- |\n| 1 | 1 |",
        "節の中",
        "枠の中",
    ]
    assert (document.title, document.meta) == ("題名", {"author": "山田"})
    assert (document.media_type, document.structure) == ("odt", "markdown")


def test_opendocument_slides(desk: Desk) -> None:
    def slide(title: str, text: str, notes: str = "") -> str:
        return (
            f'<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>{title}'
            f"</text:p></draw:text-box></draw:frame><draw:g><draw:custom-shape><text:p>{text}"
            "</text:p></draw:custom-shape></draw:g><presentation:notes><draw:frame><draw:text-box>"
            f"<text:p>{notes}</text:p></draw:text-box></draw:frame></presentation:notes></draw:page>"
        )

    body = slide("題", "図形の字", "話すこと") + slide("次", "文")
    document = desk.document("a.odp", odf("presentation", body))
    assert document.text == "## 題\n\n図形の字\n\n> 話すこと\n\n## 次\n\n文\n"
    assert document.text[document.page_starts[1] :].startswith("## 次")
    assert (document.title, document.meta) == ("題", {"slides": 2})
