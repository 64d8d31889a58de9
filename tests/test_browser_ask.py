"""Asking in a real browser: citations, follow-ups, a stop, a model that fails, no scripts."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import open_services
from search_app.config import Settings, load_settings
from tests.chat_server import refused, silent, streamed
from tests.scripted_endpoint import Reply, ScriptedEndpoint, scripted_endpoint
from tests.test_browser import (
    CONTRAST,
    PHONE,
    SMALL,
    NewPage,
    browser,
    complaints,
    compose,
    executable,
    new_page,
    served,
)
from tests.web_site import ENGLISH, JAPANESE, Site, cloned, run_apart

__all__ = ["browser", "complaints", "executable", "new_page"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WEATHER = "Where does the lighthouse keeper write the weather?"
CLOSED = "図書館の休館日はいつですか"
NARROW = {"width": 320, "height": 640}


async def _fill(settings: Settings, folder: Path) -> Site:
    for name, text in (("harbour.md", ENGLISH), ("図書館.md", JAPANESE)):
        (folder / name).write_text(text, encoding="utf-8")
    async with open_services(settings) as services:
        report = await ingest(services, IngestRequest(arguments=[str(folder)]))
        second = await ingest(
            services, IngestRequest(arguments=[str(folder / "図書館.md")], collection="日本語")
        )
    return Site(settings=settings, folder=folder, report=report, second=second)


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Ingest two documents with the bundled model."""
    folder = tmp_path_factory.mktemp("ask")
    (folder / "library").mkdir()
    with cloned(postgres_url, template) as database_url:
        settings = load_settings(DATABASE_URL=database_url, data_dir=folder / "data")
        yield run_apart(_fill(settings, folder / "library"))


@pytest.fixture(scope="module")
def base(site: Site) -> Iterator[str]:
    with served(site) as address:
        yield address


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


@contextmanager
def endpoint_beside() -> Iterator[ScriptedEndpoint]:
    """Run a chat endpoint on a loop and a thread of its own."""
    started: list[ScriptedEndpoint] = []
    ready, over = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        async with scripted_endpoint() as endpoint:
            loops.append(asyncio.get_running_loop())
            started.append(endpoint)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield started[0]
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(30)


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedEndpoint]:
    with endpoint_beside() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def chat(site: Site, model: ScriptedEndpoint) -> Iterator[str]:
    """Serve the same documents with a model that answers."""
    own = load_settings(
        generator="chat:scripted", chat_base_url=model.url, chat_api_key="sk-none-of-yours"
    )
    names = ("generator", "chat_base_url", "chat_api_key")
    settings = site.settings.model_copy(update={name: getattr(own, name) for name in names})
    asked = Site(settings=settings, folder=site.folder, report=site.report, second=site.second)
    with served(asked) as address:
        yield address


Asking = Callable[..., Page]


@pytest.fixture
def asking(browser: Browser, chat: str, model: ScriptedEndpoint) -> Iterator[Asking]:
    """Open the page of the server with a model, which replies as it is told."""
    contexts = []

    def opened(*replies: Reply, **options: object) -> Page:
        model.script(*replies)
        context = browser.new_context(base_url=chat, **options)  # type: ignore[arg-type] # as its caller means them
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.goto("/ask")
        return page

    yield opened
    for context in contexts:
        context.close()


def ask(page: Page, text: str) -> None:
    page.locator("#q").fill(text)
    page.locator("#q").press("Enter")
    expect(page.locator("#question")).to_have_text(text)
    expect(page.locator("#made-of")).to_be_visible()


@pytest.mark.parametrize(
    ("question", "words", "title"),
    [
        (WEATHER, "blue book", "Harbour handbook"),
        (CLOSED, "毎週月曜日と祝日に休館", "図書館の利用案内"),
    ],
)
def test_a_question_is_answered_and_its_citation_leads_to_the_place(
    page: Page, question: str, words: str, title: str
) -> None:
    page.goto("/ask")
    expect(page.locator("#q")).to_be_focused()
    page.evaluate("window.stayed = true")
    ask(page, question)
    assert page.evaluate("window.stayed") is True
    quotation = page.locator("blockquote", has_text=words)
    expect(quotation).to_have_count(1)
    expect(page.locator("#announce")).to_have_text("The answer is complete.")
    expect(page.locator("#q")).to_have_value("")
    quoted = page.locator("mark.quoted", has_text=words)
    expect(quoted).not_to_be_visible()
    citation = quotation.locator(".citation")
    citation.focus()
    page.keyboard.press("Enter")
    expect(quoted).to_be_visible()
    expect(quoted).to_be_in_viewport()
    expect(quoted).to_be_focused()
    passage = page.locator(".given-text", has=quoted)
    passage.get_by_role("link", name="Open it in the document").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    expect(page.locator(".passage-asked")).to_be_in_viewport()
    expect(page.locator(".passage-asked")).to_contain_text(words)
    page.get_by_role("link", name="Back to the answer").click()
    expect(page.locator("#question")).to_have_text(question)
    expect(page.locator("blockquote", has_text=words)).to_be_visible()


