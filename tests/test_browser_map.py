"""The map in a real browser: painted, pointed at, opened, drawn around, and used by keys alone."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import FloatRect, Page, expect

from ingest.analysing.asking import analyse
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import open_services
from search_app.config import Settings, load_settings
from tests.test_analysing import write
from tests.test_browser import (
    PHONE,
    NewPage,
    base,
    browser,
    complaints,
    executable,
    new_page,
)
from tests.web_site import cloned, run_apart

__all__ = ["base", "browser", "complaints", "executable", "new_page", "site"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAINTED = """() => {
  const canvas = document.querySelector('.map-points');
  // Of a copy, so that the browser does not advise what the map itself has no use for.
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const pen = copy.getContext('2d', { willReadFrequently: true });
  pen.drawImage(canvas, 0, 0);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Map();
  for (let at = 0; at < data.length; at += 4) {
    const colour = `${data[at]},${data[at + 1]},${data[at + 2]}`;
    seen.set(colour, (seen.get(colour) ?? 0) + 1);
  }
  return [...seen.entries()].sort((one, other) => other[1] - one[1]);
}"""


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Notes on three topics, mapped by their principal components."""
    folder: Path = tmp_path_factory.mktemp("notes")
    write(folder)

    async def fill(settings: Settings) -> None:
        async with open_services(settings) as services:
            await ingest(services, IngestRequest(arguments=[str(folder / "notes.jsonl")]))
            await analyse(services, "default", "map", {"method": "pca"})

    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url,
            data_dir=tmp_path_factory.mktemp("data"),
            embedder="hashing:256",
        )
        run_apart(fill(settings))
        yield SimpleNamespace(settings=settings)


def opened(page: Page, address: str = "/map?by=meta.topic") -> FloatRect:
    """Open the map; give where it is on the page."""
    page.goto(address)
    expect(page.locator("[data-map]")).to_have_attribute("data-painted", "40")
    box = page.locator(".map-stage").bounding_box()
    assert box is not None
    return box


def find_point(page: Page, box: FloatRect) -> tuple[float, float]:
    """Move the mouse over the map until it is over a point."""
    for down in range(20, int(box["height"]) - 60, 12):
        for along in range(20, int(box["width"]) - 20, 12):
            page.mouse.move(box["x"] + along, box["y"] + down)
            if page.locator(".map-on-point").count():
                return box["x"] + along, box["y"] + down
    raise AssertionError("no point was found")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_the_legend_is_painted(new_page: NewPage, scheme: str) -> None:
    page = new_page(color_scheme=scheme)
    opened(page)
    swatches = page.evaluate(
        "() => [...document.querySelectorAll('.map-legend .map-swatch')]"
        ".map((each) => getComputedStyle(each).backgroundColor.match(/\\d+/g).map(Number))"
    )
    assert len(swatches) == 4
    painted = page.evaluate(PAINTED)
    background = [int(part) for part in painted[0][0].split(",")]
    assert (sum(background) > 3 * 128) is (scheme == "light")
    seen = [[int(part) for part in colour.split(",")] for colour, _ in painted]
    for swatch in swatches:
        near = min(max(abs(a - b) for a, b in zip(swatch, each, strict=True)) for each in seen)
        assert near < 40, swatch


def test_what_nothing_is_coloured_by_leaves_the_points_and_a_sentence(
    new_page: NewPage, complaints: list[str]
) -> None:
    page = new_page()
    opened(page, "/map?by=meta.none")
    told = page.locator("[data-map-told]")
    expect(told).to_contain_text("Shown without colours: no passage of this map has the field")
    # The browser itself logs every answer of that kind.
    assert ["status of 400" in text for text in complaints] == [True]
    assert len(page.evaluate(PAINTED)) > 1
    complaints.clear()
    page.route("**/points.bin*", lambda route: route.fulfill(status=500, json={"detail": "No."}))
    page.goto("/map?by=meta.topic")
    expect(told).to_have_text("The map could not be loaded: No.")
    expect(page.locator(".map-points")).to_be_hidden()
    complaints.clear()


def test_pointing_shows_a_passage_and_a_click_opens_it(new_page: NewPage) -> None:
    page = new_page()
    box = opened(page)
    place = find_point(page, box)
    card = page.locator(".map-card")
    expect(card).to_be_visible()
    title = card.locator("strong").inner_text()
    assert title
    page.mouse.click(*place)
    expect(page).to_have_url(re.compile(r"/documents/[0-9a-f-]+\?chunk=[0-9a-f-]+#chunk-"))
    expect(page.locator("h1")).to_contain_text(title[:12])


def test_the_map_is_moved_and_zoomed_and_the_address_keeps_where(new_page: NewPage) -> None:
    page = new_page()
    box = opened(page)
    before = page.evaluate(PAINTED)
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.wheel(0, -800)
    expect(page).to_have_url(re.compile("#at="))
    assert page.evaluate(PAINTED) != before
    address = page.url
    page.reload()
    expect(page.locator("[data-map]")).to_have_attribute("data-painted", "40")
    assert page.url == address
    page.get_by_role("button", name="All", exact=True).click()
    expect(page).to_have_url(re.compile(r"#at=.*,1\.000$"))
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 380, box["y"] + 240, steps=4)
    page.mouse.up()
    expect(page).not_to_have_url(address)
    assert "/map" in page.url


