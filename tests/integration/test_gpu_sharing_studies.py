"""Studies on simulated GPUs: workers come to share them by what attempts took, lose that again where memory runs out,
and neither changes a trial's results."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hpo_service.controller.collector import CROWDED
from hpo_service.core.definition import Resources, parse
from hpo_service.core.events import DefinitionChanged
from hpo_service.core.states import StudyState, TrialState
from hpo_service.executors.simulated_gpu import SimulatedGpus
from hpo_service.store import decisions, reading, studies
from hpo_service.store.database import open_database
from tests.integration.survival import Crash, CrashAt, World, definition, everything, outcome

GB = 10**9
STUDY: dict[str, Any] = {
    "algorithm": {"name": "random", "max_resource": 3},
    "budget": {"trials": 18},
    "parallel": 12,
    "resources": {"cpu": 1, "gpu": 1, "share": "auto"},
}
CHANGED = ("resources.gpu",)


def light(_: Mapping[str, Any]) -> tuple[int, float]:
    """A trial that takes little of a GPU of 10 GB."""
    return int(1.5 * GB), 0.3


class Growing:
    """The first trials take little memory, later ones more than their part of it."""

    def __init__(self, calls: int) -> None:
        self._calls = itertools.count()
        self._light = calls

    def __call__(self, _: Mapping[str, Any]) -> tuple[int, float]:
        return (GB if next(self._calls) < self._light else 7 * GB), 0.2


def fresh(tmp_path: Path, name: str, use: Any = light, *, gpus: float = 1) -> World:
    return World(
        url=f"sqlite:///{tmp_path / name}.db",
        storage=tmp_path / name,
        cpus=16,
        device=lambda: SimulatedGpus(count=gpus, memory_bytes=10 * GB, use=use),
    )


class Seen:
    """What a study came to."""

    def __init__(self, world: World, study_id: str) -> None:
        db = open_database(world.url)
        try:
            self.study = studies.get_study(db, study_id)
            self.trials = everything(db, study_id)
            self.attempts = [a for n in self.trials for a in reading.attempts(db, study_id, n)]
            log = decisions.load_events(db, study_id)
            self.changes = [e.payload for e in log if isinstance(e.payload, DefinitionChanged)]
            self.ended_before = next(
                (sum(a.ended_at is not None and a.ended_at <= e.at for a in self.attempts) for e in log
                 if isinstance(e.payload, DefinitionChanged)), 0,
            )  # fmt: skip
        finally:
            db.close()
        self.resources: Resources = parse(self.study.definition).resources

    @property
    def reasons(self) -> list[str]:
        return [change.reason for change in self.changes]


def begin(world: World, **keywords: Any) -> str:
    db = open_database(world.url)
    try:
        made = definition(**{**STUDY, **keywords})
        return studies.create_study(db, made, created_by="test", state=StudyState.PREFLIGHT).id
    finally:
        db.close()


def through(world: World, failpoint: Any = None, **keywords: Any) -> Seen:
    study_id = begin(world, **keywords)
    world.run_through(study_id, failpoint)
    return Seen(world, study_id)


def at_once(world: World) -> int:
    """How many launches of the newest shape fit on the GPUs."""
    return round(1 / world.launches[-1].gpu)


def test_workers_share_a_gpu_once_it_is_known_that_they_can(tmp_path: Path) -> None:
    world = fresh(tmp_path, "shared")
    seen = through(world)
    assert seen.reasons == ["sharing: 3 workers per GPU, peak 1.5 GB of 10, utilisation 0.30"]
    assert [change.changed for change in seen.changes] == [CHANGED]
    assert (seen.resources.gpu, seen.resources.share) == (0.3333, "auto")
    assert 3 <= seen.ended_before < len(seen.attempts)
    assert {launch.gpu for launch in world.launches} == {1.0, 0.3333}
    assert at_once(world) == 3
    assert all(trial.state is TrialState.FINISHED for trial in seen.trials.values())
    assert max(a.gpu_utilisation or 0 for a in seen.attempts) == pytest.approx(0.9), "three at the same time"


def test_a_share_changes_no_result_and_costs_less(tmp_path: Path) -> None:
    shared = through(fresh(tmp_path, "shared"))
    alone = through(fresh(tmp_path, "alone"), resources={"cpu": 1, "gpu": 1, "share": "off"})
    assert not alone.changes
    assert outcome(shared.trials) == outcome(alone.trials)
    assert shared.study.best_trial == alone.study.best_trial
    assert shared.study.cost_microdollars < alone.study.cost_microdollars


def test_out_of_memory_takes_a_share_back_and_blames_no_trial(tmp_path: Path) -> None:
    world = fresh(tmp_path, "full", Growing(8))
    seen = through(world, retries=0)
    assert seen.reasons[0].startswith("sharing: 4 workers per GPU")
    assert any("ran out of GPU memory" in reason for reason in seen.reasons[1:])
    assert (seen.resources.gpu, seen.resources.share) == (1.0, "off")
    assert world.launches[-1].gpu == 1.0
    crowded = [a for a in seen.attempts if a.reason.startswith(CROWDED)]
    assert {a.outcome for a in crowded} == {"paused"}
    assert all(t.state is TrialState.FINISHED and not t.losses for t in seen.trials.values())
    assert len(seen.changes) <= 4, "one for each halving at most"


def test_alone_on_its_gpu_a_trial_that_runs_out_of_memory_fails(tmp_path: Path) -> None:
    seen = through(fresh(tmp_path, "large", lambda params: ((12 if params["lr"] > 1e-3 else 1) * GB, 0.9)))
    failed = [t for t in seen.trials.values() if t.params["lr"] > 1e-3]
    assert failed
    assert all(t.state is TrialState.FAILED and t.reason.startswith("out_of_memory") for t in failed)
    assert not seen.changes


@pytest.mark.parametrize("name", ["hyperband", "asha"])
def test_any_algorithm_goes_on_with_the_changed_definition(name: str, tmp_path: Path) -> None:
    keywords = {"algorithm": {"name": name, "max_resource": 9}, "budget": {"trials": 20}}
    seen = through(fresh(tmp_path, "any", gpus=2), **keywords)
    assert len(seen.changes) == 1
    assert seen.study.state is StudyState.FINISHED


def test_killed_anywhere_the_study_comes_to_the_same(tmp_path: Path) -> None:
    calm_world = fresh(tmp_path, "calm", Growing(8))
    counter = CrashAt()
    calm = through(calm_world, counter)
    for at in range(1, counter.calls + 1, max(1, counter.calls // 6)):
        world = fresh(tmp_path, f"crash-{at}", Growing(8))
        study_id = begin(world)
        with contextlib.suppress(Crash):
            world.run(study_id, CrashAt(at=at))
        world.run_through(study_id)
        seen = Seen(world, study_id)
        assert outcome(seen.trials) == outcome(calm.trials), f"killed at fail-point {at}"
        assert all(not t.losses for t in seen.trials.values())
