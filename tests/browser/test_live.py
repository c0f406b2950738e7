"""A live study in a real Chromium, from its submission to a comparison: real workers train it meanwhile."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.processes import Server
from tests.browser.conftest import Opener
from tests.browser.test_pages import drawn, settle

pytestmark = [pytest.mark.browser, pytest.mark.ray]

DEFINITION = """name: from the page
objective: {metric: val_accuracy, direction: maximize}
space:
  lr: {type: loguniform, low: 1.0e-4, high: 1.0e-1, default: 0.003}
  dropout: {type: uniform, low: 0.0, high: 0.5, default: 0.1}
algorithm: {name: asha, max_resource: 9, eta: 3}
trainer: {recipe: image_classifier, params: {data: digits, model: mlp}}
budget: {trials: 12}
parallel: 2
"""


def write(page: Page, text: str) -> None:
    """Put a definition into the editor."""
    editor = page.get_by_role("textbox").first
    editor.fill(text)


def test_a_study_from_submission_to_comparison(training: Server, open_page: Opener) -> None:
    page = open_page(f"{training.url}/new", allow=frozenset({422}))
    settle(page)
    write(page, DEFINITION.replace("low: 1.0e-4, high: 1.0e-1", "low: 1.0, high: 1.0e-1"))
    problems = page.locator("main")
    expect(problems).to_contain_text(re.compile(r"[Ll]ine 4"))
    write(page, DEFINITION)
    expect(page.locator("main")).to_contain_text("Valid")
    page.get_by_role("button", name="Submit study").click()
    expect(page).to_have_url(re.compile(r"/studies/s\w+$"))
    study = page.url.rsplit("/", 1)[1]

    header = page.get_by_test_id("study-header")
    expect(header).to_contain_text(re.compile("running|finished"), timeout=90_000)
    expect(page.get_by_test_id("bound-trials")).to_contain_text(re.compile(r"[1-9]\d* of 12"))  # by itself, live
    expect(page.get_by_test_id("trials-table").locator("tbody tr").first).to_be_visible()
    expect(header).to_contain_text("finished", timeout=90_000)
    expect(page.get_by_test_id("bound-trials")).to_contain_text("12 of 12")
    best = httpx.get(f"{training.url}/api/v1/studies/{study}").json()["best"]
    expect(header).to_contain_text(f"trial {best['trial']}")
    drawn(page, "progress")
    drawn(page, "curves")

    page.get_by_role("tab", name="Brackets").click()
    expect(page.get_by_test_id("panel-brackets")).to_contain_text("entered")
    page.goto(f"{training.url}/studies/{study}/trials/{best['trial']}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Trial {best['trial']}")
    expect(page.locator("main")).to_contain_text("Diagnosis")
    expect(page.locator("main")).to_contain_text("reached")  # how its attempts ended

    page.goto(f"{training.url}/new?clone={study}")
    expect(page.get_by_role("textbox").first).to_have_value(re.compile("from the page"))
    expect(page.locator("main")).to_contain_text("Valid")
    expect(page.locator("main")).to_contain_text(re.compile(r"\d+ (s|min)"))  # the first study taught what it takes
    page.get_by_role("button", name="Submit study").click()
    expect(page).to_have_url(re.compile(r"/studies/s\w+$"))
    other = page.url.rsplit("/", 1)[1]
    assert other != study
    expect(page.get_by_test_id("study-header")).to_contain_text("finished", timeout=90_000)

    page.goto(f"{training.url}/compare?study={study}&study={other}")
    settle(page)
    expect(page.locator("main")).to_contain_text("luck")
    page.locator("[data-ready]").first.wait_for()


def test_steering_a_study_from_its_page(training: Server, open_page: Opener) -> None:
    long = DEFINITION.replace("trials: 12", "trials: 2000").replace("from the page", "a long one")
    made = httpx.post(
        f"{training.url}/api/v1/studies", content=long, headers={"content-type": "application/yaml"}
    ).raise_for_status()
    page = open_page(f"{training.url}/studies/{made.json()['id']}")
    header = page.get_by_test_id("study-header")
    expect(header).to_contain_text("running", timeout=90_000)
    page.get_by_test_id("pause").click()
    expect(header).to_contain_text("paused")
    page.get_by_test_id("resume").click()
    expect(header).to_contain_text("running")
    page.get_by_test_id("stop").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Stop")).click()
    expect(header).to_contain_text("stopped")


def test_notices_are_shared_between_tabs(training: Server, open_page: Opener) -> None:
    """One browser holds one stream of notices, however many tabs are open."""
    first = open_page(training.url)
    expect(first.locator("#live")).to_contain_text("live")
    streams: list[str] = []
    second = first.context.new_page()
    second.on("request", lambda request: streams.append(request.url) if request.url.endswith("/events") else None)
    second.goto(f"{training.url}/workers")
    expect(second.locator("#live")).to_contain_text("live")
    assert streams == []
    first.close()  # the other one takes over
    with second.expect_request(re.compile("/api/v1/events$")):
        pass
    expect(second.locator("#live")).to_contain_text("live")
