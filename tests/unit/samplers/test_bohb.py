"""BOHB's densities and choices against the paper's equations, spelled out one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.core.definition import parse
from hpo_service.errors import InvalidInput
from hpo_service.samplers.bohb import imputed, split
from hpo_service.samplers.kernels import KernelDensity, log_ratio
from tests.conformance.driver import Driver, Nature
from tests.conformance.test_algorithms import MIXED

place = st.floats(0, 1).map(lambda u: round(u, 2))


def by_hand(points: list[tuple[float, int]], at: tuple[float, int], categories: int) -> float:
    """The mean of products of a Gaussian kernel and Aitchison and Aitken's, with bandwidths by the reference rule."""
    n, d = len(points), 2
    widths = [max(1.06 * float(np.std(column)) * n ** (-1 / (4 + d)), 1e-3) for column in zip(*points, strict=True)]
    width = min(widths[1], (categories - 1) / categories)
    total = 0.0
    for x, k in points:
        gaussian = math.exp(-(((at[0] - x) / widths[0]) ** 2) / 2) / (widths[0] * math.sqrt(2 * math.pi))
        total += gaussian * (1 - width if at[1] == k else width / (categories - 1))
    return total / n


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(place, st.integers(0, 2)), min_size=2, max_size=8),
    st.tuples(place, st.integers(0, 2)),
)
def test_a_density_is_the_mean_of_its_kernels(points: list[tuple[float, int]], at: tuple[float, int]) -> None:
    found = KernelDensity(np.array(points, dtype=np.float64), (0, 3)).log_density(np.array([at], dtype=np.float64))[0]
    expected = by_hand(points, at, 3)
    if expected > 1e-290:
        assert found == pytest.approx(math.log(expected), rel=1e-9, abs=1e-9)


def test_bandwidths_follow_the_normal_reference_rule_and_never_vanish() -> None:
    density = KernelDensity(np.array([[0.2, 0.5], [0.4, 0.5], [0.6, 0.5], [0.8, 0.5]]), (0, 0))
    assert density.bandwidths[0] == pytest.approx(1.06 * math.sqrt(0.05) * 4 ** (-1 / 6))
    assert density.bandwidths[1] == 1e-3


def test_a_category_is_never_less_likely_than_one_that_nobody_has() -> None:
    density = KernelDensity(np.array([[0.0], [5.0], [5.0]]), (6,))
    assert density.bandwidths[0] == pytest.approx(5 / 6)  # the rule alone says 1.06·2.36·3^(-1/5) = 2.01
    found = np.exp(density.log_density(np.arange(6.0)[:, None]))
    assert found.sum() == pytest.approx(1)
    assert found == pytest.approx(np.full(6, 1 / 6))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.5, 3.0, 50.0]))
def test_draws_lie_in_the_cube_and_spread_with_the_factor(seed: int, widened: float) -> None:
    density = KernelDensity(np.array([[0.0, 2], [0.05, 2], [0.1, 2]]), (0, 3))
    found = density.draw(400, np.random.default_rng(seed), widened=widened)
    assert ((found[:, 0] >= 0) & (found[:, 0] <= 1)).all()
    assert set(found[:, 1].tolist()) <= {0.0, 1.0, 2.0}
    assert (found[:, 1] == 2).mean() > 0.95
    spread = found[:, 0].mean()
    assert spread < 0.15 if widened < 1 else spread < 0.3 if widened < 10 else spread > 0.35


def test_the_ratio_counts_no_density_for_less_than_the_floor() -> None:
    good, bad = KernelDensity(np.array([[0.5]] * 3), (0,)), KernelDensity(np.array([[0.9]] * 3), (0,))
    found = log_ratio(good, bad, np.array([[0.5], [0.9], [0.1]]))
    assert found[0] == pytest.approx(-math.log(1e-3 * math.sqrt(2 * math.pi)) - math.log(1e-32))
    assert found[1] == pytest.approx(-found[0])
    assert found[2] == 0


@pytest.mark.parametrize(
    ("results", "least", "best", "worst"),
    [
        (7, 5, 5, 5),  # the first model of four parameters, of N_min + 2 results: three are in both
        (10, 5, 5, 5),
        (20, 5, 5, 15),
        (100, 5, 15, 85),
        (2000, 5, 300, 1700),
    ],
)
def test_results_are_split_by_equation_3(results: int, least: int, best: int, worst: int) -> None:
    assert split(results, least) == (best, worst)


