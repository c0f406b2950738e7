"""Harder variants: what each does to a problem, and that all methods meet the same one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpo_service.bench.problems import synthetic
from hpo_service.bench.problems.base import Problem
from hpo_service.bench.variants import FAILING, VARIANTS, vary
from hpo_service.errors import InvalidInput
from search_spaces import SearchSpace

SMOOTH, NOISY, DIVERGING = synthetic.load(("smooth", "noisy", "diverging"))


def draws(problem: Problem, count: int = 60) -> list[dict[str, object]]:
    rng, space = np.random.default_rng(7), SearchSpace.from_definition(dict(problem.space))
    return [space.sample(rng) for _ in range(count)]


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("problem", [SMOOTH, DIVERGING], ids=lambda one: one.name)
def test_a_variant_is_a_function_of_the_configuration_alone(problem: Problem, name: str) -> None:
    one, other = vary(problem, name), vary(problem, name)
    assert (one.variant, one.title) == (name, problem.title)
    for params in draws(problem, 10):
        np.testing.assert_array_equal(one.curve(params), other.curve(dict(reversed(params.items()))))
        assert one.fails_after(params) == other.fails_after(params)


def test_no_variant_is_the_problem_and_an_unknown_one_is_refused() -> None:
    assert vary(SMOOTH, "") is SMOOTH
    with pytest.raises(InvalidInput, match="plateau"):
        vary(SMOOTH, "easy")


def test_of_all_parameters_one_matters() -> None:
    varied = vary(SMOOTH, "one-parameter")
    first, *others = draws(SMOOTH, 8)
    changing = {
        name
        for name in SMOOTH.space
        for other in others
        if not np.array_equal(varied.curve(first), varied.curve({**first, name: other[name]}))
    }
    assert changing == {"lr"}


def test_thirty_per_cent_fail_on_their_way() -> None:
    after = [vary(SMOOTH, "failing").fails_after(params) for params in draws(SMOOTH, 600)]
    died = [epoch for epoch in after if epoch is not None]
    assert len(died) / len(after) == pytest.approx(FAILING, abs=0.06)
    assert 0 <= min(died) < 3 < 20 < max(died) < SMOOTH.max_resource


def test_noise_is_doubled() -> None:
    varied = vary(NOISY, "noisy")
    quiet = synthetic.LAWS["noisy"].law

    def spread(problem: Problem) -> float:
        rests = [
            problem.curve(params) - [quiet(params, epoch, 0)["val_loss"] for epoch in range(1, 28)]
            for params in draws(NOISY, 40)
        ]
        return float(np.std(np.concatenate(rests)))

    assert spread(varied) / spread(NOISY) == pytest.approx(2.0, rel=0.25)


@pytest.mark.parametrize("epochs", [1, 4])
def test_curves_too_short_to_show_noise_get_a_hundredth_of_the_span(epochs: int) -> None:
    short = dataclasses.replace(
        SMOOTH, max_resource=epochs, curves=lambda params: SMOOTH.curve(params)[:epochs], _known={}
    )
    varied = vary(short, "noisy")
    added = np.array([varied.curve(params) - short.curve(params) for params in draws(short)])
    assert np.isfinite(added).all()
    assert added.std() == pytest.approx(0.01 * abs(SMOOTH.best - SMOOTH.median), rel=0.3)


def test_whatever_is_worse_than_the_median_looks_alike() -> None:
    varied = vary(SMOOTH, "plateau")
    for params in draws(SMOOTH, 20):
        plain = SMOOTH.curve(params)
        np.testing.assert_array_equal(varied.curve(params), np.minimum(plain, SMOOTH.median))
