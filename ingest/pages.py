"""Web pages on their way to being read: fetched a few ahead, each server at its own pace."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ingest import loaders
from ingest.fetching.fetcher import Fetcher
from ingest.types import LoadOptions, PageRef, Skipped, SourceRef
from search_app.catalog.sources import KnownSource
from search_app.errors import SourceError

SERVERS_AT_ONCE = 4
AHEAD = 8
"""Pages fetched before the reader wants them; each may be as large as a file may be."""


@dataclass(frozen=True, kw_only=True)
class NotChanged:
    """A page whose server says that it is as it was."""

    uri: str


@dataclass(frozen=True, kw_only=True)
class NotFetched:
    """A page that could not be fetched."""

    uri: str
    root: str
    error: SourceError


Found = SourceRef | PageRef | Skipped | SourceError
Fetched = SourceRef | NotChanged | NotFetched | Skipped | SourceError


def fetched(
    found: Sequence[Found],
    known: Mapping[str, KnownSource],
    fetcher: Fetcher,
    load_of: Callable[[KnownSource | None], LoadOptions],
    *,
    force: bool,
) -> Iterator[Fetched]:
    """Fetch the pages among what was found, in its order; the rest comes through as it is.

    Pages that are ``known`` are asked for again only if they have changed, unless with ``force``.
    """

    def fetch(page: PageRef) -> Fetched:
        earlier = None if force else known.get(page.uri)
        validators = _validators(earlier, load_of(earlier)) if earlier is not None else {}
        try:
            return fetcher.fetch(page, validators) or NotChanged(uri=page.uri)
        except SourceError as error:
            return NotFetched(uri=page.uri, root=page.root, error=error)

    waiting: deque[Fetched | Future[Fetched]] = deque()
    threads = ThreadPoolExecutor(SERVERS_AT_ONCE, thread_name_prefix="fetch")
    try:
        for item in found:
            waiting.append(threads.submit(fetch, item) if isinstance(item, PageRef) else item)
            if len(waiting) > AHEAD:
                yield _awaited(waiting.popleft())
        while waiting:
            yield _awaited(waiting.popleft())
    finally:
        # Whoever closes the fetcher cuts off what is under way.
        threads.shutdown(wait=False, cancel_futures=True)


def _awaited(item: Fetched | Future[Fetched]) -> Fetched:
    return item.result() if isinstance(item, Future) else item


def _validators(earlier: KnownSource, load: LoadOptions) -> Mapping[str, str]:
    """Give what a page may be asked again with: nothing, where it would come out otherwise now."""
    name = earlier.validators.get("name", "")
    if earlier.state != "indexed" or not loaders.is_supported(name):
        return {}
    as_it_was = SourceRef(
        uri=earlier.uri, path=Path(), name=name, root=earlier.root, size=0, mtime_ns=0
    )
    return earlier.validators if loaders.reader(as_it_was, load) == earlier.reader else {}
