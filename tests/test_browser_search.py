"""Searching in a real browser: modes, marks, reasons, suggestions, verdicts, more like this."""

import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from tests.test_browser import (
    CONTRAST,
    PHONE,
    SMALL,
    NewPage,
    base,
    browser,
    complaints,
    compose,
    executable,
    new_page,
    query,
    search,
    site,
)

__all__ = ["base", "browser", "complaints", "executable", "new_page", "site"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


def suggestions_asked(page: Page) -> list[str]:
    """Collect the texts that suggestions are asked for from now on."""
    asked: list[str] = []

    def note(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.path == "/api/v1/suggest":
            asked.extend(parse_qs(parts.query)["q"])

    page.on("request", note)
    return asked


def test_the_mode_is_switched_in_place_and_kept_everywhere(page: Page) -> None:
    page.goto("/?q=harbour+ferry")
    expect(page.get_by_role("radio", name="Both")).to_be_checked()
    page.evaluate("window.stayed = true")
    page.get_by_role("radio", name="By words").check()
    expect(page.locator("#count")).to_contain_text("By words")
    assert query(page) == {"q": ["harbour ferry"], "mode": ["keyword"], "collection": ["default"]}
    assert page.evaluate("window.stayed") is True
    for hit in page.locator(".hit").all():
        assert re.search("harbour|ferr", hit.inner_text(), re.IGNORECASE)
    page.get_by_role("link", name=re.compile("^English")).click()
    expect(page.locator(".chip")).to_be_visible()
    assert query(page)["mode"] == ["keyword"]
    page.locator(".hit-title a").first.click()
    page.get_by_role("link", name="Back to the results").click()
    expect(page.locator(".chip")).to_be_visible()
    expect(page.get_by_role("radio", name="By words")).to_be_checked()
    page.get_by_role("radio", name="By meaning").check()
    expect(page.locator("#count")).to_contain_text("By meaning")
    page.get_by_role("radio", name="Both").check()
    expect(page.locator("#count")).not_to_contain_text("By")
    assert "mode" not in query(page)
    page.go_back()
    expect(page.get_by_role("radio", name="By meaning")).to_be_checked()


def test_filters_narrow_a_search_by_words(page: Page) -> None:
    page.goto("/?q=harbour&mode=keyword")
    before = page.locator(".hit").count()
    assert before > 1
    # No file of code has the word, and so none is offered.
    expect(page.get_by_role("link", name=re.compile("^Python"))).to_have_count(0)
    page.get_by_role("link", name=re.compile("^Markdown")).click()
    expect(page.locator(".chip")).to_have_text(re.compile("type=markdown"))
    expect(page.locator(".hit").first).to_be_visible()
    page.locator(".chip").click()
    expect(page.locator(".hit")).to_have_count(before)
    assert query(page)["mode"] == ["keyword"]


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ('keeping "blue book"', {"keeper", "Keepers", "blue book"}),
        ("tideTable", {"tide_table", "tide"}),
        ("図書館の休み", {"図書館", "休み"}),
        ("返却の箱", {"返却", "箱"}),
    ],
)
def test_what_was_asked_for_is_marked(page: Page, text: str, marks: set[str]) -> None:
    page.goto("/?mode=keyword&q=" + quote(text))
    hit = page.locator(".hit", has=page.locator(".snippet mark")).first
    assert marks & set(hit.locator("mark").all_inner_texts())
    shown = page.locator(".hit mark").all_inner_texts()
    assert not {"の", "日", "いつ"} & set(shown)


