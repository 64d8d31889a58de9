"""Lists of addresses: one a line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingest.fetching.addresses import parse_address
from search_app.errors import SourceError
from search_app.types import Failure

_LONGEST_SHOWN = 120


@dataclass(frozen=True, kw_only=True)
class AddressList:
    """What a list holds: addresses in their normal form, and the lines that are none."""

    addresses: Sequence[str]
    refused: Sequence[Failure]


def read_list(name: str, lines: Iterable[bytes]) -> AddressList:
    """Read a list in UTF-8; empty lines and what follows a ``#`` after a space are passed over.

    A line that is no address is named by its number: ``NAME:12``.
    """
    addresses, refused = [], []
    for number, raw in enumerate(lines, start=1):
        try:
            line = _content(raw)
            if line:
                addresses.append(parse_address(line).uri)
        except UnicodeDecodeError:
            refused.append(Failure(source=f"{name}:{number}", reason="not valid UTF-8"))
        except SourceError as error:
            reason = f"{error.source[:_LONGEST_SHOWN]}: {error.reason}"
            refused.append(Failure(source=f"{name}:{number}", reason=reason))
    return AddressList(addresses=addresses, refused=refused)


def _content(raw: bytes) -> str:
    line = raw.decode("utf-8-sig").strip()
    if line.startswith("#"):
        return ""
    # Within an address the sign begins a fragment.
    words = line.split()
    comment = next((i for i, word in enumerate(words) if word.startswith("#")), len(words))
    return " ".join(words[:comment])
