"""The block structure of Markdown, from a real parser: a ``#`` within a fence is no heading."""

import re
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from ingest.blocks import Block, Kind

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_KINDS = {
    "heading_open": Kind.HEADING,
    "paragraph_open": Kind.PROSE,
    "html_block": Kind.PROSE,
    "hr": Kind.PROSE,
    "list_item_open": Kind.PROSE,
    "blockquote_open": Kind.PROSE,
    "fence": Kind.VERBATIM,
    "code_block": Kind.VERBATIM,
    "table_open": Kind.VERBATIM,
}
_ANCHOR = re.compile(r"\{:?\s*#[^{}]*\}\Z")
_LINE_BREAK = re.compile(r"\r\n?|\n")
_LONGEST_TITLE = 1000
"""Characters of a heading that are looked at."""
_MARKUP = re.compile(r"[*_`\[\]<&\\!\n]")
_TITLE_WITHIN = 20_000
"""Characters within which a first heading counts as the title."""


def markdown_blocks(text: str) -> list[Block]:
    """Take the blocks of a Markdown text; list items and quoted paragraphs are nested blocks."""
    offsets = [0, *(match.end() for match in _LINE_BREAK.finditer(text)), len(text)]
    tokens = _block_parser().parse(text)
    starts: dict[int, Block] = {}
    for token, following in pairwise([*tokens, None]):
        if token is not None and token.type in _KINDS and token.map is not None:
            # Where an item, a paragraph and a fence begin on one line, the innermost comes last.
            starts[token.map[0]] = _block(token, following)
    lines = sorted(starts)
    begins = [0, *(offsets[line] for line in lines[1:])]
    ends = [*begins[1:], len(text)]
    spans = zip(lines, begins, ends, strict=True) if lines else ()
    return [replace(starts[line], start=begin, end=end) for line, begin, end in spans]


def first_heading(text: str) -> str:
    """Give the first heading of the highest level near the top of a text, or nothing."""
    blocks = markdown_blocks(text[:_TITLE_WITHIN])
    headings = [block for block in blocks if block.kind is Kind.HEADING and block.title]
    return min(headings, key=lambda block: block.level).title if headings else ""


def _block(token: "Token", following: "Token | None") -> Block:
    nested = token.level > 0
    if token.type != "heading_open" or nested:
        # A heading within a list or a quotation divides only that.
        kind = Kind.PROSE if token.type == "heading_open" else _KINDS[token.type]
        return Block(start=0, end=0, kind=kind, nested=nested)
    title = _plain_title(following.content) if following else ""
    return Block(start=0, end=0, kind=Kind.HEADING, level=int(token.tag[1:]), title=title)


def _plain_title(markup: str) -> str:
    """Take the words of a heading from its markup, without an anchor like ``{ #here }``."""
    markup = _ANCHOR.sub("", markup[:_LONGEST_TITLE].strip()).strip()
    if _MARKUP.search(markup) is None:
        return markup
    words: list[str] = []
    open_tokens = list(_inline_parser().parseInline(markup))
    while open_tokens:
        token = open_tokens.pop(0)
        if token.children:
            open_tokens[:0] = token.children
        elif token.type in ("text", "code_inline"):
            words.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            words.append(" ")
    return " ".join("".join(words).split())


@cache
def _block_parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    # Three quarters of the time would go into emphasis and links that no cut depends on.
    parser.core.ruler.disable("inline")
    return parser


@cache
def _inline_parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark")
