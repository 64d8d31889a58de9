"""Checks and their reports in a real browser: with scripts and without, on a phone, as a file."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from search_app.bootstrap import open_services
from search_app.config import Settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from tests.catalog_dump import connect
from tests.test_browser import (
    CONTRAST,
    PHONE,
    SMALL,
    NewPage,
    base,
    browser,
    complaints,
    executable,
    new_page,
)
from tests.web_site import ATTACK, Site, built_site, run_apart

__all__ = ["base", "browser", "complaints", "executable", "new_page"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TITLE = "Verzeichnis" * 12
MOVED = [
    {
        "text": f"{ATTACK} {number}",
        "cosine": 0.71,
        "lead": 0.04,
        "loss": 0.03,
        "before": [
            {"chunk_id": "a", "title": ATTACK, "before": 0.9, "after": 0.5},
            {"chunk_id": "b", "title": TITLE, "before": 0.8, "after": 0.7},
        ],
        "after": [
            {"chunk_id": "b", "title": TITLE, "before": 0.8, "after": 0.7},
            {"chunk_id": "c", "title": "図書館の利用案内", "before": 0.4, "after": 0.6},
        ],
    }
    for number in range(5)
]


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Build the site; of its checks the last finds altered vectors, and has lists that moved."""
    with built_site(postgres_url, template, tmp_path_factory.mktemp("site")) as built:
        run_apart(_checked(built.settings))
        url = built.settings.database_url
        assert url is not None
        with connect(url.get_secret_value()) as connection:
            connection.execute("UPDATE vector_records SET stored_hash = decode('00', 'hex')")
        run_apart(_checked(built.settings))
        with connect(url.get_secret_value()) as connection:
            connection.execute(
                "UPDATE checks SET report = jsonb_set(report, '{layers,queries,worst}', %s)",
                [json.dumps(MOVED)],
            )
        yield built


async def _checked(settings: Settings) -> None:
    async with open_services(settings) as services:
        await check(services, CheckRequest(collection="default"))


def test_from_the_sign_to_the_report_and_its_file(new_page: NewPage, tmp_path: Path) -> None:
    page = new_page(accept_downloads=True)
    page.goto("/")
    sign = page.locator("header .standing-sign")
    expect(sign).to_contain_text("Failed")
    sign.click()
    page.get_by_role("link", name="last check").first.click()
    expect(page.locator(".judged-what")).to_contain_text("are not what was written")
    # The first three are open, and any other opens at its name.
    expect(page.locator("details.changed[open]")).to_have_count(3)
    page.locator("details.changed summary").nth(4).click()
    expect(page.locator("details.changed .came").nth(4)).to_be_visible()
    with page.expect_download() as started:
        page.get_by_role("link", name="As a file to mail").click()
    file = tmp_path / "report.html"
    started.value.save_as(file)
    check_file(page, file)


def check_file(page: Page, file: Path) -> None:
    """Open the report from the disk: no request but for itself, and readable in both themes."""
    context = page.context.browser.new_context() if page.context.browser else None
    assert context is not None
    opened = context.new_page()
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    for scheme in ("light", "dark"):
        opened.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for width in (PHONE["width"], 1200):
            opened.set_viewport_size({"width": width, "height": 900})
            opened.goto(file.as_uri())
            expect(opened.locator(".judged-what")).to_be_visible()
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
            assert opened.evaluate(CONTRAST) == [], scheme
            assert opened.evaluate(FAINT) == [], scheme
            assert opened.title().startswith("Failed")
    assert set(asked) == {file.as_uri()}
    context.close()


FAINT = """() => {
  const parts = (colour) => colour.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const light = (colour) => parts(colour).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll("svg[role=img] text, svg[role=img] .plot-dot")]
    .filter((element) => {
      const own = light(getComputedStyle(element).fill);
      const ratio = (Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05);
      return ratio < (element.tagName === "text" ? 4.5 : 3);
    }).map((element) => element.outerHTML);
}"""
"""Labels and dots of plots that cannot be told from the paper."""


@pytest.mark.parametrize(("scheme", "language"), [("light", "ja-JP"), ("dark", "en-GB")])
def test_a_phone_without_scripts_shows_all_of_it(
    new_page: NewPage, scheme: str, language: str
) -> None:
    page = new_page(
        viewport=PHONE,
        has_touch=True,
        is_mobile=True,
        locale=language,
        color_scheme=scheme,
        java_script_enabled=False,
    )
    page.goto("/checks")
    expect(page.locator("svg[role=img]").first).to_be_visible()
    page.locator("tbody th a").first.click()
    expect(page.locator(".judged dd").first).to_be_visible()
    page.locator("a[href$='/accept']").click()
    expect(page.locator("form[action$='/accept'] button")).to_be_visible()


@pytest.mark.parametrize(("scheme", "language"), [("light", "ja-JP"), ("dark", "en-GB")])
def test_a_phone_has_room_for_it(new_page: NewPage, scheme: str, language: str) -> None:
    page = new_page(
        viewport=PHONE, has_touch=True, is_mobile=True, locale=language, color_scheme=scheme
    )
    page.goto("/checks")
    report = str(page.locator("tbody th a").first.get_attribute("href"))
    for address in ("/checks", report, f"{report}/accept"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address
        assert page.evaluate(CONTRAST) == [], address
        assert page.evaluate(SMALL) == [], address
        assert page.evaluate(FAINT) == [], address
