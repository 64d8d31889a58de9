"""Office files built from their XML: the least that the programs they are of would open."""

import io
import zipfile
from collections.abc import Mapping, Sequence

XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_NAMESPACES = " ".join(
    f'xmlns:{prefix}="{uri}"'
    for prefix, uri in {
        "w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        "p": "http://schemas.openxmlformats.org/presentationml/2006/main",
        "a": "http://schemas.openxmlformats.org/drawingml/2006/main",
        "r": _OFFICE,
        "wps": "http://schemas.microsoft.com/office/word/2010/wordprocessingShape",
        "mc": "http://schemas.openxmlformats.org/markup-compatibility/2006",
        "v": "urn:schemas-microsoft-com:vml",
        "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
        "dgm": "http://schemas.openxmlformats.org/drawingml/2006/diagram",
        "cp": f"{_PACKAGE}/metadata/core-properties",
        "dc": "http://purl.org/dc/elements/1.1/",
        "dcterms": "http://purl.org/dc/terms/",
    }.items()
)
_ODF = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in {
        "office": "office",
        "text": "text",
        "table": "table",
        "draw": "drawing",
        "presentation": "presentation",
        "meta": "meta",
    }.items()
)
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

Parts = Mapping[str, tuple[str, str]]
"""Names of parts, each with the kind of its relationship and its XML."""


