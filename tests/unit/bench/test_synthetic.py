"""Synthetic problems: known optima, noise by configuration, speeds of mean 1."""

from __future__ import annotations

import numpy as np
import pytest

from hpo_service.bench.problems import synthetic
from hpo_service.errors import InvalidInput
from search_spaces import SearchSpace

SPACE = SearchSpace.from_definition(dict(synthetic.SPACE))
PROBLEMS = synthetic.load()


def draws(count: int) -> list[dict[str, object]]:
    rng = np.random.default_rng(11)
    return [SPACE.sample(rng) for _ in range(count)]


def test_the_optimum_is_the_best_value() -> None:
    best = {"lr": 1e-2, "momentum": 0.9, "layers": 3, "optimizer": "adam", "dropout": 0.2}
    smooth = PROBLEMS[0]
    assert smooth.curve(best)[-1] == pytest.approx(smooth.best)
    assert all(smooth.curve(params).min() > smooth.best for params in draws(50))


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda one: one.name)
def test_half_of_random_configurations_are_worse_than_the_median(problem: synthetic.Problem) -> None:
    values = np.array([np.nan_to_num(problem.curve(params), nan=np.inf).min() for params in draws(200)])
    assert 0.35 < float((values > problem.median).mean()) < 0.65


def test_a_configuration_has_one_curve() -> None:
    noisy = synthetic.load(("noisy",))[0]
    params = draws(1)[0]
    np.testing.assert_array_equal(noisy.curve(params), synthetic.load(("noisy",))[0].curve(params))
    assert np.abs(np.diff(noisy.curve(params)[-10:])).max() > 0.001


def test_early_ranks_are_not_the_late_ones_where_curves_cross() -> None:
    crossing = synthetic.load(("crossing",))[0]
    curves = np.array([crossing.curve(params) for params in draws(100)])
    early, late = curves[:, 0].argsort().argsort(), curves[:, -1].argsort().argsort()
    assert np.corrcoef(early, late)[0, 1] < 0.9


def test_the_mean_configuration_takes_the_time_of_one() -> None:
    assert np.mean([PROBLEMS[0].speed(params) for params in draws(2000)]) == pytest.approx(1.0, abs=0.03)


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(InvalidInput, match="crossing"):
        synthetic.load(("rough",))
