"""A study whose trials came from elsewhere, in a real Chromium: its charts, its table, its log, the page of a trial."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from hpo_service.client import Client
from hpo_service.foreign.history import History, OldTrial
from search_spaces import LogUniform, SearchSpace
from tests.acceptance.processes import Server, showing
from tests.browser.conftest import Opener

pytestmark = pytest.mark.browser

BEGUN = datetime(2021, 3, 1, 12, tzinfo=UTC)


def curve(k: int) -> list[tuple[int, float, dict[str, float]]]:
    """Two reports of every third trial, which was pruned, five of the others."""
    return [(step, step + 1.0, {"val_loss": 1.0 / (step + 1) + k / 100}) for step in range(2 if k % 3 == 2 else 5)]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server with one imported study of 14 trials, and the study's address."""
    with showing(Path(tmp_path_factory.mktemp("imported"))) as server:
        trials = tuple(
            OldTrial(
                params={"lr": 10.0 ** -(1 + k / 4)},
                state="stopped" if k % 3 == 2 else "finished",
                reports=[
                    (step, step + 1.0, {"val_loss": 1.0 / (step + 1) + k / 100}) for step in range(2 + 3 * (k % 3 != 2))
                ],
                started_at=BEGUN + timedelta(hours=k),
                ended_at=BEGUN + timedelta(hours=k + 1),
                reason="pruned in Optuna" if k % 3 == 2 else "",
            )
            for k in range(14)
        )
        space = SearchSpace.from_definition({"lr": LogUniform(1e-6, 1)})
        history = History(
            source="the Optuna study 'old'", name="old digits", objectives=(("val_loss", "minimize"),), space=space,
            trials=trials, resource=5.0,
        )  # fmt: skip
        with Client(server.url) as client:
            study = client.import_history(history).study
        yield server, f"{server.url}/studies/{study.id}"


def test_the_study_page_tells_where_its_trials_came_from(old: tuple[Server, str], open_page: Opener) -> None:
    page = open_page(f"{old[1]}?view=about")
    expect(page.get_by_text("imported from the Optuna study 'old'").first).to_be_visible()
    page.get_by_test_id("panel-events").evaluate("element => element.scrollIntoView()")
    expect(page.locator("li[data-kind=trials_imported]")).to_contain_text(
        "14 trials that ended elsewhere were brought in"
    )


def test_the_trial_page_shows_its_curve_and_where_it_was_trained(old: tuple[Server, str], open_page: Opener) -> None:
    page = open_page(f"{old[1]}/trials/2")
    expect(page.get_by_text("pruned in Optuna").first).to_be_visible()
    expect(page.get_by_text("imported").first).to_be_visible()
