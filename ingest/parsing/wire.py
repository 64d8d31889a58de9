"""What the pool, the fork server and the workers say to each other.

Tasks travel pickled, from us to the worker. What comes back may have been made by a parser that a
hostile file has taken over, so it is JSON, which can do nothing but be data.
"""

import json
import pickle
import struct
from collections.abc import Sequence
from typing import Any

from ingest.types import LoadedDocument, LoadOptions, SourceRef, outline_json, read_outline
from search_app.errors import SourceError

REQUEST = struct.Struct("!?i")
"""To the fork server: start a worker on the socket that comes along, or end worker PID."""
ANSWER = struct.Struct("!iiq")
"""From it: process id, wait status and peak memory in bytes; 0 where it does not apply."""
UNKNOWN_STATUS = -1
"""The status of a worker that would not end."""

TAKEN, PART, LAST, LEAVING = b">", b"+", b".", b"!"
"""First byte of what a worker sends: it has a file now, a part of what it found, the last part.

LEAVING is a last part after which the worker ends. Without TAKEN, whatever ended it was not the
file.
"""

OUT_OF_MEMORY = 71
"""Exit code of a worker that met its limit."""

Task = tuple[SourceRef, LoadOptions, bytes | None]
"""A source, how it is read, and the hash that its bytes must have."""


def pack_task(task: Task) -> bytes:
    """Write a task."""
    return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)


def unpack_task(data: bytes) -> Task:
    """Read a task; only what our own process sent may come here."""
    task: Task = pickle.loads(data)  # noqa: S301 - see above
    return task


def pack(found: Sequence[LoadedDocument | SourceError]) -> bytes:
    """Write what a parser found.

    Raises:
        TypeError, ValueError: a document holds what is not data.
    """
    return json.dumps([_plain(one) for one in found], ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def unpack(data: bytes) -> list[LoadedDocument | SourceError]:
    """Read what ``pack`` wrote.

    Raises:
        TypeError, ValueError: it is something else.
    """
    return [_found(*one) for one in json.loads(data.decode("utf-8", "surrogatepass"))]


def _plain(found: LoadedDocument | SourceError) -> tuple[str, object]:
    if isinstance(found, SourceError):
        return "error", [found.source, found.reason]
    outline = None if found.outline is None else outline_json(found.outline)
    return "document", {**vars(found), "meta": dict(found.meta), "outline": outline}


def _found(kind: str, value: Any) -> LoadedDocument | SourceError:
    if kind == "error":
        source, reason = value
        return SourceError(source, reason)
    outline = None if value["outline"] is None else read_outline(value["outline"])
    made = {"page_starts": tuple(value["page_starts"]), "outline": outline}
    return LoadedDocument(**{**value, **made})