def test_gaps_are_filled_from_one_who_has_the_parameter() -> None:
    points = np.array([[0.1, np.nan, np.nan], [0.2, 0.7, 1.0], [0.3, np.nan, np.nan]])
    assert imputed(points, (0, 0, 2), np.random.default_rng(0))[:, 1:].tolist() == [[0.7, 1.0]] * 3
    empty = imputed(points[:, :2] * np.nan, (0, 4), np.random.default_rng(0))
    assert not np.isnan(empty).any()
    assert set(empty[:, 1].tolist()) <= {0.0, 1.0, 2.0, 3.0}


def study(space: dict[str, Any], trials: int = 90, *, workers: int = 2, **more: Any) -> Driver:
    document = {
        "objective": {"metric": "loss"},
        "space": space,
        "algorithm": {"name": "bohb", "max_resource": 9, **more.pop("algorithm", {})},
        "trainer": {"function": "training:train"},
        "budget": {"trials": trials},
        **more,
    }
    driver = Driver(parse(document), Nature(horizon=9), workers=workers, seed=1)
    driver.nature.losses = lambda number, resource: (
        sum((float(v) - 0.3) ** 2 for v in driver.rows[number].params.values() if isinstance(v, float)) + 1 / resource
    )
    return driver


CUBE = {name: {"type": "uniform", "low": 0, "high": 1} for name in ("x", "y")}


def modelled(driver: Driver) -> set[int]:
    return {number for number, row in driver.rows.items() if row.reasons[0].startswith("TPE on")}


def test_a_third_is_drawn_at_random_and_the_rest_is_better() -> None:
    driver = study(CUBE, 150).run()
    learned = modelled(driver)
    after = [n for n in driver.rows if n >= min(learned)]
    assert 0.2 < 1 - len(learned) / len(after) < 0.45
    assert all(n in learned or "as 0.333 of all trials are" in driver.rows[n].reasons[0] for n in after)

    def far(numbers: set[int]) -> float:
        return float(np.mean([abs(driver.rows[n].params["x"] - 0.3) for n in numbers]))

    assert far(learned) < 0.7 * far(set(after) - learned)


@pytest.mark.parametrize(("fraction", "models"), [(0.0, True), (1.0, False)])
def test_the_fraction_is_an_option(fraction: float, models: bool) -> None:
    driver = study(CUBE, 40, algorithm={"random_fraction": fraction}).run()
    assert bool(modelled(driver)) == models
    if models:
        assert set(range(min(modelled(driver)), 40)) <= modelled(driver)


@pytest.mark.parametrize(("failing", "bracket"), [(0, 1), (2, 1), (3, 2)])
def test_a_model_needs_two_results_more_than_parameters_and_one(failing: int, bracket: int) -> None:
    """d = 4: N_min + 2 = 7 finite results at one level. The first bracket has nine trials at resource 1; where only six
    of them have a result, the three that went on to 3 and the five of the second bracket make eight there."""
    driver = study(MIXED, 30, workers=1, algorithm={"random_fraction": 0})
    driver.nature.failures = lambda number: 0.5 if number < failing else 99.0
    driver.run()
    assert driver.rows[min(modelled(driver))].bracket == bracket


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000))
def test_conditions_and_forbidden_combinations_hold(seed: int) -> None:
    driver = study(MIXED, 45, seed=seed, forbid=[{"optimizer": "adam", "batch": 256}]).run()
    for row in driver.rows.values():
        driver.definition.search_space.validate_params(row.params)


def test_it_serves_a_space_with_nothing_to_model() -> None:
    driver = study({"x": {"type": "constant", "value": 1}}, 12, repeats=True).run()
    assert not modelled(driver)


def test_options_have_bounds_and_are_written_where_they_are_changed() -> None:
    with pytest.raises(InvalidInput, match="random_fraction"):
        study(CUBE, algorithm={"random_fraction": 1.1})
    with pytest.raises(InvalidInput, match="bandwidth_factor"):
        study(CUBE, algorithm={"bandwidth_factor": 0})
    assert "random_fraction" not in study(CUBE).definition.to_document()["algorithm"]
    assert (
        study(CUBE, algorithm={"random_fraction": 0.5}).definition.to_document()["algorithm"]["random_fraction"] == 0.5
    )
