"""Studies that decide as results come in fill lanes as they fall free, through the real store, fold and controller on a
virtual clock: every attempt has a lane of its own, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpo_service.controller.loop import Controller
from hpo_service.controller.placing import Placing
from hpo_service.core.filling import Vacancy
from hpo_service.core.states import StudyState, TrialState
from hpo_service.executors.curves import PowerLaw
from hpo_service.executors.simulated import SimulatedExecutor
from hpo_service.settings import Settings
from hpo_service.store import looking, studies
from hpo_service.store.database import open_database
from hpo_service.store.rows import AttemptRow
from tests.integration.survival import Crash, CrashAt, World
from tests.integration.test_fused_studies import FUSED_STUDY, Seen, begin, fresh, measuring
from workers.contract import FUSED, WorkOrder

WIDTHS = {("momentum", 32): 4, ("momentum", 64): 4, ("adam", 32): 4, ("adam", 64): 4}
ONE_STRUCTURE = {name: spec for name, spec in FUSED_STUDY["space"].items() if name == "lr"} | {
    "optimizer": {"type": "constant", "value": "adam"},
    "batch_size": {"type": "constant", "value": 32},
}
STUDIES: dict[str, dict[str, Any]] = {
    "asha": {"algorithm": {"name": "asha", "max_resource": 9}, "budget": {"trials": 30}},
    "median": {"algorithm": {"name": "median", "max_resource": 9, "min_trials": 3}, "budget": {"trials": 24}},
    "tpe": {"algorithm": {"name": "bayesian", "startup_trials": 5, "max_resource": 9}, "budget": {"trials": 20}},
}


def world_of(tmp_path: Path, name: str = "study", **more: Any) -> World:
    settings = {"calibrated": measuring(WIDTHS), "cpus": 2.0, "failure_rate": 0.3, **more}
    return fresh(tmp_path, name, **settings)


def study(name: str, **more: Any) -> dict[str, Any]:
    return {**STUDIES[name], "space": ONE_STRUCTURE, "parallel": 12, "retries": 50, **more}


def by_launch(attempts: Sequence[AttemptRow]) -> dict[str, list[AttemptRow]]:
    found: dict[str, list[AttemptRow]] = {}
    for attempt in attempts:
        if attempt.method == FUSED:
            found.setdefault(attempt.launch, []).append(attempt)
    return found


def filled(attempts: Sequence[AttemptRow]) -> list[AttemptRow]:
    """Those that joined a launch under way; checks that no lane was taken twice at a time."""
    joined = []
    for lanes in by_launch(attempts).values():
        first = min(a.opened_at for a in lanes)
        joined += [a for a in lanes if a.opened_at > first]
        assert len({a.width for a in lanes}) == 1
        by_lane: dict[int, list[AttemptRow]] = {}
        for attempt in sorted(lanes, key=lambda a: a.opened_at):
            assert 0 <= attempt.lane < attempt.width
            earlier = by_lane.setdefault(attempt.lane, [])
            assert not earlier or (earlier[-1].ended_at and earlier[-1].ended_at <= attempt.opened_at)
            earlier.append(attempt)
    return joined


def through(world: World, **keywords: Any) -> Seen:
    study_id = begin(world, **keywords)
    world.run_through(study_id)
    return Seen(world, study_id)


@pytest.mark.parametrize("name", STUDIES)
def test_lanes_are_filled_as_they_fall_free(name: str, tmp_path: Path) -> None:
    seen = through(world_of(tmp_path), **study(name))
    joined = filled(seen.attempts)
    assert joined
    assert any(a.outcome == "reached" for a in joined)
    assert seen.study.state is StudyState.FINISHED
    assert len(seen.trials) == STUDIES[name]["budget"]["trials"]
    assert all(t.state in (TrialState.FINISHED, TrialState.FAILED, TrialState.STOPPED, TrialState.PAUSED)
               for t in seen.trials.values())  # fmt: skip


def test_whoever_took_a_lane_is_shown_in_its_launch(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    seen = through(world, **study("median"))
    joined = filled(seen.attempts)[0]
    db = open_database(world.url)
    try:
        together = looking.launch_of(db, seen.study.id, joined.trial, joined.fence)
    finally:
        db.close()
    expected = by_launch(seen.attempts)[joined.launch]
    assert {(a.trial, a.fence) for a in together} == {(a.trial, a.fence) for a in expected}
    assert [a.lane for a in together] == sorted(a.lane for a in together)


def test_a_worker_that_dies_loses_filled_lanes_like_any_others(tmp_path: Path) -> None:
    seen = through(world_of(tmp_path, loss_rate=0.1), **study("median"))
    assert filled(seen.attempts)
    assert any(a.outcome == "lost" for a in seen.attempts)
    assert seen.study.state is StudyState.FINISHED


@pytest.mark.parametrize("name", ["asha", "median"])
def test_killed_anywhere_the_study_ends(name: str, tmp_path: Path) -> None:
    counter = CrashAt()
    calm = world_of(tmp_path, "calm")
    study_id = begin(calm, **study(name))
    calm.run_through(study_id, counter)
    for at in range(3, counter.calls + 1, max(1, counter.calls // 3)):
        world = world_of(tmp_path, f"crash-{at}")
        study_id = begin(world, **study(name))
        with contextlib.suppress(Crash):
            world.run(study_id, CrashAt(at=at))
        world.run_through(study_id)
        seen = Seen(world, study_id)
        assert seen.study.state is StudyState.FINISHED, f"killed at fail-point {at}"
        assert len(seen.trials) == STUDIES[name]["budget"]["trials"]
        filled(seen.attempts)


def test_what_comes_too_late_is_placed_again_and_pays_for_no_clones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every order that was to fill a lane comes back, as if its launch had just ended."""
    sent: list[WorkOrder] = []

    def too_late(self: SimulatedExecutor, launch_id: str, orders: Sequence[WorkOrder]) -> None:
        sent.extend(orders)
        original(self, "over", orders)

    original = SimulatedExecutor.fill
    monkeypatch.setattr(SimulatedExecutor, "fill", too_late)
    seen = through(world_of(tmp_path), **study("median"))
    assert sent
    assert seen.study.state is StudyState.FINISHED
    back = {(o.key.trial, o.key.fence) for o in sent}
    assert {a.outcome for a in seen.attempts if (a.trial, a.fence) in back} == {"paused"}
    assert all(t.losses == 0 for t in seen.trials.values())
    for lanes in by_launch([a for a in seen.attempts if (a.trial, a.fence) not in back]).values():
        assert len(lanes) == lanes[0].width


