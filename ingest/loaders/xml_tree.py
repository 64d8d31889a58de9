"""XML from files that strangers made: parsed without entities, schemas or the network.

Elements are named without their namespace, because one format comes with several: that of
ECMA-376, that of the strict ISO edition, and those of newer versions.
"""

from collections.abc import Iterator
from typing import Any

from search_app.errors import SourceError

Element = Any
"""An element of lxml, which carries no types."""


def parse_xml(source: str, name: str, data: bytes) -> Element:
    """Parse the member ``name`` of a file and give its root.

    Raises:
        SourceError: it is not well-formed, nested too deeply, or declares a document type, which
            no office format allows and only an attack on parsers has.
    """
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as exc:
        raise SourceError(source, f"damaged: {name} is not well-formed XML: {exc.msg}") from exc
    if root.getroottree().docinfo.doctype:
        raise SourceError(source, f"{name} declares a document type, which may not be; not read")
    return root


def local(element: Element) -> str:
    """Give an element's name without its namespace; comments have none."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Element, name: str, default: str = "") -> str:
    """Give an attribute by its name without namespace."""
    plain: str | None = element.get(name)
    if plain is not None:
        return plain
    suffix = "}" + name
    found: Iterator[str] = (v for key, v in element.attrib.items() if key.endswith(suffix))
    return next(found, default)


def children(element: Element, name: str) -> Iterator[Element]:
    """Give the direct children of a name."""
    return (child for child in element if local(child) == name)


def child(element: Element | None, *path: str) -> Element | None:
    """Follow a path of names from an element down, or give None."""
    for name in path:
        element = next(children(element, name), None) if element is not None else None
    return element


def descendants(element: Element, name: str) -> Iterator[Element]:
    """Give all elements of a name below an element, in document order."""
    found: Iterator[Element] = element.iter(f"{{*}}{name}")
    return found


def text_of(element: Element | None) -> str:
    """Give all text within an element, white space as it is."""
    return "" if element is None else "".join(element.itertext())


def whole(text: str) -> int:
    """Read a number that should be whole and not negative; anything else is 0."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0  # noqa: PLR2004 - digits of a 32-bit number
