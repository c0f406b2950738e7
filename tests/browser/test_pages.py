"""Every page of the dashboard in a real Chromium: clean consoles, no overflow, names for all, linked selection."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Gallery, Opener
from tests.browser.gallery import HOSTILE

pytestmark = pytest.mark.browser

STUDY, GP, TWO = "digits hyperband", "digits Gaussian process", "accuracy against time"
PAGES = {
    "studies": ("", "/"),
    "new": ("", "/new"),
    "workers": ("", "/workers"),
    "overview": (STUDY, ""),
    "running": ("digits asha", ""),
    "brackets": (STUDY, "?view=brackets"),
    "parameters": (STUDY, "?view=parameters"),
    "several objectives": (TWO, "?view=parameters"),
    "model": (GP, "?view=model"),
    "timeline": (STUDY, "?view=timeline"),
    "trials": (STUDY, "?view=trials"),
    "about": (STUDY, "?view=about"),
    "trial": (STUDY, "/trials/10"),
    "hostile": (HOSTILE, ""),
    "hostile about": (HOSTILE, "?view=about"),
    "hostile trial": (HOSTILE, "/trials/3"),
}
NAMELESS = """() => [...document.querySelectorAll("button, a[href], input, select, textarea, [role=tab]")]
  .filter((e) => e.checkVisibility() && !e.closest("[aria-hidden=true], .js-plotly-plot"))
  .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length || e.title
      || e.getAttribute("aria-labelledby") || e.placeholder))
  .map((e) => e.outerHTML.slice(0, 120))"""
SIDEWAYS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
CONTRAST = """() => {
  const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number)
    .map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(c) && c !== "transparent") return c; } return "rgb(255, 255, 255)"; };
  const poor = [];
  for (const e of document.querySelectorAll("main *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (e.closest("svg, :disabled, [aria-disabled=true]")) continue;
    const style = getComputedStyle(e), back = ground(e);
    if (!/^rgb\\(/.test(style.color) || !/^rgb\\(/.test(back)) continue;
    const [a, b] = [light(style.color), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 40)}`);
  }
  return [...new Set(poor)].slice(0, 10);
}"""


def address(shown: Gallery, name: str) -> str:
    study, path = PAGES[name]
    return shown.study(study, path) if study else shown.url + path


def settle(page: Page) -> None:
    """Until nothing in sight is still loading."""
    page.wait_for_function(
        """() => document.querySelector("main h1") && ![...document.querySelectorAll("[aria-busy=true], .skeleton")]
             .some((e) => { const r = e.getBoundingClientRect();
                            return e.checkVisibility() && r.height && r.top < innerHeight && r.bottom > 0; })"""
    )


DRAWN = """(panel) => {
  const node = document.querySelector(`[data-test="panel-${panel}"]`);
  node?.scrollIntoView({block: "center"});
  return Boolean(node?.querySelector("[data-ready]"));
}"""


def drawn(page: Page, panel: str) -> None:
    """Until the chart of a panel, brought into sight, is drawn."""
    page.wait_for_function(DRAWN, arg=panel)


def rows_of(page: Page, count: int) -> Locator:
    """The rows of the overview's table, brought into sight: so many."""
    page.wait_for_function(
        """() => { const either = ":is([data-test=panel-table], [data-test=panel-trials])";
                 const node = document.querySelector(`#view-overview ${either}`);
                 node?.scrollIntoView({block: "center"});
                 return Boolean(node?.querySelector("tbody tr")); }"""
    )
    rows = page.locator("#view-overview").get_by_test_id("trials-table").locator("tbody tr")
    expect(rows).to_have_count(count)
    return rows


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_clean(shown: Gallery, open_page: Opener, name: str) -> None:
    """Nothing on the console, everything has a name, text can be read, nothing sticks out sideways."""
    page = open_page(address(shown, name))
    page.on("dialog", lambda dialog: pytest.fail(f"a script of the data ran: {dialog.message}"))
    settle(page)
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(SIDEWAYS) <= 0
    assert page.evaluate(CONTRAST) == []
    assert page.locator("h1:visible").count() == 1


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_on_a_phone_in_the_dark(shown: Gallery, open_page: Opener, name: str) -> None:
    page = open_page(address(shown, name), width=390, scheme="dark")
    settle(page)
    assert page.evaluate(SIDEWAYS) <= 0
    assert page.evaluate(CONTRAST) == []
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in re.findall(r"\d+", ground)[:3])
    assert max(red, green, blue) < 80, ground


@pytest.mark.parametrize(
    ("view", "panels"),
    [
        ("overview", ["progress", "curves", "parallel"]),
        ("parameters", ["slices", "distribution", "contour"]),
        ("timeline", ["timeline"]),
    ],
)
def test_charts_are_drawn(shown: Gallery, open_page: Opener, view: str, panels: list[str]) -> None:
    page = open_page(shown.study(STUDY, f"?view={view}"))
    for panel in panels:
        drawn(page, panel)


def test_the_front_of_two_objectives_is_drawn(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(TWO, "?view=parameters"))
    drawn(page, "pareto")
    panel = page.get_by_test_id("panel-pareto")
    panel.get_by_label("Across").select_option("epoch_seconds")
    expect(panel.get_by_label("Up")).to_have_value("val_accuracy")  # the two never name the same
    expect(page).to_have_url(re.compile("pa.x=epoch_seconds"))


def test_the_filter_selects_everywhere_and_lives_in_the_url(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(STUDY))
    page.get_by_test_id("count-failed").click()
    expect(page.get_by_test_id("filter")).to_have_value("state:failed")
    expect(page.get_by_test_id("filter-count")).to_contain_text("2 of 250")
    expect(page).to_have_url(re.compile(r"filter=state(:|%3A)failed"))
    rows_of(page, 2)
    page.reload()
    expect(page.get_by_test_id("filter")).to_have_value("state:failed")
    rows_of(page, 2)
    page.get_by_test_id("filter-clear").click()
    expect(page.get_by_test_id("filter")).to_have_value("")
    rows_of(page, 10)
    page.go_back()
    expect(page.get_by_test_id("filter")).to_have_value("state:failed")


def test_brushing_a_chart_selects_the_same_trials_everywhere(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(STUDY))
    drawn(page, "progress")
    box = page.get_by_test_id("panel-progress").locator(".nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.30 * box["width"], box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.5 * box["height"], steps=5)
    page.mouse.move(box["x"] + 0.60 * box["width"], box["y"] + box["height"] - 2, steps=5)
    page.mouse.up()
    expect(page.get_by_test_id("filter")).to_have_value(re.compile(r"number>=\d+ number<=\d+"))
    low, high = (int(n) for n in re.findall(r"number[<>]=(\d+)", page.get_by_test_id("filter").input_value()))
    assert 40 < low < high < 200
    expect(page.get_by_test_id("filter-count")).to_contain_text(" of 250")
    shown_now = rows_of(page, 10).evaluate_all("(rows) => rows.map((row) => Number(row.dataset.trial))")
    assert all(low <= number <= high for number in shown_now), (low, high, shown_now)


def test_a_filter_that_does_not_parse_says_where(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(STUDY), allow=frozenset({422}))
    field = page.get_by_test_id("filter")
    field.fill("lr>1e-3 stat:failed")
    field.press("Enter")
    problem = page.locator("#filter-problem")
    expect(problem).to_contain_text("stat:failed")  # the term, not the whole filter
    expect(problem).not_to_contain_text("lr>1e-3")
    expect(problem).to_contain_text("did you mean 'state'")
    field.fill("lr>1e-3 state:failed")
    field.press("Enter")
    expect(problem).to_be_hidden()


def test_a_study_is_used_by_keyboard_alone(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(STUDY))
    settle(page)
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent").lower().startswith("skip")
    page.keyboard.press("/")
    expect(page.get_by_test_id("filter")).to_be_focused()
    page.keyboard.type("optimizer:sgd")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("optimizer"))
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Overview").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Brackets")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("view=brackets"))
    page.get_by_role("tab", name="Trials").focus()
    page.keyboard.press("Enter")
    table = page.locator("#view-trials").get_by_test_id("trials-table")
    table.locator("tbody tr").first.wait_for()
    table.locator("tbody tr").first.focus()
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("#view-trials").get_by_test_id("row-actions")).to_contain_text("2")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/trials/\d+"))
    before = page.url
    page.get_by_role("heading", level=1).wait_for()
    settle(page)
    page.keyboard.press("]")
    page.wait_for_url(lambda url: url != before)


def test_columns_sorts_and_clicked_filters_of_the_table(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(STUDY, "?view=trials"))
    table = page.get_by_test_id("trials-table")
    table.locator("tbody tr").first.wait_for()
    table.get_by_role("button", name=re.compile("^.?.?lr")).first.click()
    expect(page).to_have_url(re.compile("sort=-?lr"))
    head = table.locator("th[aria-sort]")
    expect(head).to_contain_text("lr")
    page.get_by_role("button", name="Columns").click()
    chooser = page.get_by_test_id("chooser")
    chooser.get_by_label(re.compile("bracket", re.IGNORECASE)).first.check()
    page.get_by_role("button", name="Done").click()
    expect(table.locator("thead")).to_contain_text("Bracket")
    expect(page).to_have_url(re.compile("cols=.*bracket"))


def test_the_theme_is_kept(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.url)
    settle(page)
    page.get_by_role("button", name=re.compile("theme|dark|light", re.IGNORECASE)).first.click()
    page.wait_for_function("() => document.documentElement.dataset.theme")
    chosen = page.evaluate("() => document.documentElement.dataset.theme")
    page.goto(shown.study(STUDY))
    settle(page)
    assert page.evaluate("() => document.documentElement.dataset.theme") == chosen


@pytest.mark.parametrize("path", ["/nothing/here", "/studies/sdoesnotexist", "/studies/{study}/trials/99999"])
def test_what_does_not_exist_says_so(shown: Gallery, open_page: Opener, path: str) -> None:
    page = open_page(shown.url + path.replace("{study}", shown.ids[STUDY]), allow=frozenset({404}))
    expect(page.get_by_test_id("missing")).to_be_visible()
    expect(page.get_by_test_id("missing").get_by_role("link").first).to_be_visible()


def test_hostile_text_is_shown_as_text(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(HOSTILE, "?view=about"))
    page.on("dialog", lambda dialog: pytest.fail(f"a script of the data ran: {dialog.message}"))
    settle(page)
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert('x')</script>")
    assert page.locator("main script, main img[onerror]").count() == 0
    assert page.locator("main a[href^='javascript:']").count() == 0
    expect(page.locator("main")).to_contain_text("<b>bold</b>")


def test_a_lost_connection_shows_itself_and_recovers(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.url, allow=frozenset({0}))
    live = page.locator("#live")
    expect(live).to_contain_text("live")
    shown.server.stop()
    expect(live).to_contain_text("lost")
    shown.server.start(ready=False)
    shown.server.wait_ready("/healthz")
    expect(live).to_have_text(re.compile("live$"))


def test_studies_are_searched_selected_and_compared(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.url)
    table = page.get_by_test_id("studies-table")
    expect(table.get_by_role("link", name="digits TPE")).to_be_visible()
    page.get_by_test_id("search").fill("hyperband")
    expect(table.get_by_role("link", name="digits TPE")).to_be_hidden()
    expect(page).to_have_url(re.compile("q=hyperband"))
    for box in table.locator("tbody input[type=checkbox]").all():
        box.check()
    page.get_by_role("button", name="Compare").or_(page.get_by_role("link", name="Compare")).first.click()
    expect(page).to_have_url(re.compile(r"/compare\?study=.*study="))
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    settle(page)
    expect(page.locator("main")).to_contain_text("luck")
