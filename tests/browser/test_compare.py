"""The page that compares, in a real Chromium: studies and trials, what stands in the address, add and take out."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Gallery, Opener
from tests.browser.gallery import HOSTILE

pytestmark = pytest.mark.browser

TWO = ("digits hyperband", "digits random baseline")


def address(shown: Gallery, *names: str) -> str:
    return f"{shown.url}/compare?" + "&".join(f"study={shown.ids[name]}" for name in names)


def drawn(page: Page) -> None:
    page.locator(".compare-plot[data-ready]").wait_for()


def test_studies_side_by_side(shown: Gallery, open_page: Opener) -> None:
    page = open_page(address(shown, *TWO, "digits hyperband, another seed"))
    drawn(page)
    rows = page.get_by_test_id("finals").get_by_role("row")
    expect(rows).to_have_count(4)
    expect(rows.nth(1)).to_contain_text("digits hyperband")
    assert re.search(r"9\d(\.\d)? %", rows.nth(1).inner_text())
    expect(rows.nth(1).get_by_role("img")).to_have_count(1)
    expect(page.get_by_test_id("verdicts")).to_contain_text("differ only in their seed")
    differences = page.get_by_test_id("differences")
    assert (
        differences.get_by_role("row", name=re.compile(r"^max_resource"))
        .locator(".differs")
        .inner_text()
        .startswith("9")
    )
    expect(differences).not_to_contain_text("loguniform")


def test_the_address_holds_what_is_shown(shown: Gallery, open_page: Opener) -> None:
    page = open_page(address(shown, *TWO))
    drawn(page)
    page.get_by_role("radio", name="Dollars").click()
    assert "x=cost" in page.url
    expect(page.locator(".compare-plot .xtitle")).to_have_text("dollars spent")
    page.get_by_role("button", name="Add studies").click()
    page.get_by_label("Search").fill("TPE")
    page.get_by_role("checkbox", name=re.compile("digits TPE")).check()
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_test_id("finals").get_by_role("row")).to_have_count(4)
    assert shown.ids["digits TPE"] in page.url
    page.reload()
    drawn(page)
    expect(page.get_by_test_id("finals").get_by_role("row")).to_have_count(4)
    page.get_by_role("button", name="Take out digits TPE").click()
    expect(page.get_by_test_id("finals").get_by_role("row")).to_have_count(3)
    assert shown.ids["digits TPE"] not in page.url
    page.go_back()
    expect(page.get_by_test_id("finals").get_by_role("row")).to_have_count(4)


def test_trials_side_by_side(shown: Gallery, open_page: Opener) -> None:
    study = shown.ids["digits hyperband"]
    page = open_page(f"{shown.url}/compare?trial={study}/10&trial={study}/3")
    drawn(page)
    table = page.get_by_test_id("trials-side")
    expect(table.get_by_role("row", name=re.compile("^lr"))).to_contain_text("differs")
    expect(table.get_by_role("row", name=re.compile("^val_accuracy"))).to_contain_text("%")
    page.get_by_label("Metric").select_option("val_loss")
    expect(page.locator(".compare-plot .ytitle")).to_have_text("val_loss")
    assert "metric=val_loss" in page.url
    page.get_by_role("button", name="Add a trial").click()
    page.get_by_label("Number of the trial").fill("40")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("link", name="Trial 40")).to_be_visible()


@pytest.mark.parametrize("width", [1360, 390])
def test_strange_names_are_text_and_nothing_overflows(shown: Gallery, open_page: Opener, width: int) -> None:
    page = open_page(address(shown, HOSTILE, *TWO), width=width, scheme="dark")
    drawn(page)
    expect(page.get_by_test_id("finals")).to_contain_text("<script>alert('x')</script>")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_nothing_chosen_and_nothing_found(shown: Gallery, open_page: Opener) -> None:
    page = open_page(f"{shown.url}/compare", allow=frozenset({404}))
    page.get_by_role("button", name="Choose studies").click()
    page.get_by_role("checkbox", name=re.compile("digits TPE")).check()
    page.get_by_role("button", name="Compare", exact=True).click()
    drawn(page)
    page.goto(f"{shown.url}/compare?study=nothing")
    expect(page.get_by_role("alert").filter(has_text="nothing")).to_be_visible()
