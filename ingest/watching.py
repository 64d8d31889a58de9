"""Keeping a collection like some folders: ingest them, then again whatever changes in them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from watchfiles import awatch

from ingest.fetching.addresses import is_address
from ingest.pipeline import IngestRequest, check_names, ingest
from ingest.removal import is_gone
from ingest.report import IngestReport
from ingest.sources import is_passed_over, roots, shown
from search_app.bootstrap import Services
from search_app.errors import InvalidInputError, UnmovedError

AGAIN_S = 30.0
"""Seconds after which a round that failed is tried again, unless something changes before."""


class Tell(Protocol):
    """Hears of what happens; every method returns at once."""

    def watching(self) -> None:
        """From now on changes are seen."""

    def done(self, report: IngestReport) -> None:
        """A round came to its end."""

    def failed(self, error: UnmovedError) -> None:
        """A round failed as a whole; it is tried again."""

    def gone(self, root: str) -> None:
        """A watched file or folder is not there; what was read from it is kept."""


@dataclass(kw_only=True)
class _Waiting:
    """What changed and is not in yet; ``everything`` is to be looked through at the start."""

    everything: bool = True
    changed: set[str] = field(default_factory=set)


async def watch(
    services: Services, request: IngestRequest, tell: Tell, *, debounce_s: float
) -> None:
    """Ingest what the request names, and what changes in it, until the task is cancelled.

    Changes are gathered for ``debounce_s`` seconds; files that are gone are removed.

    Raises:
        InvalidInputError: what is named is not there or cannot be watched.
        ConfigurationError: the embedder or the store is not known.
    """
    check_names(services, request)
    watched = _watched(request.arguments)
    changes: asyncio.Queue[set[str] | OSError] = asyncio.Queue()

    async def see() -> None:
        try:
            async with aclosing(_changes(watched, debounce_s)) as seen:
                async for changed in seen:
                    changes.put_nowait(changed)
        except OSError as exc:
            changes.put_nowait(exc)

    seeing = asyncio.create_task(see())
    try:
        # Lets it begin: what changes during the first round must not be missed.
        await asyncio.sleep(0)
        tell.watching()
        waiting = _Waiting()
        while True:
            done = await _round(services, request, waiting, watched, tell)
            if done:
                waiting = _Waiting(everything=False)
            await _gather(changes, waiting, wait_s=None if done else AGAIN_S)
    finally:
        seeing.cancel()
        await asyncio.wait([seeing])


def _watched(arguments: Sequence[str]) -> list[str]:
    for argument in arguments:
        if is_address(argument):
            raise InvalidInputError(
                f"{shown(argument)} cannot be watched; ingest schedule add reads it again in time"
            )
    watched = roots(arguments)
    for root in watched:
        if not Path(root).exists():
            raise InvalidInputError(f"{shown(root)}: no such file or folder; nothing to watch")
    return watched


async def _changes(watched: Sequence[str], debounce_s: float) -> AsyncGenerator[set[str]]:
    """Give what changed, again and again, but for what is passed over in any case."""
    above = [PurePosixPath(root) for root in watched]

    def is_meant(_change: object, path: str) -> bool:
        place = PurePosixPath(path)
        return any(
            place.is_relative_to(root)
            and not any(is_passed_over(name) for name in place.relative_to(root).parts)
            for root in above
        )

    found = awatch(
        *watched,
        watch_filter=is_meant,
        debounce=max(50, round(debounce_s * 1000)),
        # No file that may not be read stops the watching: whoever reads it says so.
        ignore_permission_denied=True,
    )
    async for changes in found:
        yield {path for _, path in changes}


async def _round(
    services: Services,
    request: IngestRequest,
    waiting: _Waiting,
    watched: Sequence[str],
    tell: Tell,
) -> bool:
    """Bring in what waits; say whether that is done."""
    for root in watched:
        if is_gone(root):
            tell.gone(root)
    only = None if waiting.everything else frozenset(waiting.changed)
    try:
        report = await ingest(services, replace(request, prune=True, only=only))
    except UnmovedError as exc:
        tell.failed(exc)
        return False
    tell.done(report)
    return True


async def _gather(
    changes: "asyncio.Queue[set[str] | OSError]", waiting: _Waiting, *, wait_s: float | None
) -> None:
    """Wait for changes, or until it is time to try again, and take in all that there are."""
    try:
        _take(await asyncio.wait_for(changes.get(), wait_s), waiting)
    except TimeoutError:
        return
    while not changes.empty():
        _take(changes.get_nowait(), waiting)


def _take(changed: set[str] | OSError, waiting: _Waiting) -> None:
    if isinstance(changed, OSError):
        raise InvalidInputError(
            f"the folders cannot be watched: {changed.strerror or changed}; with very many, "
            "Linux has a limit: sysctl fs.inotify.max_user_watches"
        ) from changed
    waiting.changed |= changed
