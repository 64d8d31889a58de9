"""Stages of what is under way, told to those who watch: what is done, and how long it takes.

Whoever watches travels with the task, so that a stage says nothing of who that is; without anybody
a stage costs a look into a variable.
"""

from collections.abc import Awaitable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")

Told = str | float | None
About = Mapping[str, Told]
"""What is told of a stage besides its name: numbers, ids, names of models; no texts and no keys.

What is None is not known."""


class Watcher(Protocol):
    """Somebody who wants to know of stages."""

    def during(self, name: str, about: About, cause: str | None) -> AbstractContextManager[object]:
        """Watch a stage from now until the context is left; ``about`` is complete by then.

        ``cause`` is the ``trace_context`` of what made somebody ask for it, elsewhere and earlier.
        """

    def took(self, name: str, seconds: float) -> None:
        """Take note of a stage that has just ended."""

    def trace_context(self) -> str | None:
        """Name the stage under way for others, as W3C's traceparent; None: it has no such name."""


_watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("watchers", default=())


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Let somebody watch what is done within, besides those who do already."""
    token = _watchers.set((*_watchers.get(), watcher))
    try:
        yield
    finally:
        _watchers.reset(token)


@contextmanager
def stage(name: str, *, cause: str | None = None, **about: Told) -> Iterator[dict[str, Told]]:
    """Do what is within as a stage of that name; what is known later is added to what is given.

    Nothing may be yielded to others in it, but by what is a context manager itself.
    """
    told = dict(about)
    with ExitStack() as watching:
        for watcher in _watchers.get():
            watching.enter_context(watcher.during(name, told, cause))
        yield told


async def as_stage(name: str, work: Awaitable[T]) -> T:
    """Wait for some work as a stage of that name."""
    with stage(name):
        return await work


def took(name: str, seconds: float) -> None:
    """Tell of a stage that has just ended, where it could not be watched while it lasted."""
    for watcher in _watchers.get():
        watcher.took(name, seconds)


def trace_context() -> str | None:
    """Name the stage under way, so that what is asked for here can say what caused it."""
    named = (watcher.trace_context() for watcher in _watchers.get())
    return next((each for each in named if each is not None), None)


def watched() -> bool:
    """Say whether anybody watches."""
    return bool(_watchers.get())
