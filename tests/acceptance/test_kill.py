"""kill -9 of the server, the controller and workers at random moments of a real study on a real Ray.

The same Hyperband study runs once undisturbed and once under fire: the trials, the promotions and the winner must be
the same, no acknowledged report may be missing, and no completed trial may run again.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

import hpo_service as hpo
from tests.acceptance.processes import Server, kill_9

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

DEFINITION: dict[str, Any] = {
    "name": "under fire",
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-5, "high": 1e-1},
        "batch_size": {"type": "power_of_two", "low": 16, "high": 64},
        "momentum": {"type": "uniform", "low": 0.85, "high": 0.95},
    },
    "algorithm": {"name": "hyperband", "max_resource": 27, "eta": 3},
    "trainer": {"recipe": "image_classifier", "params": {"data": "digits", "model": "mlp", "hidden_units": 64}},
    "parallel": 6,
    "seed": 3,
}


def trials_of(study: Any) -> dict[int, Any]:
    return {trial.number: trial for trial in study.trials()}


def outcome(trials: dict[int, Any]) -> dict[int, tuple[Any, ...]]:
    return {n: (t.params, t.state, t.resource, t.info.bracket, t.value) for n, t in trials.items()}


def acknowledged(study: Any, trials: dict[int, Any]) -> dict[tuple[int, int, int], Any]:
    return {
        (n, r.fence, r.step): r.metrics["val_loss"]
        for n in trials
        for fence in range(1, trials[n].info.fence + 1)
        for r in trials[n].reports(fence=fence)
    }


def undisturbed(client: hpo.Client, definition: dict[str, Any]) -> tuple[dict[int, tuple[Any, ...]], int]:
    study = client.create_study(definition)
    study.wait(timeout_s=240)
    study = study.refresh()
    assert study.state == "finished", study.info.reason
    return outcome(trials_of(study)), study.best_trial.trial


def under_fire(server: Server, definition: dict[str, Any], kills: int, chance: random.Random) -> Any:
    """Run the study while killing something `kills` times; the finished study."""
    study = server.client().create_study(definition)
    done: dict[int, tuple[str, int]] = {}
    reports: dict[tuple[int, int, int], Any] = {}
    for number in range(kills):
        wait_for_progress(study, server, chance.uniform(0.2, 2.0))
        trials = trials_of(study)
        done.update(
            {n: (t.state, t.info.fence) for n, t in trials.items() if t.state in ("finished", "stopped", "failed")}
        )
        reports.update(acknowledged(study, trials))
        strike(server, ("server", "controller", "worker")[number % 3])
        study = server.client().study(study.id)
    study.wait(timeout_s=300)
    study = study.refresh()
    trials = trials_of(study)
    assert study.state == "finished", f"{study.info.reason}\n{server.log}"
    again = {n: (t.state, t.info.fence) for n, t in trials.items()}
    assert all(again[n] == state for n, state in done.items()), "a completed trial ran again"
    stored = acknowledged(study, trials)
    assert all(stored.get(key) == value for key, value in reports.items()), "an acknowledged report was lost"
    return study


def wait_for_progress(study: Any, server: Server, pause_s: float) -> None:
    """Until something new was stored, then a random while, so that the blow falls anywhere."""
    before = study.refresh().info.last_seq
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        now = study.refresh()
        if now.info.last_seq > before + 2 or now.state == "finished":
            break
        time.sleep(0.05)
    time.sleep(pause_s)


def strike(server: Server, what: str) -> None:
    if what == "server":
        server.kill()
        server.start()
    elif what == "controller":
        pid = server.controller_pid()
        if pid is not None:
            kill_9(pid)
    else:
        for pid in server.worker_pids()[:1]:
            kill_9(pid)


def test_a_study_under_fire_ends_as_the_undisturbed_one(client: hpo.Client, tmp_path: Path) -> None:
    definition = {**DEFINITION, "budget": {"trials": 49}, "retries": 10}
    expected, winner = undisturbed(client, definition)
    server = Server(tmp_path / "fire").start()
    try:
        study = under_fire(server, definition, kills=3, chance=random.Random(1))
        assert outcome(trials_of(study)) == expected
        assert study.best_trial.trial == winner
    finally:
        server.stop()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_twenty_kills_in_one_study(client: hpo.Client, tmp_path: Path) -> None:
    definition = {**DEFINITION, "budget": {"trials": 196}, "retries": 30}
    expected, winner = undisturbed(client, definition)
    server = Server(tmp_path / "fire").start()
    try:
        study = under_fire(server, definition, kills=20, chance=random.Random(2))
        assert outcome(trials_of(study)) == expected
        assert study.best_trial.trial == winner
    finally:
        server.stop()
