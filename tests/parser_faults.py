"""Parsers that go wrong, for the fork server to import: a file says itself how it is to be read.

A file that begins with ``fault: NAME`` is read by the function of that name; others as ever.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ingest import loaders
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import SourceError

Found = Iterator[LoadedDocument | SourceError]
_load = loaders.load


class OddError(Exception):
    """Can neither be pickled nor be made again from what it says of itself."""

    def __init__(self, first: str, *, second: int) -> None:
        super().__init__()
        self.lock = lambda: (first, second)

    def __str__(self) -> str:
        return "odd\nin two lines"


class PanicError(BaseException):
    """What the Rust libraries raise: no Exception."""


def document(ref: SourceRef, text: str = "text", **fields: Any) -> LoadedDocument:
    plain = LoadedDocument(
        uri=ref.uri,
        source=ref.uri,
        title=ref.name,
        titled=False,
        text=text,
        language="en",
        media_type="text",
        structure="plain",
    )
    return replace(plain, **fields)


def hang(_: SourceRef) -> Found:
    while True:
        time.sleep(60)


def deaf(_: SourceRef) -> Found:
    """Hang in C with every signal ignored, and a child that hangs as well."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.fork()
    ctypes.PyDLL(None).sleep(600)
    raise AssertionError


def crash(_: SourceRef) -> Found:
    ctypes.string_at(0)
    raise AssertionError


def leave(_: SourceRef) -> Found:
    os._exit(3)


def abort(_: SourceRef) -> Found:
    os.abort()


def bomb(_: SourceRef) -> Found:
    kept = []
    while True:
        kept.append(b"x" * 10_000_000)


def mapped_bomb(_: SourceRef) -> Found:
    """Take memory as C libraries do, and crash where there is none."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    while True:
        ctypes.memset(libc.malloc(10_000_000), 1, 10_000_000)


def large(ref: SourceRef) -> Found:
    """Take much, but no more than there is; tell who did it."""
    held = b"x" * 200_000_000
    yield document(ref, text=f"{os.getpid()} held {len(held)}")


def whoami(ref: SourceRef) -> Found:
    yield document(ref, text=str(os.getpid()))


def odd(_: SourceRef) -> Found:
    raise OddError("x", second=2)


def panic(_: SourceRef) -> Found:
    raise PanicError("called unwrap on a None value")


def leaving(_: SourceRef) -> Found:
    sys.exit(0)


def interrupt(_: SourceRef) -> Found:
    raise KeyboardInterrupt


def unpicklable(ref: SourceRef) -> Found:
    yield document(ref, meta={"made by": cast("Any", object())})


def bent(ref: SourceRef) -> Found:
    yield document(ref, page_starts=7)


def half(ref: SourceRef) -> Found:
    """Give something, and only then crash."""
    yield document(ref, uri=f"{ref.uri}#1", text="x" * 2_000_000)
    ctypes.string_at(0)


def stream(ref: SourceRef) -> Found:
    """Give far more than may be kept at once."""
    for number in range(200):
        yield document(ref, uri=f"{ref.uri}#{number}", text=f"{number} " + "x" * 1_000_000)


def rewrites(ref: SourceRef) -> Found:
    """Change the next file before it is parsed."""
    ref.path.with_name("2.html").write_text("<p>Second edition.</p>", encoding="utf-8")
    yield document(ref)


def loud(ref: SourceRef) -> Found:
    os.write(1, b"to standard output\n")
    os.write(2, b"to standard error\n")
    yield document(ref)


def threads(ref: SourceRef) -> Found:
    tasks = len(list(Path("/proc/self/task").iterdir()))
    yield document(ref, text=f"{tasks} {'pytest' in sys.modules}")


def load(ref: SourceRef, options: LoadOptions, *, expected_hash: bytes | None = None) -> Found:
    with ref.path.open("rb") as file:
        first = file.readline(100).decode("ascii", "replace").strip()
    if first.startswith("fault: "):
        return cast("Found", globals()[first.removeprefix("fault: ")](ref))
    return _load(ref, options, expected_hash=expected_hash)


loaders.load = load
