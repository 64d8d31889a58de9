"""The pages to look after collections in a real browser, with a real worker beside them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from search_app.config import Settings
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
    requests_of,
    site,
)
from tests.web_site import Site

__all__ = ["base", "browser", "complaints", "executable", "new_page", "site"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DONE = 60_000


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


@pytest.fixture
def worker(site: Site) -> Iterator[None]:
    """Run a worker as users do, for as long as the test."""
    settings: Settings = site.settings
    assert settings.database_url is not None
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "UNMOVED_DATA_DIR": str(settings.data_dir),
        "UNMOVED_EMBEDDER": settings.embedder,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ingest", "worker"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)


def files(folder: Path) -> list[Path]:
    (folder / "sent").mkdir(exist_ok=True)
    made = [folder / "sent" / name for name in ("ferry <b>.md", "切符.txt", "torn.pdf")]
    made[0].write_text("# Ferry timetable\n\nThe ferry to the island leaves at noon.\n")
    made[1].write_text("切符は改札口で買えます。\n", encoding="utf-8")
    made[2].write_bytes(b"%PDF-1.7 torn")
    return made


@pytest.mark.usefixtures("worker")
def test_files_are_uploaded_and_watched_until_they_are_in(page: Page, tmp_path: Path) -> None:
    page.goto("/collections")
    page.evaluate("window.stayed = true")
    page.get_by_label("Collection", exact=True).fill("送り物 / sent")
    page.get_by_label("Files", exact=True).set_input_files(files(tmp_path))
    expect(page.locator(".chosen li")).to_have_count(3)
    expect(page.locator(".chosen li").first).to_contain_text("ferry <b>.md")
    page.get_by_role("button", name="Upload").click()
    job = page.locator(".outcome #job")
    expect(job.locator(".status")).to_have_text("Succeeded", timeout=DONE)
    expect(job.locator(".counts")).to_contain_text("Added 2")
    expect(job.locator(".failures li")).to_have_count(1)
    expect(job.locator(".failures li")).to_contain_text("torn.pdf")
    expect(page.locator(".chosen")).to_be_hidden()
    assert page.evaluate("window.stayed") is True
    asked = requests_of(page)
    page.wait_for_timeout(2500)
    assert asked == [], "an ended job is asked for no more"

    job.get_by_role("link", name="Job").click()
    page.get_by_role("link", name="送り物 / sent").click()
    expect(page.locator("h1")).to_have_text("送り物 / sent")
    page.get_by_role("link", name="Documents", exact=True).first.click()
    expect(page.locator(".entry-title")).to_have_count(3)
    page.get_by_role("link", name="Ferry timetable").click()
    expect(page.locator(".passages")).to_contain_text("leaves at noon")


def test_files_can_be_dropped(page: Page, complaints: list[str]) -> None:
    page.goto("/collections/default")
    drop = page.locator("[data-drop]")
    transfer = page.evaluate_handle(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["one"], "one.md"));
          transfer.items.add(new File(["two"], "two.md"));
          return transfer;
        }"""
    )
    drop.dispatch_event("dragover", {"dataTransfer": transfer})
    expect(drop).to_have_class(re.compile("drop-over"))
    drop.dispatch_event("drop", {"dataTransfer": transfer})
    expect(drop).not_to_have_class(re.compile("drop-over"))
    expect(page.locator(".chosen li")).to_have_text([re.compile("one.md"), re.compile("two.md")])
    drop.dispatch_event("drop", {"dataTransfer": transfer})
    expect(page.locator(".chosen li")).to_have_count(4)
    # Two of one name are refused by the server; its reason stands in the form.
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("two files are named")
    assert ["status of 400" in text for text in complaints] == [True]
    complaints.clear()


def test_an_upload_that_breaks_off_says_so_and_can_be_repeated(
    page: Page, complaints: list[str]
) -> None:
    page.goto("/collections/default")
    page.get_by_label("Files", exact=True).set_input_files(
        {"name": "a.md", "mimeType": "text/markdown", "buffer": b"# A"}
    )
    page.route("**/upload", lambda route: route.abort())
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("broke off")
    expect(page.get_by_role("button", name="Upload")).to_be_enabled()
    expect(page.locator(".chosen li")).to_have_count(1)
    # The browser itself logs every request that fails.
    assert ["ERR_FAILED" in text for text in complaints] == [True]
    complaints.clear()


def test_what_is_too_large_is_not_even_sent(page: Page) -> None:
    page.goto("/collections/default")
    asked = requests_of(page)
    page.evaluate("document.querySelector('[data-transfer]').dataset.most = '3'")
    page.get_by_label("Files", exact=True).set_input_files(
        {"name": "long.md", "mimeType": "text/markdown", "buffer": b"# Long"}
    )
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("long.md is larger")
    assert asked == []


def test_without_a_worker_the_page_says_which_command_starts_one(page: Page) -> None:
    page.goto("/collections/default")
    page.get_by_role("textbox", name="Web address").fill("https://example.invalid/page")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#job .status")).to_have_text("Waiting")
    expect(page.locator("#job .notice")).to_contain_text("ingest worker")
    expect(page.locator("#announce")).to_contain_text("Waiting", timeout=DONE)
    page.get_by_role("button", name="Cancel").focus()
    page.wait_for_timeout(1500)
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#job .status")).to_have_text("Cancelled")
    page.get_by_role("link", name="All jobs").click()
    expect(page.locator("tbody tr").first).to_contain_text("Cancelled")


