"""The trial table and the trial page in a real Chromium: patched in place, acted upon, copied from."""

from __future__ import annotations

import ast
import json
import math
from typing import Any

import httpx
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, expect

from tests.browser.conftest import Gallery, Opener
from tests.browser.gallery import HOSTILE

pytestmark = pytest.mark.browser

STUDY = "digits hyperband"
EXTERNAL = {
    "name": "by hand",
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
        "kind": {"type": "choice", "values": ["plain", 'so "called"', "<b>", "1e3"]},
    },
    "algorithm": {"name": "random", "max_resource": 9},
    "trainer": {"external": True},
    "budget": {"trials": 40},
    "parallel": 20,
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.sampled_from(
    ["yes", "null", "~", "1e3", "0x1", "2026-11-21", "- a", "a: b", "#", " a ", "a\nb", "a\n", "\n", "|"]
)
VALUES = st.recursive(
    SCALARS | TEXT | WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)


@pytest.fixture
def table(shown: Gallery, open_page: Opener) -> Page:
    return open_page(shown.study(STUDY, "?view=trials"))


def rows(page: Page) -> list[int]:
    return [
        int(n) for n in page.locator("table.trials tbody tr").evaluate_all("all => all.map((r) => r.dataset.trial)")
    ]


def external(shown: Gallery, count: int) -> tuple[str, list[dict[str, Any]]]:
    """A fresh external study and `count` trials of it that run."""
    with httpx.Client(base_url=f"{shown.url}/api/v1") as client:
        study = client.post("/studies", json=EXTERNAL).json()["id"]
        asked = client.post(f"/studies/{study}/ask", json={"client_id": "me", "n": count}).json()["trials"]
    return study, asked


def report(shown: Gallery, study: str, trial: dict[str, Any], step: int, loss: float) -> None:
    metrics = {"val_loss": loss, "train_loss": 1 / step}
    one = {"trial": trial["trial"], "fence": trial["fence"], "step": step, "metrics": metrics}
    answer = httpx.post(f"{shown.url}/api/v1/studies/{study}/reports", json={"reports": [one]})
    assert answer.status_code == 200, answer.text


def test_what_is_copied_parses_back(table: Page) -> None:
    """YAML and Python of any document that a study or a trial may hold."""
    as_yaml = "async (d) => (await import('/static/study/yaml.js')).document(JSON.parse(d))"
    as_python = "async (d) => (await import('/static/trial/copies.js')).python(JSON.parse(d))"

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=5))
    def check(document: dict[str, Any]) -> None:
        assert yaml.safe_load(table.evaluate(as_yaml, json.dumps(document))) == document
        flat = {name: value for name, value in document.items() if not isinstance(value, dict | list)}
        assert ast.literal_eval(table.evaluate(as_python, json.dumps(flat)).partition("=")[2].strip()) == flat

    check()


def test_one_huge_value_leaves_the_heat_as_it_was(table: Page) -> None:
    scale = """async ([all, log]) => { const { scale } = await import('/static/study/heat.js');
        const of = scale(all, { log }); return all.map(of); }"""
    plain = [float(n) for n in range(1, 41)]
    assert table.evaluate(scale, [plain, False])[:40] == pytest.approx(
        table.evaluate(scale, [[*plain, 1e20, "NaN"], False])[:40], abs=0.06
    )
    shares = table.evaluate(scale, [[*plain, 1e20, "NaN", None], False])
    assert shares[-3:] == [1, None, None]
    assert all(0 <= share <= 1 for share in shares[:40])
    logs = table.evaluate(scale, [[10.0**-n for n in range(9)], True])
    assert logs[4] == pytest.approx(0.5, abs=0.01)
    assert table.evaluate(scale, [[3.0, 3.0, 3.0], False]) == [None] * 3


def test_rows_are_patched_in_place_and_keep_the_focus(shown: Gallery, open_page: Opener) -> None:
    study, (one, two, *_) = external(shown, 3)
    page = open_page(f"{shown.url}/studies/{study}?view=trials&sort=number")
    row = page.locator(f"table.trials tr[data-trial='{two['trial']}']")
    expect(row).to_contain_text("running")
    row.focus()
    kept = row.element_handle()
    report(shown, study, two, 1, 0.25)
    expect(row).to_contain_text("0.25")
    report(shown, study, one, 1, 1e20)
    expect(page.locator(f"table.trials tr[data-trial='{one['trial']}']")).to_contain_text("1e20")
    assert page.evaluate("(row) => row === document.activeElement", kept)
    offer = page.get_by_role("button", name="Update order")
    offer.click()
    expect(offer).to_have_count(0)
    assert page.evaluate("(row) => row.isConnected", kept)


