"""Killed at any write, a study ends as if nothing had happened: real store, fold and controller, virtual clock."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.core.states import StudyState
from hpo_service.store import studies
from hpo_service.store.database import open_database
from tests.integration.survival import Crash, CrashAt, World, definition, everything, outcome, stored_reports, terminal

SYNCHRONOUS: dict[str, dict[str, Any]] = {
    "random": {"algorithm": {"name": "random", "max_resource": 3}, "budget": {"trials": 7}},
    "grid": {"algorithm": {"name": "grid", "points": 2, "max_resource": 2}},
    "successive_halving": {"algorithm": {"name": "successive_halving", "trials": 9, "max_resource": 9}},
    "hyperband": {"algorithm": {"name": "hyperband", "max_resource": 9}, "budget": {"trials": 17}},
}
ASYNCHRONOUS: dict[str, dict[str, Any]] = {
    "asha": {"algorithm": {"name": "asha", "max_resource": 9}, "budget": {"trials": 12}},
    "median": {"algorithm": {"name": "median", "max_resource": 4}, "budget": {"trials": 8}},
}


def begin(world: World, keywords: dict[str, Any]) -> str:
    db = open_database(world.url)
    try:
        return studies.create_study(db, definition(**keywords), created_by="test", state=StudyState.RUNNING).id
    finally:
        db.close()


def fresh(tmp_path: Path, name: str, **more: Any) -> World:
    return World(url=f"sqlite:///{tmp_path / name}.db", storage=tmp_path / name, **more)


def undisturbed(tmp_path: Path, keywords: dict[str, Any]) -> tuple[dict[int, tuple[Any, ...]], int | None, int]:
    """Outcome, winner and number of fail-points of a run that nothing disturbs."""
    world = fresh(tmp_path, "undisturbed")
    study_id = begin(world, keywords)
    counter = CrashAt()
    world.run(study_id, counter)
    db = open_database(world.url)
    try:
        return outcome(everything(db, study_id)), studies.get_study(db, study_id).best_trial, counter.calls
    finally:
        db.close()


def crash_once(tmp_path: Path, keywords: dict[str, Any], at: int) -> tuple[dict[int, tuple[Any, ...]], int | None]:
    """Outcome and winner of a run that is killed at its `at`-th fail-point, with the promises checked on the way."""
    world = fresh(tmp_path, f"crash-{at}")
    study_id = begin(world, keywords)
    crash = CrashAt(at=at)
    with contextlib.suppress(Crash):
        world.run(study_id, crash)
    db = open_database(world.url)
    try:
        done = terminal(everything(db, study_id))
        acknowledged = set(world.acknowledged)
        assert acknowledged <= stored_reports(db, study_id), "an acknowledged report is not there after the crash"
        world.run_through(study_id)
        trials = everything(db, study_id)
        assert acknowledged <= stored_reports(db, study_id), "an acknowledged report was lost later"
        assert done.items() <= terminal(trials).items(), "a completed trial ran again"
        study = studies.get_study(db, study_id)
        assert study.state is StudyState.FINISHED
        assert study.open_attempts == 0
        budget = keywords.get("budget", {}).get("trials")
        assert budget is None or len(trials) == budget
        return outcome(trials), study.best_trial
    finally:
        db.close()


def same_after_crashes(tmp_path: Path, keywords: dict[str, Any], crashes: int | None) -> None:
    """Killed at `crashes` fail-points spread over the study (None: at every one), it stays the same study."""
    expected, winner, points = undisturbed(tmp_path, keywords)
    assert points > 20
    for at in range(1, points + 1, 1 if crashes is None else max(1, points // crashes)):
        assert crash_once(tmp_path, keywords, at) == (expected, winner), f"killed at fail-point {at}"


@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_killed_at_writes_a_synchronous_study_stays_the_same(name: str, tmp_path: Path) -> None:
    same_after_crashes(tmp_path, SYNCHRONOUS[name], 6)


@pytest.mark.soak
@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_killed_at_every_write_a_synchronous_study_stays_the_same(name: str, tmp_path: Path) -> None:
    same_after_crashes(tmp_path, SYNCHRONOUS[name], None)


@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_killed_at_writes_an_asynchronous_study_loses_nothing(name: str, tmp_path: Path) -> None:
    _, _, points = undisturbed(tmp_path, ASYNCHRONOUS[name])
    for at in range(1, points + 1, max(1, points // 4)):
        crash_once(tmp_path, ASYNCHRONOUS[name], at)


@settings(max_examples=5, deadline=None)
@given(cpus=st.integers(1, 16), loss=st.sampled_from([0.0, 0.1]))
def test_the_number_of_workers_and_lost_workers_change_nothing(
    cpus: int, loss: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("workers")
    keywords = {**SYNCHRONOUS["hyperband"], "retries": 50}
    expected, winner, _ = undisturbed(tmp_path, keywords)
    world = fresh(tmp_path, "other", cpus=float(cpus), loss_rate=loss)
    study_id = begin(world, keywords)
    world.run(study_id)
    db = open_database(world.url)
    try:
        assert outcome(everything(db, study_id)) == expected
        assert studies.get_study(db, study_id).best_trial == winner
    finally:
        db.close()


def test_failures_stall_no_rung_and_are_recorded(tmp_path: Path) -> None:
    world = fresh(tmp_path, "failing", failure_rate=0.3)
    study_id = begin(world, SYNCHRONOUS["hyperband"])
    world.run(study_id)
    db = open_database(world.url)
    try:
        trials = everything(db, study_id)
        failed = [t for t in trials.values() if t.state == "failed"]
        assert len(trials) == 17
        assert failed
        assert all(t.reason for t in failed)
        assert studies.get_study(db, study_id).state is StudyState.FINISHED
    finally:
        db.close()
