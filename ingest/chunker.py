"""Cutting a document into chunks.

Rules of our own and not a chunking library's: chonkie 1.7, the nearest fit, falls back on decoding
tokens, which for a tokenizer that normalises gives other characters than the text's and so other
offsets. It knows no sections, and of 2,754 chunks of a manual left 240 below a quarter of the
limit, where these rules leave 26 of 2,829.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from ingest.blocks import Block, Kind, Section, code_blocks, sections
from ingest.boundaries import PROSE, VERBATIM, Cut, Ladder, Piece
from ingest.definitions import CodePlaces, parts_of
from ingest.markdown import markdown_blocks
from ingest.plain import plain_blocks
from ingest.types import ChunkSpan, LoadedDocument, Outline, Structure
from search_app.types import Chunking


class TokenCounter(Protocol):
    """What the chunker needs to know of a tokenizer."""

    def count_tokens(self, text: str) -> int:
        """Count the tokens of ``text``, without special tokens."""


_BLOCKS: Mapping[Structure, Callable[[str], list[Block]]] = {
    "markdown": markdown_blocks,
    "plain": plain_blocks,
    "code": code_blocks,
}
_COSTS: Mapping[Cut, float] = {
    Cut.BLOCK: 0.1,
    Cut.ITEM: 0.2,
    Cut.SENTENCE_AT_LINE_END: 0.3,
    Cut.SENTENCE: 0.4,
    Cut.LEAD_IN: 0.5,
    # From here on more than any saving in size could be worth.
    Cut.LINE: 3,
    Cut.CLAUSE: 6,
    Cut.WORD: 12,
    Cut.CHARACTER: 24,
    Cut.HEADING: 100,
}
_SMALL_SHARE = 0.25
"""A chunk below this share of the limit joins a neighbour where it may."""
_TINY_SHARE = 0.0625
"""A chunk below this share says too little to stand alone, whatever its neighbour is about."""
_MIXED_SHARE = 0.5
"""Several definitions fill no more than this share: who finds one does not want many others."""
_DEFINITIONS_SINCE = 3
"""The version of chunking that cuts source code into its definitions, rather than by layout."""
_CRUMB_SHARE = 0.03125
"""Neighbouring sentences below this share together are never parted."""
_MOST_CHARACTERS_A_TOKEN = 16
"""Anything longer than so many characters for each token allowed is cut without counting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Atom:
    """A piece within the limit; ``tokens`` of its stripped text."""

    start: int
    end: int
    cut: Cut
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Atoms that make a chunk, and the headings that all of them stand under.

    Of source code, ``parent`` is the path of what it stands in, and ``symbol`` says that it is a
    definition, or several, or a part of one.
    """

    path: tuple[str, ...]
    atoms: Sequence[_Atom]
    tokens: int
    parent: tuple[str, ...] = ()
    symbol: bool = False


def chunk(document: LoadedDocument, chunking: Chunking, tokens: TokenCounter) -> list[ChunkSpan]:
    """Cut a document into spans that together are its whole text, in order, without overlap.

    Each has at most ``chunking.max_tokens`` tokens once stripped, and is more than white space.
    Sections stay apart unless small; sentences, code and tables stay whole where they fit.
    A text of white space alone has no chunks.
    """
    text = document.text
    if not text.strip():
        return []
    limit = chunking.max_tokens
    atomizer = _Atomizer(text, limit, tokens)
    outline = document.outline
    if outline and outline.symbols and chunking.version >= _DEFINITIONS_SINCE:
        groups = _defined(text, outline, atomizer, limit)
        merged = _merged(groups, limit, _belong_together_in_code)
    else:
        groups = []
        for section in sections(_BLOCKS[document.structure](text)):
            groups += _packed(section.path, atomizer.atoms(section), limit)
        merged = _merged(groups, limit, _belong_together)
    exact = (whole for group in merged for whole in atomizer.within_limit(group))
    places = CodePlaces(text, outline) if document.structure == "code" else None
    return [_span(document, group, places) for group in exact]


def _defined(text: str, outline: Outline, atomizer: "_Atomizer", limit: int) -> list[_Group]:
    """Cut source code into its functions and classes, and the rest of it."""
    groups: list[_Group] = []
    for part in parts_of(text, outline, atomizer.fits):
        block = Block(start=part.start, end=part.end, kind=Kind.VERBATIM)
        section = Section(path=part.path, blocks=(block,))
        packed = _packed(part.path, atomizer.atoms(section), limit)
        groups += (replace(group, parent=part.parent, symbol=part.symbol) for group in packed)
    return groups


def _span(document: LoadedDocument, group: _Group, places: CodePlaces | None) -> ChunkSpan:
    start, end = group.atoms[0].start, group.atoms[-1].end
    page = None
    if document.page_starts:
        blank = len(document.text[start:end]) - len(document.text[start:end].lstrip())
        page = bisect_right(document.page_starts, start + blank)
    return ChunkSpan(
        start=start,
        end=end,
        heading_path=group.path,
        page=page,
        tokens=group.tokens,
        code=None if places is None else places.of(start, end),
    )


class _Atomizer:
    """Cuts sections of one text into atoms, and counts tokens."""

    def __init__(self, text: str, limit: int, tokens: TokenCounter) -> None:
        self._text = text
        self._limit = limit
        # So few characters that no tokenizer makes more tokens of them than the limit.
        self._small = limit // 8
        self._tokens = tokens

    def atoms(self, section: Section) -> list[_Atom]:
        """Cut a section into sentences and whole code blocks; smaller only what is too long."""
        atoms: list[_Atom] = []
        for piece, kind in _block_pieces(section):
            if kind is Kind.PROSE:
                for sentence in PROSE.pieces(self._text, piece, 0, self._small):
                    atoms += self._fitting(sentence, PROSE, 1)
            else:
                atoms += self._fitting(piece, VERBATIM if kind is Kind.VERBATIM else PROSE, 0)
        return self._without_blank(atoms)

    def within_limit(self, group: _Group) -> Iterator[_Group]:
        """Count a group exactly; should its sum have been too low, cut it once more."""
        if len(group.atoms) == 1:
            yield group
            return
        tokens = self._count(group.atoms[0].start, group.atoms[-1].end)
        if tokens <= self._limit:
            yield replace(group, tokens=tokens)
            return
        for half in _halves(group):
            yield from self.within_limit(half)

    def fits(self, start: int, end: int) -> bool:
        """Say whether a stretch of the text is within the limit."""
        short = end - start <= _MOST_CHARACTERS_A_TOKEN * self._limit
        return short and self._count(start, end) <= self._limit

    def _fitting(self, piece: Piece, ladder: Ladder, rung: int) -> Iterator[_Atom]:
        length = piece.end - piece.start
        if length <= _MOST_CHARACTERS_A_TOKEN * self._limit:
            tokens = self._count(piece.start, piece.end)
            if tokens <= self._limit or length == 1:
                yield _Atom(start=piece.start, end=piece.end, cut=piece.cut, tokens=tokens)
                return
        parts = [piece]
        while len(parts) == 1:
            parts = ladder.pieces(self._text, piece, rung, self._small)
            rung = min(rung + 1, len(ladder) - 1)
        for part in parts:
            yield from self._fitting(part, ladder, rung)

    def _count(self, start: int, end: int) -> int:
        return self._tokens.count_tokens(self._text[start:end].strip())

    def _without_blank(self, atoms: list[_Atom]) -> list[_Atom]:
        """Give white space to the atom before it, or at the very beginning to the one after."""
        kept: list[_Atom] = []
        start = atoms[0].start
        for atom in atoms:
            if not self._text[atom.start : atom.end].isspace():
                kept.append(replace(atom, start=start))
            elif kept:
                kept[-1] = replace(kept[-1], end=atom.end, cut=atom.cut)
            start = atom.end if kept else start
        return kept


def _block_pieces(section: Section) -> Iterator[tuple[Piece, Kind]]:
    following = [*section.blocks[1:], None]
    for block, after in zip(section.blocks, following, strict=True):
        yield Piece(start=block.start, end=block.end, cut=_cut_between(block, after)), block.kind


def _cut_between(block: Block, after: Block | None) -> Cut:
    if after is None:
        return Cut.BLOCK
    if block.kind is Kind.HEADING:
        return Cut.HEADING
    begins_list = after.nested and not block.nested
    if block.kind is Kind.PROSE and (begins_list or after.kind is Kind.VERBATIM):
        return Cut.LEAD_IN
    return Cut.ITEM if after.nested else Cut.BLOCK


def _packed(path: tuple[str, ...], atoms: Sequence[_Atom], limit: int) -> Iterator[_Group]:
    """Pack the atoms of a section into groups at the least total cost.

    A group costs the square of its unused share, and what is torn apart by the cut behind it: the
    least-squares line breaking of Knuth and Plass (1981), here for chunks.
    """
    atoms = _coarse(atoms, limit)
    least = [0.0]
    begins = [0]
    for last, atom in enumerate(atoms):
        cut_cost = _COSTS[atom.cut] if last + 1 < len(atoms) else 0.0
        best, begin, size = float("inf"), last, 0
        for first in range(last, -1, -1):
            size += atoms[first].tokens
            if size > limit and first < last:
                break
            cost = least[first] + (1 - size / limit) ** 2
            if cost < best:
                best, begin = cost, first
        least.append(best + cut_cost)
        begins.append(begin)
    ends = [len(atoms)]
    while ends[-1] > 0:
        ends.append(begins[ends[-1]])
    ends.reverse()
    for first, end in pairwise(ends):
        yield _group(path, atoms[first:end])


def _coarse(atoms: Sequence[_Atom], limit: int) -> Sequence[_Atom]:
    """Join neighbours that are next to nothing: the time to pack grows with atoms in a chunk."""
    joined: list[_Atom] = []
    for atom in atoms:
        if joined and joined[-1].tokens + atom.tokens <= _CRUMB_SHARE * limit:
            before = joined.pop()
            tokens = before.tokens + atom.tokens
            joined.append(_Atom(start=before.start, end=atom.end, cut=atom.cut, tokens=tokens))
        else:
            joined.append(atom)
    return joined


def _group(path: tuple[str, ...], atoms: Sequence[_Atom]) -> _Group:
    return _Group(path=path, atoms=atoms, tokens=sum(atom.tokens for atom in atoms))


def _merged(
    groups: Sequence[_Group], limit: int, belong: Callable[[_Group, _Group, int], bool]
) -> list[_Group]:
    """Join neighbours that belong together, as ``belong`` says of two and the limit."""
    merged: list[_Group] = []
    for group in groups:
        if merged and belong(merged[-1], group, limit):
            before = merged.pop()
            path = _shared(before.path, group.path)
            joined = _group(path, [*before.atoms, *group.atoms])
            parent = _shared(before.parent, group.parent)
            merged.append(replace(joined, parent=parent, symbol=before.symbol or group.symbol))
        else:
            merged.append(group)
    return merged


def _belong_together(left: _Group, right: _Group, limit: int) -> bool:
    """Join small groups with a neighbour under the same parent, tiny ones with any."""
    smaller = min(left.tokens, right.tokens)
    if left.tokens + right.tokens > limit or smaller >= _SMALL_SHARE * limit:
        return False
    depth = max(len(left.path), len(right.path))
    related = len(_shared(left.path, right.path)) >= depth - 1
    return related or smaller < _TINY_SHARE * limit


def _belong_together_in_code(left: _Group, right: _Group, limit: int) -> bool:
    """Join small definitions in the same class or file, and the head of a class with its first.

    Imports and the like stay apart from definitions, unless there is next to nothing of them.
    """
    smaller, both = min(left.tokens, right.tokens), left.tokens + right.tokens
    if both > limit or smaller >= _SMALL_SHARE * limit:
        return False
    if smaller < _TINY_SHARE * limit:
        return True
    if left.symbol == right.symbol:
        return left.parent == right.parent and both <= _MIXED_SHARE * limit
    of_class = len(left.parent) > 1
    return of_class and left.parent == right.parent


def _shared(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    same = 0
    while same < min(len(left), len(right)) and left[same] == right[same]:
        same += 1
    return left[:same]


def _halves(group: _Group) -> tuple[_Group, _Group]:
    """Cut a group where the least is torn apart, and nearest to its middle."""
    middle = len(group.atoms) / 2
    indices = range(1, len(group.atoms))
    at = min(indices, key=lambda i: (_COSTS[group.atoms[i - 1].cut], abs(i - middle)))
    return _group(group.path, group.atoms[:at]), _group(group.path, group.atoms[at:])
