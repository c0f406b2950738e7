"""Trials that trained together, as the pages show them: timeline, a trial's page, methods, event log."""

from __future__ import annotations

import re

import httpx
from playwright.sync_api import expect

from tests.browser.conftest import Gallery, Opener
from tests.browser.fused_study import NAME

FRAMES = """() => document.querySelector("[data-test=panel-timeline] .js-plotly-plot")?.data
  ?.filter((trace) => trace.name === "trained together").map((trace) => trace.base.length)[0] ?? 0"""


def trial_of_two_fused_attempts(shown: Gallery) -> tuple[int, dict[str, object]]:
    """The first trial that went on, and its newest launch."""
    api = f"{shown.url}/api/v1/studies/{shown.ids[NAME]}"
    rows = httpx.get(f"{api}/trials", params={"filter": "state:finished", "limit": 50}).json()["items"]
    for row in rows:
        trial = httpx.get(f"{api}/trials/{row['number']}").json()
        if all(one["width"] > 1 for one in trial["attempt_rows"]):
            return row["number"], httpx.get(f"{api}/trials/{row['number']}/launch").json()
    raise AssertionError("the gallery has no trial that was always trained together with others")


def test_the_timeline_frames_launches(open_page: Opener, shown: Gallery) -> None:
    page = open_page(shown.study(NAME, "?view=timeline"))
    panel = page.get_by_test_id("panel-timeline")
    expect(panel.get_by_text("launches of several trials")).to_be_visible()
    page.wait_for_function(FRAMES)
    found = httpx.get(f"{shown.url}/api/v1/studies/{shown.ids[NAME]}/timeline").json()
    assert page.evaluate(FRAMES) == len(found["launches"]) > 20


def test_a_trial_says_who_trained_with_it_and_what_that_cost(open_page: Opener, shown: Gallery) -> None:
    number, launch = trial_of_two_fused_attempts(shown)
    lanes = launch["lanes"]
    assert isinstance(lanes, list)
    page = open_page(shown.study(NAME, f"/trials/{number}"))
    panel = page.get_by_test_id("panel-attempts")
    fence = next(one["fence"] for one in lanes if one["trial"] == number)
    more = panel.get_by_test_id(f"launch-{fence}")
    expect(panel.get_by_role("cell", name=re.compile(rf"^fused, lane \d+ of {launch['width']}$")).first).to_be_visible()
    more.locator("summary").click()
    expect(more.get_by_role("link")).to_have_count(len(lanes))
    expect(more).to_contain_text("this trial's share is")
    other = next(one["trial"] for one in lanes if one["trial"] != number)
    more.get_by_role("link", name=f"trial {other}", exact=True).click()
    expect(page).to_have_url(re.compile(rf"/trials/{other}$"))


def test_methods_are_a_table_and_an_event_in_words(open_page: Opener, shown: Gallery) -> None:
    page = open_page(shown.study(NAME, "?view=about&log=decisions"))
    methods = page.get_by_test_id("panel-methods")
    expect(methods.get_by_role("row")).to_have_count(5)
    expect(methods.get_by_role("row").nth(1)).to_contain_text("5.5 ×")
    expect(methods).to_contain_text("lanes: lr, momentum, weight_decay, dropout")
    page.get_by_test_id("panel-events").evaluate("element => element.scrollIntoView()")
    event = page.locator("li[data-kind=methods_chosen]")
    expect(event).to_contain_text("How trials of 4 structures are trained was chosen: 3 fused, 1 plain")
    event.locator("summary").click()
    expect(event).to_contain_text(
        "batch_size=32: fused, up to 16 lanes; 610 µs a step plainly, 110 µs fused (measured)"
    )
    start = page.locator("li[data-kind=decided]").last
    expect(start).to_contain_text("and 122 more started")


def test_a_study_of_a_function_says_why_nothing_is_fused(open_page: Opener, shown: Gallery) -> None:
    page = open_page(shown.study("digits hyperband", "?view=about"))
    expect(page.get_by_test_id("panel-methods")).to_contain_text("only recipes can train several together")
