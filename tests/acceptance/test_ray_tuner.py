"""`examples/ray_tuner.py` by a real Ray Tune against a real server: killed in the middle, started again, it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo_service as hpo
from hpo_service.integrations.ray_tune import can_restore
from tests.acceptance.processes import Server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
SECONDS = 150.0


def start(server: Server, storage: Path) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HPO_", "RAY_"))}
    own = {"HPO_URL": server.url, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local", "TUNE_GLOBAL_CHECKPOINT_S": "0"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "ray_tuner.py"), str(storage)],
        env=kept | own,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_a_tuner_that_is_killed_goes_on(
    server: Server, client: hpo.Client, tmp_path: Path, until: Callable[..., Any]
) -> None:
    killed = start(server, tmp_path)
    try:
        study = until(lambda: next(iter(client.studies(name="ray-tuner")), None), SECONDS)
        until(lambda: sum(len(trial.reports()) for trial in study.trials()) >= 2, SECONDS)
    finally:
        killed.kill()
        out, _ = killed.communicate()
    assert not study.refresh().ended, out
    restored = can_restore(tmp_path / "ray-tuner")  # else Tune's records were torn, and a new Tuner takes the rest

    again = start(server, tmp_path)
    try:
        out, _ = again.communicate(timeout=SECONDS)
    finally:
        again.kill()
    assert again.returncode == 0, out
    assert ("6 trials, 0 failed" if restored else "trials, 0 failed") in out, out
    assert f"best loss {study.refresh().best_value:.4g}" in out
    assert len(list(client.studies(name="ray-tuner"))) == 1
    assert (study.state, study.info.trials) == ("finished", 6)
    trials = list(study.trials())
    assert {trial.state for trial in trials} <= {"paused", "finished", "stopped"}
    assert max(trial.resource for trial in trials) >= 3, "the best were continued"
    for trial in trials:
        told = [(report.step, report.fence, report.resource) for report in trial.reports()]
        assert [step for step, _, _ in told] == list(range(1, int(trial.resource) + 1)), told
