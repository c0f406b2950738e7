"""Confirmations in a real Chromium: begun by a button, shown in numbers and words; the report opened from a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.acceptance.processes import Server, showing
from tests.browser.conftest import Opener

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)> search"
DEFINITION: dict[str, Any] = {
    "name": HOSTILE,
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
        "kind": {"type": "choice", "values": ["<b>a</b>", "b"]},
    },
    "algorithm": {"name": "random"},
    "trainer": {"external": True},
    "budget": {"trials": 12},
    "parallel": 40,
}
MEANS = (0.925, 0.923, 0.903)
LUCK = (-0.004, -0.001, 0.0, 0.002, 0.003)


@dataclass
class Served:
    server: Server
    rest: httpx.Client
    search: str

    def page(self, study: str) -> str:
        return f"{self.server.url}/studies/{study}"

    def train(self, study: str, told: Callable[[int], Mapping[str, Any]]) -> None:
        while given := self.rest.post(f"/studies/{study}/ask", json={"client_id": "me", "n": 20}).json()["trials"]:
            for trial in given:
                body = {"trial": trial["trial"], "fence": trial["fence"], **told(trial["trial"])}
                assert self.rest.post(f"/studies/{study}/tell", json=body).status_code == 200

    def confirmed(self, study: str) -> None:
        """Train a confirmation of three with five seeds: the first two cannot be told apart, the third is worse."""

        def told(number: int) -> dict[str, Any]:
            value = MEANS[number % 3] + LUCK[number // 3]
            return {"metrics": {"val_accuracy": value, "test_accuracy": value - 0.01}}

        self.train(study, told)
        for trial in range(15):
            rng, right = np.random.default_rng(trial), np.arange(300) % 3
            logits = rng.normal(size=(300, 3)) + 1.5 * np.eye(3)[right]
            given = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
            path = self.server.data / "storage" / "checkpoints" / study / str(trial) / "1-predictions.npz"
            path.parent.mkdir(parents=True)
            np.savez(path, kind="classes", val=given, val_right=right, test=given, test_right=right)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with (
        showing(tmp_path_factory.mktemp("confirmation")) as server,
        httpx.Client(base_url=f"{server.url}/api/v1", timeout=30) as rest,
    ):
        search = rest.post("/studies", json=DEFINITION).json()["id"]
        found = Served(server, rest, search)
        values = np.linspace(0.8, 0.95, 12)
        found.train(search, lambda number: {"value": float(values[number])})
        yield found


def test_a_confirmation_is_begun_by_a_button_and_told_on_both_pages(served: Served, open_page: Opener) -> None:
    page = open_page(served.page(served.search))
    expect(page.get_by_test_id("confirmation-link")).to_have_count(0)
    page.get_by_test_id("confirm").click()
    page.get_by_label("Best configurations").fill("3")
    page.get_by_role("button", name="Confirm", exact=True).click()
    page.wait_for_url(lambda url: served.search not in url)
    study = page.url.rsplit("/", 1)[-1]
    expect(page.get_by_test_id("verdict")).to_contain_text("No new seed of the winner")
    served.confirmed(study)
    page = open_page(served.page(study))
    expect(page.get_by_test_id("verdict")).to_have_text(
        re.compile(
            r"The winner, trial 11, is within noise of trial 10: choose by cost; better than trial 9 \(p < 0\.001\)\."
        )
    )
    panel = page.get_by_test_id("panel-confirmation")
    expect(panel).to_contain_text("92.5 ± 0.27 %")
    expect(panel).to_contain_text("test_accuracy 91.5 ± 0.27 %")
    expect(panel.locator(".seeds-point")).to_have_count(15)
    expect(panel.get_by_role("link", name=HOSTILE)).to_be_visible()
    expect(page.get_by_test_id("confirm")).to_have_count(0)
    panel.get_by_role("button", name="What do the models gain together?").click()
    expect(page.get_by_test_id("ensemble")).to_contain_text("over the best single model")
    page = open_page(served.page(served.search))
    link = page.get_by_test_id("confirmation-link").first
    expect(link).to_contain_text("is within noise of trial 10")
    link.get_by_role("link").click()
    page.wait_for_url(re.compile(study))


def test_what_cannot_be_confirmed_is_said_in_the_dialog(served: Served, open_page: Opener) -> None:
    page = open_page(served.page(served.search), allow=frozenset({422}))
    page.get_by_test_id("confirm").click()
    page.get_by_label("Seeds of each").fill("1000")
    page.get_by_role("button", name="Confirm", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("seeds")


@pytest.mark.parametrize(("width", "scheme"), [(1360, "light"), (390, "dark")])
def test_the_report_opens_from_a_file(
    served: Served, open_page: Opener, tmp_path: Path, width: int, scheme: str
) -> None:
    path = tmp_path / "report.html"
    path.write_text(served.rest.get(f"/studies/{served.search}/report.html").text)
    page = open_page(path.as_uri(), width=width, scheme=scheme)
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.locator("svg").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelectorAll('script, img, link').length") == 0
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (dark == "rgb(18, 22, 28)") is (scheme == "dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_the_report_is_saved_from_the_menu(served: Served, open_page: Opener, tmp_path: Path) -> None:
    page = open_page(served.page(served.search))
    page.get_by_role("button", name="More actions").click()
    with page.expect_download() as saved:
        page.get_by_role("menuitem", name="Save the report (HTML)").click()
    saved.value.save_as(tmp_path / "saved.html")
    assert (tmp_path / "saved.html").read_text().startswith("<!doctype html>")
    assert saved.value.suggested_filename.endswith("-report.html")
