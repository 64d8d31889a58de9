"""The functions and classes of source code, found in its tree of syntax."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any

from ingest.loaders.grammars import Grammar, compiled, grammars_of, is_installed, packages_of
from ingest.types import Outline, Symbol

MOST_SYMBOLS = 20_000
"""Definitions of one file that are told apart; what has more was made by a program."""
LONGEST_NAME = 120
_DEEPEST = 64
"""Levels of the tree at which definitions are looked for."""
_MOST_PIECES = 5000
"""Pieces of a file that is no syntax as a whole which are looked into."""
_MOST_BROKEN = 0.5
"""Share of a file that may be no syntax of its language, before its tree says nothing."""

_CONTAINERS = frozenset(
    ["class", "interface", "namespace", "impl", "trait", "enum", "struct", "type"]
)
_OF_OBJECTS = _CONTAINERS - {"namespace"}
_FOLDERS_STAND_IN = frozenset(["__init__", "mod", "lib", "main", "index"])
_NAMES_OF_DECLARATORS = frozenset(
    [
        "identifier",
        "field_identifier",
        "qualified_identifier",
        "operator_name",
        "destructor_name",
        "template_function",
        "type_identifier",
    ]
)


@dataclass(kw_only=True, slots=True)
class _Span:
    """Something that the query found, in bytes; ``kind`` is empty for what only wraps another."""

    start: int
    end: int
    row: int
    kind: str
    names: tuple[str, ...] = ()
    inner: list["_Span"] = field(default_factory=list)


def outline_of(name: str, uri: str, text: str) -> Outline | None:
    """Find the functions and classes of a file; None where no grammar is known for its name.

    What cannot be told apart has no symbols, and a note that says why.
    """
    grammars = grammars_of(name)
    if not grammars:
        return None
    missing = [package for package in packages_of(name) if not is_installed(package)]
    if missing:
        return Outline(note=f"{grammars[0].name} is not parsed: install unmoved[code]")
    data = text.encode()
    trees = [_Tree(grammar, data) for grammar in grammars]
    best = min(trees, key=lambda tree: tree.broken)
    language = best.grammar.name
    if best.broken > _MOST_BROKEN * len(data.strip()):
        return Outline(note=f"is no {language} from line {best.first_error} on")
    note = f"syntax error in line {best.first_error}" if best.first_error else ""
    found = best.symbols(MOST_SYMBOLS)
    if found is None:
        return Outline(note=f"has more than {MOST_SYMBOLS:,} functions and classes")
    module = best.module or _module_of(uri)
    return Outline(symbols=tuple(_in_characters(found, text, data)), module=module, note=note)


def _module_of(uri: str) -> str:
    path = PurePosixPath(uri.partition("#")[0])
    if path.stem in _FOLDERS_STAND_IN and path.parent.name:
        return path.parent.name
    return path.stem


class _Tree:
    """The tree of a file by one grammar."""

    def __init__(self, grammar: Grammar, data: bytes) -> None:
        from tree_sitter import Parser

        self.grammar = grammar
        self._data = data
        language, self._query = compiled(grammar)
        tree = Parser(language).parse(data)
        self._root = tree.root_node
        self.broken, self.first_error = self._errors(language)
        self.module = ""

    def symbols(self, most: int) -> list[_Span] | None:
        """Give the definitions as trees of spans; None where there are more than ``most``."""
        spans: list[_Span] = []
        notes: list[tuple[int, int, int]] = []
        for _, captures in self._matches():
            if "note" in captures:
                notes += [self._lines(node) for node in captures["note"]]
            elif "module" in captures:
                self.module = _text(captures["module"][0])
            elif (span := _span(captures)) is not None:
                spans.append(span)
        if len(spans) > most:
            return None
        leading = {end: (start, at) for start, end, at in notes if self._leads(at)}
        for span in spans:
            _take_notes(span, leading)
        return _unwrapped(_nested(spans))

    def _matches(self) -> Iterable[tuple[int, dict[str, list[Any]]]]:
        from tree_sitter import QueryCursor

        cursor = QueryCursor(self._query)
        cursor.set_max_start_depth(_DEEPEST)
        return cursor.matches(self._root)

    def _lines(self, node: Any) -> tuple[int, int, int]:
        # Rust counts the line break as part of a documenting comment.
        end = node.end_point.row - (1 if node.end_point.column == 0 else 0)
        return node.start_point.row, end, node.start_byte

    def _leads(self, at: int) -> bool:
        """Say whether only white space stands before a place in its line."""
        return not self._data[self._data.rfind(b"\n", 0, at) + 1 : at].strip()

    def _errors(self, language: Any) -> tuple[int, int]:
        """Give how many bytes are no syntax, and the first line with any, 0 for none."""
        if not self._root.has_error:
            return 0, 0
        if self._root.is_error:
            return self._pieces()
        from tree_sitter import Query, QueryCursor

        found = QueryCursor(Query(language, "(ERROR) @error (MISSING) @error")).captures(self._root)
        nodes = sorted(found.get("error", ()), key=lambda node: node.start_byte)
        broken, done = 0, 0
        for node in nodes:
            broken += max(0, node.end_byte - max(done, node.start_byte))
            done = max(done, node.end_byte)
        return broken, nodes[0].start_point.row + 1 if nodes else 1

    def _pieces(self) -> tuple[int, int]:
        """Give the same of a tree that is none, but pieces side by side, some of them sound."""
        if self._root.child_count > _MOST_PIECES:
            # Looking into such a tree can take for ever.
            return len(self._data), self._root.start_point.row + 1
        pieces = self._root.children
        sound = [each for each in pieces if each.child_count and not each.has_error]
        sound += [each for each in pieces if each.is_extra]
        unsound = (each for each in pieces if each.has_error)
        first = next(unsound, self._root).start_point.row + 1
        held = sum(each.end_byte - each.start_byte for each in sound)
        return max(0, len(self._data.strip()) - held), first


def _span(captures: dict[str, list[Any]]) -> _Span | None:
    names: tuple[str, ...] = ()
    if "declarator" in captures:
        name = _declared(captures.pop("declarator")[0])
        names = tuple(part.partition("<")[0] or part for part in name.split("::") if part)
    elif "name" in captures:
        # Without the parameters of a generic type.
        name = _text(captures.pop("name")[0]).partition("<")[0]
        names = (name,)
        if "receiver" in captures:
            receiver = _receiver(_text(captures.pop("receiver")[0]))
            names = (receiver, name) if receiver else names
    kind, nodes = next(iter(captures.items()))
    node = nodes[0]
    if kind != "wrap" and not all(names[:1]):
        return None
    return _Span(
        start=node.start_byte,
        end=node.end_byte,
        row=node.start_point.row,
        kind="" if kind == "wrap" else kind,
        names=names,
    )


def _text(node: Any) -> str:
    text = " ".join((node.text or b"").decode(errors="replace").split())
    return text[:LONGEST_NAME]


def _declared(node: Any) -> str:
    """Find the name in a declarator of C, e.g. in ``*f(int a)``."""
    for _ in range(_DEEPEST):
        if node is None or node.type in _NAMES_OF_DECLARATORS:
            break
        inner = node.child_by_field_name("declarator")
        node = inner if inner is not None else next(iter(node.named_children), None)
    return "" if node is None else _text(node)


def _receiver(text: str) -> str:
    """Name the type of a receiver of Go, e.g. of ``(s *Server[T])``."""
    words = text.strip("()").partition("[")[0].replace("*", " ").split()
    return words[-1] if words else ""


def _take_notes(span: _Span, leading: dict[int, tuple[int, int]]) -> None:
    """Begin a definition with the comments and attributes that stand directly above it."""
    while (note := leading.get(span.row - 1)) is not None and note[0] < span.row:
        span.row, span.start = note


def _nested(spans: list[_Span]) -> list[_Span]:
    """Put spans into those that they lie in; one that cuts across another is left out."""
    outer: list[_Span] = []
    stack: list[_Span] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end, one.kind != "")):
        while stack and stack[-1].end <= span.start:
            stack.pop()
        if stack and span.end > stack[-1].end:
            continue
        (stack[-1].inner if stack else outer).append(span)
        stack.append(span)
    return outer


def _unwrapped(spans: Sequence[_Span]) -> list[_Span]:
    """Give definitions alone: what wraps one becomes part of it, and what is in functions none."""
    made: list[_Span] = []
    for span in spans:
        inner = _unwrapped(span.inner) if span.kind in _CONTAINERS or not span.kind else []
        if span.kind:
            span.inner = inner
            made.append(span)
        elif len(inner) == 1:
            only = inner[0]
            only.start, only.end = min(only.start, span.start), max(only.end, span.end)
            made.append(only)
        else:
            made += inner
    return made


def _in_characters(spans: Sequence[_Span], text: str, data: bytes) -> Iterator[Symbol]:
    """Give symbols in the order of the text, from whole lines where they have them alone."""
    places = sorted({at for span in _all(spans) for at in (span.start, span.end)})
    counted = _counter(places, text, data)
    yield from _symbols(spans, text, counted, before=0, of_object=False, path=())


def _symbols(
    spans: Sequence[_Span],
    text: str,
    counted: Callable[[int], int],
    *,
    before: int,
    of_object: bool,
    path: tuple[str, ...],
) -> Iterator[Symbol]:
    for span in spans:
        start, end = _whole_lines(text, counted(span.start), counted(span.end), before)
        if not text[start:end].strip():
            continue
        names = (*path, *span.names)
        method = span.kind == "function" and of_object
        yield Symbol(start=start, end=end, path=names, kind="method" if method else span.kind)
        inner_object = span.kind in _OF_OBJECTS
        yield from _symbols(
            span.inner, text, counted, before=start, of_object=inner_object, path=names
        )
        before = end


def _whole_lines(text: str, start: int, end: int, before: int) -> tuple[int, int]:
    begin = text.rfind("\n", 0, start) + 1
    if begin >= before and not text[begin:start].strip():
        start = begin
    start = max(start, before)
    close = text.find("\n", end)
    close = len(text) if close < 0 else close + 1
    # What is left of the line: a semicolon, a comment behind the brace.
    rest = text[end:close].strip()
    return start, close if not rest or rest in ";,)" else end


def _all(spans: Iterable[_Span]) -> Iterator[_Span]:
    for span in spans:
        yield span
        yield from _all(span.inner)


def _counter(places: Sequence[int], text: str, data: bytes) -> Callable[[int], int]:
    """Give what turns places in bytes, one of ``places``, into places in characters."""
    if len(text) == len(data):
        return lambda at: at
    lengths = (
        len(data[a:b].decode(errors="replace")) for a, b in zip([0, *places], places, strict=False)
    )
    characters = list(accumulate(lengths))
    return lambda at: characters[bisect_left(places, at)]
