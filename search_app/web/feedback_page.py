"""Where the buttons for feedback are posted to; they work without scripts."""

from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from search_app.bootstrap import Services
from search_app.catalog import feedback
from search_app.catalog.engine import reading
from search_app.catalog.feedback import Verdict
from search_app.errors import InvalidInputError
from search_app.web.api_assist import judge
from search_app.web.deps import ServicesDep
from search_app.web.forms import PostedForm, PostedFormDep, came_from
from search_app.web.state import PAGE_SIZE, SearchState

VERDICTS: dict[str, Verdict] = {"1": 1, "-1": -1, "0": 0}

router = APIRouter(include_in_schema=False)


@router.post("/feedback")
async def give_feedback(request: Request, services: ServicesDep, form: PostedFormDep) -> Response:
    """Keep the verdict on a hit, or take it back, and return to the search that it came from."""
    search_id, chunk_id = _id(form, "search"), _id(form, "chunk")
    verdict = VERDICTS.get(form.text("verdict"))
    if verdict is None:
        raise InvalidInputError("field 'verdict' of the form must be 1, -1 or 0")
    await judge(services, search_id, chunk_id, verdict)
    back = came_from(request) or await _search_url(services, search_id)
    return RedirectResponse(back, status_code=303)


def _id(form: PostedForm, name: str) -> UUID:
    found = form.ids(name)
    if len(found) != 1:
        raise InvalidInputError(f"field {name!r} of the form must be one id")
    return found[0]


async def _search_url(services: Services, search_id: UUID) -> str:
    """Give the address of a search as the log has it, for browsers that do not say theirs."""
    async with reading(services.engine) as connection:
        asked = await feedback.asked(connection, search_id)
    if asked is None:
        return "/"
    number = (asked.first_rank - 1) // PAGE_SIZE + 1
    return SearchState(
        query=asked.query,
        collection=asked.collection,
        filters=tuple(asked.filters),
        page=str(number),
        exact=asked.exact,
    ).url()
