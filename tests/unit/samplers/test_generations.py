"""CMA-ES and NSGA-II: generations, restarts, mixed and changed spaces, constraints, and what comes from elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.proposals import Start
from hpo_service.errors import Unsupported
from hpo_service.samplers import cmaes, nsga2
from hpo_service.samplers.columns import Columns
from hpo_service.samplers.generations import Individual
from search_spaces import SearchSpace
from tests.conformance.driver import Driver, Nature

MIXED = {
    "lr": {"type": "loguniform", "low": 1e-6, "high": 0.1},
    "layers": {"type": "integer", "low": 1, "high": 8},
    "optimizer": {"type": "choice", "values": ["sgd", "adam", "rmsprop"]},
    "nesterov": {"type": "choice", "values": [True, False], "when": {"optimizer": "sgd"}},
}
CUBE = {f"x{i}": {"type": "uniform", "low": 0.0, "high": 1.0} for i in range(3)}


def study(algorithm: dict[str, Any], *, space: dict[str, Any] = MIXED, **more: Any) -> StudyDefinition:
    document = {
        "objective": {"metric": "loss"},
        "space": space,
        "algorithm": {"max_resource": 3, **algorithm},
        "trainer": {"function": "training:train"},
        "budget": {"trials": 40},
        **more,
    }
    parsed = parse(document)
    algorithms.check(parsed)
    return parsed


def evolve(population: Any, columns: Columns, loss: Any, generations: int) -> list[Individual]:
    """Generations of a population without a study: a trial's random numbers hang on its number."""
    members: list[Individual] = []
    number = 0
    for _ in range(generations):
        members = []
        for _ in range(population.size):
            chosen = population.draw(generators(number)[0])
            point = np.random.default_rng(number).random(len(columns.middles)) if chosen is None else chosen.point
            params = columns.space.from_unit(point)
            members.append(Individual(number=number, point=columns.point(params), losses=loss(params), violation=0.0))
            number += 1
        population = population.next(members, [])
    return members


def generators(number: int) -> list[np.random.Generator]:
    return [np.random.default_rng((number, attempt)) for attempt in range(4)]


@settings(max_examples=4, deadline=None)
@given(
    name=st.sampled_from(["cmaes", "nsga2"]),
    seed=st.integers(0, 2**32),
    workers=st.sampled_from([1, 3, 64]),
    failing=st.sampled_from([0.0, 0.3]),
)
def test_a_mixed_study_is_the_same_with_any_number_of_workers(
    name: str, seed: int, workers: int, failing: float
) -> None:
    definition = study({"name": name, "population": 6}, retries=50, seed=seed % 89)
    nature = Nature(seed=seed % 97, failing=failing, failing_by=3, horizon=3)
    calm = Driver(definition, nature, workers=1, seed=0).run()
    wild = Driver(definition, nature, workers=workers, seed=seed, losing=0.04, crashing=0.03, lag=3).run()
    assert wild.outcome() == calm.outcome()
    assert wild.algorithm.ending() == calm.algorithm.ending()


@pytest.mark.parametrize("name", ["cmaes", "nsga2"])
def test_a_generation_begins_when_the_one_before_rests(name: str) -> None:
    driver = Driver(study({"name": name, "population": 6}), Nature(horizon=3), workers=16, seed=1)
    assert [p.trial for p in driver.algorithm.propose(16)] == list(range(6))
    driver.run(until=lambda d: len(d.rows) > 6)
    assert all(driver.rows[n].value is not None for n in range(6))


@pytest.mark.parametrize(("repeats", "trials"), [(False, 1), (True, 9)])
@pytest.mark.parametrize("name", ["cmaes", "nsga2"])
def test_a_space_in_which_nothing_varies_is_tried(name: str, repeats: bool, trials: int) -> None:
    constant = {"layers": {"type": "constant", "value": 3}}
    definition = study({"name": name, "population": 4}, space=constant, budget={"trials": 9}, repeats=repeats)
    driver = Driver(definition, Nature(horizon=3), workers=2, seed=1).run()
    assert len(driver.rows) == trials
    driver.compare()


@pytest.mark.parametrize("name", ["cmaes", "nsga2"])
def test_a_narrowed_space_begins_anew_from_what_it_still_allows(name: str) -> None:
    driver = Driver(study({"name": name, "population": 4}), Nature(horizon=3), workers=2, seed=1)
    driver.run(until=lambda d: len(d.rows) > 9)
    driver.change(space={**MIXED, "layers": {"type": "integer", "low": 3, "high": 5}})
    driver.run()
    driver.compare()
    started = [event.payload for event in driver.log if event.payload.kind == "decided"]
    late = [p for d in started for p in d.proposals if isinstance(p, Start) and p.space_version == 2]
    assert len(late) > 20
    assert all(3 <= p.params["layers"] <= 5 for p in late)


