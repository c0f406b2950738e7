"""The service's own algorithms on virtual workers: real controller and store, costs that the clock tells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpo_service import algorithms
from hpo_service.bench import ours
from hpo_service.bench.problems.base import Floats, Problem
from hpo_service.bench.runs import Method, Run, own_seed
from search_spaces import SearchSpace

EPOCHS = 3
OURS = {method.name: method for method in ours.methods()}


def curve(params: Mapping[str, Any]) -> Floats:
    return np.array([params["x"] + 1 / epoch for epoch in range(1, EPOCHS + 1)])


PROBLEM = Problem(
    collection="test",
    name="line",
    space={"x": {"type": "uniform", "low": 0.0, "high": 1.0}},
    max_resource=EPOCHS,
    maximize=False,
    best=1 / EPOCHS,
    median=0.5 + 1 / EPOCHS,
    curves=curve,
)


def changed(**changes: Any) -> Problem:
    return replace(PROBLEM, _known={}, **changes)


def search(method: Method, problem: Problem = PROBLEM, *, workers: int = 1, budget: float = 2.0) -> Run:
    return method.search(problem, 0, workers, budget)


def test_every_method_is_an_algorithm_of_the_service() -> None:
    for name, (spec, _, _) in ours.ALGORITHMS.items():
        assert (name in OURS) == (spec(EPOCHS)["name"] in algorithms.VERSIONS)
    assert {"auto", "random", "asha", "hyperband", "tpe", "gp", "bohb", "median", "sobol"} <= set(OURS)


def test_one_worker_pays_every_epoch_and_random_search_is_what_its_curves_say() -> None:
    found = search(OURS["random"])
    assert (found.trials, found.epochs) == (2, 6)
    space = SearchSpace.from_definition(PROBLEM.space)
    assert found.trace[-1][0] <= 2.0
    assert found.trace[0][0] == pytest.approx(1 / EPOCHS)
    assert 1 / EPOCHS <= found.trace[-1][1] <= 1 + 1 / EPOCHS
    assert set(space.names) == {"x"}


def test_the_same_search_comes_out_twice_and_another_seed_gives_another() -> None:
    method = OURS["asha"]
    first, second = search(method), search(method)
    assert (first.trace, first.epochs) == (second.trace, second.epochs)
    assert method.search(PROBLEM, 1, 1, 1.0).trace != first.trace[:1]


def test_a_paused_trial_goes_on_without_paying_again() -> None:
    found = search(OURS["asha"], budget=3.0)
    assert found.epochs == 9  # three full trainings' worth, whatever was paused
    assert found.trials > 3


def test_several_workers_take_the_time_that_configurations_take() -> None:
    slow = changed(speed=lambda params: 2.0)
    found = search(OURS["random"], slow, workers=4, budget=2.0)
    assert found.epochs == 4 * EPOCHS  # each of the four trains one to the end
    assert found.trace[0][0] == pytest.approx(2 / EPOCHS)
    usual = search(OURS["random"], workers=4, budget=2.0)
    assert usual.epochs == 8 * EPOCHS


def test_a_study_whose_trials_fail_has_the_rest_of_its_time() -> None:
    failing = changed(fails_after=lambda params: 0 if params["x"] < 0.5 else None)
    found = search(OURS["random"], failing, budget=6.0)
    assert found.trials > 6  # those that failed took an epoch of three
    assert min(value for _, value in found.trace) >= 0.5 + 1 / EPOCHS


def test_what_diverges_is_over_and_costs_what_it_took() -> None:
    def diverging(params: Mapping[str, Any]) -> Floats:
        return np.full(EPOCHS, math.nan) if params["x"] < 0.5 else curve(params)

    found = search(OURS["random"], changed(curves=diverging), budget=6.0)
    assert found.trials > 6
    assert all(math.isfinite(value) for _, value in found.trace)


def test_each_decision_is_timed() -> None:
    decided = search(OURS["random"]).decisions
    assert decided.count == 2
    assert 0 < decided.mean_ms <= decided.worst_ms


def test_a_study_is_written_as_a_user_would() -> None:
    definition = ours.definition(
        PROBLEM, {"name": "asha", "max_resource": EPOCHS}, seed=own_seed(PROBLEM, 0), workers=4, budget=8.0
    )
    assert definition.objective.at == "best"
    assert definition.budget.resource == 4 * 8 * EPOCHS
    assert definition.parallel == 4
