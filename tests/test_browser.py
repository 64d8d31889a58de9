"""The pages in a real browser: scripts, keys, Japanese input, back button, phone, no scripts."""

import asyncio
import os
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import uvicorn
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Request,
    Route,
    expect,
    sync_playwright,
)

from search_app.web.app import create_app
from tests.web_site import ATTACK, Site, built_site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CANDIDATES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
JAPANESE = "図書館の休館日はいつ"
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def executable() -> str:
    found = next(filter(None, map(shutil.which, CANDIDATES)), None)
    if found is None:
        reason = f"none of {', '.join(CANDIDATES)} is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(f"the browser tests need a browser: {reason}")
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with built_site(postgres_url, template, tmp_path_factory.mktemp("site")) as built:
        yield built


@contextmanager
def served(site: Site) -> Iterator[str]:
    """Serve the site on a free port of the loopback address, from a thread.

    Whoever connects before the server has started is answered as soon as it has.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            create_app(site.settings), ws="none", log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=60)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def base(site: Site) -> Iterator[str]:
    with served(site) as address:
        yield address


@pytest.fixture(scope="module")
def browser(executable: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield launched
        launched.close()


NewPage = Callable[..., Page]


@pytest.fixture
def complaints() -> list[str]:
    """Collect what the browser's console says; a test takes out what it provokes on purpose."""
    return []


@pytest.fixture
def new_page(browser: Browser, base: str, complaints: list[str]) -> Iterator[NewPage]:
    """Open pages that must not complain, be refused anything, or ask another host."""
    contexts: list[BrowserContext] = []
    asked: list[str] = []

    def opened(**options: object) -> Page:
        context = browser.new_context(base_url=base, **options)  # type: ignore[arg-type] # as its caller means them
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda request: asked.append(request.url))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert {urlsplit(address).netloc for address in asked} == {urlsplit(base).netloc}


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


def search(page: Page, text: str) -> None:
    page.locator("#q").fill(text)
    page.locator("#q").press("Enter")
    expect(page.locator("#count")).to_be_visible()
    expect(page).to_have_title(re.compile(re.escape(text[:30])))