@settings(max_examples=50)
@given(u=st.floats(0, 1), first=st.floats(0, 1), second=st.floats(0, 1), upper=st.booleans())
def test_children_and_mutants_stay_in_the_cube(u: float, first: float, second: float, upper: bool) -> None:
    assert 0 <= nsga2._between(first, second, u, upper=upper) <= 1
    assert 0 <= nsga2._stirred(first, u) <= 1


@settings(max_examples=30)
@given(place=st.integers(0, 4), u=st.floats(0, 1))
def test_a_mutated_step_is_another_one(place: int, u: float) -> None:
    places = (np.arange(5) + 0.5) / 5
    assert nsga2._stepped(places, places[place], u) != places[place]


def test_nsga2_spreads_over_the_front() -> None:
    columns = Columns(SearchSpace.from_definition(CUBE, ()))

    def loss(params: dict[str, float]) -> np.ndarray:
        rest = params["x1"] + params["x2"]
        return np.array([params["x0"] + rest, 1 - params["x0"] + rest])

    last = evolve(nsga2.begin(12)(columns, [], generators), columns, loss, 20)
    losses = np.array([one.losses for one in last])
    assert np.median(losses.sum(axis=1)) < 1.5  # the front's sum is 1; a random trial's is 3
    assert losses[:, 0].max() - losses[:, 0].min() > 0.5


def test_nsga2_prefers_what_breaks_less() -> None:
    columns = Columns(SearchSpace.from_definition(CUBE, ()))
    known = [
        Individual(number=n, point=np.full(3, n / 10), losses=np.array([float(n)]), violation=5.0 - n) for n in range(6)
    ]
    population = nsga2.Nsga2Population(columns, 4, generation=1, parents=known)
    assert [one.number for one in population._parents] == [5, 4, 3, 2]


@pytest.mark.parametrize("space", [CUBE, {**CUBE, "layers": MIXED["layers"], "optimizer": MIXED["optimizer"]}])
def test_cmaes_converges(space: dict[str, Any]) -> None:
    columns = Columns(SearchSpace.from_definition(space, ()))

    def loss(params: dict[str, Any]) -> np.ndarray:
        found = sum((params[f"x{i}"] - 0.3) ** 2 for i in range(3))
        found += abs(params.get("layers", 6) - 6) / 7 + 0.5 * (params.get("optimizer", "adam") != "adam")
        return np.array([found])

    last = evolve(cmaes.begin(10)(columns, [], generators), columns, loss, 30)
    assert min(one.losses[0] for one in last) < 1e-3


def test_cmaes_begins_again_with_twice_the_population_on_a_plateau() -> None:
    columns = Columns(SearchSpace.from_definition({"x0": CUBE["x0"]}, ()))
    population = cmaes.begin(4)(columns, [], generators)
    sizes, number = [], 0
    for _ in range(25):
        members = []
        for _ in range(population.size):
            point = population.draw(generators(number)[0]).point
            members.append(Individual(number=number, point=point, losses=np.array([1.0]), violation=0.0))
            number += 1
        population = population.next(members, [])
        sizes.append(population.size)
    assert sizes[:17] == [4] * 17  # 10 + 30 n / 4 generations
    assert sizes[17] == 8
    assert "after restart 1, of 8 trials" in population.draw(generators(0)[0]).reason


def test_cmaes_stands_still_where_a_whole_generation_failed() -> None:
    columns = Columns(SearchSpace.from_definition(CUBE, ()))
    population = cmaes.begin(4)(columns, [], generators)
    members = [Individual(number=n, point=np.full(3, 0.5), losses=np.array([np.nan]), violation=0.0) for n in range(4)]
    assert population.next(members, []) is population


def test_cmaes_begins_at_the_best_that_is_known() -> None:
    columns = Columns(SearchSpace.from_definition(CUBE, ()))
    known = [
        Individual(number=0, point=np.full(3, 0.1), losses=np.array([0.0]), violation=1.0),
        Individual(number=1, point=np.full(3, 0.9), losses=np.array([5.0]), violation=0.0),
    ]
    population = cmaes.begin(4)(columns, known, generators)
    drawn = np.array([population.draw(np.random.default_rng(n)).point for n in range(50)])
    assert drawn.mean() > 0.7


def test_cmaes_serves_one_objective() -> None:
    with pytest.raises(Unsupported) as caught:
        study({"name": "cmaes"}, objective=[{"metric": "loss"}, {"metric": "size"}])
    assert "bayesian, nsga2" in str(caught.value)


def test_gaussian_processes_serve_four_objectives() -> None:
    objective = [{"metric": f"loss{n}"} for n in range(5)]
    with pytest.raises(Unsupported, match="at most 4"):
        study({"name": "bayesian", "surrogate": "gp"}, objective=objective)
    study({"name": "bayesian"}, objective=objective)
