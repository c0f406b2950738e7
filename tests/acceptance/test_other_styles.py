"""An Optuna objective and Ray Tune trainables from a user's folder, unmodified, with the real `hpo` and server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hpo_service as hpo
from hpo_service.documents import load_yaml
from tests.acceptance.conftest import Hpo

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def folder(tmp_path: Path, command: Hpo) -> Path:
    """The command's own folder, with the examples' code."""
    for name in ("optuna_style.py", "ray_tune_style.py"):
        (command.folder / name).write_text((EXAMPLES / name).read_text())
    return command.folder


def test_an_objective_is_discovered_submitted_and_trained(command: Hpo, client: hpo.Client, folder: Path) -> None:
    space = load_yaml(command("discover", "optuna_style:objective"))["space"]
    assert space["l1_ratio"]["when"] == {"penalty": "elasticnet"}
    document: dict[str, Any] = {
        "name": "optuna-style",
        "objective": {"metric": "accuracy", "direction": "maximize"},
        "space": space,
        "algorithm": {"name": "successive_halving", "trials": 9, "max_resource": 9},
        "trainer": {"optuna": "optuna_style:objective"},
        "budget": {"trials": 9},
    }
    (folder / "optuna.yaml").write_text(json.dumps(document))
    command("submit", folder / "optuna.yaml", "--code", folder)
    study = client.study("optuna-style").wait(timeout_s=200)
    assert study.state == "finished", study.info.reason
    assert study.best_value is not None
    assert study.best_value > 0.9
    assert study.best_trial.resource == 9.0


@pytest.mark.parametrize("name", ["train", "Train"])
def test_a_tune_trainable_goes_on_at_its_rungs(name: str, command: Hpo, client: hpo.Client, folder: Path) -> None:
    document: dict[str, Any] = {
        "name": f"tune-style-{name}",
        "objective": {"metric": "val_loss"},
        "space": {
            "lr": {"type": "loguniform", "low": 1e-3, "high": 1e-1},
            "hidden": {"type": "power_of_two", "low": 4, "high": 64},
        },
        "algorithm": {"name": "successive_halving", "trials": 9, "max_resource": 9},
        "trainer": {"ray_tune": f"ray_tune_style:{name}"},
        "budget": {"trials": 9},
    }
    study = client.create_study(document, code=folder).wait(timeout_s=200)
    assert study.state == "finished", study.info.reason
    best = study.best()[0].refresh()
    assert [attempt.resumed_from for attempt in best.info.attempt_rows] == [0.0, 1.0, 3.0]
    assert best.value is not None
    assert best.value < 0.1
