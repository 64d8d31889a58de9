"""What the styles of a Word document say of a paragraph: heading of which level, item of a list."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ingest.loaders.xml_tree import Element, attribute, child, children, whole

_HEADING_NAME = re.compile(
    r"(?:heading|見出し|überschrift|titre|标题|標題|제목)\s?([1-9])", re.IGNORECASE
)
_TITLE_NAMES = frozenset({"title", "表題"})
_CONTENTS_NAME = re.compile(r"(?:toc|目次|table of figures|index)\s?\d*", re.IGNORECASE)
_BODY_TEXT = 9
"""The outline level that means: no heading."""
_LONGEST_CHAIN = 20


@dataclass(frozen=True, kw_only=True)
class Style:
    """A paragraph style with what it inherits: heading level 1 to 9, list, level in the list."""

    title: bool = False
    contents: bool = False
    heading: int | None = None
    list_id: str | None = None
    list_level: int = 0


PLAIN = Style()


def paragraph_styles(root: Element | None) -> Mapping[str, Style]:
    """Read ``styles.xml`` into styles by id; the default style goes by the empty id."""
    if root is None:
        return {}
    defined = {attribute(style, "styleId"): style for style in children(root, "style")}
    resolved = {name: _resolve(defined, name) for name in defined}
    for name, style in defined.items():
        if attribute(style, "default") in ("1", "true") and attribute(style, "type") == "paragraph":
            resolved[""] = resolved[name]
    return resolved


def _resolve(defined: Mapping[str, Element], name: str) -> Style:
    chain: list[Element] = []
    while name in defined and len(chain) < _LONGEST_CHAIN:
        chain.append(defined[name])
        name = _value(child(defined[name], "basedOn"))
    names = [_value(child(style, "name")).strip().lower() for style in chain]
    levels = [_outline(child(style, "pPr")) for style in chain]
    level = next((found for found in levels if found is not None), None)
    if level is None:
        matches = (_HEADING_NAME.fullmatch(name) for name in names)
        level = next((int(match[1]) - 1 for match in matches if match), None)
    numbering = [child(style, "pPr", "numPr") for style in chain]
    number = next((found for found in numbering if found is not None), None)
    return Style(
        title=any(name in _TITLE_NAMES for name in names),
        contents=bool(names) and _CONTENTS_NAME.fullmatch(names[0]) is not None,
        heading=_heading(level),
        list_id=_value(child(number, "numId")) or None,
        list_level=whole(_value(child(number, "ilvl"))),
    )


def paragraph_style(properties: Element | None, styles: Mapping[str, Style]) -> Style:
    """Give the style of a paragraph, its own properties before those of its named style."""
    style = styles.get(_value(child(properties, "pStyle")), styles.get("", PLAIN))
    level = _outline(properties)
    number = child(properties, "numPr")
    heading = style.heading if level is None else _heading(level)
    if number is None:
        list_id, list_level = style.list_id, style.list_level
    else:
        list_id = _value(child(number, "numId")) or style.list_id
        list_level = whole(_value(child(number, "ilvl")))
    return Style(
        title=style.title,
        contents=style.contents,
        heading=heading,
        list_id=list_id,
        list_level=list_level,
    )


def _outline(properties: Element | None) -> int | None:
    stated = child(properties, "outlineLvl")
    return None if stated is None else whole(_value(stated))


def _heading(level: int | None) -> int | None:
    return None if level is None or level >= _BODY_TEXT else level + 1


def _value(element: Element | None) -> str:
    return "" if element is None else attribute(element, "val")
