"""Finding what arguments name: files, folders, patterns, web addresses."""

import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ingest.fetching.addresses import is_address, masked, parse_address
from ingest.loaders import is_supported, unknown_type
from ingest.loaders.reading import unreadable
from ingest.patterns import Exclusions, Pattern, States, advanced, exclusion, matched, start
from ingest.types import PageRef, Skipped, SourceRef
from search_app.errors import SourceError

_PASSED_OVER = ("node_modules", "__pycache__", "*.egg-info")
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_MAGIC = frozenset("*?[")


@dataclass(frozen=True, kw_only=True)
class _Argument:
    """What a user typed: a path as far as it is literal, and the pattern below it, if any."""

    typed: str
    base: Path
    pattern: Pattern = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A path to look at: how far the patterns are matched there, and the folders it is in."""

    path: Path
    states: States
    excluded: Exclusions
    above: frozenset[tuple[int, int]]


def discover(
    arguments: Sequence[str], *, exclude: Sequence[str] = ()
) -> Iterator[SourceRef | PageRef | Skipped | SourceError]:
    """Find files and pages as they come, each folder in the order of names; nothing is opened.

    Folders are walked to the bottom without hidden entries, caches and ``node_modules``; links are
    followed. A pattern (``docs/**/*.md``) stands for what it matches, folders included. Each path
    is found once, however many arguments reach it; for that, several arguments cost 100 bytes a
    file. ``exclude`` are patterns (see ``patterns.exclusion``) of what is passed over in folders,
    never of what an argument itself names.

    What cannot be ingested yields a SourceError in its place, or Skipped where it is nothing that
    anybody meant: what lies in a folder and is of no known type, no file, or a link back.

    Raises:
        InvalidInputError: a pattern to exclude stands for nothing.
    """
    seen: set[bytes] = set()
    excluded = Exclusions([exclusion(typed) for typed in exclude])
    for argument in arguments:
        for found in _found(argument, excluded):
            if len(arguments) > 1:
                uri = found.source if isinstance(found, SourceError) else found.uri
                key = blake2b(uri.encode(), digest_size=16).digest()
                if key in seen:
                    continue
                seen.add(key)
            yield found


def roots(arguments: Sequence[str]) -> list[str]:
    """Give the absolute path that each argument starts from, all that a run looks through.

    Web addresses have none: only the page itself is looked at.
    """
    return [str(_parse(argument).base) for argument in arguments if not is_address(argument)]


def root_of(source: str) -> str:
    """Give the uri that a source, or all that lies below it, goes by in the catalog.

    Raises:
        SourceError: it is an address that cannot be read.
    """
    return parse_address(source).uri if is_address(source) else str(_parse(source).base)


def shown(path: str | Path) -> str:
    r"""Write a path so that it can be printed and stored: bytes that are not UTF-8 as ``\xNN``.

    A password in an address is left out.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return masked(text) if is_address(text) else text


def _found(
    typed: str, excluded: Exclusions
) -> Iterator[SourceRef | PageRef | Skipped | SourceError]:
    if is_address(typed):
        yield _page(typed)
        return
    argument = _parse(typed)
    skipped, others = 0, 0
    for found in _walk(argument, excluded):
        skipped += isinstance(found, Skipped)
        others += not isinstance(found, Skipped)
        yield found
    if not others:
        nothing = "matches no file" if argument.pattern else "nothing to ingest in it"
        yield SourceError(shown(typed), f"{nothing}, {skipped:,} skipped" if skipped else nothing)


def _page(typed: str) -> PageRef | SourceError:
    try:
        address = parse_address(typed)
    except SourceError as error:
        return SourceError(shown(typed), error.reason)
    return PageRef(uri=address.uri, root=address.origin)


