"""On whose behalf something is done: it travels with the task, and the catalog looks at it.

Commands and workers act for nobody in particular and see everything. Every request to the web
server acts for somebody, at first for ``NOBODY``, who sees nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

from search_app.access.scopes import Scope


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Somebody who asks. ``collections`` are those that may be seen, None for all of them.

    ``key_label`` is None of those who need no key: visitors of a server that has none yet.
    """

    name: str
    scopes: frozenset[Scope]
    collections: frozenset[UUID] | None
    key_label: str | None = None

    @property
    def everywhere(self) -> bool:
        """Whether all collections may be seen, also those to come."""
        return self.collections is None

    def may(self, *scopes: Scope) -> bool:
        """Say whether any of the scopes is among theirs."""
        return Scope.ADMIN in self.scopes or not self.scopes.isdisjoint(scopes)

    def sees(self, collection_id: UUID) -> bool:
        """Say whether a collection may be seen."""
        return self.collections is None or collection_id in self.collections


NOBODY = Principal(name="", scopes=frozenset(), collections=frozenset())
"""Whoever has not said who they are."""

EVERYBODY = Principal(name="local", scopes=frozenset(Scope), collections=None)
"""Whoever reaches a server that has no keys, which only its own machine does."""

_acting: ContextVar[Principal | None] = ContextVar("principal", default=None)


def acting() -> Principal | None:
    """Give who it is that asks; None where the program itself does."""
    return _acting.get()


@contextmanager
def acting_as(principal: Principal | None) -> Iterator[None]:
    """Do what follows on behalf of somebody; None: of the program itself."""
    token = _acting.set(principal)
    try:
        yield
    finally:
        _acting.reset(token)


def seen_collections() -> frozenset[UUID] | None:
    """Give the ids of the only collections that may be seen now; None where all may."""
    principal = _acting.get()
    return None if principal is None else principal.collections