def test_selected_trials_are_stopped_tagged_and_tried_again(shown: Gallery, open_page: Opener) -> None:
    study, (one, two, *_) = external(shown, 3)
    report(shown, study, two, 1, 0.25)
    page = open_page(f"{shown.url}/studies/{study}?view=trials&sort=number&picked={one['trial']},{two['trial']}")
    actions = page.get_by_test_id("row-actions")
    expect(actions).to_contain_text("2 trials selected")
    expect(actions.get_by_role("button", name="Retry")).to_be_disabled()
    actions.get_by_role("button", name="Tag …").click()
    page.get_by_label("Add a tag").fill("<i>odd</i> \u202etag")
    page.keyboard.press("Enter")
    expect(page.locator("table.trials").get_by_text("<i>odd</i>").first).to_be_visible()
    actions.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("2 trials are being stopped.")).to_be_visible()
    for trial in (one, two):
        told = {"trial": trial["trial"], "fence": trial["fence"], "value": 0.5}
        httpx.post(f"{shown.url}/api/v1/studies/{study}/tell", json=told).raise_for_status()
    expect(page.locator("table.trials tr[data-trial='0']")).to_contain_text("stopped by a user")
    actions.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    expect(page.get_by_text("Trials 3 to 4 wait to be started.")).to_be_visible()


@pytest.mark.parametrize("value", EXTERNAL["space"]["kind"]["values"])  # type: ignore[index]  # a plain document
def test_a_click_on_a_word_finds_exactly_its_trials(shown: Gallery, open_page: Opener, value: str) -> None:
    study, asked = external(shown, 20)
    wanted = {one["trial"] for one in asked if one["params"]["kind"] == value}
    assert wanted
    page = open_page(f"{shown.url}/studies/{study}?view=trials")
    page.get_by_role("gridcell", name=value, exact=True).first.click()
    expect(page.locator(".table-note").last).to_contain_text("match")
    assert set(rows(page)) == wanted


def test_pages_are_walked_and_linked_to(table: Page, open_page: Opener) -> None:
    expect(table.locator("table.trials tbody tr")).to_have_count(50)
    first = rows(table)
    table.get_by_role("button", name="Next", exact=True).click()
    expect(table.get_by_text("51 – 100 of")).to_be_visible()
    second = rows(table)
    assert not set(first) & set(second)
    table.get_by_role("button", name="Next", exact=True).click()
    expect(table.get_by_text("101 – 150 of")).to_be_visible()
    table.go_back()
    expect(table.get_by_text("51 – 100 of")).to_be_visible()
    assert rows(table) == second
    linked = open_page(table.url)
    expect(linked.get_by_text("51 – 100 of")).to_be_visible()
    assert rows(linked) == second
    linked.get_by_role("button", name="Previous").click()
    expect(linked.get_by_text("1 – 50 of")).to_be_visible()
    assert rows(linked) == first
    table.get_by_role("button", name="Previous").click()
    expect(table.get_by_text("1 – 50 of")).to_be_visible()
    assert rows(table) == first


def test_statistics_of_curves_are_columns(table: Page) -> None:
    table.get_by_role("button", name="Columns").click()
    table.get_by_label("val_loss · highest").check()
    table.keyboard.press("Escape")
    expect(table.get_by_role("columnheader", name="val_loss · highest")).to_be_visible()
    number = rows(table)[0]
    path = table.evaluate("location.pathname")
    reports = table.evaluate(
        "async (url) => (await (await fetch(url)).json()).items", f"/api/v1{path}/trials/{number}/reports"
    )
    most = max(one["metrics"]["val_loss"] for one in reports)
    shown = table.locator(f"table.trials tr[data-trial='{number}'] > *").last.inner_text()
    assert math.isclose(float(shown), most, rel_tol=1e-3)


def test_a_trial_is_read_edited_and_left_by_keyboard(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(STUDY, "/trials/10"))
    expect(page.get_by_test_id("panel-diagnosis").get_by_role("listitem").first).to_be_visible()
    expect(page.get_by_test_id("panel-curves").locator("[data-ready]").first).to_be_visible()
    expect(page.get_by_test_id("panel-neighbours").get_by_role("link").first).to_be_visible()
    page.get_by_role("button", name="Write notes").click()
    page.keyboard.type("<img src=x onerror=alert(1)> **bold**")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".notes-text strong")).to_have_text("bold")
    expect(page.locator(".notes-text")).to_contain_text("<img src=x")
    page.locator("body").press("]")
    page.wait_for_url("**/trials/11")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Trial 11")
    expect(page.get_by_role("link", name="Previous trial")).to_be_visible()
    page.locator("body").press("[")
    page.wait_for_url("**/trials/10")


def test_the_event_log_tells_in_sentences_and_goes_back(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(STUDY, "?view=about"))
    page.get_by_test_id("panel-definition").locator("pre").wait_for()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    log = page.get_by_test_id("event-log")
    expect(log.locator("li.event")).to_have_count(50)
    seqs = log.locator("li.event").evaluate_all("all => all.map((e) => Number(e.dataset.seq))")
    assert seqs == sorted(seqs, reverse=True)
    expect(log).not_to_contain_text("does not know")
    page.get_by_role("button", name="Older").click()
    expect(log.locator("li.event")).to_have_count(100)
    page.get_by_role("radio", name="Study", exact=True).click()
    expect(log.locator("li.event").last).to_contain_text("The study was created.")


def test_hostile_names_stay_in_their_cells(shown: Gallery, open_page: Opener) -> None:
    page = open_page(shown.study(HOSTILE, "?view=about"), width=390)
    expect(page.get_by_test_id("panel-definition").locator("pre")).to_contain_text("\\u202e")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
