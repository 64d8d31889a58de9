"""The blocks a text is built of, and the sections that headings make of them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise


class Kind(Enum):
    """What a block is, which decides how it may be cut."""

    HEADING = "heading"
    """Stays with what follows it."""
    PROSE = "prose"
    """Cut between sentences."""
    VERBATIM = "verbatim"
    """Code or a table: whole where it fits, otherwise cut between lines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Characters ``start`` to ``end`` of a text, the blank lines behind it included.

    Blocks follow each other without gaps. ``nested`` blocks are part of a list or quotation.
    """

    start: int
    end: int
    kind: Kind
    nested: bool = False
    level: int = 0
    title: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Blocks that stand under the same headings, those headings included."""

    path: tuple[str, ...]
    blocks: tuple[Block, ...]


_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)++")
_CONTINUING = frozenset(" \t)]}")


def code_blocks(text: str) -> list[Block]:
    """Take the top-level definitions of source code, as far as layout tells them."""
    # Behind a blank line, what is not indented and closes nothing begins a new one.
    begins = [at for at in after_blank_lines(text) if text[at : at + 1] not in _CONTINUING]
    places = [0, *begins, len(text)]
    return [Block(start=a, end=b, kind=Kind.VERBATIM) for a, b in pairwise(places) if a < b]


def after_blank_lines(text: str) -> Iterator[int]:
    """Find the places behind blank lines."""
    return (match.end() for match in _BLANK_LINES.finditer(text))


def sections(blocks: Iterable[Block]) -> list[Section]:
    """Group blocks by headings; a heading directly above a deeper one shares its section."""
    found: list[Section] = []
    headings: list[Block] = []
    current: list[Block] = []
    for block in blocks:
        if block.kind is Kind.HEADING:
            only_headings = all(other.kind is Kind.HEADING for other in current)
            deeper = bool(headings) and block.level > headings[-1].level
            if current and not (only_headings and deeper):
                found.append(_section(headings, current))
                current = []
            headings = [h for h in headings if h.level < block.level] + [block]
        current.append(block)
    return [*found, _section(headings, current)] if current else found


def _section(headings: list[Block], blocks: list[Block]) -> Section:
    path = tuple(heading.title for heading in headings if heading.title)
    return Section(path=path, blocks=tuple(blocks))
