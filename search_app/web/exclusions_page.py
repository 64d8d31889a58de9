"""The page of what searches leave out, and the buttons that leave it out or take it back."""

from collections.abc import Sequence
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from search_app.catalog import addressing, exclusions
from search_app.catalog.engine import reading, transaction
from search_app.catalog.overview import collection_names
from search_app.errors import InvalidInputError
from search_app.web.deps import ServicesDep, page_number
from search_app.web.forms import PostedFormDep, came_from
from search_app.web.rendering import render

ON_A_PAGE = 50

router = APIRouter(include_in_schema=False)


@router.api_route("/exclusions", methods=["GET", "HEAD"])
async def exclusions_page(
    request: Request, services: ServicesDep, collection: str = "", page: str = "1"
) -> Response:
    """List what is left out."""
    number = page_number(page)
    async with reading(services.engine) as connection:
        names = [each.name for each in await collection_names(connection)]
        if collection:
            collection = (await addressing.at(connection, collection)).name
        found = await exclusions.listing(
            connection,
            collection=collection or None,
            limit=ON_A_PAGE + 1,
            offset=(number - 1) * ON_A_PAGE,
        )

    def address(wanted: int) -> str:
        pairs = [("collection", collection), ("page", "" if wanted == 1 else str(wanted))]
        query = urlencode([(name, value) for name, value in pairs if value])
        return f"/exclusions?{query}" if query else "/exclusions"

    return render(
        request,
        "exclusions.html",
        names=names,
        collection=collection,
        found=found[:ON_A_PAGE],
        earlier=address(number - 1) if number > 1 else None,
        later=address(number + 1) if len(found) > ON_A_PAGE else None,
    )


@router.post("/exclusions")
async def change_exclusions(
    request: Request, services: ServicesDep, form: PostedFormDep
) -> Response:
    """Exclude or include what a button names, or else what is ticked."""
    async with transaction(services.engine) as connection:
        for change, name in ((exclusions.add, "exclude"), (exclusions.lift, "include")):
            documents: Sequence[UUID] = form.ids(f"{name}_document")
            passages: Sequence[UUID] = form.ids(f"{name}_passage")
            if not documents and not passages and form.text("action") == name:
                documents, passages = form.ids("document"), form.ids("passage")
                if not documents and not passages:
                    raise InvalidInputError("nothing is chosen; tick the boxes of what you mean")
            if documents or passages:
                await change(connection, documents=documents, passages=passages)
                break
        else:
            raise InvalidInputError("no action is named; write exclude or include")
    return RedirectResponse(came_from(request) or "/exclusions", status_code=303)
