"""What endpoints are given: the services of this process, and ids out of addresses."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from search_app.bootstrap import Services
from search_app.errors import NotFoundError
from search_app.groups import Groups
from search_app.web.counting import Counter
from search_app.web.suggesting import Suggester


def _services(request: Request) -> Services:
    opened: Services = request.app.state.services
    return opened


def _counter(request: Request) -> Counter:
    made: Counter = request.app.state.counter
    return made


def _suggester(request: Request) -> Suggester:
    made: Suggester = request.app.state.suggester
    return made


def _groups(request: Request) -> Groups:
    made: Groups = request.app.state.groups
    return made


ServicesDep = Annotated[Services, Depends(_services)]
"""The services that the application opened when it started."""

CounterDep = Annotated[Counter, Depends(_counter)]
"""What counts documents, and remembers."""

SuggesterDep = Annotated[Suggester, Depends(_suggester)]
"""What knows how to go on from what was typed."""

GroupsDep = Annotated[Groups, Depends(_groups)]
"""What knows the groups of fields, and remembers."""


def page_id(text: str, noun: str) -> UUID:
    """Read an id out of the address of a page.

    Raises:
        NotFoundError: it is none, so there is nothing of that id either.
    """
    try:
        return UUID(text)
    except ValueError as exc:
        raise NotFoundError(f"no {noun} {text[:50]!r}") from exc


def page_number(text: str) -> int:
    """Read the number of a page of a list out of an address; what is none means the first."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 and int(text) else 1  # noqa: PLR2004 - a million pages are enough