def test_a_follow_up_shows_what_was_searched_for_and_what_came_before(page: Page) -> None:
    page.goto("/ask")
    ask(page, "What does the lighthouse keeper do?")
    first = page.url
    assert re.search(r"/answers/[0-9a-f-]{36}$", first)
    page.locator("#q").fill("and in spring?")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#question")).to_have_text("and in spring?")
    expect(page.locator("#made-of")).to_be_visible()
    expect(page.locator("#searched")).to_contain_text("lighthouse")
    expect(page.locator(".turns summary")).to_have_text("What does the lighthouse keeper do?")
    expect(page.locator(".turn-answer")).to_be_visible()
    assert page.url != first
    shown = page.locator("#turn").inner_html()
    page.reload()
    assert page.locator("#turn").inner_html() == shown
    page.get_by_role("link", name="New conversation").click()
    expect(page.locator("#turn")).to_have_count(0)
    page.get_by_role("link", name="Answers kept").click()
    page.get_by_role("link", name="What does the lighthouse keeper do?").first.click()
    expect(page).to_have_url(first)


def test_the_collection_brings_its_filters_and_both_narrow_the_answer(page: Page) -> None:
    page.goto("/ask")
    page.locator("#ask-options summary").click()
    page.get_by_role("checkbox", name=re.compile("^Japanese")).check()
    ask(page, WEATHER)
    expect(page.locator(".turn-head code")).to_have_text("language=ja")
    expect(page.locator(".given-title")).to_have_text(["図書館の利用案内"])
    expect(page.get_by_role("checkbox", name=re.compile("^English"))).to_have_count(1)
    page.get_by_label("Collection", exact=True).select_option("日本語")
    expect(page.get_by_role("checkbox", name=re.compile("^English"))).to_have_count(0)
    expect(page.get_by_role("checkbox", name=re.compile("^Japanese"))).to_have_count(1)


def test_enter_during_a_composition_asks_nothing_and_shift_enter_breaks_the_line(
    page: Page,
) -> None:
    page.goto("/ask")
    box = page.locator("#q")
    box.focus()
    compose(page, "としょかん")
    session = page.context.new_cdp_session(page)
    for code, text in ((229, ""), (13, "\r")):
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": code, "text": text}
        session.send("Input.dispatchKeyEvent", {"type": "keyDown" if text else "rawKeyDown", **key})
        session.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
    session.send("Input.insertText", {"text": "図書館"})
    expect(box).to_have_value("図書館")
    page.wait_for_function("() => new Promise(done => setTimeout(() => done(true)))")
    box.press("Shift+Enter")
    expect(box).to_have_value("図書館\n")
    expect(page.locator("#turn")).to_have_count(0)
    expect(page.locator("#stop")).to_be_hidden()
    box.press("Enter")
    expect(page.locator("#question")).to_have_text("図書館")


def test_a_slow_answer_is_stopped_and_what_was_written_stays(
    asking: Asking, model: ScriptedEndpoint
) -> None:
    slow = streamed("It is written into a blue book [1]. ", *["More of it. "] * 200, pause_s=0.2)
    page = asking(slow)
    page.locator("#q").fill(WEATHER)
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    expect(page.locator(".given-passage").first).to_be_visible()
    expect(page.locator("#said")).to_contain_text("blue book")
    expect(page.locator("#said .no-source").first).to_have_text("no source")
    page.get_by_role("button", name="Stop").press("Enter")
    expect(page.locator("#said")).to_contain_text("You stopped the answer here.")
    expect(page.locator("#writing")).to_have_count(0)
    expect(page.locator("#q")).to_be_focused()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    written = page.locator("#said .sentence").count()
    assert written < 150
    # Kept as far as it was written.
    page.wait_for_url(re.compile("/answers/"))
    for _ in range(50):
        page.goto(page.url)
        if page.locator("#said").count():
            break
    expect(page.locator("#said")).to_contain_text("blue book")
    expect(page.locator("#said")).to_contain_text("You stopped the answer here.")
    model.script(streamed("In spring they change [1]."))
    page.locator("#q").fill("and in spring?")
    page.locator("#q").press("Enter")
    expect(page.locator("#made-of")).to_be_visible()
    expect(page.locator(".turn-answer")).to_contain_text("blue book")


