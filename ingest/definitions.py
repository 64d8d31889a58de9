"""Source code by its definitions: the parts it is cut into, and what stands in a passage of it."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ingest.types import Outline, Symbol
from search_app.types import CodePlace

MOST_NAMED = 50
"""Symbols that a passage names; further ones are in its text."""

_WORD = re.compile(r"\w")


@dataclass(kw_only=True, slots=True)
class Part:
    """Characters ``start`` to ``end`` of code, which all stand under ``path``.

    ``symbol`` says that it is one, ``parent`` is the path of what it stands in; the rest of a file
    or class, such as imports, is its own parent.
    """

    start: int
    end: int
    path: tuple[str, ...]
    parent: tuple[str, ...]
    symbol: bool


@dataclass(kw_only=True, slots=True)
class _Node:
    """A symbol with those in it; the outermost one is none, but all of a file."""

    start: int
    end: int
    symbol: Symbol | None = None
    inner: list["_Node"] = field(default_factory=list)


def parts_of(text: str, outline: Outline, fits: Callable[[int, int], bool]) -> list[Part]:
    """Part a text into symbols that fit and the rest, together all of it and in order.

    Of symbols that do not fit, those in them are parts where there are any. White space and
    closing brackets belong to what is before them.
    """
    parts: list[Part] = []
    begin = 0
    for part in _parts(_tree(text, outline), (outline.module,), fits):
        if _WORD.search(text, part.start, part.end) or (part.symbol and part.end > part.start):
            part.start, begin = begin, part.end
            parts.append(part)
        elif parts:
            parts[-1].end = begin = part.end
    if not parts:
        module = (outline.module,)
        return [Part(start=0, end=len(text), path=module, parent=module, symbol=False)]
    return parts


def _parts(node: _Node, path: tuple[str, ...], fits: Callable[[int, int], bool]) -> Iterator[Part]:
    def rest(start: int, end: int) -> Part:
        return Part(start=start, end=end, path=path, parent=path, symbol=False)

    done = node.start
    for inner in node.inner:
        if inner.symbol is None:
            continue
        yield rest(done, inner.start)
        below = (path[0], *inner.symbol.path)
        if inner.inner and not fits(inner.start, inner.end):
            yield from _parts(inner, below, fits)
        else:
            yield Part(start=inner.start, end=inner.end, path=below, parent=path, symbol=True)
        done = inner.end
    yield rest(done, node.end)


def _tree(text: str, outline: Outline) -> _Node:
    root = _Node(start=0, end=len(text))
    stack = [root]
    for symbol in outline.symbols:
        while len(stack) > 1 and stack[-1].end <= symbol.start:
            stack.pop()
        node = _Node(start=symbol.start, end=symbol.end, symbol=symbol)
        stack[-1].inner.append(node)
        stack.append(node)
    return root


def _met(node: _Node, start: int, end: int) -> Iterator[Symbol]:
    first = bisect_right(node.inner, start, key=lambda inner: inner.end)
    behind = bisect_right(node.inner, end - 1, key=lambda inner: inner.start)
    for inner in node.inner[first:behind]:
        if inner.symbol is not None:
            yield inner.symbol
        yield from _met(inner, start, end)


class CodePlaces:
    """Says what stands where in one text of source code."""

    def __init__(self, text: str, outline: Outline | None) -> None:
        """Count the lines."""
        self._text = text
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._module = "" if outline is None else outline.module
        self._tree = _tree(text, outline or Outline())

    def of(self, start: int, end: int) -> CodePlace:
        """Say where a passage stands, the white space around it not counted."""
        start, end = self._without_space(start, end)
        return CodePlace(
            first_line=self._line(start),
            last_line=self._line(max(start, end - 1)),
            symbols=tuple(
                (".".join((self._module, *symbol.path)), symbol.kind)
                for symbol in self._symbols(start, end)[:MOST_NAMED]
            ),
        )

    def met(self, start: int, end: int) -> list[Symbol]:
        """List the symbols that a passage has some of, those around others first."""
        return list(_met(self._tree, *self._without_space(start, end)))

    def _without_space(self, start: int, end: int) -> tuple[int, int]:
        passage = self._text[start:end]
        left = len(passage) - len(passage.lstrip())
        return start + left, end - (len(passage) - len(passage.rstrip()))

    def _line(self, at: int) -> int:
        return bisect_right(self._breaks, at - 1) + 1

    def _symbols(self, start: int, end: int) -> Sequence[Symbol]:
        node = self._tree
        while True:
            first = bisect_right(node.inner, start, key=lambda inner: inner.end)
            behind = bisect_right(node.inner, end - 1, key=lambda inner: inner.start)
            met = node.inner[first:behind]
            one = met[0] if len(met) == 1 else None
            if one is None or not self._holds(one, start, end):
                break
            if self._is_all(one, start, end):
                return [one.symbol] if one.symbol else []
            node = one
        found = [inner.symbol for inner in met if inner.symbol is not None]
        return found or ([node.symbol] if node.symbol else [])

    def _holds(self, node: _Node, start: int, end: int) -> bool:
        # The bracket that closes what a symbol stands in may be part of the passage.
        before = self._text[start : max(start, node.start)]
        behind = self._text[min(end, node.end) : end]
        return not _WORD.search(before) and not _WORD.search(behind)

    def _is_all(self, node: _Node, start: int, end: int) -> bool:
        missing = self._text[node.start : max(node.start, start)]
        return not missing.strip() and not self._text[end : max(end, node.end)].strip()
