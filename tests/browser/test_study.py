"""The study page in a real Chromium: filter bar, brushes of parallel coordinates, what a hidden tab asks for."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Gallery, Opener
from tests.browser.test_pages import settle

pytestmark = pytest.mark.browser

STUDY, ASHA = "digits hyperband", "digits asha"
SHOW_PARALLEL = """() => {
  document.querySelector("[data-test=panel-parallel]")?.scrollIntoView({block: "center"});
  return Boolean(document.querySelector(".parallel[data-ready]"));
}"""
STILL = """(axis) => {
  const box = document.querySelector(`[data-test="axis-${axis}"] rect.parallel-hold`)?.getBoundingClientRect();
  const place = box && `${box.x} ${box.y} ${box.height}`;
  window.still = place && place === window.place ? window.still + 1 : 0;
  window.place = place;
  return window.still >= 10;
}"""
"""Whether an axis stood still for ten frames: panels above it that fill carry it from under the pointer."""
HIDEABLE = """() => {
  window.away = false;
  Object.defineProperty(document, "hidden", {get: () => window.away});
  Object.defineProperty(document, "visibilityState", {get: () => (window.away ? "hidden" : "visible")});
}"""


def parallel(page: Page) -> None:
    page.wait_for_function(SHOW_PARALLEL)


def brush(page: Page, axis: str, *, start: float, end: float) -> None:
    """Drag along an axis, from and to these shares of its height."""
    settle(page)
    page.wait_for_function(STILL, arg=axis)
    hold = page.get_by_test_id(f"axis-{axis}").locator("rect.parallel-hold")
    box = hold.bounding_box() or hold.bounding_box()  # an axis that is drawn anew just now has no place for a moment
    assert box is not None
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + start * box["height"])
    page.mouse.down()
    page.mouse.move(x, box["y"] + end * box["height"], steps=5)
    page.mouse.up()


def test_the_filter_completes_names_and_values(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(STUDY))
    page.get_by_test_id("filter-count").filter(has_text="250 trials").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("opt")
    expect(page.get_by_role("option").first).to_contain_text("optimizer")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("filter")).to_have_value(re.compile(r"^optimizer:(sgd|adam|adamw)$"))
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("filter-count")).to_contain_text("of 250 match")


def test_both_ends_of_a_range_are_one_chip(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(STUDY, "?filter=lr>=0.001 lr<=0.1 state:stopped"))
    chips = page.locator(".filter-chips .chip")
    expect(chips).to_have_count(2)
    expect(chips.first).to_contain_text("0.001 ≤ lr ≤ 0.1")
    chips.first.get_by_role("button", name="Remove").click()
    expect(page.get_by_test_id("filter")).to_have_value("state:stopped")


def test_brushes_and_the_filter_are_one(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(STUDY))
    parallel(page)
    brush(page, "lr", start=0.3, end=0.6)
    field = page.get_by_test_id("filter")
    expect(field).to_have_value(re.compile(r"^lr>=\S+ lr<=\S+$"))
    first = field.input_value()
    brush(page, "lr", start=0.45, end=0.3)  # the brush itself is dragged: it moves
    expect(field).not_to_have_value(first)
    brush(page, "optimizer", start=0.7, end=0.99)
    expect(field).to_have_value(re.compile(r"optimizer:adam$"))
    field.fill("dropout<=0.2")
    field.press("Enter")
    expect(page.get_by_test_id("axis-dropout").locator(".parallel-span")).to_have_count(1)
    expect(page.get_by_test_id("axis-lr").locator(".parallel-span")).to_have_count(0)


def test_axes_are_brushed_and_moved_by_keyboard(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(STUDY))
    parallel(page)
    hold = page.get_by_test_id("axis-dropout").locator("rect.parallel-hold")
    hold.focus()
    page.keyboard.press("ArrowUp")
    field = page.get_by_test_id("filter")
    expect(field).to_have_value(re.compile(r"^dropout>=\S+$"))
    expect(hold).to_be_focused()
    page.keyboard.press("Delete")
    expect(field).to_have_value("")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page).to_have_url(re.compile("axes=.*dropout.*momentum"))
    expect(page.locator(".parallel-axis").nth(3)).to_have_attribute("data-test", "axis-dropout")


def test_a_line_is_told_and_clicked(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study("digits Gaussian process"))
    parallel(page)
    box = page.locator(".parallel").bounding_box()
    assert box is not None
    tip = page.locator(".parallel-tip")
    for step in range(40):
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + box["height"] * (0.15 + 0.02 * step))
        if tip.is_visible():
            break
    expect(tip).to_contain_text("val_accuracy")
    number = re.search(r"trial (\d+)", tip.inner_text())
    assert number is not None
    page.mouse.down()
    page.mouse.up()
    expect(page).to_have_url(re.compile(rf"/trials/{number[1]}$"))


def test_a_hidden_tab_asks_for_nothing_and_catches_up(shown: Gallery, open_page: Opener) -> None:
    page = open_page("about:blank")
    page.add_init_script(f"({HIDEABLE})()")
    page.goto(shown.study(STUDY))
    page.wait_for_function("() => document.querySelector('[data-test=panel-curves] .plot[data-ready]')")
    parallel(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/v1/studies" in request.url else None)
    page.evaluate("() => { window.away = true; document.dispatchEvent(new Event('visibilitychange')); }")
    page.get_by_test_id("filter").fill("lr>1e-3")
    page.get_by_test_id("filter").press("Enter")
    expect(page.get_by_test_id("filter-count")).to_contain_text("match")
    page.wait_for_timeout(700)
    assert [
        url for url in asked if not re.search(r"/trials\?", url)
    ] == []  # the table and the count are the reader's own
    with page.expect_request(re.compile(r"/sample\?.*filter")):
        page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")


def test_choices_of_the_charts_live_in_the_url(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(ASHA, "?x=time&by=state&smooth=50&lines=newest&logc=xy&axes=lr,resource"))
    progress, curves = page.get_by_test_id("panel-progress"), page.get_by_test_id("panel-curves")
    expect(progress.get_by_role("radio", name="Time")).to_be_checked()
    expect(curves.get_by_role("radio", name="Newest")).to_be_checked()
    expect(curves.get_by_label("Colour")).to_have_value("state")
    expect(curves.get_by_label("Axes")).to_have_value("xy")
    expect(curves.get_by_role("slider")).to_have_value("50")
    expect(curves).to_contain_text("the newest")
    parallel(page)
    expect(page.locator(".parallel-axis")).to_have_count(3)  # the value is always the last
    progress.get_by_role("radio", name="Trials").click()
    expect(page).not_to_have_url(re.compile("[?&]x="))


def test_a_panel_that_cannot_be_had_leaves_the_others_alone(shown: Gallery, open_page: Opener) -> None:
    page = open_page("about:blank", allow=frozenset({503}))
    page.route(
        re.compile(r"/api/.*/curves"),
        lambda route: route.fulfill(
            status=503, content_type="application/problem+json", body='{"detail": "come again"}'
        ),
    )
    page.goto(shown.study(STUDY))
    curves = page.get_by_test_id("panel-curves")
    expect(curves.get_by_role("alert")).to_contain_text("come again")
    page.wait_for_function("() => document.querySelector('[data-test=panel-progress] .plot[data-ready]')")
    page.unroute_all()
    curves.get_by_role("button", name="Try again").click()
    page.wait_for_function("() => document.querySelector('[data-test=panel-curves] .plot[data-ready]')")
