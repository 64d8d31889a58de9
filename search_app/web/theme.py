"""The theme chooser: a form that sets a cookie, so that it works without scripts."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from search_app.errors import InvalidInputError
from search_app.web.rendering import THEME_COOKIE, THEMES, Renderer

_YEAR_S = 365 * 24 * 3600

router = APIRouter(include_in_schema=False)


@router.post("/theme")
async def choose_theme(
    request: Request,
    theme: Annotated[str, Form()] = "",
    token: Annotated[str, Form()] = "",
) -> Response:
    """Keep the theme in a cookie and return to the page that the form was on."""
    renderer: Renderer = request.app.state.renderer
    renderer.tokens.check(request, token)
    if theme not in THEMES:
        raise InvalidInputError(f"theme {theme[:20]!r} is not known; write {', '.join(THEMES)}")
    response = RedirectResponse(_came_from(request), status_code=303)
    response.set_cookie(
        THEME_COOKIE,
        theme,
        max_age=_YEAR_S,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


def _came_from(request: Request) -> str:
    """Give the path of the page that posted, as the browser tells it; never another site's."""
    try:
        referrer = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return "/"
    if referrer.netloc.lower() != request.headers["host"].lower():
        return "/"
    path = "/" + referrer.path.lstrip("/\\")
    return f"{path}?{referrer.query}" if referrer.query else path
