"""What a change is made to, as the log of changes has it: the address, and what was sent there."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import parse_qsl, unquote

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from search_app.access.masking import masked

MOST_BYTES = 4_000
"""So much of a body is looked at; longer ones are cut off."""

_SECRET_FIELDS = frozenset({"token", "key", "password", "secret"})


class Noted:
    """Looks on while a body arrives, and says what the change was made to."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        """Take the request that makes a change."""
        self._path = unquote(scope["path"])
        self._type = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
        self._receive = receive
        self._begun = bytearray()
        self._said: list[str] = []

    async def receive(self) -> Message:
        """Pass on what arrives."""
        message = await self._receive()
        if self._type in _READ and len(self._begun) < MOST_BYTES:
            self._begun += message.get("body", b"")[:MOST_BYTES]
        return message

    def say(self, what: str) -> None:
        """Add what only the endpoint knows."""
        self._said.append(what)

    @property
    def target(self) -> str:
        """What the change was made to."""
        sent = self._begun.decode(errors="replace")
        if self._type == _FORM:
            fields = parse_qsl(sent)
            sent = ", ".join(
                f"{name}={text}" for name, text in fields if name not in _SECRET_FIELDS
            )
        return masked(" ".join(filter(None, (self._path, sent.strip(), *self._said))))


_FORM = "application/x-www-form-urlencoded"
_READ = frozenset({_FORM, "application/json"})

_noted: ContextVar[Noted | None] = ContextVar("noted", default=None)


@contextmanager
def noted_by(noted: Noted) -> Iterator[None]:
    """Have what endpoints say go there."""
    token = _noted.set(noted)
    try:
        yield
    finally:
        _noted.reset(token)


def note(what: str) -> None:
    """Say what a change is made to, where neither address nor body tell; else nothing happens."""
    noted = _noted.get()
    if noted is not None:
        noted.say(re.sub(r"\s+", " ", what))
