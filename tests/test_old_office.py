"""What is kept of Office files of 1997 to 2003, and how encrypted ones are known."""

import struct

import pytest

from tests.ole_files import CELL, HEADING, PLAIN, ROW_END, container, doc
from tests.test_loaders import FILES, Desk, desk, needs_files

__all__ = ["desk"]


def test_word_97_in_japanese(desk: Desk) -> None:
    link = '\x13 HYPERLINK "http://x/" \x14続き\x15'
    data = doc(
        [
            ("見出し\r", HEADING),
            (f"本文です\x02。{link}\u2028\U00020b9f\r", PLAIN),
            ("部\x07", CELL),
            ("額\x07", CELL),
            ("\x07", ROW_END),
            ("東\r", CELL),
            ("京\x07", CELL),
            ("1,200\x07", CELL),
            ("\x07", ROW_END),
            ("終わり\x0bです\x1e。\r", PLAIN),
        ],
        footnotes="\x02脚注。\r",
    )
    document = desk.document("a.doc", data)
    assert document.text.strip().split("\n\n") == [
        "# 見出し",
        "本文です[1]。続き\u2028\U00020b9f",
        "| 部 | 額 |\n| --- | --- |\n| 東 京 | 1,200 |",
        "終わり\nです-。",
        "[1] 脚注。",
    ]
    assert (document.title, document.language, document.media_type) == ("見出し", "ja", "doc")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (doc([("x\r", PLAIN)], flags=0x0100), "encrypted; save it without a password"),
        (doc([("x\r", PLAIN)], version=0x68), "written by Word 95 or older; save it as .docx"),
        (container({"WordDocument": b"x"}), "damaged: it lacks the header of a Word document"),
        (container({"EncryptedPackage": b"x"}), "encrypted; save it without a password"),
        (container({"Unknown": b"x"}), "not what .doc says but bytes that no known format begins"),
    ],
)
def test_what_cannot_be_read_says_why(desk: Desk, data: bytes, reason: str) -> None:
    assert desk.reason("a.doc", data).startswith(reason)


@pytest.mark.parametrize("suffix", [".docx", ".xlsx", ".pptx"])
def test_new_office_files_with_a_password_are_known_by_their_container(
    desk: Desk, suffix: str
) -> None:
    data = container({"EncryptedPackage": b"\x01" * 5_000, "EncryptionInfo": b"\x04\0\x04\0"})
    assert desk.reason(f"a{suffix}", data) == "encrypted; save it without a password"


def test_encrypted_slides_are_known(desk: Desk) -> None:
    user = struct.pack("<HHIIII", 0, 0x0FF6, 20, 20, 0xF3D1C4DF, 0)
    data = container({"Current User": user, "PowerPoint Document": b"x"})
    assert desk.reason("a.ppt", data) == "encrypted; save it without a password"


def test_pieces_that_lie_beyond_the_end_are_damage(desk: Desk) -> None:
    data = bytearray(doc([("x\r", PLAIN)]))
    at = bytes(data).index(struct.pack("<HIH", 0, 0x800, 0))
    struct.pack_into("<I", data, at + 2, 0x0FFFFFFE)
    assert desk.reason("a.doc", bytes(data)) == "damaged: its text lies beyond its end"


@needs_files
def test_slides_are_those_of_the_list_of_slides(desk: Desk) -> None:
    name = FILES / "r2r/ppt.ppt"
    if not name.is_file():
        pytest.skip("needs the sample ppt.ppt")
    document = desk.document("a.ppt", name.read_bytes())
    assert [document.text[start:].split("\n")[0] for start in document.page_starts] == [
        "## Lorem ipsum",
        "## Chart",
        "## Table",
    ]
