"""An HTML tree that closes what HTML lets authors leave open."""

from itertools import islice
from typing import Any

from bs4 import BeautifulSoup, Tag

_CELLS = ("td", "th")
_ROWS = ("tr", *_CELLS)
_BLOCKS = (
    *("address", "article", "aside", "blockquote", "center", "details", "div", "dl", "fieldset"),
    *("figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header"),
    *("hr", "main", "nav", "ol", "p", "pre", "section", "table", "ul"),
)
_CLOSED_BY = {
    **dict.fromkeys(_BLOCKS, ("p",)),
    **dict.fromkeys(("dd", "dt"), ("dd", "dt")),
    **dict.fromkeys(_CELLS, _CELLS),
    **dict.fromkeys(("tbody", "tfoot", "thead"), ("tbody", "thead", *_ROWS)),
    "li": ("li",),
    "option": ("option",),
    "tr": _ROWS,
}
"""A beginning tag and the open elements that end before it (HTML Living Standard, 13.1.2.4)."""

_WALLS = {
    "p": ("table", "td", "th", "caption", "button", "object"),
    "li": ("ul", "ol"),
    "dd": ("dl",),
    "dt": ("dl",),
    "option": ("select",),
}
"""What the search for an open element does not look through."""

_FAR = 64
"""How many open elements are looked at; what is further out was left open for other reasons."""

_DEEPEST = 150
"""Levels of elements; a walk takes three frames for each, of the thousand that Python has."""


class HtmlTree(BeautifulSoup):
    """Ends paragraphs, list items and cells where the next one begins.

    The parser of the standard library does not, and so nests a page of old, unclosed ``<p>`` as
    deep as it is long.
    """

    def handle_starttag(self, name: str, *args: Any, **kwargs: Any) -> Tag | None:
        """Take a beginning tag, called by the parser."""
        for open_name in _CLOSED_BY.get(name, ()):
            self._close(open_name)
        return super().handle_starttag(name, *args, **kwargs)

    def flatten(self) -> None:
        """Take the words of what is nested too deeply out of their elements.

        Whoever walks through the tree does so by recursion; no one nests text this deep on
        purpose, but generated pages and hostile ones do.
        """
        stack = [(child, 1) for child in self.children]
        while stack:
            node, depth = stack.pop()
            if not isinstance(node, Tag):
                continue
            if depth < _DEEPEST:
                stack += [(child, depth + 1) for child in node.children]
            elif node.find(True) is not None:
                node.string = node.get_text("\n", strip=True)

    def _close(self, name: str) -> None:
        for tag in islice(reversed(self.tagStack), _FAR):
            if tag.name == name:
                self.handle_endtag(name)
                return
            if tag.name in _WALLS.get(name, ("table",)):
                return
