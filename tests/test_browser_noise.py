"""Marks of hits within noise in a real browser: opened, in both themes, on a phone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

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
from tests.web_site import Site, built_site

__all__ = ["base", "browser", "complaints", "executable", "new_page"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Build the site with a model that is known to be noisy."""
    with built_site(postgres_url, template, tmp_path_factory.mktemp("site")) as built:
        assert built.settings.database_url is not None
        with connect(built.settings.database_url.get_secret_value()) as connection:
            connection.execute("UPDATE model_versions SET noise_floor = 3.6e-3, bit_stable = false")
        yield built


@pytest.mark.parametrize(
    ("scheme", "language", "phone"),
    [("light", "en-GB", False), ("dark", "ja-JP", False), ("dark", "en-GB", True)],
)
def test_a_mark_opens_its_explanation(
    new_page: NewPage, scheme: str, language: str, *, phone: bool
) -> None:
    options = {"viewport": PHONE, "has_touch": True, "is_mobile": True} if phone else {}
    page: Page = new_page(color_scheme=scheme, locale=language, **options)
    page.goto("/?q=lighthouse+keeper&mode=semantic")
    mark = page.locator(".near").first
    words = mark.locator("summary")
    expect(words).to_be_visible()
    expect(mark.locator("p")).to_be_hidden()
    # By keyboard as well as by a tap.
    words.focus()
    words.press("Enter")
    expect(mark.locator("p")).to_be_visible()
    expect(mark.locator("p")).to_contain_text("3.6e-03")
    assert page.evaluate(CONTRAST) == []
    if phone:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.evaluate(SMALL) == []
