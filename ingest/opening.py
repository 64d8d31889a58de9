"""Sources before their turn: which have to be read, and what is found in them.

Those of hostile formats are handed to the parsers well before their turn, so that many are parsed
side by side; the others are looked at only when it comes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from uuid import UUID

from ingest import loaders
from ingest.chunker import TokenCounter
from ingest.fetching.addresses import is_address
from ingest.fetching.fetcher import Fetcher
from ingest.loaders import LoadOptions
from ingest.pages import Fetched, Found, NotChanged, NotFetched, fetched
from ingest.parsing import ParserPool
from ingest.plan import source_id
from ingest.types import LoadedDocument, Skipped, SourceRef
from search_app.catalog.sources import KnownSource
from search_app.errors import SourceError
from search_app.types import JSON, Chunking, Collection

LONGEST_URI = 2_500
"""Bytes of a source's or document's uri; an index of PostgreSQL takes no more than 2,700."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What decides how sources become documents: the run, the chunkings in use, the choices."""

    collection: Collection
    run_id: UUID
    chunkings: Sequence[Chunking]
    load: LoadOptions
    tokens: TokenCounter
    fetcher: Fetcher
    parsers: ParserPool
    force: bool = False
    """Read sources again that have not changed."""
    as_before: bool = False
    """Read known sources with the options that they were last read with."""

    def load_of(self, earlier: KnownSource | None) -> LoadOptions:
        """Give the options to read a source with."""
        if earlier is None or not self.as_before:
            return self.load
        return self.load.with_kept(earlier.options)


@dataclass(kw_only=True)
class OpenSource:
    """A source that is being read; ``outstanding`` documents of it are not in yet.

    Whoever reads it fills in the first fields and hands it on; the rest is the writer's.
    """

    id: UUID
    uri: str
    size: int
    reader: str
    options: Mapping[str, JSON]
    root: str
    validators: Mapping[str, str] = field(default_factory=dict)
    content_hash: bytes | None = None
    outstanding: int = 0
    exhausted: bool = False
    failures: int = 0
    first_reason: str | None = None
    closed: bool = False
    """How reading it ended is in the catalog."""


@dataclass(frozen=True, kw_only=True)
class Unchanged:
    """A source that is as it was; ``size`` in bytes, 0 for a page that was not sent again.

    ``seen_by`` is the run that met it last, before this one.
    """

    id: UUID
    uri: str
    seen_by: UUID | None = None
    size: int = 0
    validators: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Prepared:
    """A source whose turn has not come: what is known of it, and what is found in it.

    Without ``source`` there is nothing to open, and what is found can only be an error.
    """

    source: OpenSource | None = None
    found: Iterable[LoadedDocument | SourceError] = ()
    unchanged: Unchanged | None = None
    skipped: str | None = None
    may_be_empty: bool = False
    """Nobody named it, and it was never read: that it is empty is no news."""
    fetched: SourceRef | None = None
    """A page whose file is ours to delete."""


def prepared(
    batch: Sequence[Found], known: Mapping[str, KnownSource], options: ReadOptions
) -> Iterator[Prepared]:
    """Prepare sources in order: those for the parsers well before their turn, the others at it.

    What is read at its turn is hashed then, because it may change while much else is embedded.
    """
    waiting: deque[Prepared | Callable[[], Prepared]] = deque()
    for item in fetched(batch, known, options.fetcher, options.load_of, force=options.force):
        earlier = None if isinstance(item, SourceError) else known.get(item.uri)
        prepare = partial(_prepare, item, earlier, options)
        if isinstance(item, SourceRef) and loaders.is_isolated(item):
            waiting.append(prepare())
        else:
            waiting.append(prepare)
        if len(waiting) > options.parsers.ahead:
            yield _in_turn(waiting.popleft())
    while waiting:
        yield _in_turn(waiting.popleft())


def _in_turn(one: Prepared | Callable[[], Prepared]) -> Prepared:
    return one if isinstance(one, Prepared) else one()


def _prepare(item: Fetched, earlier: KnownSource | None, options: ReadOptions) -> Prepared:
    match item:
        case SourceError():
            return Prepared(found=(item,))
        case Skipped():
            return Prepared(skipped=item.kind)
        case NotChanged():
            identity = source_id(options.collection.id, item.uri)
            return Prepared(unchanged=Unchanged(id=identity, uri=item.uri))
        case NotFetched():
            return _not_fetched(item, earlier, options)
        case SourceRef():
            return _open(item, earlier, options)


