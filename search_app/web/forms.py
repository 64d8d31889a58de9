"""Forms that were posted: read, and believed only with the token that was given to this browser."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Depends, Request
from starlette.datastructures import FormData

from search_app.errors import InvalidInputError
from search_app.web.csrf import FIELD
from search_app.web.rendering import Renderer

MOST_FIELDS = 2_000
"""Fields of one form; a page of a list has far fewer boxes to tick."""


@dataclass(frozen=True)
class PostedForm:
    """The fields of a form without files."""

    data: FormData

    def text(self, name: str) -> str:
        """Get a field, without blanks at its ends; empty where it was not sent."""
        value = self.data.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def texts(self, name: str) -> Sequence[str]:
        """Get a field that may be sent several times."""
        return [value for value in self.data.getlist(name) if isinstance(value, str)]

    def ids(self, name: str) -> Sequence[UUID]:
        """Get a field that may be sent several times, as ids.

        Raises:
            InvalidInputError: one of them is none.
        """
        texts = dict.fromkeys(str(value) for value in self.data.getlist(name))
        try:
            return [UUID(text) for text in texts]
        except ValueError as exc:
            raise InvalidInputError(f"field {name!r} of the form must be ids") from exc


async def _posted(request: Request) -> PostedForm:
    """Read the form of a request.

    Raises:
        ProblemError: its token is not the one of this browser.
    """
    async with request.form(max_fields=MOST_FIELDS, max_files=0) as data:
        form = PostedForm(data)
        renderer: Renderer = request.app.state.renderer
        renderer.tokens.check(request, form.text(FIELD))
        return form


PostedFormDep = Annotated[PostedForm, Depends(_posted)]
"""The form that was posted, its token checked."""


def came_from(request: Request) -> str | None:
    """Give the path of the page that posted, as the browser tells it; never another site's."""
    try:
        referrer = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return None
    if referrer.netloc.lower() != request.headers["host"].lower():
        return None
    path = "/" + referrer.path.lstrip("/\\")
    return f"{path}?{referrer.query}" if referrer.query else path
