"""The choosers of theme and language: forms that set a cookie and so work without scripts."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from search_app.errors import InvalidInputError
from search_app.web import translation
from search_app.web.forms import came_from
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
    _check_token(request, token)
    if theme not in THEMES:
        raise InvalidInputError(f"theme {theme[:20]!r} is not known; write {', '.join(THEMES)}")
    return _kept(request, THEME_COOKIE, theme)


@router.post("/language")
async def choose_language(
    request: Request,
    language: Annotated[str, Form()] = "",
    token: Annotated[str, Form()] = "",
) -> Response:
    """Keep the language in a cookie and return to the page that the form was on."""
    _check_token(request, token)
    if language not in translation.LANGUAGES:
        known = ", ".join(translation.LANGUAGES)
        raise InvalidInputError(f"language {language[:20]!r} is not known; write {known}")
    return _kept(request, translation.COOKIE, language)


def _check_token(request: Request, token: str) -> None:
    renderer: Renderer = request.app.state.renderer
    renderer.tokens.check(request, token)


def _kept(request: Request, cookie: str, value: str) -> Response:
    response = RedirectResponse(came_from(request) or "/", status_code=303)
    response.set_cookie(
        cookie,
        value,
        max_age=_YEAR_S,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response
