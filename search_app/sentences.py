"""Where sentences end, in English and Japanese: one rule for cutting passages and for answers.

White space belongs to the sentence that it follows.
"""

import re
from collections.abc import Iterator

_CLOSING = "」』）)】〉》］\\]”’\"'»"
_NOTE = r"(?:\[\d{1,3}\])*+"
"""The mark of a footnote, which belongs to what it stands behind."""
_FULL_STOP = (
    # Japanese, and so is what follows: 「はい。」と言った is one sentence, not two.
    rf"[。．！？｡‼⁇⁈⁉]++(?:[{_CLOSING}]++(?![ぁ-ゖ、，。])|(?![{_CLOSING}])){_NOTE}\s*+"
    # He said “No!” and left is one too.
    rf"|[!?]++(?:[{_CLOSING}]++(?!\s*[a-z])|(?![{_CLOSING}])){_NOTE}(?=\s|[^\x00-\x7f])\s*+"
    # Not behind an initial, an abbreviation like e.g. or in a dotted leader, nor before a small
    # letter.
    rf"|(?<![\s.])(?<!\b[A-Za-z])\.++[{_CLOSING}]*+{_NOTE}\s++(?=[^a-z])"
)
_ABBREVIATION = (
    r"\b(?:Drs?|Mrs?|Ms|Prof|Rev|Hon|Gen|Col|Capt|Lt|Sgt|Gov|Sen|Rep|St|Mt|vs|cf|viz|approx|al)\."
    r"[ \n]"
    r"|\b(?:No|Nos|Fig|Figs|Eq|Eqs|Sec|Secs|Ch|Chap|Vol|Tab|Ref|Refs|pp|Art|Ex|App)\.[ \n]"
    r"(?=[\d(])"
)
"""What ends no sentence though a capital letter or a number follows."""
_ITEM_START = r"[^\S\n]*(?:[-*+][ \t]|[・●○◆◇■□※]|[(（]?\d{1,3}[.)．）][ \t　]?|[①-⑳])"
SENTENCE = re.compile(
    # The number of a list item ends no sentence.
    rf"(?m:^[ \t]*\d{{1,3}}\.[ \t]+)|{_ABBREVIATION}|(?P<cut>{_FULL_STOP}|\n(?={_ITEM_START}))"
)
"""Matches end where a sentence does if they have the group ``cut``; others only pass over."""


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Give the spans [start, end) of the sentences of a text, which together are all of it.

    A line that ends a paragraph or begins a list item ends a sentence too.
    """
    start = 0
    cuts = sorted(
        {match.end() for match in SENTENCE.finditer(text) if match["cut"] is not None}
        | {match.end() for match in _PARAGRAPH.finditer(text)}
    )
    for end in (*cuts, len(text)):
        if text[start:end].strip():
            yield start, end
            start = end


# The last is for texts that put a space before each full stop, but not for dotted leaders.
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*|(?m:^#{1,6} [^\n]*\n)|(?<=[^\s.])\s\.\s+(?=[^\s.])")
