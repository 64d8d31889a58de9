"""Which document is meant: by its id, its uri, or a part of uri or title that names one only."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import inquiries
from search_app.catalog.inquiries import Candidate
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import Collection

LONGEST_NAME = 2000
NAMED = 4
"""Most documents that a complaint names."""


async def named(
    connection: AsyncConnection, collection: Collection, wanted: str
) -> Candidate | None:
    """Find what is meant, also what was removed or never came in; None where nothing is.

    Exact names come before endings (``tea.md`` is ``/notes/tea.md`` rather than
    ``/notes/green-tea.md``), and those before other parts.

    Raises:
        InvalidInputError: several documents may be meant, or no name can look like that.
        NotFoundError: an id that no document has or had.
    """
    text = wanted.strip()
    if not text or len(text) > LONGEST_NAME:
        raise InvalidInputError(
            f"name the document by its id, its path, or a part of either or of its title, up to "
            f"{LONGEST_NAME:,} characters"
        )
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInputError("the document's name has a NUL or half of a surrogate pair")
    identity = _id(text)
    if identity is not None:
        found = await inquiries.by_id(connection, collection, identity)
        if found is None:
            raise NotFoundError(
                f"no document or passage {identity} in collection {collection.name!r}"
            )
        return found
    return choose(text, await inquiries.candidates(connection, collection, text))


def choose(wanted: str, found: list[Candidate]) -> Candidate | None:
    """Choose from what has the text in its name.

    Raises:
        InvalidInputError: several are meant equally well.
    """
    tiers = (
        [each for each in found if each.uri == wanted],
        [each for each in found if each.title == wanted],
        [each for each in found if each.uri.endswith(f"/{wanted}")],
        found,
    )
    for tier in tiers:
        # Of one uri the first stands for all: what is there before what was, or what failed.
        fitting = {each.uri: each for each in reversed(tier)}
        if len(fitting) == 1:
            return next(iter(fitting.values()))
        if fitting:
            names = sorted(fitting)
            listed = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
            raise InvalidInputError(
                f"{wanted[:80]!r} may mean {len(names)} documents: {listed}; write more of its path"
            )
    return None


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
