"""Parsers written in Rust end in a panic where they meet what they did not think of."""

from collections.abc import Iterator
from contextlib import contextmanager

from search_app.errors import SourceError


@contextmanager
def panics_refused(source: str) -> Iterator[None]:
    """Turn a panic within the block, which is no ``Exception``, into the refusal of one file.

    Raises:
        SourceError: the parser panicked.
    """
    try:
        yield
    except BaseException as exc:
        if type(exc).__name__ == "PanicException":
            first_line = next(iter(str(exc).splitlines()), "")
            raise SourceError(source, f"damaged: {first_line[:200]}") from exc
        raise
