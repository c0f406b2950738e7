"""Studies whose trials share launches, through the real store, fold and controller on a virtual clock: the partition is
the same whatever happens, measurements are made once, and every study ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.controller.orders import CALIBRATION_TRIAL, PREFLIGHT_TRIAL
from hpo_service.core.events import MethodsChosen
from hpo_service.core.states import StudyState
from hpo_service.store import decisions, reading, studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.rows import StudyRow
from tests.integration.survival import Crash, CrashAt, World, definition, everything, outcome
from workers.contract import FUSED, PLAIN, Calibrated, WorkOrder

SPACE = {
    "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
    "optimizer": {"type": "choice", "values": ["momentum", "adam"]},
    "momentum": {"type": "uniform", "low": 0.0, "high": 0.99, "when": {"optimizer": "momentum"}},
    "batch_size": {"type": "choice", "values": [32, 64]},
}
FUSED_STUDY: dict[str, Any] = {
    "space": SPACE,
    "trainer": {"recipe": "image_classifier", "params": {"data": "digits", "model": "mlp"}},
    "parallel": 16,
}
SYNCHRONOUS: dict[str, dict[str, Any]] = {
    "random": {"algorithm": {"name": "random", "max_resource": 3}, "budget": {"trials": 21}},
    "hyperband": {"algorithm": {"name": "hyperband", "max_resource": 9}, "budget": {"trials": 22}},
    "successive_halving": {"algorithm": {"name": "successive_halving", "trials": 18, "max_resource": 9}},
    "pbt": {"algorithm": {"name": "pbt", "population": 8, "quantile": 0.5, "max_resource": 3}},
}
ASYNCHRONOUS: dict[str, dict[str, Any]] = {
    "asha": {"algorithm": {"name": "asha", "max_resource": 9}, "budget": {"trials": 20}},
    "median": {"algorithm": {"name": "median", "max_resource": 4}, "budget": {"trials": 14}},
    "tpe": {"algorithm": {"name": "bayesian", "startup_trials": 5, "max_resource": 3}, "budget": {"trials": 12}},
}
Widths = Mapping[tuple[str, int], int]
USUAL: Widths = {("momentum", 32): 4, ("momentum", 64): 3, ("adam", 32): 8, ("adam", 64): 1}


def measuring(widths: Widths, *, seconds: float = 0.01) -> Callable[[WorkOrder], Calibrated]:
    """A worker's answers, by optimiser and batch size."""

    def calibrated(order: WorkOrder) -> Calibrated:
        assert order.calibrate is not None
        width = widths[(order.params["optimizer"], order.params["batch_size"])]
        width = min(width if order.calibrate.width is None else order.calibrate.width, order.calibrate.most)
        return Calibrated(
            key=order.key,
            lanes=("lr", "momentum"),
            method=FUSED if width > 1 else PLAIN,
            width=width,
            device="cpu",
            reason="as the test wants it",
            plain_s=0.002 if order.calibrate.width is None else None,
            fused_s={8: 0.001} if order.calibrate.width is None else {},
            seconds=seconds,
        )

    return calibrated


def fresh(tmp_path: Path, name: str, **more: Any) -> World:
    more.setdefault("calibrated", measuring(USUAL))
    return World(url=f"sqlite:///{tmp_path / name}.db", storage=tmp_path / name, **more)


def begin(world: World, **keywords: Any) -> str:
    db = open_database(world.url)
    try:
        made = definition(**{**FUSED_STUDY, **keywords})
        return studies.create_study(db, made, created_by="test", state=StudyState.PREFLIGHT).id
    finally:
        db.close()


def partition(db: Database, study_id: str) -> list[tuple[Any, ...]]:
    """Who shared a launch when each segment was first placed, in canonical order."""
    synchronous = studies.get_study(db, study_id).definition["algorithm"]["name"] in SYNCHRONOUS
    launches: dict[str, list[Any]] = {}
    for number in everything(db, study_id):
        before: float | None = -1.0
        for attempt in reading.attempts(db, study_id, number):
            if attempt.target != before:
                launches.setdefault(attempt.launch, []).append(attempt)
            before = attempt.target
    found = []
    for lanes in launches.values():
        lanes.sort(key=lambda a: a.lane)
        fused = lanes[0].method == FUSED
        if fused:
            assert {a.width for a in lanes} == {lanes[0].width}
            if synchronous:  # else others may join it later
                assert len({a.opened_at for a in lanes}) == 1
                assert [a.lane for a in lanes] == list(range(len(lanes)))
                assert lanes[0].width == len(lanes)
            found.append((lanes[0].target, tuple(a.trial for a in lanes), FUSED))
        else:  # trained one after another: who else was sent along does not matter
            found += [(a.target, (a.trial,), PLAIN) for a in lanes]
    return sorted(found)