def test_a_hit_says_why_it_is_there(page: Page) -> None:
    page.goto("/?q=lighthouse+keeper")
    why = page.locator(".hit").first.locator(".why")
    expect(why.locator("dl")).to_be_hidden()
    why.get_by_text("Why here").click()
    expect(why.locator("dt")).to_have_text(["By meaning", "By words", "Together"])
    expect(why.locator(".why-steps > div").nth(1)).to_contain_text("place 1")
    expect(why.locator(".why-last")).to_contain_text("40% meaning, up to 60% words")
    # Words that few passages have leave the others without a place among them.
    last = page.locator(".hit").last.locator(".why")
    last.get_by_text("Why here").click()
    expect(last.locator(".why-none")).to_have_text("not among its first 100")
    page.get_by_role("radio", name="By meaning").check()
    expect(page.locator("#count")).to_contain_text("By meaning")
    expect(page.locator(".hit").first.locator(".why dt")).to_have_text(["By meaning"])


def test_a_suggestion_is_chosen_by_keyboard(page: Page) -> None:
    page.goto("/")
    asked = suggestions_asked(page)
    box = page.get_by_role("combobox", name="Search the documents")
    expect(box).to_have_attribute("aria-expanded", "false")
    box.press_sequentially("harb", delay=10)
    options = page.locator("#suggestions > [role=option]")
    expect(options.first).to_be_visible()
    expect(box).to_have_attribute("aria-expanded", "true")
    assert asked == ["harb"], "one request when typing pauses, none for each key"
    text = options.first.locator("span").first.inner_text()
    assert "harb" in text.lower()
    box.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    expect(box).to_have_attribute("aria-activedescendant", "suggestion-0")
    expect(box).to_have_value("harb")
    box.press("Enter")
    expect(page.locator("#count")).to_be_visible()
    expect(page.get_by_role("listbox")).to_be_hidden()
    assert query(page)["q"] == [text]


def test_suggestions_stay_out_of_the_way(page: Page) -> None:
    page.goto("/?q=night+star")
    asked = suggestions_asked(page)
    box = page.locator("#q")
    box.fill("")
    compose(page, "としょ")
    page.wait_for_timeout(400)
    assert asked == [], "nothing is asked during a composition"
    page.context.new_cdp_session(page).send("Input.insertText", {"text": "図書"})
    options = page.locator("#suggestions > [role=option]")
    expect(options.first).to_be_visible()
    assert asked == ["図書"]
    box.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(box).to_have_value("図書")
    box.press("ArrowDown")
    expect(page.locator(".hit-title a").first).to_be_focused()
    box.fill("harb")
    expect(options.first).to_be_visible()
    box.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")
    box.press("ArrowDown")
    expect(box).not_to_have_attribute("aria-activedescendant", re.compile("."))
    box.press("Enter")
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(page).to_have_title(re.compile("^harb —"))
    box.fill("obs")
    options.first.click()
    expect(page).to_have_title(re.compile("observatory"))


def test_a_verdict_is_kept_changed_and_taken_back(page: Page) -> None:
    page.goto("/?q=quarry+granite")
    page.evaluate("window.stayed = true")
    helpful = page.locator(".hit").first.get_by_role("button", name="Helpful", exact=True)
    useless = page.locator(".hit").first.get_by_role("button", name="Not helpful")
    helpful.click()
    expect(helpful).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("window.stayed") is True
    page.reload()
    expect(helpful).to_have_attribute("aria-pressed", "true")
    useless.click()
    expect(useless).to_have_attribute("aria-pressed", "true")
    expect(helpful).to_have_attribute("aria-pressed", "false")
    useless.click()
    expect(useless).to_have_attribute("aria-pressed", "false")
    page.reload()
    expect(useless).to_have_attribute("aria-pressed", "false")
    expect(helpful).to_have_attribute("aria-pressed", "false")


def test_what_cannot_be_found_is_said(page: Page) -> None:
    page.goto("/?q=lighthuose+xyzzyx")
    expect(page.locator(".unknown")).to_contain_text("xyzzyx")
    page.goto("/?q=xyzzyx&mode=keyword")
    expect(page.locator("#results .notice h2")).to_have_text("No passage has these words")
    page.get_by_role("link", name="Search by meaning").click()
    expect(page.locator(".hit").first).to_be_visible()
    assert query(page)["mode"] == ["semantic"]
    page.goto("/?q=" + quote('"no such phrase"'))
    expect(page.locator("#results .notice h2")).to_have_text("No passage is what was asked for")
    page.goto("/?q=the&mode=hybrid")
    expect(page.locator(".notice-told")).to_contain_text("no word in this query")
    page.goto("/?q=lighthuose")
    expect(page.locator(".did-you-mean")).to_have_text("Did you mean lighthouse?")
    page.get_by_role("link", name="lighthouse", exact=True).click()
    assert query(page) == {"q": ["lighthouse"]}


