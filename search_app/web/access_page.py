"""The pages of keys and of the log of changes."""

from collections.abc import Mapping
from datetime import timedelta

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from search_app.access.scopes import Scope, read_scopes
from search_app.access.secret import Key
from search_app.catalog import keys, trail
from search_app.catalog.engine import reading, transaction
from search_app.catalog.keys import KeyRecord
from search_app.catalog.overview import collection_names
from search_app.errors import InvalidInputError
from search_app.web.deps import ServicesDep, page_number
from search_app.web.forms import PostedForm, PostedFormDep
from search_app.web.rendering import render
from search_app.web.translation import gettext_noop

OVERLAP = timedelta(hours=24)
"""How long a key works on beside the one that takes its place, where a page asks for that."""

CHANGES_ON_A_PAGE = 50

SCOPES: Mapping[Scope, str] = {
    Scope.READ: gettext_noop("search and look at everything"),
    Scope.INGEST: gettext_noop("add and remove documents"),
    Scope.ADMIN: gettext_noop("everything, indexes, checks and keys included"),
}

router = APIRouter(include_in_schema=False)


@router.api_route("/access", methods=["GET", "HEAD"])
async def access_page(request: Request, services: ServicesDep) -> Response:
    """List the keys."""
    return await _page(request, services)


@router.post("/access")
async def create_key(request: Request, services: ServicesDep, form: PostedFormDep) -> Response:
    """Make a key, and show it this once."""
    chosen = form.texts("collection")
    async with transaction(services.engine) as connection:
        made = await keys.create(
            connection,
            name=form.text("name"),
            scopes=read_scopes(form.texts("scope")),
            collection_names=chosen if form.text("reach") == "some" else None,
            days=_days(form),
        )
    return await _page(request, services, made)


@router.post("/access/{key}/rotate")
async def rotate_key(
    request: Request, services: ServicesDep, key: str, form: PostedFormDep
) -> Response:
    """Make a key that takes the place of another, and show it this once."""
    del form  # its token was checked
    async with transaction(services.engine) as connection:
        made = await keys.rotate(connection, key, overlap=OVERLAP)
    return await _page(request, services, made)


@router.post("/access/{key}/revoke")
async def revoke_key(services: ServicesDep, key: str, form: PostedFormDep) -> Response:
    """Have a key work no more."""
    del form  # its token was checked
    async with transaction(services.engine) as connection:
        await keys.revoke(connection, key)
    return RedirectResponse("/access", status_code=303)


@router.api_route("/access/changes", methods=["GET", "HEAD"])
async def changes_page(request: Request, services: ServicesDep, page: str = "1") -> Response:
    """Show what was changed here by whom."""
    number = page_number(page)
    async with reading(services.engine) as connection:
        found = await trail.listing(
            connection,
            limit=CHANGES_ON_A_PAGE + 1,
            offset=(number - 1) * CHANGES_ON_A_PAGE,
        )
    return render(
        request,
        "changes.html",
        changes=found[:CHANGES_ON_A_PAGE],
        more=len(found) > CHANGES_ON_A_PAGE,
        number=number,
        days=services.settings.audit_days,
    )


async def _page(
    request: Request, services: ServicesDep, made: tuple[KeyRecord, Key] | None = None
) -> Response:
    async with reading(services.engine) as connection:
        found = await keys.listing(connection)
        names = await collection_names(connection)
    response = render(
        request,
        "access.html",
        status=200 if made is None else 201,
        keys=found,
        made=made,
        collections=names,
        scopes=[(scope.value, SCOPES[scope]) for scope in Scope],
    )
    if made is not None:
        response.headers["Cache-Control"] = "no-store"
    return response


def _days(form: PostedForm) -> int | None:
    text = form.text("days")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 6):  # noqa: PLR2004 - digits of a number that is too large anyway
        raise InvalidInputError(f"days {text[:20]!r} is no whole number; leave it empty for never")
    return int(text)
