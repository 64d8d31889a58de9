"""Templates to responses: every page gets its language, theme, form token and assets."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from search_app.access.principal import EVERYBODY, acting
from search_app.reports.file import TEMPLATES as REPORTS
from search_app.reports.file import report_filters, report_words
from search_app.web import csrf
from search_app.web.assets import Assets
from search_app.web.check_sign import sign_of
from search_app.web.csrf import FormTokens
from search_app.web.hits import source_parts
from search_app.web.needs import may, scopes_for
from search_app.web.translation import LANGUAGES, language_of, translations
from search_app.words import Words

TEMPLATES = Path(__file__).parent / "templates"
THEME_COOKIE = "unmoved_theme"
THEMES = ("auto", "light", "dark")


class Renderer:
    """Holds what all pages share; one for each application."""

    def __init__(self, *, assets: Assets, tokens: FormTokens) -> None:
        """Prepare the templates, once for each language; each is compiled at its first use."""
        self.tokens = tokens
        self._environments = {language: _environment(language, assets) for language in LANGUAGES}

    def text(self, template: str, language: str, context: Mapping[str, Any]) -> str:
        """Fill in a template in a language."""
        return self._environments[language].get_template(template).render(**context)


def _environment(language: str, assets: Assets) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, REPORTS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_translations(  # type: ignore[attr-defined] # the extension adds it
        translations(language), newstyle=True
    )
    words = Words(language)
    environment.globals |= {
        "asset": assets.address,
        "language": language,
        "interface_languages": LANGUAGES,
        "may": may,
        "scopes_for": scopes_for,
        "report_words": report_words(),
    }
    environment.filters |= {
        **report_filters(words),
        "duration": words.duration,
        "file_name": lambda uri: source_parts(uri, uri)[1],
        "file_size": words.file_size,
        "folder_name": lambda uri: source_parts(uri, uri)[0],
        "language_name": words.language_name,
        "type_name": words.type_name,
    }
    return environment


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Answer with a page in the language that the request wants."""
    renderer: Renderer = request.app.state.renderer
    sent = csrf.sent_nonce(request)
    nonce = sent or csrf.new_nonce()
    language = language_of(request)
    shared = {
        "path": request.url.path,
        "principal": acting() or EVERYBODY,
        "sign": sign_of(request),
        "theme": theme_of(request),
        "token": renderer.tokens.sign(nonce),
        "now": datetime.now(UTC),
    }
    response = HTMLResponse(
        renderer.text(template, language, shared | context),
        status_code=status,
        headers=dict(headers or {}),
    )
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Language"] = language
    response.headers["Vary"] = "Accept-Language, Cookie"
    if sent is None:
        csrf.remember(response, nonce, secure=request.url.scheme == "https")
    return response


def theme_of(request: Request) -> str:
    """Get the theme that this browser chose."""
    theme = request.cookies.get(THEME_COOKIE, "auto")
    return theme if theme in THEMES else "auto"
