"""Ray Tune trainables and Optuna objectives as studies on real workers: Hyperband, paused by its user and resumed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.core.states import StudyState, TrialState
from hpo_service.executors.ray import RayExecutor
from hpo_service.settings import Settings
from hpo_service.store import finding, reading, studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.rows import StudyRow
from tests.conformance.trainable_runs import USER_CODE

pytestmark = pytest.mark.ray
LR = {"type": "loguniform", "low": 1e-3, "high": 0.9}
OVER = (StudyState.FINISHED, StudyState.FAILED)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'hpo.db'}")
    yield database
    database.close()


@pytest.fixture
def executor(local_ray: None, tmp_path: Path) -> Iterator[RayExecutor]:
    made = RayExecutor(Settings(), tmp_path / "storage", code_paths=[str(USER_CODE)])
    yield made
    made.close()


def carried_out(
    db: Database, executor: RayExecutor, folder: Path, *, pause_after: int | None = None, **changes: Any
) -> StudyRow:
    """Run a study to its end; with `pause_after`, its user pauses it after so many reports, and resumes it when it has
    come to rest."""
    document = {
        "objective": {"metric": "val_loss"},
        "space": {"lr": LR},
        "algorithm": {"name": "hyperband", "max_resource": 9},
        "budget": {"trials": 9},
        "parallel": 4,
        **changes,
    }
    study = studies.create_study(db, parse(document), created_by="test")
    stop, limit = threading.Event(), threading.Timer(100, lambda: stop.set())
    limit.start()

    def steer() -> None:
        paused = pause_after is None
        while not stop.wait(0.01):
            row = finding.get_study(db, study.id)
            if row.state in OVER:
                stop.set()
            elif not paused and row.state is StudyState.RUNNING and row.resource >= (pause_after or 0):
                studies.set_state(db, study.id, StudyState.PAUSED, "by its user")
                paused = True
            elif paused and row.state is StudyState.PAUSED and row.open_attempts == 0:
                studies.set_state(db, study.id, StudyState.RUNNING, "by its user")

    thread = threading.Thread(target=steer)
    thread.start()
    settings = Settings(data=folder)
    Controller(db=db, executor=executor, settings=settings, holder="c", storage_root=folder).run(stop)
    thread.join()
    limit.cancel()
    return finding.get_study(db, study.id)


def test_hyperband_over_a_tune_class(db: Database, executor: RayExecutor, tmp_path: Path) -> None:
    ended = carried_out(db, executor, tmp_path, pause_after=6, trainer={"ray_tune": "conformance_tune:Descends"})
    assert ended.state is StudyState.FINISHED, ended.reason
    resumed = 0
    for trial in range(9):
        attempts = reading.attempts(db, ended.id, trial)
        steps = [report.step for report in reading.reports(db, ended.id, trial)]
        assert steps == list(range(1, len(steps) + 1))  # the counter goes on, from whatever attempt
        assert all(attempt.failure is None for attempt in attempts), [a.reason for a in attempts]
        resumed += sum(attempt.resumed_from is not None and attempt.resumed_from > 0 for attempt in attempts)
    assert resumed >= 3
    assert ended.best_trial is not None


def test_hyperband_over_an_optuna_objective(db: Database, executor: RayExecutor, tmp_path: Path) -> None:
    trainer = {"optuna": "conformance_optuna:nine_epochs_from_zero"}
    ended = carried_out(db, executor, tmp_path, pause_after=6, trainer=trainer)
    assert ended.state is StudyState.FINISHED, ended.reason
    assert ended.best_trial is not None
    best = reading.trial(db, ended.id, ended.best_trial)
    assert best.state is TrialState.FINISHED
    assert best.resource == 9.0
    curve = {report.step: report.metrics["val_loss"] for report in reading.reports(db, ended.id, best.number)}
    assert list(curve) == list(range(9))
    assert best.value == curve[8]
    assert all(a.resumed_from == 0.0 for n in range(9) for a in reading.attempts(db, ended.id, n) if a.started_at)


def test_an_objective_that_prunes_itself_is_stopped(db: Database, executor: RayExecutor, tmp_path: Path) -> None:
    ended = carried_out(
        db,
        executor,
        tmp_path,
        trainer={"optuna": "conformance_optuna:prunes_itself"},
        algorithm={"name": "random"},
        budget={"trials": 3},
    )
    assert ended.state is StudyState.FINISHED, ended.reason
    trials = [reading.trial(db, ended.id, n) for n in range(3)]
    assert [trial.state for trial in trials] == [TrialState.STOPPED] * 3
    assert [trial.value for trial in trials] == [2.0] * 3