class Seen:
    """What a study came to."""

    def __init__(self, world: World, study_id: str) -> None:
        db = open_database(world.url)
        try:
            self.study: StudyRow = studies.get_study(db, study_id)
            self.trials = everything(db, study_id)
            self.outcome = outcome(self.trials)
            self.partition = partition(db, study_id)
            log = decisions.load_events(db, study_id)
            self.chosen = [e.payload for e in log if isinstance(e.payload, MethodsChosen)]
            self.attempts = [a for n in self.trials for a in reading.attempts(db, study_id, n)]
        finally:
            db.close()

    @property
    def sources(self) -> list[str]:
        return [choice.source for event in self.chosen for choice in event.choices]


def asked(world: World, trial: int) -> int:
    return sum(order.key.trial == trial for launch in world.launches for order in launch.orders)


def through(world: World, failpoint: Any = None, **keywords: Any) -> Seen:
    study_id = begin(world, **keywords)
    world.run_through(study_id, failpoint)
    return Seen(world, study_id)


@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_trials_share_launches_and_structures_are_measured_once(name: str, tmp_path: Path) -> None:
    world = fresh(tmp_path, "study")
    seen = through(world, **SYNCHRONOUS[name])
    assert seen.study.state is StudyState.FINISHED
    assert asked(world, PREFLIGHT_TRIAL) == 1
    assert 1 <= asked(world, CALIBRATION_TRIAL) <= 3
    structures = [dict(c.structure) for event in seen.chosen for c in event.choices]
    assert all(structures.count(structure) == 1 for structure in structures)
    assert any(method == FUSED and len(trials) > 2 for _, trials, method in seen.partition)
    assert all(
        a.method == PLAIN
        for a in seen.attempts
        if seen.trials[a.trial].params["batch_size"] == 64 and seen.trials[a.trial].params["optimizer"] == "adam"
    )


