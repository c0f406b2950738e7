"""PASHA: what counts as noise, when two rungs rank alike, and how far the algorithm therefore goes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core.curves import Curve
from hpo_service.core.definition import parse
from hpo_service.errors import InvalidInput
from hpo_service.schedulers.stability import Noise, Standings, crossing_distances
from tests.conformance.driver import Driver, Nature

values = st.floats(-2, 2).map(lambda v: round(v, 1))
curves = st.lists(st.one_of(values, values, values, st.just(math.nan)), min_size=1, max_size=7)


def crossed(one: Sequence[float], other: Sequence[float]) -> float | None:
    """The paper's rule spelled out, pair by pair: better, worse, better again, from the last common level down."""
    pairs = [(a, b) for a, b in zip(one, other, strict=False) if not math.isnan(a) and not math.isnan(b)]
    signs = [int(np.sign(a - b)) for a, b in pairs]
    if not signs or signs[-1] == 0:
        return None
    there = any(signs[j] == -signs[-1] and signs[i] == signs[-1] for i, j in combinations(range(len(signs) - 1), 2))
    return abs(pairs[-1][0] - pairs[-1][1]) if there else None


@settings(deadline=None, max_examples=50)
@given(st.lists(curves, min_size=1, max_size=5), curves)
def test_a_pair_is_noise_where_curves_cross_there_and_back(others: list[list[float]], row: list[float]) -> None:
    width = max(map(len, [row, *others]))
    padded = [[*one, *[math.nan] * (width - len(one))] for one in [row, *others]]
    found = crossing_distances(np.array(padded[0]), np.array(padded[1:]))
    expected = [crossed(padded[0], other) for other in padded[1:]]
    assert [None if math.isnan(d) else d for d in found.tolist()] == expected


def curve(*values: float, first: float = 1.0) -> Curve:
    made = Curve()
    for step, value in enumerate(values):
        made.add(step=step, fence=1, resource=first + step, value=value)
    return made


def test_the_noise_is_the_90th_percentile_of_the_distances() -> None:
    noise = Noise()
    noise.add(curve(0.5, 0.5, 0.50), up_to=3)
    assert noise.estimate() is None
    noise.add(curve(0.6, 0.4, 0.52), up_to=3)  # worse, better, worse again: 0.02 apart
    noise.add(curve(0.9, 0.8, 0.70), up_to=3)  # always worse
    assert noise.estimate() == pytest.approx(0.02)
    noise.add(curve(0.55, 0.45, 0.60), up_to=3)  # crosses both of the first two
    assert noise.estimate() == pytest.approx(np.percentile([0.02, 0.10], 90))


def test_reports_beyond_the_level_and_those_that_are_no_numbers_say_nothing() -> None:
    noise = Noise()
    noise.add(curve(0.5, 0.5, math.nan, 0.5), up_to=3)
    noise.add(curve(0.6, 0.4, 0.6, 0.6), up_to=3)
    noise.add(None, up_to=3)
    assert noise.estimate() is None


def test_only_the_newest_trials_are_compared() -> None:
    noise = Noise(compared=2)
    for last in (0.52, 0.54, 0.60):
        noise.add(curve(0.5, 0.5, 0.5), up_to=3)
        noise.add(curve(0.6, 0.4, last), up_to=3)
        assert noise.estimate() == pytest.approx(last - 0.5)


def moved(below: Sequence[float], here: Sequence[float], epsilon: float) -> bool:
    standings = Standings()
    for number, (was, now) in enumerate(zip(below, here, strict=True)):
        standings.add(number, now, was)
    return standings.moved(epsilon) is not None


def in_groups(below: Sequence[float], here: Sequence[float], epsilon: float) -> bool:
    """Soft ranking as the paper draws it: the group of each rank below, and who has that rank now."""
    first = sorted(range(len(below)), key=lambda n: (below[n], n))
    now = sorted(range(len(here)), key=lambda n: (here[n], n))
    groups = [{n for n in first if abs(below[n] - below[member]) <= epsilon} for member in first]
    return all(trial in group for trial, group in zip(now, groups, strict=True))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(values, values), max_size=8), st.sampled_from([0.0, 0.15, 0.5, 5.0]))
def test_soft_ranking_is_that_of_groups_of_equals(pairs: list[tuple[float, float]], epsilon: float) -> None:
    below, here = [p[0] for p in pairs], [p[1] for p in pairs]
    assert moved(below, here, epsilon) == (not in_groups(below, here, epsilon))


