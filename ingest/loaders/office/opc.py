"""What docx, pptx and xlsx have in common: parts, relationships between them, properties.

Open Packaging Conventions, ECMA-376 part 2.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ingest.loaders.packages import Package, member_name
from ingest.loaders.properties import authors, metadata, stated_date, stated_title
from ingest.loaders.xml_tree import Element, attribute, children, descendants, local, parse_xml
from ingest.loaders.xml_tree import text_of as xml_text
from search_app.errors import SourceError
from search_app.types import JSON

_CORE = "docProps/core.xml"


@dataclass(frozen=True, kw_only=True)
class Relationship:
    """A reference from one part to another: its kind, e.g. ``footnotes``, and the part's name."""

    id: str
    kind: str
    target: str


@dataclass(frozen=True, kw_only=True)
class CoreProperties:
    """What a file states about itself."""

    title: str
    language: str | None
    meta: dict[str, JSON]


def read_part(package: Package, name: str) -> Element:
    """Parse a part.

    Raises:
        SourceError: it is missing, too large or no XML.
    """
    return parse_xml(package.source, name, package.read(name))


def relationships(package: Package, part: str) -> list[Relationship]:
    """List the parts that a part refers to; what lies outside the package is not among them.

    Raises:
        SourceError: the list is damaged.
    """
    folder, _, name = part.rpartition("/")
    listed = f"{folder}/_rels/{name}.rels".lstrip("/")
    if listed not in package:
        return []
    return list(_internal(read_part(package, listed), part))


def _internal(root: Element, part: str) -> Iterator[Relationship]:
    for entry in children(root, "Relationship"):
        if attribute(entry, "TargetMode") != "External":
            yield Relationship(
                id=attribute(entry, "Id"),
                kind=attribute(entry, "Type").rpartition("/")[2],
                target=member_name(part, attribute(entry, "Target")),
            )


def main_part(package: Package) -> str:
    """Name the part that holds the document itself.

    Raises:
        SourceError: there is none.
    """
    for relationship in relationships(package, ""):
        if relationship.kind == "officeDocument" and relationship.target in package:
            return relationship.target
    raise SourceError(package.source, "damaged: it lacks the part with the document itself")


def core_properties(package: Package) -> CoreProperties:
    """Read title, authors and dates.

    Raises:
        SourceError: their part is damaged.
    """
    stated: dict[str, str] = {}
    name = next(
        (r.target for r in relationships(package, "") if r.kind == "core-properties"), _CORE
    )
    if name in package:
        for entry in read_part(package, name):
            stated[local(entry)] = xml_text(entry).strip()
    return CoreProperties(
        title=stated_title(stated.get("title")),
        language=stated.get("language"),
        meta=metadata(
            {
                "author": authors([stated.get("creator", "")]),
                "created": stated_date(stated.get("created")),
                "modified": stated_date(stated.get("modified")),
                "subject": stated.get("subject", ""),
                "keywords": authors([stated.get("keywords", "").replace(",", ";")]),
                "category": stated.get("category", ""),
            }
        ),
    )


def drawn_text(package: Package, drawing: Element, related: dict[str, Relationship]) -> str:
    """Give the words of the diagrams and charts in a drawing, which are parts of their own."""
    words: list[str] = []
    for name in ("relIds", "chart"):
        for reference in descendants(drawing, name):
            target = related.get(attribute(reference, "dm" if name == "relIds" else "id"))
            if target is not None and target.target in package:
                part = read_part(package, target.target)
                words += [" ".join(xml_text(p).split()) for p in descendants(part, "p")]
    return "\n".join(word for word in words if word)