def requests_of(page: Page) -> list[str]:
    """Collect what the page asks for from now on, static files and suggestions excepted."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if not urlsplit(request.url).path.startswith(("/static/", "/api/v1/suggest")):
            asked.append(request.url)

    page.on("request", note)
    return asked


def marks(page: Page) -> list[str]:
    return page.locator(".hit").first.locator("mark").all_inner_texts()


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_searching_marks_words_in_both_languages_without_leaving_the_page(page: Page) -> None:
    page.goto("/")
    expect(page.locator("#q")).to_be_focused()
    page.evaluate("window.stayed = true")
    search(page, "lighthouse keeper")
    assert {"lighthouse", "keeper"} <= set(marks(page))
    search(page, JAPANESE)
    assert {"図書館", "休館"} <= {mark[:3].removesuffix("日") for mark in marks(page)}
    assert query(page) == {"q": [JAPANESE], "collection": ["default"]}
    assert page.evaluate("window.stayed") is True
    expect(page.locator("#announce")).to_have_text(
        re.compile(r"^Passages 1–10 \d+ ms 6 documents$")
    )


def test_filters_paging_and_the_back_button_keep_their_addresses(
    page: Page, new_page: NewPage
) -> None:
    page.goto("/?q=night+star")
    page.get_by_role("link", name=re.compile("English")).click()
    expect(page.locator(".chip")).to_have_text(re.compile("language=en"))
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".hit .rank").first).to_have_text("11")
    assert query(page) == {"q": ["night star"], "filter": ["language=en"], "page": ["2"]}
    shared = page.url
    titles = page.locator(".hit-title a").evaluate_all("all => all.map(a => a.href)")

    page.go_back()
    expect(page.locator(".hit .rank").first).to_have_text("1")
    expect(page.locator(".chip")).to_be_visible()
    page.go_back()
    expect(page.locator(".chip")).to_have_count(0)
    assert query(page) == {"q": ["night star"]}
    page.go_forward()
    expect(page.locator(".chip")).to_be_visible()

    other = new_page()
    other.goto(shared)
    assert other.locator(".hit-title a").evaluate_all("all => all.map(a => a.href)") == titles
    search(other, "harbour")
    assert query(other)["filter"] == ["language=en"]
    other.locator(".chip").click()
    expect(other.locator(".chip")).to_have_count(0)
    assert "filter" not in query(other)
    search(other, "ferry")
    assert "filter" not in query(other)


def test_own_filters_and_exactness_are_added_to_the_address(page: Page) -> None:
    page.goto("/?q=harbour")
    page.get_by_label("Your own").fill("folder=library/ja")
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".chip")).to_have_text(re.compile("folder=library/ja"))
    expect(page.locator(".hit")).to_have_count(1)
    page.get_by_text("Options").click()
    page.get_by_role("checkbox", name="Exact").check()
    search(page, "返却")
    assert query(page)["exact"] == ["1"]
    assert query(page)["filter"] == ["folder=library/ja"]
    expect(page.locator("#count")).to_contain_text("exact")


def test_the_collection_can_be_chosen(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Collection", exact=True).select_option("日本語")
    search(page, "返却の箱")
    assert query(page)["collection"] == ["日本語"]
    expect(page.locator("#count")).to_contain_text("1 document")


def compose(page: Page, text: str) -> None:
    page.context.new_cdp_session(page).send(
        "Input.imeSetComposition",
        {"text": text, "selectionStart": len(text), "selectionEnd": len(text)},
    )


def test_enter_during_a_composition_chooses_a_word_and_searches_nothing(page: Page) -> None:
    page.goto("/")
    asked = requests_of(page)
    box = page.locator("#q")
    box.focus()
    compose(page, "としょかん")
    expect(box).to_have_value("としょかん")
    # The key as Japanese input methods send it, and as some browsers pass it on.
    session = page.context.new_cdp_session(page)
    for code, text in ((229, ""), (13, "\r")):
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": code, "text": text}
        session.send("Input.dispatchKeyEvent", {"type": "keyDown" if text else "rawKeyDown", **key})
        session.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
    session.send("Input.insertText", {"text": "図書館"})
    expect(box).to_have_value("図書館")
    assert (asked, urlsplit(page.url).query) == ([], "")
    page.wait_for_function("() => new Promise(done => setTimeout(() => done(true)))")
    box.press("Enter")
    expect(page.locator("#count")).to_be_visible()
    assert query(page)["q"] == ["図書館"]


def test_enter_that_arrives_after_its_composition_ended_searches_nothing(page: Page) -> None:
    page.goto("/")
    prevented = page.evaluate(
        """() => {
          const box = document.getElementById("q");
          const key = (code) => {
            const event = new KeyboardEvent("keydown", {
              key: "Enter", keyCode: code, bubbles: true, cancelable: true,
            });
            box.dispatchEvent(event);
            return event.defaultPrevented;
          };
          const before = key(13);
          box.dispatchEvent(new CompositionEvent("compositionstart", { bubbles: true }));
          box.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true }));
          const justAfter = key(13);
          return new Promise((done) =>
            setTimeout(() => done([before, justAfter, key(229), key(13)]), 0));
        }"""
    )
    assert prevented == [False, True, True, False]


def test_keys_move_through_hits_open_them_and_stay_out_of_typing(page: Page) -> None:
    page.goto("/?q=night+star")
    links = page.locator(".hit-title a")
    page.keyboard.press("j")
    expect(links.nth(0)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    expect(links.nth(2)).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("ArrowUp")
    expect(links.nth(0)).to_be_focused()
    page.keyboard.press("k")
    box = page.locator("#q")
    expect(box).to_be_focused()
    box.fill("")
    box.press_sequentially("jk/")
    expect(box).to_have_value("jk/")
    box.press("ArrowDown")
    expect(links.nth(0)).to_be_focused()
    page.keyboard.press("/")
    expect(box).to_be_focused()
    page.keyboard.press("Escape")
    expect(box).to_have_value("")
    box.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/documents/"))


def test_a_hit_opens_its_document_at_the_passage_and_leads_back(page: Page) -> None:
    page.goto("/?q=" + quote("night 97 star 679") + "&filter=language%3Den&page=2")
    page.locator(".hit-title a").nth(3).click()
    asked = page.locator(".passage-asked")
    expect(asked).to_be_in_viewport()
    assert page.evaluate("scrollY") > 0
    expect(page.locator(":target")).to_have_count(1)
    page.get_by_role("link", name="Back to the results").click()
    expect(page.locator(".hit .rank").first).to_have_text("11")
    assert query(page)["filter"] == ["language=en"]


def test_provenance_is_fetched_when_it_is_opened(page: Page, site: Site) -> None:
    page.goto("/?q=lighthouse")
    asked = requests_of(page)
    made = page.locator(".made").first
    made.locator("summary").click()
    expect(made).to_contain_text(str(site.report.model_version_id))
    made.locator("summary").click()
    made.locator("summary").click()
    expect(made.get_by_text("Text sent, SHA-256")).to_be_visible()
    assert len(asked) == 1


def test_markup_in_a_document_stays_text(page: Page) -> None:
    page.goto("/")
    search(page, f"sentinel {ATTACK}")
    hit = page.locator(".hit", has_text="sentinel").first
    expect(hit.locator(".snippet")).to_contain_text(ATTACK)
    hit.locator(".hit-title a").click()
    expect(page.locator("h1")).to_contain_text(ATTACK)
    expect(page.locator("main img")).to_have_count(0)
    assert page.title() != "taken over"


def test_a_mistake_is_explained_in_place(page: Page, complaints: list[str]) -> None:
    page.goto("/?q=harbour")
    page.get_by_label("Your own").fill("language")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("language=ja")
    # The browser itself logs every answer of that kind.
    assert ["status of 400" in text for text in complaints] == [True]
    complaints.clear()
    page.locator(".chip").click()
    expect(page.locator(".hit").first).to_be_visible()


def test_without_an_answer_the_browser_itself_tries(page: Page, complaints: list[str]) -> None:
    page.goto("/?q=harbour")

    def refuse(route: Route) -> None:
        if "hx-request" in route.request.headers:
            route.abort()
        else:
            route.continue_()

    page.route("**/?*", refuse)
    page.evaluate("window.stayed = true")
    search(page, "ferry")
    assert query(page)["q"] == ["ferry"]
    assert page.evaluate("window.stayed") is None
    assert complaints
    complaints.clear()


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_the_theme_follows_the_system_or_the_choice(new_page: NewPage) -> None:
    dark, light = new_page(color_scheme="dark"), new_page(color_scheme="light")
    dark.goto("/?q=harbour&exact=1")
    light.goto("/")
    assert background(dark) != background(light)
    dark.get_by_role("button", name="Light").click()
    expect(dark.get_by_role("button", name="Light")).to_have_attribute("aria-pressed", "true")
    assert background(dark) == background(light)
    assert query(dark) == {"q": ["harbour"], "exact": ["1"]}
    search(dark, "ferry")
    dark.get_by_role("button", name="Auto").click()
    expect(dark.get_by_role("button", name="Auto")).to_have_attribute("aria-pressed", "true")
    assert query(dark)["q"] == ["ferry"]
    assert background(dark) != background(light)


def test_the_language_is_the_browsers_or_the_one_chosen(new_page: NewPage) -> None:
    page = new_page(locale="ja-JP")
    page.goto("/?q=harbour&exact=1")
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.locator("#count")).to_contain_text("件目")
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert query(page) == {"q": ["harbour"], "exact": ["1"]}
    page.reload()
    expect(page.locator("#count")).to_contain_text("Passages 1–10")
    page.get_by_role("button", name="日本語").click()
    search(page, "ferry")
    # Swapped in by the script, in the language of the rest.
    expect(page.locator("#announce")).to_have_text(re.compile(r"^1〜10 件目 "))
    page.get_by_role("link", name=re.compile("英語")).click()
    expect(page.locator(".chip")).to_have_text(re.compile("この条件を外す"))


def test_the_language_can_be_chosen_on_a_phone_without_scripts(new_page: NewPage) -> None:
    page = new_page(
        viewport=PHONE, has_touch=True, is_mobile=True, java_script_enabled=False, locale="en-GB"
    )
    page.goto("/runs")
    expect(page.get_by_role("button", name="日本語")).to_be_hidden()
    page.get_by_text("Display").click()
    page.get_by_role("button", name="日本語").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("実行履歴")
    page.get_by_text("表示").click()
    page.get_by_role("button", name="ダーク").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("heading", level=1)).to_have_text("実行履歴")


def test_everything_works_without_scripts(new_page: NewPage, site: Site) -> None:
    page = new_page(java_script_enabled=False)
    page.goto("/")
    search(page, "night star")
    page.get_by_role("link", name=re.compile("English")).click()
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".hit .rank").first).to_have_text("11")
    search(page, "lighthouse keeper")
    assert query(page)["filter"] == ["language=en"]
    page.locator(".made summary").first.click()
    page.get_by_role("link", name="Where this vector comes from").first.click()
    expect(page.locator("#record")).to_contain_text(str(site.report.index_id))
    page.go_back()
    page.locator(".hit-title a").first.click()
    expect(page.locator(".passage-asked")).to_be_in_viewport()
    page.get_by_role("link", name="Back to the results").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert query(page)["q"] == ["lighthouse keeper"]


def addresses(page: Page) -> list[str]:
    """Give one address of each kind of page, those of hits included."""
    page.goto("/?q=" + quote(JAPANESE))
    document = page.locator(".hit-title a").first.get_attribute("href")
    provenance = page.locator(".made-facts").first.get_attribute("hx-get")
    page.goto("/runs")
    run = page.locator("tbody a").last.get_attribute("href")
    found = ["/", "/?q=" + quote(JAPANESE), "/?q=night&exact=1", "/runs", "/docs"]
    return [*found, *(str(address) for address in (document, provenance, run))]


@pytest.mark.parametrize("language", ["en-GB", "ja-JP"])
@pytest.mark.parametrize("width", [320, 360, 390])
def test_nothing_is_wider_than_a_phone(new_page: NewPage, width: int, language: str) -> None:
    page = new_page(
        viewport={"width": width, "height": 844}, has_touch=True, is_mobile=True, locale=language
    )
    for address in addresses(page):
        page.goto(address)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, (address, wide)
        bar = page.locator(".bar").bounding_box()
        assert bar is not None
        assert bar["height"] < 110, "the bar has more than two lines"


def test_a_button_opens_the_places_where_the_bar_is_narrow(new_page: NewPage) -> None:
    page = new_page(viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto("/")
    runs = page.get_by_role("navigation", name="Main").get_by_role("link", name="Runs")
    expect(runs).not_to_be_visible()
    page.get_by_role("button", name="Menu").click()
    expect(runs).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(runs).not_to_be_visible()
    page.get_by_role("button", name="Menu").click()
    runs.click()
    expect(page).to_have_url(re.compile("/runs$"))
    # On a wide one they are there at once.
    wide = new_page(viewport={"width": 1200, "height": 800})
    wide.goto("/")
    expect(wide.get_by_role("link", name="Runs")).to_be_visible()
    expect(wide.get_by_role("button", name="Menu")).not_to_be_visible()


def test_filters_fold_away_on_a_phone_and_stay_open_while_choosing(new_page: NewPage) -> None:
    page = new_page(viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto("/?q=" + quote(JAPANESE))
    choice = page.get_by_role("link", name=re.compile("Japanese"))
    expect(choice).to_be_hidden()
    page.get_by_text("Filters", exact=True).click()
    choice.click()
    expect(page.locator(".chip")).to_be_visible()
    expect(choice).to_be_visible()
    expect(choice).to_have_attribute("aria-current", "true")


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b]
    .map((value) => value / 255)
    .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const opacity = (element) => element === null
    ? 1 : getComputedStyle(element).opacity * opacity(element.parentElement);
  const blended = (top, bottom, share) => top.map((v, i) => v * share + bottom[i] * (1 - share));
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility({ visibilityProperty: true })) continue;
    const back = behind(element);
    const text = parse(getComputedStyle(element).color);
    const share = (text[3] / 255) * opacity(element);
    const [a, b] = [luminance(blended(text, back, share)), luminance(back)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push([element.className || element.tagName, ratio]);
  }
  return found;
}"""


@pytest.mark.parametrize(("scheme", "language"), [("light", "ja-JP"), ("dark", "en-GB")])
def test_text_has_enough_contrast_in_both_themes(
    new_page: NewPage, scheme: str, language: str
) -> None:
    page = new_page(color_scheme=scheme, locale=language)
    for address in addresses(page):
        page.goto(address)
        assert page.evaluate(CONTRAST) == [], address


SMALL = """() => [...document.querySelectorAll(
    "button, select, input, summary, nav a, a.choice, a.chip")]
  .filter((element) => element.type !== "hidden" && element.type !== "checkbox")
  .filter((element) => element.checkVisibility())
  .filter((element) => element.getBoundingClientRect().height < 44)
  .map((element) => element.outerHTML.slice(0, 80))"""


def test_targets_are_large_enough_for_fingers(new_page: NewPage) -> None:
    page = new_page(viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto("/?q=night+star&filter=language%3Den")
    page.get_by_text("Filters", exact=False).first.click()
    assert page.evaluate(SMALL) == []
