"""Files that are no plain text, read by what they are rather than what they are called.

Programs export HTML as .xls and rich text as .doc, and people rename files; the first bytes do
not lie.
"""

from collections.abc import Callable, Mapping
from pathlib import PurePath

from ingest.loaders.ebook import load_epub
from ingest.loaders.html import load_html
from ingest.loaders.mail import load_msg
from ingest.loaders.office.binary import load_doc, load_ppt, load_rtf
from ingest.loaders.office.docx import load_docx
from ingest.loaders.office.odf import load_odp, load_odt
from ingest.loaders.office.pptx import load_pptx
from ingest.loaders.office.sheets import load_ods, load_xls, load_xlsx
from ingest.loaders.pdf import load_pdf
from ingest.loaders.sniffing import KINDS, kind_of
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import SourceError

_LOADERS: Mapping[str, Callable[[SourceRef, bytes], LoadedDocument]] = {
    "doc": load_doc,
    "docx": load_docx,
    "epub": load_epub,
    "html": load_html,
    "msg": load_msg,
    "odp": load_odp,
    "ods": load_ods,
    "odt": load_odt,
    "ppt": load_ppt,
    "pptx": load_pptx,
    "rtf": load_rtf,
    "xls": load_xls,
    "xlsx": load_xlsx,
}
_HINTS = {
    "zip": "; unpack it",
    "image": "; pictures need OCR",
    "text": "; name it .txt, or .csv if it is a table",
}


def load_container(ref: SourceRef, data: bytes, options: LoadOptions) -> LoadedDocument:
    """Read a document of any format with a signature.

    Raises:
        SourceError: damaged, encrypted, without text, or of a kind that nothing reads.
    """
    kind = kind_of(ref.uri, data)
    if kind == "pdf":
        return load_pdf(ref, data, options.passwords)
    load = _LOADERS.get(kind)
    if load is None:
        suffix = PurePath(ref.name).suffix.lower()
        raise SourceError(
            ref.uri, f"not what {suffix} says but {KINDS[kind]}{_HINTS.get(kind, '')}"
        )
    try:
        return load(ref, data)
    except RecursionError as exc:
        raise SourceError(ref.uri, "nested too deeply") from exc
