"""A controller leads studies with a model, and what the model sees is there while they run and after they ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_service import model_views
from hpo_service.core.states import StudyState
from hpo_service.store import surrogate_views
from tests.integration.test_controller_edges import Recording, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.db.close()


@pytest.mark.parametrize(
    ("algorithm", "level", "trials"),
    [
        ({"name": "bayesian", "startup_trials": 4, "max_resource": 3}, 3.0, 12),
        ({"name": "bayesian", "surrogate": "gp", "startup_trials": 6, "max_resource": 3}, 3.0, 9),
        ({"name": "bohb", "max_resource": 9}, 9.0, 40),
    ],
    ids=["tpe", "gp", "bohb"],
)
def test_a_simulated_study_ends_with_a_view_of_everything(
    stage: Stage, algorithm: dict[str, Any], level: float, trials: int
) -> None:
    study = stage.study(algorithm=algorithm, budget={"trials": trials})
    row = stage.through(stage.controller(), study)
    assert row.state is StudyState.FINISHED
    found = surrogate_views.view(stage.db, study.id)
    assert found is not None
    document = found.document
    assert document["resource"] == level
    assert document["trial"] == trials
    assert document["next"] == []
    assert document["observations_used"] == document["of"] == len(document["observed"]["number"])
    assert document["lines"]["lr"]["log"] is True


def test_while_a_study_runs_its_view_follows(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_views, "EVERY_S", 0.05)
    study = stage.study(algorithm={"name": "bayesian", "startup_trials": 4, "max_resource": 3}, budget={"trials": 20})
    controller = stage.controller(executor=Recording(idle_waits=True))
    stop, seen = threading.Event(), set()
    thread = threading.Thread(target=controller.run, args=(stop,))
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while stage.now(study).state is not StudyState.FINISHED and time.monotonic() < deadline:
            found = surrogate_views.view(stage.db, study.id)
            if found is not None:
                seen.add(found.document["trial"])
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join()
    last = surrogate_views.view(stage.db, study.id)
    assert last is not None
    assert last.document["trial"] == 20
    assert len(seen) >= 3, "the view was made while the study ran, again and again"
