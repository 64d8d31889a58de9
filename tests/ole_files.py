"""OLE containers and the Word 97 document in one, written byte by byte."""

import struct
from collections.abc import Mapping, Sequence

_SECTOR = 512
_SMALLEST = 4096
"""Smaller streams would have to lie in a stream of their own; all are filled up to this."""
_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
_NONE = 0xFFFFFFFF


def container(streams: Mapping[str, bytes]) -> bytes:
    """A container of streams, each filled up with zeros to at least 4096 bytes."""
    sectors: list[bytes] = []
    chain: list[int] = []
    entries = []
    for name, content in streams.items():
        padded = content.ljust(_SMALLEST, b"\0")
        size = len(padded)
        padded += bytes(-size % _SECTOR)
        start = len(sectors)
        count = len(padded) // _SECTOR
        sectors += [padded[n * _SECTOR : (n + 1) * _SECTOR] for n in range(count)]
        chain += [*range(start + 1, start + count), _END]
        entries.append((name, 2, start, size))
    listed = [("Root Entry", 5, _END, 0), *entries]
    listed += [("", 0, 0, 0)] * (-len(listed) % 4)
    directory = b"".join(
        _entry(name, kind, start, size, number=number, streams=len(entries))
        for number, (name, kind, start, size) in enumerate(listed)
    )
    directory_start = len(sectors)
    count = len(directory) // _SECTOR
    sectors += [directory[n * _SECTOR : (n + 1) * _SECTOR] for n in range(count)]
    chain += [*range(directory_start + 1, directory_start + count), _END]
    fat_start = len(sectors)
    chain.append(_FAT)
    table = struct.pack(f"<{len(chain)}I", *chain)
    assert len(table) <= _SECTOR
    sectors.append(table + b"\xff" * (_SECTOR - len(table)))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, 1, directory_start, 0, _SMALLEST, _END, 0, _END, 0)
    header += struct.pack("<109I", fat_start, *[_FREE] * 108)
    return header + b"".join(sectors)


def _entry(name: str, kind: int, start: int, size: int, *, number: int, streams: int) -> bytes:
    encoded = name.encode("utf-16-le")
    # A tree that is a list: each stream is to the right of the one before it.
    right = number + 1 if 0 < number < streams else _NONE
    child = 1 if kind == 5 and streams else _NONE
    head = encoded.ljust(64, b"\0") + struct.pack("<HBB", len(encoded) + 2 if name else 0, kind, 1)
    return head + struct.pack("<III36xIQ", _NONE, right, child, start, size)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


HEADING = struct.pack("<H", 1)
PLAIN = struct.pack("<H", 0)
CELL = PLAIN + struct.pack("<HB", 0x2416, 1)
ROW_END = CELL + struct.pack("<HB", 0x2417, 1)


def doc(
    paragraphs: Sequence[tuple[str, bytes]],
    *,
    footnotes: str = "",
    flags: int = 0,
    version: int = 0xC1,
) -> bytes:
    """A Word 97 document of paragraphs, each with its mark and its style and properties."""
    text = "".join(words for words, _ in paragraphs) + footnotes
    text_at, page_at = 0x800, 0x400
    data = text.encode("utf-16-le")
    ends, properties = [], []
    position = 0
    for words, stated in paragraphs:
        position += _units(words)
        ends.append(text_at + 2 * position)
        properties.append(stated)
    page = bytearray(_SECTOR)
    struct.pack_into(f"<{len(ends) + 1}I", page, 0, text_at, *ends)
    place = _SECTOR - 2
    for number, stated in enumerate(properties):
        padded = stated + bytes(-(len(stated) + 1) % 2)
        place = (place - len(padded) - 1) // 2 * 2
        page[place] = (len(padded) + 1) // 2
        page[place + 1 : place + 1 + len(padded)] = padded
        page[4 * (len(ends) + 1) + 13 * number] = place // 2
    page[_SECTOR - 1] = len(ends)
    pieces = struct.pack("<II", 0, _units(text)) + struct.pack("<HIH", 0, text_at, 0)
    clx = b"\x02" + struct.pack("<I", len(pieces)) + pieces
    bins = struct.pack("<III", text_at, text_at + len(data), page_at // _SECTOR)
    header = bytearray(page_at)
    struct.pack_into("<HH", header, 0, 0xA5EC, version)
    struct.pack_into("<H", header, 0x0A, flags)
    struct.pack_into("<ii", header, 0x4C, _units(text) - _units(footnotes), _units(footnotes))
    struct.pack_into("<II", header, 0x102, len(clx), len(bins))
    struct.pack_into("<II", header, 0x1A2, 0, len(clx))
    stream = bytes(header) + bytes(page)
    stream = stream.ljust(text_at, b"\0") + data
    return container({"0Table": clx + bins, "WordDocument": stream})
