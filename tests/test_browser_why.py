"""Verifying a vector, asking why, and comparing two indexes in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from ingest.reindex import ReindexRequest, reindex
from search_app.bootstrap import open_services
from search_app.config import Settings
from search_app.retrieval import SearchRequest
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
    search,
)
from tests.web_site import Site, built_site, run_apart

__all__ = ["base", "browser", "complaints", "executable", "new_page"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Build the site with a second index, and have some queries in its log."""
    folder: Path = tmp_path_factory.mktemp("site")
    with built_site(postgres_url, template, folder) as built:
        run_apart(_second_index(built.settings))
        yield built


async def _second_index(settings: Settings) -> None:
    async with open_services(settings) as services:
        await reindex(services, ReindexRequest(embedder="hashing:16"))
        for query in ("lighthouse keeper", "opening hours of the harbour", "図書館の休館日"):
            await services.searcher.search(SearchRequest(query=query))


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


def test_a_vector_is_verified_at_a_button(page: Page) -> None:
    page.goto("/?q=lighthouse+keeper")
    page.locator(".made summary").first.click()
    page.get_by_role("link", name=re.compile("The exact text")).first.click()
    sent = page.locator("pre.sent")
    expect(sent).to_contain_text("lighthouse keeper writes the weather")
    page.get_by_role("button", name="Verify now").click()
    told = page.get_by_role("status").filter(has_text="Cosine")
    expect(told).to_contain_text("The same vector, to the bit")
    expect(told).to_be_in_viewport()
    expect(page.locator("#record")).to_be_visible()


def test_from_the_results_to_why_a_document_is_missing(page: Page) -> None:
    page.goto("/")
    search(page, "lighthouse keeper")
    page.get_by_role("link", name=re.compile("Not found")).click()
    asked = page.get_by_label(re.compile("The document that is missed"))
    expect(asked).to_be_focused()
    expect(page.get_by_label("The query, as it was asked")).to_have_value("lighthouse keeper")
    asked.fill("quarry.txt")
    asked.press("Enter")
    finding = page.locator(".finding")
    expect(finding.first).to_be_visible()
    assert finding.first.get_attribute("data-cause") in {"found", "outranked"}
    asked.fill("nothing-of-that-name")
    page.get_by_role("button", name="Find out").click()
    expect(finding.first).to_have_attribute("data-cause", "never_ingested")
    page.get_by_role("link", name="Back to the results").click()
    expect(page.locator(".hit").first).to_be_visible()


def test_two_indexes_are_compared_and_a_query_is_looked_into(page: Page) -> None:
    page.goto("/collections/default")
    page.get_by_role("link", name="Compare two indexes").click()
    expect(page.locator(".sides .panel")).to_have_count(2)
    page.evaluate("window.stayed = true")
    page.get_by_role("link", name=re.compile("queries asked most")).click()
    summary = page.locator("#summary .facts")
    expect(summary).to_contain_text("Mean RBO")
    assert page.evaluate("window.stayed") is True, "only the summary was fetched"
    page.get_by_label("A query to compare by").fill("opening hours of the harbour")
    page.get_by_label("Find").select_option("semantic")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".side")).to_have_count(2)
    expect(page.locator(".side").first.locator("li")).to_have_count(10)
    expect(page.locator("#one")).to_contain_text("RBO:")
    swapped = page.get_by_label("Index A")
    first = swapped.input_value()
    swapped.select_option(page.get_by_label("Index B").input_value())
    page.get_by_label("Index B").select_option(first)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_label("Index B")).to_have_value(first)


@pytest.mark.parametrize(("scheme", "language"), [("light", "ja-JP"), ("dark", "en-GB")])
def test_a_phone_shows_all_of_it(new_page: NewPage, scheme: str, language: str) -> None:
    page = new_page(
        viewport=PHONE, has_touch=True, is_mobile=True, locale=language, color_scheme=scheme
    )
    page.goto("/collections/default")
    compare = page.locator("a[href^='/compare']").get_attribute("href")
    page.goto("/?q=lighthouse")
    provenance = page.locator(".made-facts").first.get_attribute("hx-get")
    why = f"/why?q={quote('図書館の休館日')}&document=observatory.md&mode=semantic"
    for address in (provenance, why, f"{compare}&q=lighthouse&summary=1"):
        page.goto(str(address))
        if "provenance" in str(address):
            page.locator("button.primary").click()
            expect(page.locator(".notice[role=status]")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address
        assert page.evaluate(CONTRAST) == [], address
        assert page.evaluate(SMALL) == [], address