def _open(item: SourceRef, earlier: KnownSource | None, options: ReadOptions) -> Prepared:
    """Decide whether a source has to be read, and begin with it where that is done elsewhere."""
    page = item if is_address(item.uri) else None
    if (refusal := too_long(item.uri)) is not None:
        return Prepared(found=(refusal,), fetched=page)
    load = options.load_of(earlier)
    source = OpenSource(
        id=source_id(options.collection.id, item.uri),
        uri=item.uri,
        size=item.size,
        reader=loaders.reader(item, load),
        options=load.as_json(),
        root=_root(item, earlier),
        validators=item.validators,
    )
    try:
        source.content_hash = loaders.content_hash(item)
    except SourceError as exc:
        return Prepared(source=source, found=(exc,), fetched=page)
    if earlier is not None and not options.force and _unchanged(earlier, source):
        unchanged = Unchanged(
            id=source.id,
            uri=item.uri,
            seen_by=earlier.seen_run_id,
            size=item.size,
            validators=item.validators,
        )
        return Prepared(unchanged=unchanged, fetched=page)
    return Prepared(
        source=source,
        found=_found(item, source.content_hash, load, options.parsers),
        may_be_empty=earlier is None and item.root != item.uri and page is None,
        fetched=page,
    )


def _found(
    item: SourceRef, content_hash: bytes, load: LoadOptions, parsers: ParserPool
) -> Iterable[LoadedDocument | SourceError]:
    if item.size > 0 and loaders.is_isolated(item):
        parsing = parsers.submit(item, load, expected_hash=content_hash)
        too_large = item.size > load.max_file_mb * 1_000_000
        if loaders.is_parsed_code(item) and not too_large:
            return _parsed_or_not(parsing, item, content_hash)
        return parsing
    return _found_here(item, content_hash, load)


def _parsed_or_not(
    parsing: Iterable[LoadedDocument | SourceError], item: SourceRef, content_hash: bytes
) -> Iterator[LoadedDocument | SourceError]:
    """Read source code without its tree where making that took too long or crashed."""
    for found in parsing:
        if isinstance(found, SourceError):
            yield loaders.load_code_unparsed(item, found.reason, expected_hash=content_hash)
        else:
            yield found


def _found_here(
    item: SourceRef, content_hash: bytes, load: LoadOptions
) -> Iterator[LoadedDocument | SourceError]:
    try:
        yield from loaders.load(item, load, expected_hash=content_hash)
    except MemoryError:
        yield SourceError(item.uri, "takes more memory to read than there is")


def _not_fetched(page: NotFetched, earlier: KnownSource | None, options: ReadOptions) -> Prepared:
    """Note a page that could not be fetched, so that it is tried again like a file."""
    if (refusal := too_long(page.uri)) is not None:
        return Prepared(found=(refusal,))
    source = OpenSource(
        id=source_id(options.collection.id, page.uri),
        uri=page.uri,
        size=0,
        # What would have read it nobody knows.
        reader="" if earlier is None else earlier.reader,
        options=options.load_of(earlier).as_json(),
        root=page.root,
    )
    return Prepared(source=source, found=(page.error,))


def _root(item: SourceRef, earlier: KnownSource | None) -> str:
    """Name folders from the widest folder that the source was ever ingested below.

    Otherwise a file that is added again by itself would change its place for the filters.
    """
    if earlier is None or PurePosixPath(earlier.root).is_relative_to(item.root):
        return item.root
    return earlier.root


def too_long(uri: str) -> SourceError | None:
    """Refuse a uri that the catalog's index cannot hold."""
    size = len(uri.encode())
    if size <= LONGEST_URI:
        return None
    return SourceError(
        f"{uri[:80]}…", f"its path and key have {size:,} bytes; at most {LONGEST_URI:,} are kept"
    )


def _unchanged(earlier: KnownSource, now: OpenSource) -> bool:
    return (
        earlier.state == "indexed"
        and earlier.content_hash == now.content_hash
        and earlier.reader == now.reader
        and earlier.root == now.root
    )
