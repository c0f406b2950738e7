"""Differential evolution: points of configurations, children, and who their parents may be."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.core import seeds
from hpo_service.core.definition import parse
from hpo_service.core.imported import ImportedTrial
from hpo_service.core.states import TrialState
from hpo_service.samplers.differential import DifferentialSampler, point_of
from search_spaces import SearchSpace
from tests.conformance.driver import Driver, Nature
from tests.conformance.test_algorithms import MIXED

EVERY: dict[str, Any] = {
    "u": {"type": "uniform", "low": -1, "high": 1},
    "log": {"type": "loguniform", "low": 1e-6, "high": 0.1},
    "whole": {"type": "integer", "low": 1, "high": 7},
    "wide": {"type": "log_integer", "low": 1, "high": 100_000},
    "power": {"type": "power_of_two", "low": 16, "high": 256},
    "stepped": {"type": "quniform", "low": 0, "high": 1, "step": 0.1},
    "kind": {"type": "choice", "values": ["a", "b", "c"]},
    "only": {"type": "uniform", "low": 0, "high": 1, "when": {"kind": "b"}},
    "fixed": {"type": "constant", "value": 3},
}


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(0, 1000))
def test_a_point_stands_for_its_configuration(seed: int, number: int) -> None:
    space = SearchSpace.from_definition(EVERY, ())
    params = space.sample(np.random.default_rng(seed))
    point = point_of(params, space, seeds.rng(7, number, seeds.Purpose.PLACE))
    again = space.from_unit(point)
    assert space.config_key(again) == space.config_key(params) or again == pytest.approx(params, rel=1e-9)
    assert ((point >= 0) & (point <= 1)).all()


def test_equal_values_lie_in_different_places_of_their_share() -> None:
    space = SearchSpace.from_definition({"kind": {"type": "choice", "values": ["a", "b", "c"]}}, ())
    places = [float(point_of({"kind": "b"}, space, seeds.rng(7, n, seeds.Purpose.PLACE))[0]) for n in range(200)]
    assert min(places) < 0.4 < 0.6 < max(places)
    assert all(1 / 3 <= place <= 2 / 3 for place in places)


def test_what_the_space_does_not_allow_any_more_is_drawn() -> None:
    space = SearchSpace.from_definition({"x": {"type": "uniform", "low": 0, "high": 1}}, ())
    places = {float(point_of({"x": 5.0}, space, seeds.rng(7, n, seeds.Purpose.PLACE))[0]) for n in range(5)}
    assert len(places) == 5


def study(space: dict[str, Any], trials: int = 60, *, workers: int = 1, **more: Any) -> Driver:
    document = {
        "objective": {"metric": "loss"},
        "space": space,
        "algorithm": {"name": "dehb", "max_resource": 9, **more.pop("algorithm", {})},
        "trainer": {"function": "training:train"},
        "budget": {"trials": trials},
        **more,
    }
    driver = Driver(parse(document), Nature(horizon=9), workers=workers, seed=1)
    driver.nature.losses = lambda number, resource: loss(driver.rows[number].params, resource)
    return driver


def loss(params: Any, resource: float) -> float:
    return float(sum((params[name] - 0.3) ** 2 for name in ("x", "y") if name in params)) + 1 / resource


CUBE = {name: {"type": "uniform", "low": 0, "high": 1} for name in ("x", "y", "z")}
CHILD = re.compile(r"trial (\d+) \+ ([\d.]+)·\(trial (\d+) - trial (\d+)\) of (.+), crossed with (.+?);")


def test_a_child_is_what_its_reason_says() -> None:
    """DE/rand/1/bin: of each coordinate, base + F·(plus - minus) unless that lies outside, or the target's."""
    driver = study(CUBE, algorithm={"mutation": 0.4}).run()
    told = [(row, CHILD.search(row.reasons[0])) for row in driver.rows.values()]
    children = [(row, found) for row, found in told if found and found[6].startswith("trial")]
    assert len(children) > 20
    crossed = kept = 0
    for row, found in children:
        assert found is not None
        base, plus, minus, target = (
            driver.rows[int(n)].params for n in (found[1], found[3], found[4], found[6].removeprefix("trial "))
        )
        assert len({found[1], found[3], found[4]}) == 3
        assert found[2] == "0.4"
        for name in CUBE:
            mutant = base[name] + 0.4 * (plus[name] - minus[name])
            if 0 <= mutant <= 1:
                assert row.params[name] == pytest.approx(mutant) or row.params[name] == pytest.approx(target[name])
                crossed += row.params[name] == pytest.approx(mutant)
                kept += row.params[name] == pytest.approx(target[name])
        assert any(row.params[name] != pytest.approx(target[name]) for name in CUBE)
    assert min(crossed, kept) > 0.25 * (crossed + kept)


def test_parents_are_the_best_of_the_level_below() -> None:
    driver = study(CUBE).run()
    first = [row for row in driver.rows.values() if row.bracket == 0]
    assert len(first) == 9
    assert all(row.reasons[0].startswith("random draw: the first bracket") for row in first)
    pools = {found[5] for row in driver.rows.values() if (found := CHILD.search(row.reasons[0]))}
    assert {"those at resource 1", "the best 3 at resource 1"} <= pools


def test_without_three_results_anywhere_a_child_is_a_random_draw() -> None:
    driver = study(CUBE, trials=40)
    driver.nature.failures = lambda number: 0.5 if number < 20 else 99
    driver.run()
    assert any("fewer than 3 results to evolve from" in row.reasons[0] for row in driver.rows.values())
    assert any(CHILD.search(row.reasons[0]) for row in driver.rows.values())


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 5]))
def test_conditions_and_forbidden_combinations_hold(seed: int, workers: int) -> None:
    forbid = [{"optimizer": "adam", "batch": 256}]
    driver = study(MIXED, seed=seed, workers=workers, forbid=forbid).run()
    space = driver.definition.search_space
    for row in driver.rows.values():
        space.validate_params(row.params)
        assert ("momentum" in row.params) == (row.params["optimizer"] == "sgd")


def test_a_small_space_is_used_up_without_repeats() -> None:
    space = {name: {"type": "integer", "low": 0, "high": 5} for name in ("x", "y")}
    driver = study(space, trials=100).run()
    assert len(driver.rows) == 36
    assert "every configuration was tried" in (driver.algorithm.ending() or "")


def test_imported_trials_may_be_parents() -> None:
    driver = study(CUBE, trials=9)
    sampler = driver.algorithm._sampler
    assert isinstance(sampler, DifferentialSampler)
    given = ImportedTrial(
        trial=0, params={"x": 0.1, "y": 0.2, "z": 0.3}, value=0.5, resource=9.0, state=TrialState.FINISHED, reason=""
    )
    trial = driver.algorithm.history.take_in(given, 9.0)
    sampler.rested(trial)
    assert list(sampler.populations.everyone()) == [0]


def test_it_finds_better_ones_than_random_places_would() -> None:
    best = [min(loss(row.params, 9) for row in study(CUBE, 150, seed=seed).run().rows.values()) for seed in range(4)]
    drawn = [
        min(loss({n: float(u) for n, u in zip("xyz", rng.random(3), strict=True)}, 9) for _ in range(150))
        for rng in map(np.random.default_rng, range(4))
    ]
    assert np.median(best) < np.median(drawn)