def test_a_swap_within_epsilon_is_none() -> None:
    assert moved([0.10, 0.12, 0.30], [0.09, 0.08, 0.20], 0.0)
    assert not moved([0.10, 0.12, 0.30], [0.09, 0.08, 0.20], 0.02 + 1e-9)
    assert moved([0.10, 0.12, 0.30], [0.25, 0.08, 0.20], 0.02)  # the third overtook the first


def study(losses: Callable[[int, float], float], *, trials: int = 40, **options: Any) -> Driver:
    document = {
        "objective": {"metric": "loss", "direction": options.pop("direction", "minimize")},
        "space": {"x": {"type": "uniform", "low": 0, "high": 1}},
        "algorithm": {"name": "pasha", "max_resource": 27, **options},
        "trainer": {"function": "training:train"},
        "budget": {"trials": trials},
    }
    return Driver(parse(document), Nature(losses=losses, horizon=27), workers=3, seed=1).run()


def highest(driver: Driver) -> float:
    return float(max(row.reached for row in driver.rows.values()))


def shuffled(number: int) -> float:
    return (number * 37 % 101) / 101


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_with_a_stable_ranking_it_stops_at_the_second_rung(direction: str) -> None:
    sign = 1 if direction == "minimize" else -1
    driver = study(lambda number, resource: sign * (shuffled(number) + 1 / resource), direction=direction)
    assert highest(driver) == 3
    assert all("open since" not in reason for row in driver.rows.values() for reason in row.reasons)


def test_with_a_ranking_that_turns_round_at_every_level_it_becomes_asha() -> None:
    driver = study(lambda number, resource: shuffled(number) * (-1) ** round(math.log(resource, 3)), epsilon=0)
    assert highest(driver) == 27
    assert any("open since trial" in reason for row in driver.rows.values() for reason in row.reasons)


def test_it_grows_no_further_than_the_ranking_changes() -> None:
    """Ranks at 1 and 3 differ, at 3 and 9 agree: the third rung is opened, the fourth is not."""
    driver = study(lambda number, resource: shuffled(number) if resource >= 3 else 1 - shuffled(number))
    assert highest(driver) == 9


def test_an_epsilon_that_is_given_is_kept() -> None:
    def close(number: int, resource: float) -> float:
        return float(shuffled(number) / 100 * (-1) ** round(math.log(resource, 3)))

    assert highest(study(close, epsilon=0.05)) == 3
    assert highest(study(close, epsilon=0.0001)) == 27


def test_ranks_that_noise_alone_changes_open_fewer_rungs() -> None:
    """Values jump by up to 0.05 from epoch to epoch: the estimate comes close to that, and keeps the search short."""

    def noisy(number: int, resource: float) -> float:
        return shuffled(number) + 0.05 * random.Random(number * 1000 + round(resource)).random()

    automatic = study(noisy, trials=243, max_resource=81)
    scheduler: Any = automatic.algorithm._scheduler
    assert 0.02 < scheduler.epsilon < 0.05
    assert highest(automatic) == 9
    assert highest(study(noisy, trials=243, max_resource=81, epsilon=0)) == 81


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8))
def test_it_never_trains_beyond_what_asha_would(seed: int, workers: int) -> None:
    driver = study(Nature(seed=seed, horizon=27).value, trials=25)
    scheduler: Any = driver.algorithm._scheduler
    tops = [rung.resource for rung in driver.algorithm.rungs() if rung.entered]
    assert max(tops) <= scheduler._levels[scheduler._top]


def test_one_level_is_one_rung() -> None:
    assert highest(study(lambda n, r: float(n), trials=5, min_resource=27)) == 27


def test_what_breaks_a_rule_is_told_with_what_fits() -> None:
    document = {
        "objective": {"metric": "loss"},
        "space": {"x": {"type": "uniform", "low": 0, "high": 1}},
        "trainer": {"function": "training:train"},
        "budget": {"trials": 5},
    }
    with pytest.raises(InvalidInput) as found:
        algorithms.check(parse({**document, "algorithm": {"name": "pasha", "max_resource": 50}}))
    assert found.value.problems[0].path == "algorithm.max_resource"
    assert "27 and 81" in found.value.problems[0].remedy
    with pytest.raises(InvalidInput) as found:
        parse({**document, "algorithm": {"name": "pasha", "max_resource": 81, "epsilon": -0.1}})
    assert [problem.path for problem in found.value.problems] == ["algorithm.epsilon"]
