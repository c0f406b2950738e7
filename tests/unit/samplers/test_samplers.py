"""Samplers asked one at a time: order, repeats, conditions, and what models are given."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.proposals import Start
from tests.conformance.driver import Driver, Nature
from tests.cpu_time import least_cpu_seconds

NESTED = {
    "optimizer": {"type": "choice", "values": ["sgd", "adam", None]},
    "momentum": {"type": "uniform", "low": 0.5, "high": 0.9, "when": {"optimizer": "sgd"}},
    "nesterov": {"type": "choice", "values": [True, False], "when": {"momentum": {">": 0.7}}},
    "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
    "layers": {"type": "log_integer", "low": 1, "high": 64},
    "width": {"type": "ordinal", "values": ["small", "medium", "large"]},
    "noise": {"type": "normal", "mu": 0.0, "sigma": 1.0},
    "step": {"type": "quniform", "low": 0.0, "high": 1.0, "step": 0.25},
    "kind": {"type": "constant", "value": "mlp"},
}
FORBID = [{"optimizer": "adam", "width": "large"}]


def study(algorithm: dict[str, Any], space: dict[str, Any] | None = None, **more: Any) -> StudyDefinition:
    document = {
        "objective": {"metric": "loss"},
        "space": space or NESTED,
        "forbid": FORBID if space is None else [],
        "trainer": {"function": "t:train"},
        "budget": {"trials": 30},
        "algorithm": {"max_resource": 9, **algorithm},
    }
    return parse({**document, **more})


def starts(definition: StudyDefinition, count: int) -> list[Start]:
    found = algorithms.build(definition).propose(count)
    return [proposal for proposal in found if isinstance(proposal, Start)]


SAMPLERS: list[dict[str, Any]] = [
    {"name": "random"},
    {"name": "sobol"},
    {"name": "bayesian", "startup_trials": 5},
    {"name": "bayesian", "startup_trials": 12, "surrogate": "gp"},
]


@pytest.mark.parametrize("algorithm", SAMPLERS, ids=lambda a: a.get("surrogate", a["name"]))
def test_conditions_and_forbidden_combinations_are_kept(algorithm: dict[str, Any]) -> None:
    trials = 14 if algorithm.get("surrogate") == "gp" else 60
    definition = study(algorithm, budget={"trials": trials})
    driver = Driver(definition, Nature(horizon=9), workers=2, seed=2).run()
    space = definition.search_space
    for row in driver.rows.values():
        assert space.validate_params(row.params) == row.params
    assert {row.params["optimizer"] for row in driver.rows.values()} == {"sgd", "adam", None}


@pytest.mark.parametrize("algorithm", SAMPLERS[:2], ids=lambda a: a["name"])
def test_draws_hang_on_seed_and_number(algorithm: dict[str, Any]) -> None:
    first, again, other = (starts(study(algorithm, seed=seed, budget={"trials": 9}), 9) for seed in (1, 1, 2))
    assert first == again
    assert [s.params for s in first] != [s.params for s in other]


def test_sobol_points_fill_the_unit_square_evenly() -> None:
    space = {name: {"type": "uniform", "low": 0, "high": 1} for name in "xy"}
    found = starts(study({"name": "sobol"}, space, budget={"trials": 256}), 256)
    cells = {(int(s.params["x"] * 16), int(s.params["y"] * 16)) for s in found}
    assert len(cells) == 256  # one point in each cell of 16 × 16: a (0, 8, 2)-net in base 2


def test_sobol_goes_on_where_it_was_after_many_trials() -> None:
    space = {name: {"type": "uniform", "low": 0, "high": 1} for name in "xy"}
    definition = study({"name": "sobol"}, space, budget={"trials": 1100})
    at_once = [s.params for s in starts(definition, 1100)]
    driver = Driver(definition, Nature(horizon=9), workers=50, seed=1).run()
    assert [driver.rows[n].params for n in range(1100)] == at_once


def test_a_grid_tries_every_combination_once_in_an_order_of_the_seed() -> None:
    space = {
        "a": {"type": "uniform", "low": 0, "high": 1},
        "b": {"type": "choice", "values": ["x", "y"]},
        "c": {"type": "integer", "low": 1, "high": 2, "when": {"b": "x"}},
    }
    orders = []
    for seed in (1, 2):
        definition = study({"name": "grid", "points": 3}, space, seed=seed, budget={})
        driver = Driver(definition, Nature(horizon=9), workers=4, seed=2).run()
        orders.append([tuple(sorted(row.params.items())) for row in driver.rows.values()])
        assert driver.algorithm.ending() == "every configuration was tried: the grid has 9"
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert len(set(orders[0])) == 9


def test_small_spaces_are_drawn_to_their_last_configuration() -> None:
    space = {"a": {"type": "integer", "low": 1, "high": 200}}
    driver = Driver(study({"name": "random"}, space, budget={"trials": 500}), Nature(horizon=9), workers=7).run()
    assert {row.params["a"] for row in driver.rows.values()} == set(range(1, 201))


def bowl(algorithm: dict[str, Any], *, trials: int, seed: int) -> list[float]:
    """The values that an algorithm meets, in trial order, on a bowl with its bottom at (0.3, -0.2)."""
    space = {name: {"type": "uniform", "low": -1, "high": 1} for name in "xy"}
    driver = Driver(study(algorithm, space, budget={"trials": trials}, seed=seed), Nature(horizon=9), workers=1)

    def value(number: int, resource: float) -> float:
        params = driver.rows[number].params
        return float((params["x"] - 0.3) ** 2 + (params["y"] + 0.2) ** 2)

    driver.nature.losses = value
    driver.run()
    return [row.value or 0.0 for row in driver.rows.values()]


def test_tpe_spends_its_trials_in_better_regions_than_random_draws() -> None:
    def late(algorithm: dict[str, Any]) -> float:
        return sum(sum(bowl(algorithm, trials=40, seed=seed)[-15:]) for seed in (0, 1, 2))

    assert late({"name": "bayesian"}) < 0.6 * late({"name": "random"})


def test_a_gaussian_process_finds_the_bottom_of_a_bowl() -> None:
    values = bowl({"name": "bayesian", "surrogate": "gp", "startup_trials": 8}, trials=14, seed=0)
    assert min(values) < 0.01 < min(values[:8])


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 100))
def test_bohb_learns_only_from_brackets_that_were_complete(seed: int) -> None:
    space = {"x": {"type": "uniform", "low": 0, "high": 1}}
    definition = study({"name": "bohb"}, space, budget={"trials": 45})
    driver = Driver(definition, Nature(horizon=9), workers=3, seed=seed).run()
    modelled = {n: row.reasons[0] for n, row in driver.rows.items() if row.reasons[0].startswith("TPE on")}
    assert modelled
    by_bracket: dict[int | None, set[str]] = {}
    for number, reason in modelled.items():
        by_bracket.setdefault(driver.rows[number].bracket, set()).add(reason.partition(";")[0])
    assert all(len(reasons) == 1 for reasons in by_bracket.values()), "one model for all of a bracket"


def test_a_draw_among_many_results_stays_quick() -> None:
    space = {name: {"type": "uniform", "low": 0, "high": 1} for name in "abcd"}
    definition = study({"name": "bayesian", "max_resource": 1}, space, budget={"trials": 3000})
    driver = Driver(definition, Nature(horizon=1), workers=2500, seed=1)
    driver.nature.losses = lambda number, resource: number * 7919 % 1009 / 1009
    driver.enqueue([{name: (n * (31 + i) % 2503) / 2503 for i, name in enumerate("abcd")} for n in range(2500)])
    driver.commit(driver.algorithm.propose(2500), len(driver.log))
    while driver.open:
        attempt = driver.open[-1]
        driver.report(attempt, attempt.target)
        driver.end(attempt, attempt.target)
    found: list[Any] = []
    assert least_cpu_seconds(lambda: found.extend(driver.algorithm.propose(1)), times=1) < 5
    assert "TPE on 2500 results" in next(p for p in found if isinstance(p, Start)).reason
