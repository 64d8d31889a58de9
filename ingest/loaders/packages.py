"""ZIP packages, which docx, pptx, xlsx, OpenDocument and EPUB are: read within limits.

Nothing is ever unpacked to disk, so a member's name can lead nowhere. Only the members that a
reader asks for are looked at, so pictures, macros and archives within the package stay closed.
"""

import io
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterable
from urllib.parse import unquote

from search_app.errors import SourceError

UNPACKED_LIMIT = 200_000_000
"""Most bytes that are unpacked of one package.

A tree of XML takes up to ten times the bytes of its text, and has to fit into a process that has
2 GB by default; the largest real manuals unpack to a tenth of this.
"""

MOST_MEMBERS = 50_000
"""More members than the largest books and slide shows have by a factor of ten."""

_ENCRYPTED = 0x1
_DAMAGED = (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error)
"""What the standard library raises for archives that it cannot make sense of."""


class Package:
    """The members of a ZIP package by name, unpacked when they are asked for."""

    def __init__(self, source: str, data: bytes) -> None:
        """Open a package.

        Raises:
            SourceError: it is no ZIP archive, is damaged, or has too many members.
        """
        self.source = source
        # Checked before the directory is read, since a file of 64 MB can list a million members.
        if data.count(b"PK\x01\x02") > MOST_MEMBERS:
            raise SourceError(source, f"holds more than {MOST_MEMBERS:,} files; not opened")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGED as exc:
            raise SourceError(source, f"damaged: {exc}") from exc
        self._members = {info.filename: info for info in self._archive.infolist()}
        self._left = UNPACKED_LIMIT

    @property
    def names(self) -> Iterable[str]:
        """The names of all members, as the package gives them."""
        return self._members.keys()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """Unpack a member.

        Raises:
            SourceError: it is missing, damaged, encrypted, or larger than what is left of
                UNPACKED_LIMIT, by what the package declares or in truth.
        """
        info = self._members.get(name)
        if info is None:
            raise SourceError(self.source, f"damaged: it lacks {name}")
        if info.flag_bits & _ENCRYPTED:
            raise SourceError(self.source, "encrypted; save it without a password")
        if info.file_size > self._left:
            raise self._too_large()
        try:
            with self._archive.open(info) as file:
                content = file.read(self._left + 1)
        except (*_DAMAGED, zlib.error, EOFError) as exc:
            raise SourceError(self.source, f"damaged: {name}: {exc}") from exc
        except RuntimeError as exc:
            raise SourceError(self.source, f"{name} cannot be unpacked: {exc}") from exc
        self._left -= len(content)
        if self._left < 0:
            raise self._too_large()
        return content

    def copied(self, names: Iterable[str]) -> bytes:
        """Write some members into a new package, uncompressed, for parsers that do not limit.

        Raises:
            SourceError: as for ``read``.
        """
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as copy:
            for name in names:
                copy.writestr(zipfile.ZipInfo(name), self.read(name))
        return buffer.getvalue()

    def _too_large(self) -> SourceError:
        return SourceError(
            self.source, f"unpacks to more than {UNPACKED_LIMIT / 1e6:,.0f} MB; not read"
        )


def member_name(base: str, target: str) -> str:
    """Resolve a reference from the member ``base`` to another, as a name within the package."""
    path = unquote(target.partition("#")[0])
    joined = path if path.startswith("/") else posixpath.join(posixpath.dirname(base), path)
    return posixpath.normpath(joined).lstrip("/")
