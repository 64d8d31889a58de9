"""Logging in with a key, and out again."""

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from search_app.access.principal import acting_as
from search_app.catalog import keys
from search_app.catalog.engine import reading
from search_app.web import csrf
from search_app.web.access import COOKIE, Gate, engine_of
from search_app.web.forms import PostedFormDep
from search_app.web.rendering import render

router = APIRouter(include_in_schema=False)


@router.api_route("/login", methods=["GET", "HEAD"])
async def login_page(request: Request) -> Response:
    """Show the form that takes a key."""
    there = own_path(request.query_params.get("next", ""))
    return render(request, "login.html", there=there, wrong=False)


@router.post("/login")
async def log_in(request: Request, form: PostedFormDep) -> Response:
    """Open a session, and go to the page that was asked for."""
    gate: Gate = request.app.state.gate
    there = own_path(form.text("next"))
    opened = await gate.log_in(request, form.text("key"))
    if opened is None:
        return render(request, "login.html", status=401, there=there, wrong=True)
    token, seconds = opened
    response = RedirectResponse(there, status_code=303)
    secure = request.url.scheme == "https"
    response.set_cookie(
        COOKIE, token, max_age=seconds, httponly=True, samesite="lax", secure=secure, path="/"
    )
    # Forms that were open before belong to nobody any more.
    csrf.remember(response, csrf.new_nonce(), secure=secure)
    return response


@router.post("/logout")
async def log_out(request: Request, form: PostedFormDep) -> Response:
    """End the session, here and in the catalog."""
    del form  # its token was checked
    token = request.cookies.get(COOKIE, "")
    if token:
        with acting_as(None):
            async with reading(engine_of(request)) as connection:
                await keys.end_session(connection, token)
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(COOKIE, path="/")
    return response


def own_path(text: str) -> str:
    """Give where to go after logging in: a page of ours, whatever the address says."""
    plain = text.startswith("/") and text[1:2] not in ("/", "\\") and text.isprintable()
    return text[:2000] if plain and "\\" not in text else "/"