def _parse(typed: str) -> _Argument:
    path = Path(typed)
    if typed.startswith("~") and not os.path.lexists(path):
        # A shell expands it, unless quoted for the sake of a pattern.
        path = path.expanduser()
    magic = next((i for i, part in enumerate(path.parts) if _MAGIC & set(part)), None)
    if magic is None or os.path.lexists(path):
        return _Argument(typed=typed, base=_absolute(path))
    base = _absolute(Path(*path.parts[:magic]))
    return _Argument(typed=typed, base=base, pattern=path.parts[magic:])


def _absolute(path: Path) -> Path:
    # Path.absolute would keep "..", and one file must have one name.
    absolute = Path("/" + os.path.abspath(path).lstrip("/"))  # noqa: PTH100 - see above
    if ".." in path.parts and path.exists() and not _same(path, absolute):
        # "link/.." is the parent of where the link leads.
        return path.resolve()
    return absolute


def _same(left: Path, right: Path) -> bool:
    try:
        return left.samefile(right)
    except OSError:
        return False


def _walk(argument: _Argument, excluded: Exclusions) -> Iterator[SourceRef | Skipped | SourceError]:
    # A stack of our own, because a path may hold more folders than Python has frames.
    first = start(argument.pattern)
    pending = [_Entry(path=argument.base, states=first, excluded=excluded, above=frozenset())]
    while pending:
        entry = pending.pop()
        if entry.excluded.hit(folder=False):
            continue
        wanted = matched(argument.pattern, entry.states)
        try:
            status = entry.path.stat()
            if stat.S_ISDIR(status.st_mode):
                if (status.st_dev, status.st_ino) in entry.above:
                    yield Skipped(uri=shown(entry.path), kind="link back")
                elif not entry.excluded.hit(folder=True):
                    pending += reversed(_within(argument, entry, status))
            elif wanted:
                yield _file(argument, entry.path, status)
        except (OSError, ValueError) as exc:
            if entry.path == argument.base:
                yield SourceError(shown(argument.typed), _missing(argument, exc))
            elif wanted or isinstance(exc, PermissionError):
                yield SourceError(shown(entry.path), _unreachable(entry.path, exc))


def _within(argument: _Argument, folder: _Entry, status: os.stat_result) -> list[_Entry]:
    """List what in a folder is to be looked at, in order of names."""
    above = folder.above | {(status.st_dev, status.st_ino)}
    entries = []
    for name in sorted(child.name for child in folder.path.iterdir()):
        states = advanced(argument.pattern, folder.states, name)
        if states and not is_passed_over(name):
            excluded = folder.excluded.below(name)
            path = folder.path / name
            entries.append(_Entry(path=path, states=states, excluded=excluded, above=above))
    return entries


def is_passed_over(name: str) -> bool:
    """Say whether nobody means what is called so: hidden entries, caches and the like."""
    return name.startswith(".") or any(fnmatch.fnmatchcase(name, p) for p in _PASSED_OVER)


def _missing(argument: _Argument, error: OSError | ValueError) -> str:
    reason = _unreachable(argument.base, error)
    return "no such file or folder" if reason == unreadable(FileNotFoundError()) else reason


def _unreachable(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        # A NUL character, which no path can hold.
        return "no such file or folder"
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return "a link to nothing"
    return unreadable(error)


def _file(
    argument: _Argument, path: Path, status: os.stat_result
) -> SourceRef | Skipped | SourceError:
    uri = shown(path)
    named = path == argument.base
    if not stat.S_ISREG(status.st_mode):
        if not named:
            return Skipped(uri=uri, kind="no file")
        kind = _SPECIAL.get(stat.S_IFMT(status.st_mode), "something else")
        return SourceError(uri, f"not a file but {kind}")
    if not is_supported(path.name):
        if not named:
            return Skipped(uri=uri, kind=shown(path.suffix.lower()) or "no suffix")
        return SourceError(uri, unknown_type(path.name))
    if uri != str(path):
        return SourceError(uri, "its name is not valid UTF-8; rename it")
    return SourceRef(
        uri=uri,
        path=path,
        name=path.name,
        root=str(argument.base),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )
