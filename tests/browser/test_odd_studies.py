"""Studies as they are not in demonstrations: of one trial, of none that worked, of many parameters."""

from __future__ import annotations

import itertools
import math
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Gallery, Opener
from tests.browser.test_pages import drawn

pytestmark = pytest.mark.browser

LONG = "<script>alert(1)</script> " + "x" * 100
SPACE: dict[str, Any] = {
    "lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
    "kind": {"type": "choice", "values": ["a", "b"]},
}
WIDE: dict[str, Any] = {
    f"parameter_{i:02d}": {"type": "choice", "values": [LONG, f"{LONG} too"]}
    if i % 3 == 0
    else {"type": "uniform", "low": 0, "high": 1}
    for i in range(40)
}


def made(shown: Gallery, values: list[float | str], **more: Any) -> str:
    """A study by external trials, each told one of the values."""
    definition = {
        "name": "odd",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "space": SPACE,
        "algorithm": {"name": "random", "max_resource": 9},
        "trainer": {"external": True},
        "budget": {"trials": 30},
        "parallel": 30,
        **more,
    }
    with httpx.Client(base_url=f"{shown.url}/api/v1") as client:
        study = str(client.post("/studies", json=definition).raise_for_status().json()["id"])
        wanted = {"client_id": "me", "n": len(values)}
        trials = client.post(f"/studies/{study}/ask", json=wanted).json()["trials"] if values else []
        assert len(trials) == len(values)
        for trial, value in zip(trials, values, strict=True):
            told = {"trial": trial["trial"], "fence": trial["fence"], "value": value, "resource": 9}
            client.post(f"/studies/{study}/tell", json=told).raise_for_status()
    return f"{shown.url}/studies/{study}"


def test_a_single_trial_stands_in_the_middle_of_its_axes(shown: Gallery, open_page: Opener) -> None:
    page = open_page(made(shown, [0.1234], budget={"trials": 1}))
    drawn(page, "progress")
    panel = page.get_by_test_id("panel-progress")
    expect(panel).to_contain_text("the only trial")
    axes = "node => ['xaxis', 'yaxis'].map((one) => node._fullLayout[one].range)"
    (left, right), (low, high) = panel.locator(".js-plotly-plot").evaluate(axes)
    assert left < 0 < right < 1
    assert 0.1 < low < 0.1234 < high < 0.15


def test_numbers_of_few_trials_are_whole(shown: Gallery, open_page: Opener) -> None:
    page = open_page(made(shown, [0.3, 0.2, 0.25, 0.4]))
    drawn(page, "progress")
    ticks = page.get_by_test_id("panel-progress").locator(".xtick text").all_text_contents()
    assert ticks == ["0", "1", "2", "3"]


def test_a_study_without_a_finite_value_says_so(shown: Gallery, open_page: Opener) -> None:
    page = open_page(made(shown, ["NaN"] * 4))
    expect(page.get_by_test_id("panel-progress")).to_contain_text("Every trial failed")
    drawn(page, "parallel")
    assert page.get_by_test_id("axis-value").locator(".parallel-tick").all_text_contents() == ["–"]


def test_names_and_labels_of_forty_parameters_keep_apart(shown: Gallery, open_page: Opener) -> None:
    page = open_page(made(shown, [0.5, 0.4, 0.3], space=WIDE))
    drawn(page, "parallel")
    names = page.locator(".parallel-name")
    boxes = sorted(
        names.evaluate_all("all => all.map((one) => [one.getBBox().width, one.getCTM().e])"), key=lambda b: b[1]
    )
    assert len(boxes) == 17
    for (width, middle), (after, right) in itertools.pairwise(boxes):
        assert middle + width / 2 < right - after / 2
    assert len({text for text in names.all_text_contents()}) == 17  # cut, but told apart
    first = page.get_by_test_id("axis-parameter_00").locator(".parallel-tick").first
    expect(first).to_contain_text("<")  # as it is, not as markup
    assert math.isclose(page.evaluate("document.documentElement.scrollWidth"), page.evaluate("innerWidth"), abs_tol=1)


def test_a_study_that_never_began_promises_no_trial(shown: Gallery, open_page: Opener) -> None:
    url = made(shown, [])
    httpx.post(f"{url.replace('/studies/', '/api/v1/studies/')}/stop").raise_for_status()
    page = open_page(url)
    expect(page.locator("main")).to_contain_text("ended before its first")
