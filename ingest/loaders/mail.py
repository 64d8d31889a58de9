"""Messages (.eml, .msg): the body, with sender, recipients, date and names of attachments."""

import re
from collections.abc import Iterable, Iterator, Sequence
from email import message_from_bytes, policy
from email.header import decode_header
from email.message import EmailMessage
from email.utils import getaddresses, parsedate_to_datetime

from ingest.loaders.decoding import decode_detected
from ingest.loaders.documents import make_document
from ingest.loaders.extraction import extract
from ingest.loaders.html import read_page
from ingest.loaders.markdown_text import clean
from ingest.loaders.properties import metadata, stated_date
from ingest.types import LoadedDocument, SourceRef, Structure
from search_app.errors import SourceError
from search_app.types import JSON

_MOST_PARTS = 1_000
_HEADER_WITHIN = 10_000
_FIELD = re.compile(rb"(?im)^(from|to|subject|date|received|return-path|message-id|mime-version):")
_SUPERSETS = {
    "shift_jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "euc-jp": "euc_jis_2004",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "us-ascii": "utf-8",
    "iso-8859-1": "cp1252",
}
"""Encodings as mail programs name them, and what they write under that name."""


def load_eml(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a message; its title is the subject. Attachments are named, not read.

    Raises:
        SourceError: it is no message, nests too many parts, or has no text.
    """
    if _FIELD.search(data[:_HEADER_WITHIN]) is None:
        raise SourceError(ref.uri, "not an e-mail: it has none of a message's header fields")
    try:
        message = message_from_bytes(data, policy=policy.default)
        parts = list(_parts(ref.uri, message))
    except RecursionError as exc:
        raise SourceError(ref.uri, "nests its parts too deeply") from exc
    text, structure, language = _body(ref.uri, parts)
    attachments: list[JSON] = [name for part in parts for name in _attachment(part)]
    _check_text(ref, text, attachments)
    return make_document(
        ref,
        text=text,
        title=_header(message, "subject"),
        media_type="email",
        structure=structure,
        meta=metadata(
            {
                "from": _addresses(message, "from"),
                "to": _addresses(message, "to"),
                "cc": _addresses(message, "cc"),
                "date": _date(_header(message, "date")),
                "attachments": attachments,
            }
        ),
        language_hint=language,
    )


def _parts(source: str, message: EmailMessage) -> Iterator[EmailMessage]:
    """Give the leaves of a message in order; a forwarded message is a leaf."""
    pending: list[EmailMessage] = [message]
    seen = 0
    while pending:
        part = pending.pop()
        seen += 1
        if seen > _MOST_PARTS:
            raise SourceError(source, f"has more than {_MOST_PARTS:,} parts")
        inner = _inner(part)
        if inner and part.get_content_maintype() == "multipart":
            pending += reversed(inner)
        else:
            yield part


def _inner(part: EmailMessage) -> list[EmailMessage]:
    """Give the parts of a part, or the message that it forwards."""
    payload = part.get_payload()
    found = payload if isinstance(payload, list) else []
    return [inner for inner in found if isinstance(inner, EmailMessage)]


def _body(source: str, parts: Iterable[EmailMessage]) -> tuple[str, Structure, str | None]:
    """Give the text: what is plain if there is any, which says the same as what is HTML."""
    plain, pages = [], []
    for part in parts:
        if _attachment(part):
            continue
        if part.get_content_type() == "text/plain":
            plain.append(clean(_text(source, part)).strip())
        elif part.get_content_type() == "text/html":
            pages.append(read_page(_text(source, part)))
    text = "\n\n".join(filter(None, plain))
    if text:
        return text + "\n", "plain", None
    joined = "\n\n".join(page.text.strip() for page in pages)
    return joined + "\n", "markdown", next((page.language for page in pages), None)


def _text(source: str, part: EmailMessage) -> str:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    charset = _known(part.get_content_charset() or "")
    for encoding in filter(None, (_SUPERSETS.get(charset), charset)):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            # Senders get it wrong, or go beyond it as Japanese ones do; the bytes tell.
            continue
    return decode_detected(source, data, charset or None).text if data else ""


def _known(charset: str) -> str:
    """Give the name of an encoding of text, or nothing."""
    name = charset.lower()
    try:
        "".encode(_SUPERSETS.get(name, name))
    except (LookupError, ValueError):
        return ""
    return name


def _attachment(part: EmailMessage) -> list[JSON]:
    """Name an attachment; nothing for what belongs to the body."""
    name = _decoded(part.get_filename() or "")
    if part.get_content_type() == "message/rfc822":
        subject = next((_header(message, "subject") for message in _inner(part)), "")
        return [name or subject or "message"]
    if part.get_content_disposition() == "attachment" or name:
        return [name or part.get_content_type()]
    return []


def _check_text(ref: SourceRef, text: str, attachments: Sequence[JSON]) -> None:
    if not text.strip() and attachments:
        names = ", ".join(str(name) for name in attachments)
        raise SourceError(ref.uri, f"no text of its own; attachments are not read: {names[:200]}")


def _addresses(message: EmailMessage, field: str) -> list[JSON]:
    found = getaddresses([_header(message, field)])
    return [f"{name} <{address}>" if name else address for name, address in found if address]


def _header(message: EmailMessage, field: str) -> str:
    for name, value in message.raw_items():
        if name.lower() == field:
            return " ".join(_decoded(str(value)).split())
    return ""


def _decoded(value: str) -> str:
    """Decode a header's words; of bytes that stand there as they are, too."""
    raw = value.encode("utf-8", "surrogateescape")
    if not raw.isascii():
        try:
            value = decode_detected("", raw).text
        except SourceError:
            value = raw.decode("utf-8", "replace")
    return "".join(_word(word, charset) for word, charset in decode_header(value))


def _word(word: bytes | str, charset: str | None) -> str:
    if isinstance(word, str):
        return word
    name = _known(charset or "") or "latin-1"
    for encoding in (_SUPERSETS.get(name, name), "iso2022_jp_ext", "utf-8"):
        try:
            return word.decode(encoding)
        except UnicodeDecodeError:
            continue
    return word.decode("ascii", "replace")


def _date(text: str) -> str:
    try:
        return parsedate_to_datetime(text).isoformat()
    except ValueError:
        return ""


def load_msg(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a message of Outlook, as ``load_eml`` does.

    Raises:
        SourceError: damaged or without text.
    """
    extracted = extract(ref.uri, data, "application/vnd.ms-outlook")
    stated = extracted.stated
    paragraphs = [node["content"].get("text", "") for node in extracted.nodes]
    text = "\n\n".join(clean(paragraph).strip() for paragraph in paragraphs if paragraph.strip())
    _check_text(ref, text, list(stated.get("attachments") or ()))
    return make_document(
        ref,
        text=f"{text}\n",
        title=stated.get("subject") or "",
        media_type="email",
        structure="plain",
        meta=metadata(
            {
                "from": _unquoted(stated.get("from_email")),
                "to": [_unquoted(address) for address in stated.get("to_emails") or ()],
                "cc": [_unquoted(address) for address in stated.get("cc_emails") or ()],
                "date": stated_date(stated.get("created_at")),
                "attachments": list(stated.get("attachments") or ()),
            }
        ),
    )


def _unquoted(address: str | None) -> str:
    """Write an address as ``load_eml`` does."""
    found = getaddresses([address or ""])
    name, plain = found[0] if found else ("", "")
    return f"{name} <{plain}>" if name else plain
