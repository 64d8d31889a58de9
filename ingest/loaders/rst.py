"""reStructuredText as Markdown: titles become headings, code becomes fenced, words stay.

By hand, because docutils leaves out the content of every directive it does not know, which those
of Sphinx are, and kreuzberg 4.10 that of some that it should.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from textwrap import dedent

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{2,}\s*")
_DIRECTIVE = re.compile(r"(\s*)\.\. (?:\|[^|]+\| )?([\w:+.-]+)::(?:[ ]+(.*))?")
_CODE = frozenset(
    {"code", "code-block", "sourcecode", "parsed-literal", "doctest", "testcode", "prompt"}
    | {"ipython", "math", "csv-table", "productionlist", "graphviz"}
)
_DROPPED = frozenset(
    {"contents", "toctree", "image", "figure", "highlight", "currentmodule", "index", "meta"}
    | {"raw", "replace", "include", "literalinclude", "sectnum", "tabularcolumns"}
)
_FIGURE_LIKE = frozenset({"figure"})
_EXPLICIT = re.compile(r"\s*\.\.(?:\s|$)")
_NOTE = re.compile(r"\s*\.\. (\[[^\]]+\] .*)")
_OPTION = re.compile(r"\s*:[\w -]+:(?:\s.*)?")
_LANGUAGE = re.compile(r"[\w+#.-]+")
_TABLE_RULE = re.compile(r"\s*(?:\+[-=+]+\+|={2,}(?: +={2,})+)\s*")
_ITEM = re.compile(r"\s*(?:[-*+•]|\(?(?:\d+|#|\w)[.)]) ")
_LITERAL = re.compile(r"``(.+?)``")
_ROLE = re.compile(r":[\w:+.-]+:`([^`]+)`")
_TARGET = re.compile(r"(?<=\S)\s*<[^<>]+>$")
_LINK = re.compile(r"`([^`\s](?:[^`]*[^`\s])?)`__?(?!\w)")
_DEEPEST = 20


def rst_as_markdown(lines: Sequence[str]) -> Iterator[str]:
    """Give the lines of a Markdown text that says what reStructuredText says."""
    return _Document().block(lines, 0)


class _Document:
    """Remembers which adornments of titles it has met: their order is their level."""

    def __init__(self) -> None:
        self._styles: list[tuple[str, bool]] = []

    def block(self, lines: Sequence[str], depth: int) -> Iterator[str]:
        """Give the lines of what is indented equally."""
        at = 0
        literal = False
        while at < len(lines):
            if literal and (size := _indented(lines, at, 0)) > 0:
                yield from _fenced(lines[at : at + size], "")
                at, literal = at + size, False
                continue
            literal = literal and not lines[at].strip()
            taken, written = self._special(lines, at, depth)
            if taken:
                yield from written
                at += taken
                continue
            line = lines[at].rstrip()
            at += 1
            if line.endswith("::"):
                literal = True
                line = line[:-1].rstrip().removesuffix(":") + (":" if line.strip() != "::" else "")
            yield _inline(line)

    def _special(self, lines: Sequence[str], at: int, depth: int) -> tuple[int, Iterable[str]]:
        """Take a title, an explicit block or a table that begins here, if one does."""
        title = self._title(lines, at)
        if title is not None:
            return title
        if _EXPLICIT.match(lines[at]):
            return self._explicit(lines, at, depth)
        if _TABLE_RULE.fullmatch(lines[at]):
            size = _table_size(lines, at)
            return size, _fenced(lines[at : at + size], "") if size > 1 else ()
        return 0, ()

    def _title(self, lines: Sequence[str], at: int) -> tuple[int, list[str]] | None:
        first, second, third = (
            lines[at + n].rstrip() if at + n < len(lines) else "" for n in range(3)
        )
        over = _ADORNMENT.fullmatch(first)
        if over and second and _same(third, over[1]) and not _ADORNMENT.fullmatch(second):
            return 3, self._heading(second, over[1], overlined=True)
        under = _ADORNMENT.fullmatch(second)
        blank = at == 0 or not lines[at - 1].strip() or _ADORNMENT.fullmatch(lines[at - 1])
        if under and blank and first and not first[0].isspace() and not over:
            return 2, self._heading(first, under[1], overlined=False)
        if over:
            # A line between paragraphs.
            return 1, ["", "---", ""]
        return None

    def _heading(self, text: str, character: str, *, overlined: bool) -> list[str]:
        style = (character, overlined)
        if style not in self._styles:
            self._styles.append(style)
        level = min(self._styles.index(style) + 1, 6)
        return ["", f"{'#' * level} {_inline(text).strip()}", ""]

    def _explicit(self, lines: Sequence[str], at: int, depth: int) -> tuple[int, Iterable[str]]:
        line = lines[at]
        indent = len(line) - len(line.lstrip())
        size = 1 + _indented(lines, at + 1, indent)
        directive = _DIRECTIVE.fullmatch(line.rstrip())
        note = _NOTE.fullmatch(line.rstrip())
        if directive is None and note is None:
            return size, ()
        content = dedent("\n".join(lines[at + 1 : at + size])).split("\n")
        if directive is None:
            return size, [_inline(note[1] if note else ""), *map(_inline, content), ""]
        return size, self._directive(directive[2], (directive[3] or "").strip(), content, depth)

    def _directive(self, name: str, argument: str, content: list[str], depth: int) -> Iterator[str]:
        stated = next((n for n, text in enumerate(content) if not _OPTION.fullmatch(text)), 0)
        body = content[stated:]
        if name in _DROPPED and name not in _FIGURE_LIKE:
            return
        yield ""
        if name in _CODE:
            language = argument if _LANGUAGE.fullmatch(argument) else ""
            if argument and not language:
                yield argument
            yield from _fenced(body, language)
        else:
            if argument and name not in _FIGURE_LIKE:
                yield _inline(argument)
                # What follows an option or an empty line is another paragraph.
                if stated or not (body and body[0].strip()):
                    yield ""
            if depth < _DEEPEST:
                yield from self.block(body, depth + 1)
            else:
                yield from map(_inline, body)
        yield ""


def _same(line: str, character: str) -> bool:
    return len(line) > 1 and not line.strip(character)


def _indented(lines: Sequence[str], at: int, indent: int) -> int:
    """Count the lines from here on that are indented further, empty ones between them too."""
    size = 0
    # By number: a slice would copy the rest of the text for every block.
    for place in range(at, len(lines)):
        line = lines[place]
        if not line.strip():
            continue
        if len(line) - len(line.lstrip()) <= indent:
            break
        size = place - at + 1
    return size


def _fenced(lines: Sequence[str], language: str) -> Iterator[str]:
    code = dedent("\n".join(lines)).strip("\n")
    if code.strip():
        fence = "````" if "```" in code else "```"
        yield from ("", f"{fence}{language}", *code.split("\n"), fence, "")


def _table_size(lines: Sequence[str], at: int) -> int:
    """Count the lines of a table; one with lines of ``=`` ends at such a line before a blank."""
    simple = lines[at].lstrip().startswith("=")
    size = 1
    for place in range(at + 1, len(lines)):
        if not lines[place].strip() and (not simple or _TABLE_RULE.fullmatch(lines[place - 1])):
            break
        size = place - at + 1
    return size


def _inline(line: str) -> str:
    line = _LITERAL.sub(r"`\1`", line)
    line = _ROLE.sub(lambda match: _TARGET.sub("", match[1]).lstrip("~!"), line)
    line = _LINK.sub(lambda match: _TARGET.sub("", match[1]), line)
    if line[:4].isspace() and not _ITEM.match(line):
        # Four spaces would be code.
        line = f"   {line.lstrip()}"
    return line.rstrip()