def same_launches_after_crashes(tmp_path: Path, name: str, crashes: int | None) -> None:
    """Killed at `crashes` fail-points spread over the study (None: at every one)."""
    world = fresh(tmp_path, "calm")
    counter = CrashAt()
    calm = through(world, counter, **SYNCHRONOUS[name])
    for at in range(1, counter.calls + 1, 1 if crashes is None else max(1, counter.calls // crashes)):
        disturbed = fresh(tmp_path, f"crash-{at}")
        study_id = begin(disturbed, **SYNCHRONOUS[name])
        with contextlib.suppress(Crash):
            disturbed.run(study_id, CrashAt(at=at))
        disturbed.run_through(study_id)
        seen = Seen(disturbed, study_id)
        assert seen.outcome == calm.outcome, f"killed at fail-point {at}"
        assert seen.partition == calm.partition, f"killed at fail-point {at}"
        assert seen.study.best_trial == calm.study.best_trial


@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_killed_at_writes_the_launches_stay_the_same(name: str, tmp_path: Path) -> None:
    same_launches_after_crashes(tmp_path, name, 4)


@pytest.mark.soak
@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_killed_at_every_write_the_launches_stay_the_same(name: str, tmp_path: Path) -> None:
    same_launches_after_crashes(tmp_path, name, None)


@settings(max_examples=4, deadline=None)
@given(
    name=st.sampled_from(sorted(SYNCHRONOUS)),
    cpus=st.sampled_from([1.0, 4.0, 64.0]),
    loss=st.sampled_from([0.0, 0.1]),
)
def test_workers_and_losses_change_no_launch(
    name: str, cpus: float, loss: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("workers")
    keywords = {**SYNCHRONOUS[name], "retries": 50}
    with pytest.MonkeyPatch.context() as patch:  # widths are chosen once, and may look at the cluster of that moment
        patch.setattr("hpo_service.controller.widths.places", lambda *_: 1.0)
        calm = through(fresh(tmp_path, "calm"), **keywords)
        wild = through(fresh(tmp_path, "wild", cpus=cpus, loss_rate=loss), **keywords)
    assert wild.outcome == calm.outcome
    assert wild.partition == calm.partition
    for attempt in wild.attempts:
        width = {a.width for a in wild.attempts if a.trial == attempt.trial and a.target == attempt.target}
        assert len(width) == 1, "what is trained again keeps its width"


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(sorted({**SYNCHRONOUS, **ASYNCHRONOUS})),
    cpus=st.integers(1, 9),
    parallel=st.integers(1, 40),
    widths=st.lists(st.integers(1, 20), min_size=4, max_size=4),
    loss=st.sampled_from([0.0, 0.15]),
    narrows=st.sampled_from([None, 1, 2]),
)
def test_every_study_ends(
    name: str,
    cpus: int,
    parallel: int,
    widths: list[int],
    loss: float,
    narrows: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    world = fresh(
        tmp_path_factory.mktemp("ends"),
        "study",
        cpus=float(cpus),
        loss_rate=loss,
        calibrated=measuring(dict(zip(USUAL, widths, strict=True))),
        narrows=lambda launch: narrows if narrows is not None and launch.width > narrows else None,
    )
    keywords = {**SYNCHRONOUS, **ASYNCHRONOUS}[name]
    seen = through(world, **{**keywords, "parallel": parallel, "retries": 50})
    assert seen.study.state is StudyState.FINISHED
    assert seen.study.open_attempts == 0
    budget = keywords.get("budget", {}).get("trials")
    assert budget is None or len(seen.trials) == budget
    if narrows is not None:
        assert all(c.width <= narrows for e in seen.chosen for c in e.choices if c.source == "out_of_memory")


def test_a_later_study_measures_nothing_again(tmp_path: Path) -> None:
    world = fresh(tmp_path, "study")
    first = through(world, **SYNCHRONOUS["random"])
    measured = asked(world, CALIBRATION_TRIAL)
    again = through(world, **SYNCHRONOUS["random"])
    assert asked(world, CALIBRATION_TRIAL) == measured > 0
    assert set(again.sources[1:]) == {"earlier"}
    assert again.partition == first.partition


def test_measuring_is_bounded_and_the_rest_follows_the_nearest_structure(tmp_path: Path) -> None:
    world = fresh(tmp_path, "study", calibrated=measuring(USUAL, seconds=60.0))
    seen = through(world, **SYNCHRONOUS["random"])
    assert asked(world, CALIBRATION_TRIAL) == 0, "the first one took all that there was"
    assert "assumed" in seen.sources
    assert seen.study.state is StudyState.FINISHED


def test_a_fixed_number_of_lanes_is_not_measured(tmp_path: Path) -> None:
    seen = through(fresh(tmp_path, "study"), **SYNCHRONOUS["random"], resources={"lanes": 5})
    assert set(seen.sources) == {"set"}
    assert max(len(trials) for _, trials, _ in seen.partition) <= 5
    assert any(len(trials) > 1 for _, trials, _ in seen.partition)


@pytest.mark.parametrize("lanes", ["off", 1])
def test_without_lanes_nothing_is_asked_and_nothing_shared(lanes: str | int, tmp_path: Path) -> None:
    world = fresh(tmp_path, "study")
    seen = through(world, **SYNCHRONOUS["random"], resources={"lanes": lanes})
    assert seen.chosen == []
    assert all(order.calibrate is None for launch in world.launches for order in launch.orders)
    assert {a.method for a in seen.attempts} == {PLAIN}


def test_lanes_share_what_their_worker_costs(tmp_path: Path) -> None:
    """One structure, one width: the sum of what lanes are charged is the time that launches took."""
    widths = dict.fromkeys(USUAL, 4)
    seen = through(fresh(tmp_path, "study", cpus=1.0, calibrated=measuring(widths)), **SYNCHRONOUS["random"])
    by_launch: dict[str, list[Any]] = {}
    for attempt in seen.attempts:
        by_launch.setdefault(attempt.launch, []).append(attempt)
    worker_seconds = sum(max(a.seconds for a in lanes) for lanes in by_launch.values())
    wall_seconds = sum(a.seconds for a in seen.attempts)
    price = seen.study.cost_microdollars / worker_seconds
    assert wall_seconds > 1.2 * worker_seconds
    assert price == pytest.approx(0.04e6 / 3600, rel=0.05)


def test_a_launch_out_of_memory_narrows_its_structure(tmp_path: Path) -> None:
    world = fresh(tmp_path, "study", narrows=lambda launch: 2 if launch.width > 2 else None)
    seen = through(world, **SYNCHRONOUS["hyperband"])
    narrowed = [c for e in seen.chosen for c in e.choices if c.source == "out_of_memory"]
    assert narrowed
    assert all((c.method, c.width) == (FUSED, 2) for c in narrowed)
    assert seen.study.state is StudyState.FINISHED


def test_a_structure_that_cannot_be_measured_is_trained_plainly(tmp_path: Path) -> None:
    usual = measuring(USUAL)
    world = fresh(
        tmp_path, "study", calibrated=lambda order: usual(order) if order.key.trial == PREFLIGHT_TRIAL else None
    )
    seen = through(world, **SYNCHRONOUS["random"])
    assert seen.study.state is StudyState.FINISHED
    assert "failed" in seen.sources