def test_a_model_that_fails_leaves_passages_and_quotations(asking: Asking) -> None:
    page = asking(refused(401, "wrong key"))
    ask(page, WEATHER)
    expect(page.locator("#notices")).to_contain_text("The model did not answer as it should")
    expect(page.locator("#said")).to_contain_text("these are quotations")
    expect(page.locator("blockquote").first).to_be_visible()


def test_a_silent_model_is_left_for_quotations(asking: Asking) -> None:
    page = asking(silent)
    page.locator("#q").fill(WEATHER)
    page.locator("#q").press("Enter")
    expect(page.locator(".given-passage").first).to_be_visible()
    expect(page.locator("#writing")).to_contain_text("the model is writing")
    page.get_by_role("button", name="Stop").click()
    page.get_by_label("Quotations only, without the model").check()
    ask(page, WEATHER)
    expect(page.locator("blockquote", has_text="blue book")).to_be_visible()


def test_what_a_model_says_is_cited_marked_and_cleaned(asking: Asking) -> None:
    page = asking(
        streamed(
            "The keeper writes it into a blue book [1]. Ask [here](https://evil.example/) "
            "or see ![x](https://evil.example/x.png) it [9]. <b>Nobody</b> knows why."
        )
    )
    ask(page, WEATHER)
    cited = page.locator(".sentence", has_text="blue book")
    expect(cited.locator(".citation")).to_have_text("1")
    expect(cited.locator(".support")).to_contain_text(re.compile(r"support [01]\.\d\d"))
    expect(page.locator(".unsupported").first).to_contain_text("no source")
    expect(page.locator("#removed-citations")).to_contain_text("1 citation named a passage")
    assert page.locator("#said a:not(.citation), #said img, #said b").count() == 0
    assert page.locator("#said").inner_text().count("evil.example") == 0
    cited.locator(".citation").click()
    expect(page.locator("#passage-1")).to_be_visible()


def test_what_is_not_there_is_said_not_to_be_found(page: Page) -> None:
    page.goto("/ask")
    ask(page, "How do I configure Kubernetes ingress controllers?")
    expect(page.locator("#said")).to_have_text("I did not find this in the documents.")


def test_what_cannot_be_asked_is_told_and_the_question_stays(
    page: Page, complaints: list[str]
) -> None:
    page.goto("/ask")
    page.locator("#ask-options summary").click()
    page.get_by_label("Your own").fill("nonsense")
    page.locator("#q").fill(WEATHER)
    page.locator("#q").press("Enter")
    expect(page.locator("#trouble [role=alert]")).to_contain_text("nonsense")
    expect(page.locator("#q")).to_have_value(WEATHER)
    expect(page.get_by_role("button", name="Ask")).to_be_visible()
    assert [text for text in complaints if "400" not in text] == []
    complaints.clear()


def test_everything_works_without_scripts(new_page: NewPage) -> None:
    page = new_page(java_script_enabled=False)
    page.goto("/ask")
    page.locator("#q").fill(CLOSED)
    page.get_by_role("button", name="Ask").click()
    expect(page).to_have_url(re.compile("/answers/"))
    quotation = page.locator("blockquote", has_text="毎週月曜日と祝日に休館")
    quotation.locator(".citation").click()
    expect(page.locator("mark.quoted").first).to_be_in_viewport()
    page.locator("#q").fill("年末は")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#question")).to_have_text("年末は")
    expect(page.locator("#searched")).to_contain_text("図書館")
    expect(page.locator(".turns summary")).to_have_text(CLOSED)


@pytest.mark.parametrize("viewport", [NARROW, PHONE], ids=["narrow", "phone"])
@pytest.mark.parametrize(("scheme", "language"), [("light", "ja-JP"), ("dark", "en-GB")])
def test_a_phone_shows_all_of_it(
    asking: Asking, viewport: dict[str, int], scheme: str, language: str
) -> None:
    reply = streamed("It is written into a blue book [1]. Nobody knows why [7]. So it is [2].")
    page = asking(
        reply,
        viewport=viewport,
        has_touch=True,
        is_mobile=True,
        locale=language,
        color_scheme=scheme,
    )
    page.locator("#ask-options summary").click()
    for question in (WEATHER, "and in spring?"):
        ask(page, question)
        page.locator("#given-1 summary").click()
        page.locator("#made-of summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(SMALL) == []
    page.goto("/answers")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(SMALL) == []
