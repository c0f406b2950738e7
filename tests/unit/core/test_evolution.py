"""DEHB's subpopulations: their sizes, whose slot a place is, who stays in it, and what a definition may not say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.evolution import Seat, Subpopulations
from hpo_service.core.tables import hyperband_round
from hpo_service.errors import InvalidInput


def test_a_population_is_as_large_as_the_largest_rung_of_its_level() -> None:
    populations = Subpopulations(hyperband_round(1, 81, 3))
    assert populations.sizes == (81, 34, 15, 8, 5)  # the columns of Hyperband's table, from the lowest level up
    assert populations.resources == (1, 3, 9, 27, 81)


def test_the_places_of_a_level_go_round_through_its_slots() -> None:
    populations = Subpopulations(hyperband_round(1, 9, 3))  # 9·1, 3·3, 1·9; 5·3, 1·9; 3·9
    assert populations.sizes == (9, 5, 3)
    highest = [
        populations.seat(bracket, rung, position).slot
        for bracket, rung, size in [(0, 2, 1), (1, 1, 1), (2, 0, 3), (3, 2, 1), (4, 1, 1)]
        for position in range(size)
    ]
    assert highest == [0, 1, 2, 0, 1, 2, 0]
    assert populations.seat(1, 0, 0) == Seat(level=1, slot=3)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 120), st.integers(2, 4), st.data())
def test_the_places_of_a_rung_have_slots_of_their_own(most: int, eta: int, data: st.DataObject) -> None:
    populations = Subpopulations(hyperband_round(1, most, eta))
    bracket = data.draw(st.integers(0, 30))
    for rung, size in enumerate(populations.plan(bracket).sizes()):
        seats = {populations.seat(bracket, rung, position) for position in range(size)}
        assert len(seats) == size
        assert all(0 <= seat.slot < populations.sizes[seat.level] for seat in seats)
        assert populations.resources[next(iter(seats)).level] == populations.plan(bracket).levels[rung]


def test_the_better_one_lives_on_and_the_newer_one_of_equals() -> None:
    populations, seat = Subpopulations(hyperband_round(1, 9, 3)), Seat(level=1, slot=2)
    assert populations.offer(seat, 4, (0, 0.5)) is None
    assert populations.offer(seat, 7, (0, 0.6)) == 4
    assert populations.living(seat) == 4
    assert populations.offer(seat, 8, (0, 0.5)) == 4
    assert populations.living(seat) == 8
    populations.offer(Seat(level=1, slot=0), 9, (1, 0.0))  # breaks a constraint: behind all that keep them
    assert populations.best(1) == [8, 9]
    assert populations.best(1, 1) == [8]
    populations.elders.append(1)
    assert list(populations.everyone()) == [9, 8, 1]


def study(budget: dict[str, Any], **options: Any) -> StudyDefinition:
    return parse(
        {
            "objective": {"metric": "loss"},
            "space": {"x": options.pop("x", {"type": "uniform", "low": 0, "high": 1})},
            "algorithm": {"name": "dehb", "max_resource": 27, **options},
            "trainer": options.pop("trainer", {"function": "training:train"}),
            "budget": budget,
        }
    )


@pytest.mark.parametrize(
    ("budget", "options", "path", "rule", "remedy"),
    [
        ({"trials": 26}, {}, "budget.trials", "the 27 trials of the first bracket must fit", "raise it to 27"),
        ({"resource": 80}, {}, "budget.resource", "which need 81 with their promotions", "raise it to 81"),
        ({"trials": 99}, {"min_resource": 10}, "algorithm.max_resource", "two levels or more", "raise it to 30"),
        ({"trials": 99}, {"x": {"type": "integer", "low": 1, "high": 20}}, "space", "different", "repeats"),
    ],
)
def test_what_breaks_a_rule_is_told_with_a_remedy(
    budget: dict[str, Any], options: dict[str, Any], path: str, rule: str, remedy: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        algorithms.check(study(budget, **options))
    (problem,) = caught.value.problems
    assert problem.path == path
    assert rule in problem.rule
    assert remedy in problem.remedy


@pytest.mark.parametrize("option", [{"mutation": 0}, {"mutation": 1.5}, {"crossover": -0.1}, {"sampler": "tpe"}])
def test_options_have_bounds(option: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"algorithm.{next(iter(option))}"):
        study({"trials": 50}, **option)


def test_it_learns_from_trials_so_few_are_open_at_once() -> None:
    assert study({"trials": 50}).parallel == 4


def test_the_plan_shows_a_round_and_what_it_may_cost_at_most() -> None:
    plan = algorithms.plan(study({"trials": 60}))
    assert [row["rungs"][0]["trials"] for row in plan.brackets] == [27, 12, 6, 4]
    assert plan.trials == 60
    assert plan.most_resource == 60 * 27
    assert any("every place of every rung is a new trial" in note for note in plan.notes)
