"""Templates to responses: every page gets its theme, its form token and the address of assets."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from search_app.web import csrf
from search_app.web.assets import Assets
from search_app.web.csrf import FormTokens
from search_app.web.words import amount, duration, language_name, moment

TEMPLATES = Path(__file__).parent / "templates"
THEME_COOKIE = "unmoved_theme"
THEMES = ("auto", "light", "dark")


class Renderer:
    """Holds what all pages share; one for each application."""

    def __init__(self, *, assets: Assets, tokens: FormTokens) -> None:
        """Prepare the templates; each is compiled at its first use."""
        self.tokens = tokens
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals["asset"] = assets.address
        self._environment.filters |= {
            "amount": amount,
            "duration": duration,
            "file_name": lambda uri: PurePosixPath(uri).name or uri,
            "folder_name": lambda uri: uri.removesuffix(PurePosixPath(uri).name),
            "language_name": language_name,
            "moment": moment,
            "short": lambda identity: str(identity)[:8],
        }

    def text(self, template: str, context: Mapping[str, Any]) -> str:
        """Fill in a template."""
        return self._environment.get_template(template).render(**context)


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Answer with a page."""
    renderer: Renderer = request.app.state.renderer
    sent = csrf.sent_nonce(request)
    nonce = sent or csrf.new_nonce()
    shared = {
        "path": request.url.path,
        "theme": theme_of(request),
        "token": renderer.tokens.sign(nonce),
        "now": datetime.now(UTC),
    }
    response = HTMLResponse(
        renderer.text(template, shared | context), status_code=status, headers=dict(headers or {})
    )
    response.headers["Cache-Control"] = "private, no-cache"
    if sent is None:
        csrf.remember(response, nonce, secure=request.url.scheme == "https")
    return response


def theme_of(request: Request) -> str:
    """Get the theme that this browser chose."""
    theme = request.cookies.get(THEME_COOKIE, "auto")
    return theme if theme in THEMES else "auto"