def zipped(members: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def element(name: str, inner: str, attributes: str = "") -> str:
    """An element that declares all prefixes, for the root of a part."""
    return f"{XML}<{name} {_NAMESPACES} {attributes}>{inner}</{name}>"


def relations(entries: Mapping[str, tuple[str, str]]) -> str:
    """Relationships by id: kind and target."""
    inner = "".join(
        f'<Relationship Id="{key}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for key, (kind, target) in entries.items()
    )
    return f'{XML}<Relationships xmlns="{_PACKAGE}/relationships">{inner}</Relationships>'


def package(
    main: str, members: Mapping[str, str | bytes], core: str = ""
) -> dict[str, str | bytes]:
    root = relations({"rId1": ("officeDocument", main), "rId2": ("core-properties", "core.xml")})
    types = f'{XML}<Types xmlns="{_PACKAGE}/content-types"/>'
    return {
        "[Content_Types].xml": types,
        "_rels/.rels": root,
        "core.xml": element("cp:coreProperties", core),
        **members,
    }


def docx_members(
    body: str, *, styles: str = "", parts: Parts | None = None, core: str = ""
) -> dict[str, str | bytes]:
    named = {"styles": ("styles", element("w:styles", styles)), **(parts or {})}
    related = relations({f"rId-{n}": (kind, f"{n}.xml") for n, (kind, _) in named.items()})
    return package(
        "word/document.xml",
        {
            "word/document.xml": element("w:document", f"<w:body>{body}</w:body>"),
            "word/_rels/document.xml.rels": related,
            **{f"word/{name}.xml": xml for name, (_, xml) in named.items()},
        },
        core,
    )


def docx(body: str, *, styles: str = "", parts: Parts | None = None, core: str = "") -> bytes:
    return zipped(docx_members(body, styles=styles, parts=parts, core=core))


def run(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(content: str, properties: str = "") -> str:
    inner = content if content.startswith("<") else run(content)
    return f"<w:p><w:pPr>{properties}</w:pPr>{inner}</w:p>"


def styled(style: str, text: str) -> str:
    return paragraph(text, f'<w:pStyle w:val="{style}"/>')


def table(*rows: Sequence[str]) -> str:
    """A table of cells given by what is within ``w:tc``."""
    lines = ("".join(f"<w:tc>{cell}</w:tc>" for cell in row) for row in rows)
    return f"<w:tbl>{''.join(f'<w:tr>{line}</w:tr>' for line in lines)}</w:tbl>"


def pptx(slides: Sequence[str], *, notes: Mapping[int, str] | None = None, core: str = "") -> bytes:
    """A presentation of slides given by their shapes; notes by the number of the slide."""
    members: dict[str, str | bytes] = {}
    entries = {}
    for number, shapes in enumerate(slides, start=1):
        name = f"slides/slide{number}.xml"
        entries[f"rId{number}"] = ("slide", name)
        members[f"ppt/{name}"] = element("p:sld", _tree(shapes))
        if notes and number in notes:
            related = {"rId1": ("notesSlide", f"../notesSlides/n{number}.xml")}
            members[f"ppt/slides/_rels/slide{number}.xml.rels"] = relations(related)
            shape = placeholder("body", notes[number])
            members[f"ppt/notesSlides/n{number}.xml"] = element("p:notes", _tree(shape))
    listed = "".join(f'<p:sldId id="{255 + n}" r:id="{key}"/>' for n, key in enumerate(entries, 1))
    members["ppt/presentation.xml"] = element(
        "p:presentation", f"<p:sldIdLst>{listed}</p:sldIdLst>"
    )
    members["ppt/_rels/presentation.xml.rels"] = relations(entries)
    return zipped(package("ppt/presentation.xml", members, core))


def _tree(shapes: str) -> str:
    return f"<p:cSld><p:spTree>{shapes}</p:spTree></p:cSld>"


def placeholder(kind: str | None, *paragraphs: str) -> str:
    """A shape with paragraphs, a placeholder of a kind or, with None, none."""
    place = "" if kind is None else f'<p:ph type="{kind}"/>' if kind else "<p:ph/>"
    inner = "".join(
        p if p.startswith("<") else f"<a:p><a:r><a:t>{p}</a:t></a:r></a:p>" for p in paragraphs
    )
    return f"<p:sp><p:nvSpPr><p:nvPr>{place}</p:nvPr></p:nvSpPr><p:txBody>{inner}</p:txBody></p:sp>"


def xlsx(
    sheets: Mapping[str, str], *, shared: Sequence[str] = (), merges: Sequence[str] = ()
) -> bytes:
    """A workbook of sheets given by their rows."""
    entries = {
        f"rId{n}": ("worksheet", f"worksheets/sheet{n}.xml") for n in range(1, len(sheets) + 1)
    }
    entries |= {"rIdS": ("sharedStrings", "sharedStrings.xml"), "rIdT": ("styles", "styles.xml")}
    listed = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(sheets, 1)
    )
    strings = "".join(f"<si>{string}</si>" for string in shared)
    merged = "".join(f'<mergeCell ref="{area}"/>' for area in merges)
    # Format 14 is that of dates.
    formats = '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
    members: dict[str, str | bytes] = {
        "xl/workbook.xml": f'{XML}<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}">'
        f"<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relations(entries),
        "xl/styles.xml": f'{XML}<styleSheet xmlns="{_SHEET}">{formats}</styleSheet>',
        "xl/sharedStrings.xml": f'{XML}<sst xmlns="{_SHEET}">{strings}</sst>',
    }
    for number, rows in enumerate(sheets.values(), start=1):
        members[f"xl/worksheets/sheet{number}.xml"] = (
            f'{XML}<worksheet xmlns="{_SHEET}"><sheetData>{rows}</sheetData>'
            f"<mergeCells>{merged}</mergeCells></worksheet>"
        )
    return zipped(package("xl/workbook.xml", members))


def rows(*lines: Sequence[str | float]) -> str:
    """Rows of a sheet: texts and numbers; an empty text is no cell."""
    written = ""
    for number, cells in enumerate(lines, start=1):
        written += f'<row r="{number}">'
        for column, cell in enumerate(cells):
            place = f"{chr(ord('A') + column)}{number}"
            if isinstance(cell, str) and cell:
                written += f'<c r="{place}" t="inlineStr"><is><t>{cell}</t></is></c>'
            elif cell != "":
                written += f'<c r="{place}"><v>{cell}</v></c>'
        written += "</row>"
    return written


def odf(kind: str, body: str, meta: str = "") -> bytes:
    """An OpenDocument file of a kind: text, presentation or spreadsheet."""
    media_type = f"application/vnd.oasis.opendocument.{kind}"
    dc = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
    content = f"<office:body><office:{kind}>{body}</office:{kind}></office:body>"
    return zipped(
        {
            "mimetype": media_type,
            "META-INF/manifest.xml": f'{XML}<manifest><file-entry full-path="/"/></manifest>',
            "content.xml": f"{XML}<office:document-content {_ODF} {dc}>{content}"
            "</office:document-content>",
            "meta.xml": f"{XML}<office:document-meta {_ODF} {dc}><office:meta>{meta}"
            "</office:meta></office:document-meta>",
        }
    )


def epub(
    chapters: Mapping[str, str], *, toc: Mapping[str, str] | None = None, meta: str = ""
) -> bytes:
    """A book of chapters by file name; ``toc`` names them."""
    names = list(chapters)
    manifest = "".join(
        f'<item id="c{n}" href="{name}" media-type="application/xhtml+xml"/>'
        for n, name in enumerate(names)
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(names)))
    links = "".join(f'<li><a href="{name}">{label}</a></li>' for name, label in (toc or {}).items())
    container = (
        '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
    )
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "OEBPS/book.opf": f'{XML}<package xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<metadata>{meta}</metadata><manifest>{manifest}"
            '<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
            f"</manifest><spine>{spine}</spine></package>",
            "OEBPS/nav.xhtml": f"<html><body><nav><ol>{links}</ol></nav></body></html>",
            **{f"OEBPS/{name}": chapter for name, chapter in chapters.items()},
        }
    )