def test_a_mode_that_is_none_is_explained(page: Page, complaints: list[str]) -> None:
    page.goto("/?q=harbour&mode=magic")
    expect(page.get_by_role("alert")).to_contain_text("hybrid, semantic, keyword")
    complaints.clear()


def test_more_like_this_leads_on_and_back(page: Page) -> None:
    page.goto("/?q=harbour+ferry&mode=semantic")
    title = page.locator(".hit-title").first.inner_text()
    page.locator(".hit").first.get_by_role("link", name="More like this").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Passages like this one")
    expect(page.locator(".example .hit-title")).to_have_text(title)
    assert page.locator(".hit").count() > 1
    expect(page.locator(".thumb")).to_have_count(0)
    page.get_by_role("link", name="Back to the results").click()
    assert query(page) == {"q": ["harbour ferry"], "mode": ["semantic"]}
    page.locator(".hit-title a").first.click()
    page.get_by_role("link", name="More like this").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Documents like this one")
    titles = page.locator(".hit .hit-title").all_inner_texts()
    assert len(titles) > 1
    assert title not in titles
    page.get_by_role("link", name="Back to the results").click()
    expect(page.locator(".hit").first).to_be_visible()


def test_searching_works_without_scripts(new_page: NewPage) -> None:
    page = new_page(java_script_enabled=False)
    page.goto("/")
    expect(page.get_by_role("listbox")).to_have_count(0)
    page.get_by_role("radio", name="By words").check()
    search(page, "quarry barge")
    assert query(page)["mode"] == ["keyword"]
    expect(page.get_by_role("radio", name="By words")).to_be_checked()
    page.locator(".why summary").first.click()
    expect(page.locator(".why dt").first).to_have_text("By words")
    helpful = page.locator(".hit").first.get_by_role("button", name="Helpful", exact=True)
    helpful.click()
    expect(helpful).to_have_attribute("aria-pressed", "true")
    assert query(page)["q"] == ["quarry barge"]
    helpful.click()
    expect(helpful).to_have_attribute("aria-pressed", "false")
    page.get_by_role("link", name="More like this").first.click()
    expect(page.locator(".hit").first).to_be_visible()


def places(page: Page) -> list[str]:
    """Give addresses with everything that is new to searching."""
    page.goto("/?q=lighthouse+keeper")
    like = page.get_by_role("link", name=re.compile("More like this|似た")).first
    return [
        "/?q=" + quote("lighthuose 図書館") + "&mode=keyword",
        "/?q=the",
        "/?q=xyzzyx&mode=keyword",
        str(like.get_attribute("href")),
    ]


@pytest.mark.parametrize(("scheme", "language"), [("light", "ja-JP"), ("dark", "en-GB")])
def test_a_phone_shows_all_of_it(new_page: NewPage, scheme: str, language: str) -> None:
    page = new_page(
        viewport=PHONE, has_touch=True, is_mobile=True, locale=language, color_scheme=scheme
    )
    for address in places(page):
        page.goto(address)
        for summary in page.locator(".why summary, .options summary").all()[:3]:
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address
        assert page.evaluate(CONTRAST) == [], address
        assert page.evaluate(SMALL) == [], address
    page.locator("#q").or_(page.locator("h1")).first.click()
    page.goto("/")
    page.locator("#q").fill("harb")
    expect(page.locator("#suggestions > [role=option]").first).to_be_visible()
    assert page.evaluate(CONTRAST) == []
