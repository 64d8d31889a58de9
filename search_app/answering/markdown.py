"""Taking out of a model's words what a page or a terminal would act on: links, images, HTML.

An address in an answer may have been planted by a document, to be clicked or, as an image, to be
fetched with something secret in it. Only addresses of the passages' own documents may stay; they
are text too, and no page makes links of them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

REMOVED = "…"
"""What stands where an address stood."""

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Also what is not to be seen, what turns the direction of reading, and halves of characters."""

_TAGS = (
    "a|abbr|acronym|address|applet|area|article|aside|audio|b|base|basefont|bdi|bdo|bgsound|big|"
    "blink|blockquote|body|br|button|canvas|caption|center|cite|code|col|colgroup|data|datalist|"
    "dd|del|details|dfn|dialog|div|dl|dt|em|embed|fieldset|figcaption|figure|font|footer|form|"
    "frame|frameset|h[1-6]|head|header|hr|html|i|i?frame|image|img|input|ins|kbd|label|legend|li|"
    "link|main|map|mark|marquee|math|menu|meta|meter|nav|noscript|object|ol|optgroup|option|"
    "output|p|param|picture|portal|pre|progress|q|rp|rt|ruby|s|samp|script|section|select|slot|"
    "small|source|span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|template|textarea|"
    "tfoot|th|thead|time|title|tr|track|tt|u|ul|var|video|wbr|xmp"
)
_HTML = re.compile(
    rf"<!--.*?(?:-->|\Z)|<[!?][a-z\[][^>]*>?|</?(?:{_TAGS})\b[^<>]*>?"
    # Any other tag that carries attributes.
    r"|</?[a-z][\w:-]*[\s/][^<>]*=[^<>]*>?",
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
    # Behind any letter of another script too.
    r"(?:(?<![a-z])[a-z][a-z0-9+.-]{1,20}://|(?<![a-z])(?:javascript|data|vbscript|mailto|file):"
    r"(?=\S)|(?<![\w/])//(?=[\w-]+\.)|(?<![a-z])www\.)[^\s<>\"'`）」』】、。]*",
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
    for _ in range(_PASSES):
        # What is within another link comes out first.
        text, found = _LINK.subn(link, text)
        if not found:
            break
    text = _ADDRESS.sub(lambda match: address(match[0]), text)
    return Cleaned(text=text, removed=removed + definitions)


_PASSES = 5