def test_a_paused_study_pauses_filled_lanes_and_goes_on(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    study_id = begin(world, **study("median"))
    db = open_database(world.url)
    executor = SimulatedExecutor(
        PowerLaw(), cpus=2.0, failure_rate=0.3, calibrated=measuring(WIDTHS), checkpoint_every=1.0
    )
    joined: list[WorkOrder] = []
    fill = executor.fill

    def noted(launch_id: str, orders: Sequence[WorkOrder]) -> None:
        joined.extend(orders)
        fill(launch_id, orders)

    executor.fill = noted  # type: ignore[method-assign]
    controller = Controller(
        db=db, executor=executor, settings=Settings(data=tmp_path), holder="c", storage_root=tmp_path
    )
    try:
        paused = False
        for _ in range(20_000):
            again = controller.step()
            collected = controller.collector.collect_once()
            state = studies.get_study(db, study_id).state
            if state is StudyState.FINISHED:
                break
            if joined and not paused:
                paused = True
                studies.set_state(db, study_id, StudyState.PAUSED, "by a test")
            elif state is StudyState.PAUSED and not (again or collected):
                assert studies.get_study(db, study_id).open_attempts == 0
                studies.set_state(db, study_id, StudyState.RUNNING, "by a test")
        assert paused
        assert studies.get_study(db, study_id).state is StudyState.FINISHED
    finally:
        db.close()
    seen = Seen(world, study_id)
    outcomes = {(a.trial, a.fence): a.outcome for a in seen.attempts}
    assert outcomes[(joined[0].key.trial, joined[0].key.fence)] == "paused"
    assert len(seen.trials) == STUDIES["median"]["budget"]["trials"]


def test_where_two_studies_want_workers_no_launch_is_kept_up_for_one(tmp_path: Path) -> None:
    """Filling goes on only as far as it costs the other one nothing: both end, and lanes that would outlast their
    launch stay empty."""
    world = world_of(tmp_path)
    few = {"budget": {"trials": 10}}
    first, second = begin(world, **study("median", **few)), begin(world, **study("median", seed=8, **few))
    world.run_through(first)
    world.run_through(second)
    for study_id in (first, second):
        seen = Seen(world, study_id)
        assert seen.study.state is StudyState.FINISHED
        filled(seen.attempts)


def test_a_launch_is_not_kept_up_while_trials_of_its_own_study_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One place: what is interrupted, or queued behind a launch, must not wait for as long as there are new trials."""
    asked: list[bool] = []
    original = Placing.filling

    def noted(self: Placing, vacancies: Sequence[Vacancy], *, alone: bool) -> Any:
        asked.append(alone)
        return original(self, vacancies, alone=alone)

    monkeypatch.setattr(Placing, "filling", noted)
    world = world_of(tmp_path, cpus=1.0, loss_rate=0.1)
    seen = through(world, **study("tpe", parallel=8))
    assert seen.study.state is StudyState.FINISHED
    assert set(asked) == {True, False}
    order: dict[int, Any] = {}
    for attempt in seen.attempts:
        if attempt.started_at is not None:
            order[attempt.trial] = min(attempt.started_at, order.get(attempt.trial, attempt.started_at))
    late = [n for n in order if any(order[m] < order[n] and m > n + 12 for m in order)]
    assert not late, "nobody was overtaken by a dozen later ones"
