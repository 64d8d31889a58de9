"""Stages of what is under way, told to those who watch: what is done, and how long it takes.

Whoever watches travels with the task, so that a stage says nothing of who that is; without anybody
a stage costs a look into a variable.
"""

from collections.abc import Awaitable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Watcher(Protocol):
    """Somebody who wants to know of stages."""

    def during(self, name: str) -> AbstractContextManager[object]:
        """Watch a stage from now until the context is left."""

    def took(self, name: str, seconds: float) -> None:
        """Take note of a stage that has just ended."""


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
def stage(name: str) -> Iterator[None]:
    """Do what is within as a stage of that name; nothing may be yielded to others in it."""
    with ExitStack() as watching:
        for watcher in _watchers.get():
            watching.enter_context(watcher.during(name))
        yield


async def as_stage(name: str, work: Awaitable[T]) -> T:
    """Wait for some work as a stage of that name."""
    with stage(name):
        return await work


def took(name: str, seconds: float) -> None:
    """Tell of a stage that has just ended, where it could not be watched while it lasted."""
    for watcher in _watchers.get():
        watcher.took(name, seconds)
