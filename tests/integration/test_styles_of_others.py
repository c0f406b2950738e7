"""The examples in the styles of Optuna and Ray Tune: the same code in its own tool and here gives the same curve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hpo_service as hpo
from tests.conformance.trainable_runs import Case, Make, orders, run, user_modules
from workers.contract import Outcome, TrainerSpec

ITERATION = "training_iteration"
CONFIG = {"lr": 0.01, "hidden": 8}
CHOSEN = {"loss": "log_loss", "alpha": 1e-4, "penalty": "elasticnet", "l1_ratio": 0.2}


@pytest.fixture(autouse=True)
def _examples() -> Iterator[None]:
    with user_modules():
        yield


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return orders(tmp_path)


def case(**trainer: Any) -> Case:
    metric = "accuracy" if "optuna" in trainer else "val_loss"
    return Case(TrainerSpec(**trainer), CHOSEN if "optuna" in trainer else CONFIG, metric)


def test_the_objective_has_the_same_values_in_optuna_and_here(make: Make) -> None:
    import optuna
    import optuna_style  # type: ignore[import-not-found]

    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(CHOSEN)
    study.optimize(optuna_style.objective, n_trials=1)
    (there,) = study.trials
    here = run(make(case(optuna="optuna_style:objective"), to=27.0, horizon=27.0, directions=("maximize",)))
    assert here.end.outcome is Outcome.REACHED, here.end.reason
    assert {m.step: m.metrics["accuracy"] for m in here.reports} == there.intermediate_values
    assert here.reports[-1].metrics["weights_that_are_not_zero"] == there.user_attrs["weights_that_are_not_zero"]


def test_its_space_is_discovered() -> None:
    found = hpo.discover("optuna_style:objective")
    assert found.notes == ()
    assert list(found.space.parameters) == ["loss", "alpha", "penalty", "l1_ratio"]
    assert found.space.parameters["l1_ratio"].when == {"penalty": "elasticnet"}


@pytest.mark.parametrize("name", ["train", "Train"])
def test_a_tune_trainable_goes_on_bit_for_bit(name: str, make: Make) -> None:
    trainable = case(ray_tune=f"ray_tune_style:{name}")
    whole = run(make(trainable, to=50.0))
    assert whole.end.outcome is Outcome.COMPLETED, whole.end.reason
    assert whole.steps == list(range(1, 28))
    first = run(make(trainable, to=9.0))
    assert first.end.checkpoint is not None
    order = replace(make(trainable, to=50.0), from_resource=9.0, checkpoints=(first.end.checkpoint,))
    assert {**first.values(), **run(order).values()} == whole.values()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_tune_trainable_has_the_same_values_in_ray_tune_and_here(
    local_ray: None, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray_tune_style  # type: ignore[import-not-found]
    from ray import cloudpickle, tune

    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")
    cloudpickle.register_pickle_by_value(ray_tune_style)  # Tune's workers do not have the examples' folder
    try:
        ran = tune.run(
            ray_tune_style.train, config=CONFIG, storage_path=str(tmp_path / "tune"), verbose=0, stop={ITERATION: 6}
        )
    finally:
        cloudpickle.unregister_pickle_by_value(ray_tune_style)
    (there,) = (frame["val_loss"].tolist() for frame in ran.trial_dataframes.values())
    here = run(make(case(ray_tune="ray_tune_style:train"), to=6.0))  # in a process that drives Ray, too
    assert run(make(case(ray_tune="ray_tune_style:Train"), to=6.0)).values() == here.values()
    assert [m.metrics["val_loss"] for m in here.reports] == pytest.approx(there, rel=1e-6)
    assert here.steps == [1, 2, 3, 4, 5, 6]
