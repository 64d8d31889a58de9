"""Taking out of a model's words what a page or a terminal would act on: links, images, HTML.

An address in an answer may have been planted by a document, to be clicked or, as an image, to be
fetched with something secret in it. Only addresses of the passages' own documents may stay; they
are text too, and no page makes links of them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

REMOVED = "[…]"
"""What stands where an address stood."""

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Also what is not to be seen, what turns the direction of reading, and halves of characters."""

_TAGS = (
    "a|abbr|area|audio|base|body|br|button|canvas|code|details|dialog|div|embed|fieldset|font|form|"
    "frame|frameset|h[1-6]|head|hr|html|i?frame|img|input|link|marquee|math|meta|noscript|object|"
    "option|p|param|picture|portal|pre|script|select|slot|source|span|style|summary|svg|table|"
    "tbody|td|template|textarea|tfoot|th|thead|title|tr|track|u|ul|ol|li|video|xmp"
)
_HTML = re.compile(
    rf"<!--.*?(?:-->|\Z)|<[!?][a-z\[][^>]*>?|</?\s*(?:{_TAGS})\b[^<>]*>?"
    # Any other tag that carries attributes.
    r"|</?\s*[a-z][\w:-]*[\s/][^<>]*=[^<>]*>?",
    re.IGNORECASE | re.DOTALL,
)
_DEFINITION = re.compile(r"(?m)^[ \t]{0,3}\[(?P<name>[^\]\n]+)\]:[ \t]*\S+[^\n]*$")
_LINK = re.compile(
    r"(?P<image>!)?\[(?P<text>[^\[\]\n]*)\]"
    r"(?:\(\s*<?(?P<address>[^()\s<>]*(?:\([^()\s]*\)[^()\s<>]*)*)>?[^()\n]*\)?"
    # Not two citations in a row.
    r"|\[(?=[^\]\n]*[^\d\]\n])[^\]\n]+\])"
)
_ADDRESS = re.compile(
    r"(?:\b(?:[a-z][a-z0-9+.-]{1,20})://|\b(?:javascript|data|vbscript|mailto|file):(?=\S)"
    r"|(?<![\w/])//(?=[\w-]+\.)|\bwww\.)[^\s<>\"'`）」』】、。]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """A text without what is to be acted on, and how many addresses were taken out."""

    text: str
    removed: int


def cleaned(text: str, known: Iterable[str] = ()) -> Cleaned:
    """Take out images, foreign addresses, HTML and control characters; words stay.

    Args:
        text: what a model wrote, whole sentences of it.
        known: addresses that may stay.
    """
    allowed = frozenset(known)
    removed = 0

    def address(found: str) -> str:
        nonlocal removed
        bare = found.rstrip(".,;:!?)]}")
        if bare in allowed:
            return found
        removed += 1
        return REMOVED + found[len(bare) :]

    def link(match: re.Match[str]) -> str:
        nonlocal removed
        words = match["text"]
        if not match["image"] and match["address"] in allowed:
            return f"{words} {match['address']}"
        removed += 1
        if words.strip().isdecimal():
            # A citation that was dressed up as a link.
            return f"[{words.strip()}]"
        return words.strip() or REMOVED

    text = _CONTROL.sub("", text)
    # What is left of one pass may make up another: <scr<b>ipt>.
    for _ in range(_PASSES):
        shorter = _HTML.sub("", text)
        if shorter == text:
            break
        text = shorter
    else:
        text = text.replace("<", "")
    text, definitions = _DEFINITION.subn("", text)
    text = _LINK.sub(link, text)
    text = _ADDRESS.sub(lambda match: address(match[0]), text)
    return Cleaned(text=text, removed=removed + definitions)


_PASSES = 5
