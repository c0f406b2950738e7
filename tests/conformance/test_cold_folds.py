"""A controller's fold, kept alive from what it wrote itself, beside one that a new controller reads from the database:
every algorithm, with losses, failures and interruptions, at many cuts of the same study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo_service import algorithms
from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.core.fold import StudyFold
from hpo_service.core.states import StudyState
from hpo_service.decider import Decider
from hpo_service.executors.curves import PowerLaw
from hpo_service.executors.simulated import SimulatedExecutor
from hpo_service.settings import load_settings
from hpo_service.store import studies
from hpo_service.store.database import Database, open_database
from tests.conformance.store.test_logreading import facts, proposals

SPECS: dict[str, dict[str, Any]] = {
    "auto": {"max_resource": 9},
    "grid": {"points": 4, "max_resource": 9},
    "random": {"max_resource": 9},
    "sobol": {"max_resource": 9},
    "bayesian": {"max_resource": 9, "startup_trials": 5},
    "cmaes": {"max_resource": 9},
    "nsga2": {"max_resource": 9},
    "successive_halving": {"trials": 18, "min_resource": 1, "max_resource": 9, "eta": 3},
    "hyperband": {"max_resource": 9, "eta": 3},
    "bohb": {"max_resource": 9, "eta": 3},
    "dehb": {"max_resource": 9},
    "asha": {"min_resource": 1, "max_resource": 9, "eta": 3},
    "pasha": {"min_resource": 1, "max_resource": 9, "eta": 3},
    "pbt": {"population": 8, "max_resource": 6},
    "median": {"grace_resource": 2, "interval": 2, "max_resource": 8, "min_trials": 3},
}
TRIALS = 24
BATCH = 7


def study(name: str, at: str) -> dict[str, Any]:
    return {
        "name": f"cold-{name}",
        "objective": {"metric": "val_loss", "direction": "minimize", "at": at},
        "space": {
            "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
            "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
        },
        "algorithm": {"name": name, **SPECS[name]},
        "trainer": {"function": "benchmarks.trainables:report_once"},
        "budget": {"trials": 12 if name == "auto" else TRIALS, "patience": 20},
        "parallel": 5,
    }


def test_every_algorithm_is_here() -> None:
    assert set(SPECS) == set(algorithms.VERSIONS)


@pytest.mark.parametrize("at", ["last", "best"])
@pytest.mark.parametrize("name", sorted(SPECS))
def test_read_again_is_kept_alive_at_every_cut(name: str, at: str, tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path)
    settings.resolved_storage.mkdir(parents=True, exist_ok=True)
    db = open_database(settings.resolved_database_url)
    executor = SimulatedExecutor(
        PowerLaw(noise=0.01, crossing=1.0), cpus=5, seed=3, failure_rate=0.1, loss_rate=0.1, checkpoint_every=2.0,
        batch=BATCH, step=0.7,
    )  # fmt: skip
    controller = Controller(
        db=db, executor=executor, settings=settings, holder="one", storage_root=settings.resolved_storage
    )
    row = studies.create_study(db, parse(study(name, at)), created_by="ada")
    cuts = 0
    for turn in range(2_000):
        controller.step()
        controller.collector.collect_once()
        row = studies.get_study(db, row.id)
        if row.ended_at:
            break
        if turn % 4 == 0 and row.state is StudyState.RUNNING:
            compare(controller, Database(db.engine), row.id)
            cuts += 1
        if turn == 30:  # paused and resumed: what runs is interrupted, and goes on under new fences
            studies.set_state(db, row.id, StudyState.PAUSED, "lunch")
        if turn == 34:
            studies.set_state(db, row.id, StudyState.RUNNING, "back")
    assert row.ended_at
    assert cuts >= 3
    compare(controller, Database(db.engine), row.id)
    db.close()


def compare(controller: Controller, other: Database, study_id: str) -> None:
    with controller.decider.lock(study_id):
        kept_alive = controller.decider.fold(study_id)
    again = Decider(other).fold(study_id)
    assert again.seq == kept_alive.seq
    assert isinstance(kept_alive.algorithm, StudyFold)
    assert isinstance(again.algorithm, StudyFold)
    assert facts(again.algorithm) == facts(kept_alive.algorithm)
    assert proposals(again.algorithm) == proposals(kept_alive.algorithm)
    for trial in kept_alive.algorithm.history:
        curve = again.algorithm.history[trial.number].curve
        assert (curve is None) == (trial.curve is None)
        if curve is not None and trial.curve is not None:
            assert [curve.steps, curve.fences, curve.resources] == [
                trial.curve.steps, trial.curve.fences, trial.curve.resources
            ]  # fmt: skip
            assert repr(curve.values) == repr(trial.curve.values)
