"""Deterministic studies whose trials share launches: not only the trials, the launches are the same whoever trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.survival import Crash, CrashAt
from tests.integration.test_fused_studies import ASYNCHRONOUS, Seen, begin, fresh, through


@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_launches_are_the_same_with_any_workers_and_after_a_crash(name: str, tmp_path: Path) -> None:
    asked = {**ASYNCHRONOUS[name], "deterministic": True, "retries": 50}
    first = through(fresh(tmp_path, "one", cpus=1), **asked)
    assert any(method == "fused" for _, _, method in first.partition)
    many = through(fresh(tmp_path, "many", cpus=64), **asked)
    assert many.partition == first.partition
    assert many.outcome == first.outcome
    world = fresh(tmp_path, "crashing", cpus=3, loss_rate=0.1)
    study_id = begin(world, **asked)
    with pytest.raises(Crash):
        world.run(study_id, CrashAt(40))
    world.run_through(study_id)
    again = Seen(world, study_id)
    assert again.partition == first.partition
    assert again.outcome == first.outcome
