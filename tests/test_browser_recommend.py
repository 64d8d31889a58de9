"""Recommendations in a real browser: examples chosen from hits, groups and their documents."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

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
    query,
    site,
)

__all__ = ["base", "browser", "complaints", "executable", "new_page", "site"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOOKS = [("light", "en-GB", False), ("dark", "ja-JP", False), ("dark", "en-GB", True)]


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


def fitting(page: Page, *, phone: bool) -> None:
    """See that everything can be read, and reached with a finger."""
    assert page.evaluate(CONTRAST) == []
    if phone:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.evaluate(SMALL) == []


def test_examples_are_chosen_from_hits_told_beside_them_taken_away_and_shared(
    page: Page, new_page: NewPage
) -> None:
    page.goto("/?q=harbour+ferry&mode=semantic")
    title = page.locator(".hit-title").first.inner_text()
    page.locator(".hit").first.get_by_role("link", name="More like this").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Passages like this one")
    # With a single example there is nothing to choose a reason from.
    expect(page.locator(".hit").first).to_be_visible()
    expect(page.locator(".reason")).to_have_count(0)

    second = page.locator(".hit .hit-title").first.inner_text()
    page.locator(".hit").first.get_by_role("link", name="More like this").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Like these examples")
    page.locator(".hit").last.get_by_role("link", name="Less like this").click()
    like = page.get_by_role("region", name=re.compile("^Like"))
    unlike = page.get_by_role("region", name=re.compile("^Unlike"))
    expect(like.locator(".example")).to_have_count(2)
    expect(unlike.locator(".example")).to_have_count(1)
    assert set(like.locator(".hit-title").all_inner_texts()) == {title, second}
    hits = page.locator(".hit").count()
    assert hits > 1
    expect(page.locator(".hit .reason")).to_have_count(hits)
    for reason in page.locator(".reason").all():
        expect(reason).to_contain_text("Nearest example:")
        expect(reason).to_contain_text("nearest against:")
        for cosine in re.findall(r"-?\d\.\d{3}", reason.inner_text()):
            assert -1 <= float(cosine) <= 1
    # What serves as an example is no answer.
    chosen = {*query(page)["like"], *query(page)["unlike"]}
    assert not chosen & addresses(page)

    shared = urlsplit(page.url)
    found = texts(page)
    other = new_page()
    other.goto(f"{shared.path}?{shared.query}")
    assert texts(other) == found
    expect(other.locator(".example")).to_have_count(3)

    unlike.get_by_role("link", name=re.compile("^Take it away")).click()
    expect(page.locator(".example")).to_have_count(2)
    expect(page.get_by_role("region", name=re.compile("^Unlike"))).to_have_count(0)
    assert "unlike" not in query(page)
    expect(page.locator(".reason").first).not_to_contain_text("against")
    page.go_back()
    expect(page.locator(".example")).to_have_count(3)
    assert texts(page) == found
    page.get_by_role("link", name="Back to the results").click()
    assert query(page)["q"] == ["harbour ferry"]


def addresses(page: Page) -> set[str]:
    """Give the ids of the passages that are shown as hits."""
    links = page.locator(".hit .hit-title a")
    return {
        str(links.nth(place).get_attribute("href")).rpartition("#chunk-")[2]
        for place in range(links.count())
    }


def texts(page: Page) -> list[str]:
    expect(page.locator(".hit").first).to_be_visible()
    return page.locator(".hit .snippet, .hit .code-lines").all_inner_texts()


def test_an_example_in_ones_own_words_is_counted_the_other_way(
    page: Page, complaints: list[str]
) -> None:
    page.goto("/recommend")
    page.get_by_label("Like, in your own words", exact=True).fill("the keeper of a lighthouse")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".example-text")).to_have_text("the keeper of a lighthouse")
    assert page.locator(".hit").count() > 1
    page.get_by_role("link", name="Count it against").click()
    # Only what is not wanted says nothing of what is.
    expect(page.get_by_role("alert")).to_contain_text("name at least one example")
    expect(page.locator(".hit")).to_have_count(0)
    assert ["status of 400" in text for text in complaints] == [True]
    complaints.clear()
    page.get_by_role("link", name="Count it for").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".hit").first).to_be_visible()


@pytest.mark.parametrize(("scheme", "language", "phone"), LOOKS)
def test_recommendations_can_be_read(
    new_page: NewPage, scheme: str, language: str, *, phone: bool
) -> None:
    options = {"viewport": PHONE, "has_touch": True, "is_mobile": True} if phone else {}
    page = new_page(color_scheme=scheme, locale=language, **options)
    page.goto("/?q=harbour+ferry&mode=semantic")
    page.locator(".hit .like").first.click()
    page.locator(".hit .like").nth(1).click()
    expect(page.locator(".example")).to_have_count(2)
    expect(page.locator(".reason").first).to_be_visible()
    fitting(page, phone=phone)


@pytest.mark.parametrize(("scheme", "language", "phone"), LOOKS)
def test_a_group_is_opened_and_followed_to_a_document(
    new_page: NewPage, scheme: str, language: str, *, phone: bool
) -> None:
    options = {"viewport": PHONE, "has_touch": True, "is_mobile": True} if phone else {}
    page = new_page(color_scheme=scheme, locale=language, **options)
    page.goto("/groups")
    page.locator("a[href*='field=type']").first.click()
    rows = page.locator("tbody tr")
    assert rows.count() > 2
    counts = [
        int(text.replace(",", "")) for text in rows.locator("td:nth-of-type(2)").all_inner_texts()
    ]
    assert counts == sorted(counts, reverse=True)
    fitting(page, phone=phone)
    first = rows.first.get_by_role("link")
    name = first.inner_text()
    first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    # The mean is of as many passages as the group has.
    expect(page.locator(".known")).to_contain_text(f"{counts[0]:,}")
    expect(page.locator(".alike-groups li")).to_have_count(len(counts) - 1)
    fitting(page, phone=phone)
    hit = page.locator(".hit-title a").first
    title = hit.inner_text()
    hit.click()
    expect(page).to_have_url(re.compile("/documents/"))
    expect(page.get_by_role("heading", level=1)).to_contain_text(title)
