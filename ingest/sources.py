"""Finding the files that arguments name: files, folders, patterns."""

import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ingest.loaders import is_supported, unknown_type
from ingest.loaders.reading import unreadable
from ingest.types import SourceRef
from search_app.errors import SourceError

_SKIPPED_NAMES = ("node_modules", "__pycache__", "*.egg-info")
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
    pattern: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A path to look at: how far the pattern is matched there, and the folders it is in."""

    path: Path
    states: frozenset[int]
    above: frozenset[tuple[int, int]]


def discover(arguments: Sequence[str]) -> Iterator[SourceRef | SourceError]:
    """Find files as they come, each folder in the order of names; nothing is opened.

    Folders are walked to the bottom without hidden entries, caches and ``node_modules``; links are
    followed. A pattern (``docs/**/*.md``) stands for what it matches, folders included. What
    cannot be ingested yields a SourceError in its place. Each path is found once, however many
    arguments reach it; for that, several arguments cost 100 bytes a file.
    """
    parsed = [_parse(argument) for argument in arguments]
    seen: set[bytes] = set()
    for argument in parsed:
        matched = False
        for found in _walk(argument):
            matched = True
            uri = found.uri if isinstance(found, SourceRef) else found.source
            if len(parsed) > 1:
                key = blake2b(uri.encode(), digest_size=16).digest()
                if key in seen:
                    continue
                seen.add(key)
            yield found
        if not matched:
            nothing = "matches no file" if argument.pattern else "nothing to ingest in it"
            yield SourceError(shown(argument.typed), nothing)


def roots(arguments: Sequence[str]) -> list[str]:
    """Give the absolute path that each argument starts from: all that a run looks through."""
    return [str(_parse(argument).base) for argument in arguments]


def shown(path: str | Path) -> str:
    r"""Write a path so that it can be printed and stored: bytes that are not UTF-8 as ``\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


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


def _walk(argument: _Argument) -> Iterator[SourceRef | SourceError]:
    # A stack of our own, because a path may hold more folders than Python has frames.
    start = _closed(argument.pattern, {0})
    pending = [_Entry(path=argument.base, states=start, above=frozenset())]
    while pending:
        entry = pending.pop()
        wanted = len(argument.pattern) in entry.states
        try:
            status = entry.path.stat()
            if stat.S_ISDIR(status.st_mode):
                pending += reversed(_within(argument, entry, status))
            elif wanted:
                yield _file(argument, entry.path, status)
        except SourceError as error:
            yield error
        except (OSError, ValueError) as exc:
            if entry.path == argument.base:
                yield SourceError(shown(argument.typed), _missing(argument, exc))
            elif wanted or isinstance(exc, PermissionError):
                yield SourceError(shown(entry.path), _unreachable(entry.path, exc))


def _within(argument: _Argument, folder: _Entry, status: os.stat_result) -> list[_Entry]:
    """List what in a folder is to be looked at, in order of names."""
    identity = status.st_dev, status.st_ino
    if identity in folder.above:
        raise SourceError(shown(folder.path), "a link back to a folder it is in; not followed")
    above = folder.above | {identity}
    entries = []
    for name in sorted(child.name for child in folder.path.iterdir()):
        states = _advanced(argument.pattern, folder.states, name)
        if states and not _skipped(name):
            entries.append(_Entry(path=folder.path / name, states=states, above=above))
    return entries


def _skipped(name: str) -> bool:
    return name.startswith(".") or any(fnmatch.fnmatchcase(name, p) for p in _SKIPPED_NAMES)


def _missing(argument: _Argument, error: OSError | ValueError) -> str:
    if argument.typed.startswith(("http://", "https://")):
        return "no such file; web addresses are not read, save the page and name its file"
    reason = _unreachable(argument.base, error)
    return "no such file or folder" if reason == unreadable(FileNotFoundError()) else reason


def _unreachable(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        # A NUL character, which no path can hold.
        return "no such file or folder"
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return "a link to nothing"
    return unreadable(error)


def _file(argument: _Argument, path: Path, status: os.stat_result) -> SourceRef | SourceError:
    uri = shown(path)
    if not stat.S_ISREG(status.st_mode):
        kind = _SPECIAL.get(stat.S_IFMT(status.st_mode), "something else")
        return SourceError(uri, f"not a file but {kind}")
    if uri != str(path):
        return SourceError(uri, "its name is not valid UTF-8; rename it")
    if not is_supported(path.name):
        return SourceError(uri, unknown_type(path.name))
    return SourceRef(
        uri=uri,
        path=path,
        root=str(argument.base),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )


def _advanced(pattern: Sequence[str], states: frozenset[int], name: str) -> frozenset[int]:
    """Match one more name of a path: go on from each part of the pattern that was reached."""
    after: set[int] = set()
    for state in states:
        if state == len(pattern) or pattern[state] == "**":
            after.add(state)
        elif fnmatch.fnmatchcase(name, pattern[state]):
            after.add(state + 1)
    return _closed(pattern, after)


def _closed(pattern: Sequence[str], states: set[int]) -> frozenset[int]:
    """Add what is reached without another name, since ``**`` also stands for none."""
    reached = set(states)
    for state, part in enumerate(pattern):
        if part == "**" and state in reached:
            reached.add(state + 1)
    return frozenset(reached)
