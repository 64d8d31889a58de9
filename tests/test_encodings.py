"""What bytes are read as, and what is refused rather than guessed."""

import json
import random
import tracemalloc
from collections.abc import Iterator
from io import BufferedReader, BytesIO
from pathlib import Path

import pytest

from ingest.loaders.decoding import Decoded, decode_detected, decode_html, read_lines
from ingest.loaders.encoding import (
    NotTextError,
    decode_strictly,
    detect_encoding,
    display_name,
)
from ingest.plan import fields_of
from ingest.types import LoadedDocument, LoadOptions
from search_app.errors import SourceError
from tests.test_loaders import Desk, short

SAMPLES = Path(__file__).parent.parent.parent / "shared/data/encodings"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the sample files")
SAME = {
    "shift_jis": "cp932",
    "utf-16": "utf-16-le",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}
JAPANESE = "会議は3月4日(月)、東京で開きます。\nﾃｽﾄ、カタカナ、①㈱。\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def manifest() -> list[tuple[Path, str]]:
    entries = json.loads((SAMPLES / "MANIFEST.json").read_text(encoding="utf-8"))
    return [(SAMPLES / entry["file"], entry["encoding"].lower()) for entry in entries]


def lines_of(data: bytes) -> list[str | SourceError]:
    return list(read_lines("s", BufferedReader(BytesIO(data))))


def reason(data: bytes) -> str:
    with pytest.raises(SourceError) as raised:
        decode_detected("s", data)
    return raised.value.reason


def expected(data: bytes, encoding: str) -> str:
    # CP932 is what Windows writes and calls Shift_JIS.
    codec = "cp932" if encoding == "shift_jis" else encoding
    return data.decode(codec).lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


@needs_samples
def test_all_real_files_are_read_right() -> None:
    wrong = []
    for path, encoding in manifest():
        data = path.read_bytes()
        got = decode_detected(str(path), data)
        if got.text != expected(data, encoding):
            wrong.append((path.name, encoding, got.encoding))
    assert len(manifest()) == 112
    assert wrong == []


@needs_samples
def test_all_real_files_are_read_alike_line_by_line() -> None:
    for path, encoding in manifest():
        data = path.read_bytes()
        lines = lines_of(data)
        assert all(isinstance(line, str) for line in lines), path.name
        assert "".join(map(str, lines)) == expected(data, encoding), path.name


@needs_samples
def test_single_lines_are_told_nearly_always() -> None:
    # One line of a few signs may mean two things; measured: 43,529 of 43,588.
    right = seen = 0
    for path, encoding in manifest():
        codec = SAME.get(encoding, encoding)
        if codec not in ("cp932", "euc-jp"):
            continue
        for line in path.read_bytes().split(b"\n"):
            if line.isascii():
                continue
            seen += 1
            try:
                right += decode_strictly(detect_encoding(line), line) == decode_strictly(
                    codec, line
                )
            except (NotTextError, UnicodeDecodeError):
                continue
    assert seen > 40_000
    assert right / seen > 0.998


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("cp932", "cp932"),
        ("utf-16", "utf-16-le"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32-le"),
        ("utf-32-be", "utf-32-be"),
        ("euc_jis_2004", "euc-jp"),
        ("iso2022_jp_2004", "iso-2022-jp"),
    ],
)
def test_japanese_in_every_encoding(codec: str, name: str) -> None:
    text = JAPANESE if codec != "iso2022_jp_2004" else JAPANESE.replace("ﾃｽﾄ", "テスト")
    data = text.replace("\n", "\r\n").encode(codec)
    assert decode_detected("s", data) == Decoded(text=text, encoding=name)
    assert "".join(map(str, lines_of(data))) == text


def test_mail_of_windows_holds_more_than_its_encoding_does() -> None:
    data = b"\x1b$B-!-j;3ED\x1b(B\n"
    assert decode_detected("s", data) == Decoded(text="①㈱山田\n", encoding="iso-2022-jp")


@pytest.mark.parametrize(
    "text",
    [
        "会議は3月4日(月)です",
        "東京都千代田区霞が関",
        "株式会社",
        "あ",
        "品名,数量",
        "２０２４年度",
        "ｶﾌﾞｼｷｶﾞｲｼｬ",
    ],
)
def test_short_files(text: str) -> None:
    assert decode_detected("s", text.encode("cp932")).text == text
    if "ｶ" not in text:
        assert decode_detected("s", text.encode("euc-jp")).text == text


@pytest.mark.parametrize(
    "text",
    [
        "L’été dernier, j’ai vu “Amélie” à Paris ; le café était fermé.",
        "Das Mädchen isst Käse in München und grüßt die Größten.",
        "¿Dónde está la biblioteca? El niño comió piñata y jalapeño.",
        "Ærø, Åland, Øresund",
        "café",
        "Don’t worry",
        "Price: €5 – really…",
        "naïve résumé",
    ],
)
def test_western_texts(text: str) -> None:
    assert decode_detected("s", text.encode("cp1252")) == Decoded(text=text, encoding="cp1252")


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("cp1251", "Съешь ещё этих мягких французских булок, да выпей чаю. " * 3),
        ("gb18030", "优之良品是一家连锁零食店，主要销售各种零食。我们在北京和上海都有分店。" * 3),
        ("cp949", "이것은 한국어로 쓴 문장입니다. 서울에는 많은 사람들이 살고 있습니다. " * 3),
        ("big5", "臺北市立動物園位於臺灣臺北市文山區，是一個大型的動物園。" * 3),
    ],
)
def test_other_scripts(codec: str, text: str) -> None:
    assert decode_detected("s", text.encode(codec)).text == text


def test_what_is_no_text_is_refused_as_such() -> None:
    noise = random.Random(1).randbytes(4096)
    for data in (noise, b"\x89PNG\r\n\x1a\n" + noise[:200], b"\x7fELF\x02\x01\x01\0\0\xf0" + noise):
        assert reason(data) == "not text: it holds control characters as only other data do"
        (error,) = lines_of(data)
        assert isinstance(error, SourceError)
        assert error.source == "s"


def test_a_damaged_text_is_refused_with_the_place() -> None:
    good = "正しい文章がここにあります。\n" * 5
    advice = ": damaged, or encodings are mixed; save all of it as UTF-8"
    assert reason(good.encode() + b"\xff\n") == f"not valid UTF-8 at byte 215 (line 6){advice}"
    assert (
        reason(b"\xef\xbb\xbfok " + "日本".encode("cp932"))
        == f"not valid UTF-8 at byte 6 (line 1){advice}"
    )
    cp932 = good.encode("cp932") + b"\x81\x20\n" + good.encode("cp932")
    assert reason(cp932) == f"not valid CP932 at byte 145 (line 6){advice}"
    assert reason(b"\xff\xfea\x00\x00\xd8") == "not valid UTF-16-LE at byte 4 (line 1)"


@pytest.mark.parametrize("first", ["utf-8", "cp932", "euc-jp"])
@pytest.mark.parametrize("second", ["utf-8", "cp932", "euc-jp"])
@pytest.mark.parametrize("share", [1, 8, 20])
def test_mixed_encodings_are_never_read_as_one(first: str, second: str, share: int) -> None:
    if first == second:
        return
    line = "これは試験の文章です、漢字とカタカナ。\n"
    data = (line * share).encode(first) + (line * 10).encode(second)
    assert "encodings are mixed" in reason(data)
    assert f"(line {share + 1})" in reason(data) or "(line 1)" in reason(data)


def test_a_log_of_two_encodings_is_not_read_as_the_western_one() -> None:
    data = "café à la crème\n".encode("cp1252") * 20 + "déjà vu, garçon\n".encode()
    assert reason(data) == (
        f"encodings are mixed: most is cp1252, but byte {16 * 20} (line 21) is utf-8; "
        "save all of it as UTF-8"
    )


# Streams.


def test_a_line_that_does_not_fit_is_an_error_and_the_rest_goes_on() -> None:
    lines = [f"第{number}行の文章です。\n" for number in range(9)]
    encoded = [line.encode("cp932") for line in lines]
    encoded[2] = "ああああ\n".encode()
    encoded[4] = lines[4].encode()
    encoded[6] = b"\x81\x20\n"
    got = lines_of(b"".join(encoded))
    assert [line for line in got if isinstance(line, str)] == [lines[n] for n in (0, 1, 3, 5, 7, 8)]
    assert [str(line) for line in got if isinstance(line, SourceError)] == [
        "s#3: is utf-8 where the file is cp932",
        "s#5: not valid CP932 at byte 8 of the line",
        "s#7: not valid CP932 at byte 0 of the line",
    ]


def test_half_a_character_of_utf16_spoils_its_line_only() -> None:
    data = "一行目\n".encode("utf-16") + b"\x00\xd8\n\x00" + "三行目\n".encode("utf-16-le")
    first, second, third = lines_of(data)
    assert (first, third) == ("一行目\n", "三行目\n")
    assert str(second) == "s#2: text holds a lone surrogate U+D800 at character 0"


def test_the_encoding_is_told_where_it_shows() -> None:
    ascii_part = b"plain,1\n" * 200_000
    table = read_lines(
        "s",
        BufferedReader(BytesIO(ascii_part + JAPANESE.encode("cp932") * 3)),
    )
    lines = iter(table)
    assert next(lines) == "plain,1\n"
    assert table.encoding == "utf-8"
    rest = list(lines)
    assert "".join(map(str, rest[-6:])) == JAPANESE * 3
    assert table.encoding == "cp932"


def test_streams_take_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", encoding="cp932") as file:
        file.write("text,n\n")
        for number in range(200_000):
            file.write(f"これは{number}番目の長い文章です。漢字とカタカナを含みます。,{number}\n")
    assert path.stat().st_size > 12_000_000
    with path.open("rb") as opened:
        tracemalloc.start()
        count = sum(isinstance(line, str) for line in read_lines("s", opened))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 200_001
    assert peak < 9_000_000


def test_records_carry_their_encoding(desk: Desk) -> None:
    table = "題名,本文\n一,二\n".encode("cp932")
    document = desk.document("a.csv", table)
    assert (document.text, document.encoding) == ("題名: 一\n本文: 二", "cp932")
    jsonl = b'{"text": "\x8e\x52"}\n'
    assert short(desk.document("a.jsonl", jsonl)) == ("1", "山")
    assert desk.document("b.csv", "text,n\n山,1\n".encode("utf-16")).encoding == "utf-16-le"


# Documents.


def test_an_encoding_other_than_utf8_can_be_filtered_by(desk: Desk) -> None:
    def meta(document: LoadedDocument) -> object:
        return fields_of(document, document.source)["meta"]

    assert meta(desk.document("a.txt", "日本語の文章。")) == {}
    assert meta(desk.document("b.txt", "日本語の文章。".encode("cp932"))) == {"encoding": "cp932"}
    own = desk.document("c.csv", "text,encoding\n山田さん,古い\n".encode("cp932"))
    assert meta(own) == {"encoding": "古い"}


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.py", "a.xml"])
def test_files_of_text_say_their_encoding(desk: Desk, name: str) -> None:
    assert desk.document(name, JAPANESE.encode("cp932")).encoding == "cp932"
    assert desk.document(name, b"plain").encoding == "utf-8"


PAGE = '<html><head><meta charset="{}"></head><body>東京、大阪</body></html>'


def test_a_page_says_its_encoding() -> None:
    for label in ("Shift_JIS", "x-sjis", "windows-31j"):
        assert decode_html("s", PAGE.format(label).encode("cp932")).encoding == "cp932"
    euc = '<?xml version="1.0" encoding="EUC-JP"?><p>熊</p>'.encode("euc-jp")
    assert decode_html("s", euc).text.endswith("<p>熊</p>")
    old = '<META http-equiv="Content-Type" content="text/html; charset=EUC-KR"><p>서울</p>'
    assert decode_html("s", old.encode("cp949")).text == old
    german = '<meta charset="iso-8859-2"><p>Łódź</p>'
    assert decode_html("s", german.encode("iso8859_2")).text == german


def test_what_a_page_says_counts_only_where_it_fits() -> None:
    assert decode_html("s", PAGE.format("utf-8").encode("cp932")).encoding == "cp932"
    assert decode_html("s", PAGE.format("iso-8859-1").encode()).encoding == "utf-8"
    assert decode_html("s", PAGE.format("no-such").encode("cp932")).encoding == "cp932"
    assert decode_html("s", PAGE.format("utf-8").encode("utf-16")).encoding == "utf-16-le"


def test_the_server_is_believed_before_the_page() -> None:
    page = PAGE.format("iso-8859-1").replace("東京、大阪", "Łódź").encode("iso8859_2")
    assert "Łódź" in decode_html("s", page, "iso-8859-2").text


def test_names_are_those_people_know() -> None:
    known = {"ascii": "utf-8", "euc_jp": "euc-jp", "iso2022_jp": "iso-2022-jp"}
    known |= {"latin_1": "iso-8859-1", "cp1252": "cp1252", "utf_16_le": "utf-16-le"}
    assert {codec: display_name(codec) for codec in known} == known


def test_nothing_is_replaced(desk: Desk) -> None:
    def texts() -> Iterator[str]:
        for seed in range(200):
            noise = random.Random(seed)
            data = "これは文章です。".encode("cp932") * 3 + noise.randbytes(noise.randrange(1, 12))
            for item in desk.read("a.txt", data, LoadOptions()):
                if isinstance(item, LoadedDocument):
                    yield item.text

    assert not any("\ufffd" in text for text in texts())
