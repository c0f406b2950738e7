"""The same again on a trial's page: the button, what came of it, what differs, both curves."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from hpo_service.store import reproductions
from hpo_service.store.database import open_database
from tests.acceptance.processes import Server
from tests.browser.conftest import Gallery, Opener

pytestmark = pytest.mark.browser
SMALL: dict[str, Any] = {
    "name": "to be trained again",
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1}},
    "algorithm": {"name": "random", "max_resource": 3},
    "trainer": {"recipe": "tabular", "params": {"data": "iris", "hidden_units": 8}},
    "budget": {"trials": 2},
    "resources": {"lanes": 2},
    "seed": 4,
}
APART: dict[str, Any] = {
    "equal": False,
    "verdict": "Not the same: val_loss was 0.5 at step 2, and is 0.25 now; at most 0.25 apart (0.5 relative).",
    "comparison": {
        "metrics": {"val_loss": {"reports": 3, "differ": 2, "first_step": 2, "absolute": 0.25, "relative": 0.5}},
        "left_out": ["seconds"],
    },
    "environment": [{"what": "package numpy", "was": "2.1.0", "now": "2.2.0"}, {"what": "gpu", "was": None, "now": {}}],
    "code_change": ["-lr = 1", "+lr = 2 <script>alert(1)</script>"],
    "hints": ["The code is not the same: check out the recorded commit."],
    "curves": {
        "metric": "val_loss",
        "was": {"resource": [1, 2, 3], "value": [0.6, 0.5, "NaN"]},
        "now": {"resource": [1, 2, 3], "value": [0.6, 0.25, 0.3]},
    },
    "segments": 2,
    "node": "node-1",
    "device": "cpu",
}


def test_a_trial_is_trained_again_by_a_click(training: Server, open_page: Opener) -> None:
    api = f"{training.url}/api/v1"
    study = httpx.post(f"{api}/studies", json=SMALL).json()["id"]
    until = time.monotonic() + 90
    while httpx.get(f"{api}/studies/{study}").json()["state"] != "finished":
        assert time.monotonic() < until, "the study did not end"
        time.sleep(0.1)
    page = open_page(f"{training.url}/studies/{study}/trials/1")
    frame = page.get_by_test_id("panel-reproduction")
    expect(frame).to_contain_text("Nobody has had this trial trained again yet.")
    frame.get_by_role("button", name="Train again and compare").click()
    expect(frame).to_contain_text("Equal bit for bit: all 3 reports.", timeout=60_000)
    expect(frame.get_by_test_id("reproduction")).to_contain_text("equal bit for bit")
    expect(frame).to_contain_text("Not compared, for they measure time: seconds.")
    with page.expect_download() as saved:
        frame.get_by_role("button", name="Save its record").click()
    assert saved.value.suggested_filename == f"{study}-1.json"


def test_what_differs_is_shown_with_both_curves(shown: Gallery, open_page: Opener) -> None:
    study = shown.ids["digits hyperband"]
    db = open_database(f"sqlite:///{shown.server.data / 'hpo.db'}")
    try:
        rows = httpx.get(f"{shown.url}/api/v1/studies/{study}/trials?filter=state:stopped&limit=1").json()["items"]
        number = rows[0]["number"]
        asked = reproductions.ask(db, study, number, asked_by="ada").id
        page = open_page(shown.study("digits hyperband", f"/trials/{number}"))
        frame = page.get_by_test_id("panel-reproduction")
        expect(frame).to_contain_text("waiting for a worker")
        expect(frame.get_by_role("button", name="Train again and compare")).to_be_disabled()
        reproductions.take(db, "here", lease_s=60, most=1)
        expect(frame).to_contain_text("training again")
        assert reproductions.end(db, "here", asked, document=APART, seconds=2.5, cost_microdollars=1200)
    finally:
        db.close()
    expect(frame).to_contain_text(APART["verdict"])
    expect(frame).to_contain_text("not the same")
    expect(frame).to_contain_text(APART["hints"][0])
    expect(frame.get_by_test_id("differences").locator("tbody tr")).to_have_count(2)
    expect(frame.get_by_test_id("differences")).to_contain_text("2.2.0")
    expect(frame.locator(".plot .scatterlayer .trace")).to_have_count(2)
    frame.get_by_text("How the changes on top of the commit differ").click()
    expect(frame.locator("pre")).to_contain_text("+lr = 2 <script>")
    expect(frame.get_by_role("button", name="Train again and compare")).to_be_enabled()
