"""The names of encodings, and decoding by one of them. Inside, names are Python's."""

import codecs
import re
from collections.abc import Callable

UTF8 = "utf-8"
ASCII = "ascii"
JIS = "iso-2022-jp"
WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
BOMS = (
    (codecs.BOM_UTF8, UTF8),
    # Before UTF-16, whose mark is how this one begins.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LOW = bytes(range(0x80))
NOT_ASCII = re.compile("[^\x00-\x7f]")

# Labels as browsers read them (Encoding Standard, 4.2), where Python reads them otherwise.
_LABELS = {
    **dict.fromkeys(("shift_jis", "shift-jis", "x-sjis", "sjis", "windows-31j", "ms932"), "cp932"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "us-ascii", "ascii"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk", "x-gbk", "gb_2312-80"), "gb18030"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987", "ksc5601"), "cp949"),
    "x-euc-jp": "euc-jp",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "big5": "big5hkscs",
}


def explains(encoding: str, data: bytes) -> bool:
    """Say whether every byte fits."""
    try:
        decode_strictly(encoding, data)
    except UnicodeDecodeError:
        return False
    return True


def decode_strictly(encoding: str, data: bytes) -> str:
    """Decode bytes without a mark; the rarer extensions of an encoding are tried in turn.

    Raises:
        UnicodeDecodeError: a byte does not fit; the error is that of the plain encoding.
    """
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        for extended in _EXTENDED.get(encoding, ()):
            try:
                return extended(data)
            except UnicodeDecodeError:
                continue
        raise


def display_name(encoding: str) -> str:
    """Name an encoding as documents carry it: ``utf-8``, ``cp932``, ``euc-jp``, ``cp1252``."""
    name = codecs.lookup(UTF8 if encoding == ASCII else encoding).name.replace("_", "-")
    return re.sub(r"^iso(?=\d)", "iso-", name)


def _from_jis_2004(data: bytes) -> str:
    # What Windows writes between the usual escapes, like ① and ㈱, is in this later set.
    return re.sub(rb"\x1b\$(?:[@B]|\(O)", b"\x1b$(Q", data).decode("iso2022_jp_2004")


def _codec(name: str) -> Callable[[bytes], str]:
    return lambda data: data.decode(name)


_EXTENDED: dict[str, tuple[Callable[[bytes], str], ...]] = {
    "euc-jp": (_codec("euc_jis_2004"),),
    JIS: (_codec("iso2022_jp_ext"), _codec("iso2022_jp_2"), _from_jis_2004),
}


def codec_of(label: str) -> str | None:
    """Give the codec that a label of the web stands for, if any."""
    label = label.strip().lower()
    try:
        return codecs.lookup(_LABELS.get(label, label)).name
    except LookupError:
        return None