def test_a_lasso_lists_and_searches_what_it_surrounds(new_page: NewPage) -> None:
    page = new_page()
    box = opened(page)
    page.get_by_role("button", name="Lasso").click()
    left, right = box["x"] + 3, box["x"] + box["width"] - 3
    top, bottom = box["y"] + 3, box["y"] + box["height"] - 60
    page.mouse.move(left, top)
    page.mouse.down()
    for corner in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(*corner, steps=3)
    page.mouse.up()
    chosen = page.locator("[data-map-chosen]")
    expect(chosen.locator("h2")).to_have_text(re.compile(r"Chosen passages: \d+"))
    number = int(chosen.locator("h2").inner_text().split(": ")[1])
    expect(chosen.locator("li")).to_have_count(number)
    box_within = chosen.get_by_role("searchbox")
    box_within.fill("telescope galaxy star")
    box_within.press("Enter")
    expect(chosen.locator("li .muted").first).to_have_text(re.compile(r"0\.\d{3}"))
    assert "sky" in chosen.locator("li a").first.inner_text()
    chosen.get_by_role("button", name="Choose none").click()
    expect(chosen).to_be_hidden()


def test_a_query_is_placed_without_another_page(new_page: NewPage) -> None:
    page = new_page()
    opened(page)
    page.evaluate("window.stayed = true")
    page.get_by_role("searchbox").first.fill("ferry harbour")
    page.get_by_role("searchbox").first.press("Enter")
    hits = page.locator("[data-map-hits]")
    expect(hits.locator("h2")).to_have_text("Hits on the map: 20")
    assert "harbour" in hits.locator("li a").first.inner_text()
    assert page.evaluate("window.stayed") is True
    assert "q=ferry+harbour" in page.url
    # The same address shows the same without asking again.
    opened(page, page.url)
    expect(hits.locator("li")).to_have_count(20)


def test_the_map_is_used_by_keys_alone(new_page: NewPage) -> None:
    page = new_page()
    opened(page)
    page.locator(".map-stage").focus()
    page.keyboard.press("ArrowRight")
    card = page.locator(".map-card strong")
    expect(card).to_be_visible()
    announced = page.locator("#announce")
    expect(announced).not_to_be_empty()
    first = announced.inner_text()
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    expect(announced).not_to_have_text(first)
    page.keyboard.press(" ")
    expect(page.locator("[data-map-chosen] h2")).to_have_text("Chosen passages: 1")
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page).to_have_url(re.compile("#at="))
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    expect(page.locator("[data-map-chosen]")).to_be_hidden()
    page.keyboard.press("ArrowDown")
    expect(card).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/documents/"))


def test_a_legend_entry_lights_up_its_points(new_page: NewPage) -> None:
    page = new_page()
    opened(page)
    before = dict(page.evaluate(PAINTED))
    entry = page.get_by_role("button", name=re.compile("^sky"))
    entry.click()
    expect(entry).to_have_attribute("aria-pressed", "true")
    page.mouse.move(2, 2)
    page.wait_for_function(
        f"() => JSON.stringify(({PAINTED})()) !== {json.dumps(json.dumps(before))}"
    )
    assert dict(page.evaluate(PAINTED)) != before
    entry.click()
    expect(entry).to_have_attribute("aria-pressed", "false")


def test_another_colour_is_chosen_from_the_list(new_page: NewPage) -> None:
    page = new_page()
    opened(page)
    page.get_by_label("Colour by").select_option("meta.weight")
    expect(page).to_have_url(re.compile("by=meta.weight"))
    expect(page.locator(".map-legend button")).to_have_count(4)


def test_a_finger_gets_a_card_with_a_link_and_nothing_runs_off_a_phone(new_page: NewPage) -> None:
    page = new_page(viewport=PHONE, has_touch=True, is_mobile=True, locale="ja-JP")
    box = opened(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    link = page.locator(".map-card a")
    for down in range(30, int(box["height"]) - 70, 40):
        for along in range(30, int(box["width"]) - 30, 40):
            page.touchscreen.tap(box["x"] + along, box["y"] + down)
            page.wait_for_timeout(20)
            if link.count():
                break
        if link.count():
            break
    expect(link).to_have_text("この箇所を開く")
    link.tap()
    expect(page).to_have_url(re.compile("/documents/"))


def test_without_scripts_the_table_is_offered(new_page: NewPage) -> None:
    page = new_page(java_script_enabled=False)
    page.goto("/map?by=meta.topic")
    expect(page.get_by_text("The map itself needs JavaScript")).to_be_visible()
    page.get_by_role("link", name="The same points as a table").click()
    expect(page.locator("tbody tr")).to_have_count(40)