def test_the_list_follows_its_filters_without_leaving_the_page(page: Page) -> None:
    page.goto("/collections/default/documents")
    page.evaluate("window.stayed = true")
    number = page.locator("tbody tr").count()
    page.get_by_label("Title or path").press_sequentially("harbour")
    expect(page.locator("#count")).to_contain_text("1–1 of 1")
    assert query(page) == {"q": ["harbour"]}
    page.get_by_label("Title or path").fill("")
    expect(page.locator("tbody tr")).to_have_count(number)
    page.get_by_role("combobox", name="Language").select_option("ja")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Passages").click()
    expect(page.locator("[aria-sort=descending]")).to_have_text("Passages")
    assert query(page) == {"language": ["ja"], "sort": ["chunks"]}
    page.get_by_role("combobox", name="Language").select_option("")
    expect(page.locator("tbody tr")).to_have_count(number)
    assert query(page) == {"sort": ["chunks"]}
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("combobox", name="Language")).to_have_value("ja")


def test_boxes_are_ticked_together_and_removal_asks_first(page: Page) -> None:
    page.goto("/collections/default/documents")
    expect(page.get_by_role("button", name="Remove chosen")).to_be_disabled()
    page.get_by_label("Choose all on this page").check()
    boxes = page.locator("input[name=source]")
    expect(page.locator("[data-select-count]")).to_have_text(f"{boxes.count()} chosen")
    boxes.first.uncheck()
    expect(page.get_by_label("Choose all on this page")).not_to_be_checked()
    page.get_by_role("button", name="Remove chosen").click()
    expect(page.locator("h1")).to_have_text(re.compile(r"Remove \d+ sources\?"))
    page.get_by_role("link", name="Keep them").click()
    expect(page.locator("input[name=source]")).to_have_count(boxes.count())


@pytest.mark.usefixtures("worker")
def test_everything_works_without_scripts(new_page: NewPage, tmp_path: Path) -> None:
    page = new_page(java_script_enabled=False)
    page.goto("/collections")
    page.get_by_label("Collection", exact=True).fill("plain")
    page.get_by_label("Files", exact=True).set_input_files(files(tmp_path))
    page.get_by_role("button", name="Upload").click()
    wait_for(page, "Succeeded")
    page.get_by_role("link", name="plain").click()
    expect(page.locator(".facts")).to_contain_text(re.compile(r"Documents\s*2"))
    page.get_by_role("link", name="Documents", exact=True).first.click()
    page.get_by_label("Title or path").fill("ferry")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_label("Choose Ferry timetable").check()
    page.get_by_role("button", name="Remove chosen").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    wait_for(page, "Succeeded")
    page.get_by_role("link", name="plain").click()
    page.get_by_role("link", name="Remove this collection").click()
    expect(page.get_by_text("1 document would go")).to_be_visible()
    page.get_by_role("button", name="Remove the collection").click()
    wait_for(page, "Succeeded")
    page.goto("/collections")
    expect(page.locator(".shelf-item h2", has_text="plain")).to_have_count(0)


def wait_for(page: Page, status: str) -> None:
    """Reload the page of a job until it stands so, as people without scripts do."""
    for _ in range(60):
        if page.locator("#job .status").inner_text() == status:
            return
        page.wait_for_timeout(1000)
        page.reload()
    expect(page.locator("#job .status")).to_have_text(status)


def addresses(page: Page) -> list[str]:
    """Give one address of each kind of page, those with a job included."""
    page.goto("/collections")
    shelf = page.locator(".shelf-item h2 a").evaluate_all("all => all.map(a => a.href)")
    page.goto("/models")
    model = str(page.locator("tbody th a").first.get_attribute("href"))
    page.goto("/collections/default")
    page.get_by_role("textbox", name="Web address").fill("https://example.invalid/page")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#job")).to_be_visible()
    job = page.url
    lists = ["/collections", "/models", "/failures", "/jobs"]
    one = [f"/collections/default{rest}" for rest in ("", "/documents", "/remove")]
    return [*lists, *one, "/collections/default/documents?q=nothing", shelf[-1], model, job]


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_wider_than_a_phone(new_page: NewPage, width: int) -> None:
    page = new_page(viewport={"width": width, "height": 844}, has_touch=True, is_mobile=True)
    for address in addresses(page):
        page.goto(address)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, (address, wide)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_both_themes(new_page: NewPage, scheme: str) -> None:
    page = new_page(color_scheme=scheme)
    for address in addresses(page):
        page.goto(address)
        assert page.evaluate(CONTRAST) == [], address


def test_targets_are_large_enough_for_fingers(new_page: NewPage) -> None:
    page = new_page(viewport=PHONE, has_touch=True, is_mobile=True)
    for address in addresses(page):
        page.goto(address)
        small = [entry for entry in page.evaluate(SMALL) if 'type="file"' not in entry]
        assert small == [], address
