"""Scores of past studies, their models, and the configurations that cover them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core import past, portfolio
from search_spaces import SearchSpace

SPACE = SearchSpace.from_definition(
    {"a": {"type": "uniform", "low": 0, "high": 1}, "b": {"type": "uniform", "low": 0, "high": 1}}
)


def bowl(at: float, *, count: int = 40, seed: int = 0, weight: float = 1.0) -> portfolio.Task:
    """A past study whose best place is (at, whatever)."""
    rng = np.random.default_rng(seed)
    points = rng.random((count, 2))
    params = [{"a": float(a), "b": float(b)} for a, b in points]
    values = [float((a - at) ** 2) for a, _ in points]
    return portfolio.task(params, values, maximize=False, weight=weight, space=SPACE)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30), st.booleans())
def test_scores_are_between_the_floor_and_one_whatever_the_values(values: list[float], maximize: bool) -> None:
    found = past.scores(values, maximize=maximize)
    assert np.isfinite(found).all()
    assert ((found >= past.FLOOR) & (found <= 1.0)).all()
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        best = max(finite) if maximize else min(finite)
        assert found.max() == found[values.index(best)]


def test_the_best_has_one_the_median_none_and_what_failed_the_least() -> None:
    found = past.scores([3.0, 1.0, 2.0, math.nan], maximize=False)
    assert found.tolist() == [pytest.approx(0.5 * math.expm1(-2.0)), 1.0, 0.0, -0.5]
    assert past.scores([5.0, 5.0], maximize=True).tolist() == [0.0, 0.0]


def test_a_model_knows_the_parameter_that_counts() -> None:
    task = bowl(0.3)
    model = past.PastModel(task.points, task.scores, task.kernel)
    grid = np.array([[a, b] for a in (0.3, 0.9) for b in (0.1, 0.9)])
    good, bad = model.scores_at(grid)[:2], model.scores_at(grid)[2:]
    assert good.min() > 0.7
    assert bad.max() < 0.0
    assert task.kernel.lengths[1] > 2 * task.kernel.lengths[0]


def test_a_parameter_that_a_study_did_not_have_says_nothing() -> None:
    params = [{"a": 0.05 * i} for i in range(20)]
    task = portfolio.task(params, [(p["a"] - 0.5) ** 2 for p in params], maximize=False, weight=1.0, space=SPACE)
    assert math.isinf(task.kernel.lengths[1])
    model = past.PastModel(task.points, task.scores, task.kernel)
    assert model.at(np.array([[0.5, 0.0]])) == pytest.approx(model.at(np.array([[0.5, 1.0]])))


def test_a_portfolio_covers_studies_that_disagree() -> None:
    tasks = [bowl(0.2, seed=1), bowl(0.2, seed=2), bowl(0.8, seed=3)]
    chosen = portfolio.chosen(tasks, SPACE, most=8)
    assert abs(chosen[0]["a"] - 0.2) < 0.1  # two of three like it
    assert abs(chosen[1]["a"] - 0.8) < 0.1
    assert len(chosen) <= 4  # more would gain nothing


def test_a_study_that_is_more_alike_is_heard_first() -> None:
    chosen = portfolio.chosen([bowl(0.2, weight=0.3), bowl(0.8, seed=3, weight=0.9)], SPACE, most=1)
    assert abs(chosen[0]["a"] - 0.8) < 0.1


def test_the_same_configuration_is_chosen_once_and_nothing_of_nothing() -> None:
    task = bowl(0.5)
    chosen = portfolio.chosen([task, task], SPACE, most=8)
    keys = [SPACE.config_key(one) for one in chosen]
    assert len(set(keys)) == len(keys)
    assert portfolio.chosen([], SPACE, most=8) == []
    assert portfolio.chosen([task], SPACE, most=0) == []


@pytest.mark.parametrize(("trainings", "size"), [(1, 0), (2, 1), (7, 1), (8, 2), (32, 8), (500, 8), (math.inf, 4)])
def test_a_portfolio_takes_a_quarter_of_the_budget_at_most(trainings: float, size: int) -> None:
    assert portfolio.size(trainings) == size
