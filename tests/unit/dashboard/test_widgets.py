"""The small parts of pages in a real browser: text stays text, everything works by keyboard, state lives in the URL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, Route, sync_playwright

from hpo_service.dashboard import pages
from tests.browser.conftest import ARGUMENTS, chromium

pytestmark = pytest.mark.browser
ORIGIN = "http://pages.test"
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40)
NASTY = ["<script>window.hit = 1</script>", "<img src=x onerror='window.hit = 1'>", "\u202eevil", "🦊" * 50, "&amp;<b>"]
IMPORTS = """const ui = await import("/static/core/ui.js"), { h, keyed, replace } = await import("/static/core/dom.js");
const place = document.getElementById("place");"""


def _serve(route: Route) -> None:
    path = Path(route.request.url.removeprefix(f"{ORIGIN}/").split("?")[0])
    if path.suffix in (".js", ".css"):
        route.fulfill(path=pages.FOLDER / path, content_type="text/css" if path.suffix == ".css" else "text/javascript")
    else:
        link = '<link rel="stylesheet" href="/static/app.css">'
        route.fulfill(body=f'<!doctype html><title>t</title>{link}<main id="place"></main>', content_type="text/html")


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        found = browser.new_page()
        found.set_default_timeout(10_000)
        found.route("**/*", _serve)
        yield found
        browser.close()


@pytest.fixture
def page(tab: Page) -> Page:
    tab.goto(f"{ORIGIN}/")
    return tab


def run(page: Page, script: str, given: object = None) -> object:
    return page.evaluate(f"async (given) => {{ {IMPORTS} {script} }}", given)


@pytest.mark.parametrize("text", NASTY)
def test_text_is_never_markup(page: Page, text: str) -> None:
    shown = run(page, """const p = ui.panel({ id: "p", title: given, help: given });
        p.problem(new Error(given));
        replace(place, h("p", { text: given }), h("p", { title: given }, given), ui.chip(given, { remove() {} }),
            ui.badge(given), p.node, ui.emptyState({ title: given, text: given }),
            ui.progress({ value: 1, max: 2, label: given }));
        ui.toast(given);
        return [place.querySelector("p").textContent, document.querySelectorAll("script, img, b").length];
        """, text)  # fmt: skip
    assert shown == [text, 0]
    assert page.evaluate("window.hit") is None


def test_long_words_widen_no_page(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    run(page, """ui.toast(given);
        replace(place, h("h1", null, given), ui.chip(given), h("p", { class: "name" }, given));
        ui.dialog({ title: given, body: given });""", "x" * 10_000)  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.set_viewport_size({"width": 1280, "height": 800})


def test_tabs_and_choices_follow_the_arrow_keys(page: Page) -> None:
    run(page, """window.seen = []; const items = ["a", "b", "c"].map((id) => ({ id, label: id }));
        replace(place, ui.tabs(items, "a", (id) => seen.push(id)), ui.segmented(items, "c", (id) => seen.push(id)));
        """)  # fmt: skip
    page.get_by_role("tab", name="a").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "End", "Home"):
        page.keyboard.press(key)
    assert page.evaluate("seen") == ["b", "c", "a", "c", "a"]
    assert page.get_by_role("tab", selected=True).inner_text() == "a"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "c", "one stop in each group: its chosen one"
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("radio", checked=True).inner_text() == "b"


def test_a_menu_opens_moves_and_gives_the_focus_back(page: Page) -> None:
    run(page, """window.ran = []; const b = ui.menu(ui.button("More", () => {}), [
        { label: "one", run: () => ran.push(1) }, { label: "two", disabled: true, run: () => ran.push(2) },
        { label: "three", run: () => ran.push(3) }]); replace(place, b);""")  # fmt: skip
    more = page.get_by_role("button", name="More")
    more.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.evaluate("ran") == [3], "what is disabled is passed over"
    assert page.get_by_role("menu").count() == 0
    more.click()
    page.keyboard.press("Escape")
    assert page.get_by_role("menu").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "More"
    assert more.get_attribute("aria-expanded") == "false"


def test_a_dialog_answers_what_was_chosen(page: Page) -> None:
    ask = (
        "window.answer = undefined; ui.confirmed('Stop it?', { yes: 'Stop' }).then((one) => { window.answer = one; });"
    )
    run(page, ask)
    page.get_by_role("dialog", name="Are you sure?").get_by_role("button", name="Stop").press("Enter")
    page.wait_for_function("window.answer === true")
    run(page, ask)
    page.keyboard.press("Escape")
    page.wait_for_function("window.answer === false")
    assert page.get_by_role("dialog").count() == 0


def test_a_switch_and_a_select_tell_their_state(page: Page) -> None:
    run(page, """window.seen = []; replace(place, ui.switcher("log axis", false, (on) => seen.push(on)),
        ui.select("Metric", [{ id: "a", label: "loss" }, { id: "b", label: "acc" }], "a", (id) => seen.push(id)));
        """)  # fmt: skip
    page.get_by_role("switch", name="log axis").press("Space")
    assert page.get_by_role("switch").get_attribute("aria-checked") == "true"
    page.get_by_label("Metric").select_option("b")
    assert page.evaluate("seen") == [True, "b"]


def test_a_panel_shows_loading_then_keeps_what_it_has(page: Page) -> None:
    told = run(page, """const p = ui.panel({ id: "p", title: "Best so far" }); replace(place, p.node); const out = [];
        const say = () => out.push(
            [p.node.hasAttribute("aria-busy"), p.body.textContent, !!p.body.querySelector(".skeleton")]);
        p.loading(); say(); replace(p.body, "chart"); p.note("all 3 trials"); say(); p.loading(); say();
        p.ready(); say();
        p.problem(Object.assign(new Error("gone"), { name: "AbortError" })); say(); p.empty("nothing yet"); say();
        return out;
        """)  # fmt: skip
    assert told == [
        [True, "", True], [False, "chart", False], [True, "chart", False], [False, "chart", False],
        [False, "chart", False], [False, "nothing yet", False],
    ]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), unique=True, max_size=8), min_size=1, max_size=4))
def test_keyed_children_stay_the_same_nodes(tab: Page, orders: list[list[int]]) -> None:
    if tab.url == "about:blank":
        tab.goto(f"{ORIGIN}/")
    kept = run(tab, """const box = h("ul"); const first = new Map(); let same = true; const shown = [];
        for (const order of given) {
          const before = new Set(box.children);
          keyed(box, order, { key: (n) => n, mark: (n) => n, make: (n) => h("li", null, n) });
          for (const child of box.children) if (!before.has(child)) first.set(child.textContent, child);
          same &&= [...box.children].every((child) => first.get(child.textContent) === child);
          shown.push([...box.children].map((child) => Number(child.textContent)));
        }
        return [same, shown];""", orders)  # fmt: skip
    assert kept == [True, orders]


@settings(max_examples=50, deadline=None)
@example(["a,b", "50%", "%2C", "%252C"])
@given(st.one_of(TEXT, st.booleans(), st.integers(-(10**9), 10**9), st.lists(TEXT, max_size=4)))
def test_what_is_put_in_the_url_comes_out(tab: Page, value: object) -> None:
    if tab.url == "about:blank":
        tab.goto(f"{ORIGIN}/")
    script = """const { param } = await import("/static/core/url.js");
        const kind = Array.isArray(given) ? "list" : typeof given;
        const fallback = { list: ["?"], string: "?", number: 0, boolean: false }[kind];
        const name = `p${kind}`; const one = param(name, fallback); one.set(given);
        const out = one.get(); one.set(fallback); return [out, new URLSearchParams(location.search).has(name)];"""
    assert run(tab, script, value) == [value, False]


def test_back_undoes_what_was_pushed(page: Page) -> None:
    run(page, """const { param } = await import("/static/core/url.js"); const view = param("view", "overview");
        window.seen = []; view.on((one) => seen.push(one)); view.set("trials", { push: true });
        view.set("trials", { push: true });
        """)  # fmt: skip
    assert page.url.endswith("/?view=trials")
    page.go_back()
    page.wait_for_function("seen.length === 2")
    assert page.evaluate("seen") == ["trials", "overview"]


def test_shortcuts_leave_typing_alone(page: Page) -> None:
    run(page, """const { shortcut } = await import("/static/core/keys.js"); window.hit = [];
        shortcut("x", "select", () => hit.push("x")); shortcut("g x", "go", () => hit.push("gx"));
        replace(place, h("input", { id: "field" }), h("button", null, "b"));""")  # fmt: skip
    page.locator("#field").press("x")
    page.get_by_role("button", name="b").press("x")
    page.keyboard.press("Control+x")
    page.keyboard.press("g")
    page.keyboard.press("x")
    assert page.evaluate("hit") == ["x", "gx"]
    page.keyboard.press("?")
    assert "select" in page.get_by_role("dialog", name="Keyboard").inner_text()


def test_the_theme_is_kept_and_told(page: Page) -> None:
    run(page, """const theme = await import("/static/core/theme.js"); window.modes = [];
        theme.onTheme((one) => modes.push([one, theme.colours().paper]));
        theme.toggle(); theme.toggle(); theme.choose("system");
        """)  # fmt: skip
    (dark, dark_paper), (light, light_paper), _ = page.evaluate("modes")
    assert (dark, light) == ("dark", "light")
    assert dark_paper != light_paper
    assert page.evaluate("localStorage.length") == 0
