"""The same study again on real workers: run twice, replayed, carried to another installation, told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hpo_service as hpo
from tests.acceptance.conftest import Hpo
from tests.acceptance.processes import Server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

DETERMINISTIC: dict[str, Any] = {
    "name": "twice",
    "objective": {"metric": "val_loss"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
        "batch_size": {"type": "choice", "values": [16, 32]},
    },
    "algorithm": {"name": "asha", "max_resource": 9},
    "trainer": {"recipe": "tabular", "params": {"data": "iris"}},
    "budget": {"trials": 16},
    "parallel": 8,
    "deterministic": True,
}


def story(study: hpo.Study) -> list[tuple[Any, ...]]:
    """Every trial with its reports, but how long they took."""
    found = []
    for trial in study.trials(limit=100):
        reports = [(r.step, {n: v for n, v in r.metrics.items() if n != "seconds"}) for r in trial.reports()]
        found.append((trial.number, trial.state, dict(trial.params), trial.value, reports))
    return sorted(found, key=lambda one: one[0])


def test_a_study_twice_its_log_again_and_the_whole_of_it_elsewhere(
    client: hpo.Client, command: Hpo, tmp_path: Path
) -> None:
    first, second = (client.create_study(DETERMINISTIC, name=f"twice {n}").wait() for n in range(2))
    assert first.state == second.state == "finished"
    assert any(method.method == "fused" for method in first.methods().items)
    assert story(first) == story(second)  # bit for bit: every report of every trial
    assert first.digest() != second.digest()  # their times differ

    assert first.replay(timeout_s=60).same
    assert "decides alike" in command("replay", first.id)

    archive = tmp_path / "twice.hpo"
    command("archive", first.id, "-o", archive)
    elsewhere = Server(tmp_path / "elsewhere", environment={"HPO_RAY_CPUS": "1"}).start()
    try:
        there = hpo.Client(elsewhere.url).restore(archive)
        assert there.digest() == first.digest()
        assert story(there) == story(first)
        assert there.replay(timeout_s=60).same
    finally:
        elsewhere.stop()

    told = command("diff", f"{first.id}/0", f"{second.id}/0")
    assert "differ in nothing" in told
    other = client.diff(f"{first.id}/0", f"{first.id}/1")
    assert {"configuration", "training"} <= set(other.sections)
    assert "environment" not in other.sections
