"""One trial again, with the real `hpo`, a real server and a real Ray: on a worker, then from a file without one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

import hpo_service as hpo
from tests.acceptance.conftest import Hpo

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
TRAIN = """
import random

import workers  # a file of one's own, called like a package of the service


def main(trial):
    state = trial.load_checkpoint() or {"epoch": 0, "value": 1.0}
    while True:
        state["epoch"] += 1
        state["value"] += trial.params["x"] * workers.noise(random)
        trial.report(state["epoch"], loss=state["value"])
        if trial.should_save:
            trial.save_checkpoint(dict(state))
"""
STUDY: dict[str, Any] = {
    "name": "the-same-again",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "uniform", "low": 0.0, "high": 1.0}},
    "algorithm": {"name": "successive_halving", "trials": 4, "max_resource": 4, "eta": 2},
    "trainer": {"function": "train:main"},
}


def test_a_trial_is_trained_again_on_a_worker_and_from_a_file(
    command: Hpo, client: hpo.Client, rest: httpx.Client, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(TRAIN)
    (project / "workers.py").write_text("def noise(generator):\n    return generator.random()\n")
    study = client.create_study(STUDY, code=project).wait(timeout_s=120)
    assert study.state == "finished", study.info
    number = study.best_trial.trial
    reports = len(study.trial(number).reports())
    before = rest.get(f"/studies/{study.id}").json()

    said = command("reproduce", f"the-same-again/{number}", "--watch")
    assert f"Equal bit for bit: all {reports} reports." in said
    assert "segments on" in said
    (row,) = study.trial(number).reproductions()
    assert (row.state, row.equal, row.differences) == ("done", True, ())
    after = rest.get(f"/studies/{study.id}").json()
    assert (after["last_seq"], after["cost_microdollars"]) == (before["last_seq"], before["cost_microdollars"])

    shutil.rmtree(project)  # the file holds the code, too
    command("record", f"the-same-again/{number}", "--with-code", "-o", tmp_path / "trial.zip")
    said = command("--url", "http://127.0.0.1:9", "reproduce", tmp_path / "trial.zip", "--here")
    assert f"Equal bit for bit: all {reports} reports" in said
