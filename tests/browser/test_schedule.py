"""A population in a real Chromium: the page of a trial that went on from others' weights shows its schedule."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from hpo_service.store import reading
from hpo_service.store.database import open_database
from hpo_service.store.rows import TrialRow
from tests.acceptance.processes import showing
from tests.browser import gallery
from tests.browser.conftest import Opener

pytestmark = pytest.mark.browser
PBT = {"name": "pbt", "population": 4, "interval": 2, "max_resource": 6, "mutate": ["lr"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[TrialRow]]]:
    """The address of a finished population, and its trials."""
    folder = tmp_path_factory.mktemp("population")
    moment = [time.time() - 3600]
    db = open_database(f"sqlite:///{folder / 'hpo.db'}", clock=lambda: int(moment[0] * 1e6))
    try:
        made = gallery.run(db, folder, gallery.study("digits population", PBT), 0, moment)
        trials = list(reading.iter_trials(db, made))
    finally:
        db.close()
    with showing(folder) as server:
        yield f"{server.url}/studies/{made}", trials


def test_the_schedule_tells_whose_weights_were_trained_with_what(
    study: tuple[str, list[TrialRow]], open_page: Opener
) -> None:
    address, trials = study
    child = next(trial for trial in reversed(trials) if trial.parent is not None)
    parent = next(trial for trial in trials if trial.number == child.parent)
    page = open_page(f"{address}/trials/{child.number}")
    panel = page.get_by_test_id("panel-lineage")
    expect(panel.get_by_role("heading")).to_have_text("Schedule")
    expect(panel.locator("thead th")).to_have_text(["Resource", "Trial", "lr", "val_accuracy at its end"])
    last = panel.get_by_test_id(f"stage-{child.number}")
    expect(last.get_by_role("rowheader")).to_have_text(re.compile(r"^\d – 6$"))
    expect(last.locator("td.differs")).to_contain_text("changed")
    expect(panel.locator("tbody tr").first.get_by_role("rowheader")).to_have_text(re.compile("^0 – "))
    panel.get_by_role("link", name=f"trial {parent.number}", exact=True).click()
    expect(page).to_have_url(re.compile(rf"/trials/{parent.number}$"))


def test_a_trial_that_began_by_itself_has_none(study: tuple[str, list[TrialRow]], open_page: Opener) -> None:
    address, trials = study
    page = open_page(f"{address}/trials/{next(trial.number for trial in trials if trial.parent is None)}")
    expect(page.get_by_test_id("panel-parameters")).to_be_visible()
    expect(page.get_by_test_id("panel-lineage")).to_have_count(0)
