"""A study of `auto` in a real Chromium: what was picked stands in its head, what it began from in its log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from hpo_service.client import Client
from hpo_service.foreign.history import History, OldTrial
from hpo_service.store.database import open_database
from search_spaces import LogUniform, SearchSpace
from tests.acceptance.processes import showing
from tests.browser import gallery
from tests.browser.conftest import Opener

pytestmark = pytest.mark.browser
SPACE = SearchSpace.from_definition({"lr": LogUniform(1e-6, 1)})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """The address of a study of `auto`, why it picked what it picked, and the name of the study that it began from."""
    with showing(Path(tmp_path_factory.mktemp("auto"))) as server:
        trials = tuple(
            OldTrial(
                params={"lr": 10.0 ** -(1 + k / 4)}, state="finished", reports=[(0, 1.0, {"val_loss": abs(k - 6) / 10})]
            )
            for k in range(12)
        )
        history = History(
            source="a table", name="old digits", objectives=(("val_loss", "minimize"),), space=SPACE, trials=trials,
            resource=1.0,
        )  # fmt: skip
        with Client(server.url) as client:
            client.import_history(history)
            made = client.create_study(
                {
                    "name": "new digits",
                    "objective": {"metric": "val_loss"},
                    "space": SPACE.to_dict()["parameters"],
                    "trainer": {"external": True},
                    "budget": {"trials": 30},
                }
            )
            assert made.info.chosen is not None
            assert made.info.warm_start is not None
            yield f"{server.url}/studies/{made.id}", made.info.chosen.reason, made.info.warm_start.sources[0].name


def test_the_page_says_what_was_picked_why_and_what_it_began_from(
    study: tuple[str, str, str], open_page: Opener
) -> None:
    page = open_page(f"{study[0]}?view=about")
    head = page.get_by_test_id("algorithm")
    expect(head).to_have_text("auto: a Gaussian process of final values")
    title = head.get_attribute("title") or ""
    assert study[1] in title
    assert study[2] in title
    page.get_by_test_id("panel-events").evaluate("(panel) => panel.scrollIntoView()")
    expect(page.locator("li[data-kind=study_created]")).to_contain_text("auto picks a Gaussian process of final values")
    begun = page.locator("li[data-kind=warm_started]")
    expect(begun).to_contain_text("It begins from 1 past study; 1 configuration of theirs is tried first.")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a study by the model of learning curves at its end."""
    folder = Path(tmp_path_factory.mktemp("curves"))
    moment = [time.time() - 86400]
    db = open_database(f"sqlite:///{folder / 'hpo.db'}", clock=lambda: int(moment[0] * 1e6))
    auto = {"name": "auto", "max_resource": 9, "warm_start": "off"}
    try:
        made = gallery.run(db, folder, gallery.study("by curves", auto, budget={"resource": 200}), 0, moment)
    finally:
        db.close()
    with showing(folder) as server:
        yield f"{server.url}/studies/{made}"


def test_the_model_of_learning_curves_is_drawn_at_the_end_of_training(ran: str, open_page: Opener) -> None:
    """A study that ran to its end: what the model expects after the last epoch, the points, and what they are."""
    page = open_page(f"{ran}?view=model")
    panel = page.get_by_test_id("panel-surrogate")
    expect(panel.locator(".surrogate-read")).to_contain_text("that the model expects after resource 9 along lr")
    expect(panel).to_contain_text("points are their newest values, most of them from before resource 9")
    traces = panel.locator(".js-plotly-plot").evaluate("(plot) => plot.data.map((one) => [one.name, one.y.length])")
    drawn = dict(traces)
    assert drawn["expected"] == drawn["95 % band"] >= 64
    assert drawn["trials"] > 10
