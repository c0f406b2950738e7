"""Population based training: what the exchange promises, in rounds and without."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hpo_service.core.definition import parse
from hpo_service.core.proposals import Continue, Start, Stop
from hpo_service.core.states import TrialState
from tests.conformance.driver import Driver, Nature

SPACE = {"lr": {"type": "loguniform", "low": 1e-6, "high": 0.1}, "width": {"type": "integer", "low": 1, "high": 99}}
PBT = {"name": "pbt", "population": 8, "max_resource": 6, "quantile": 0.25}


def study(budget: dict[str, Any] | None = None, seed: int = 0, **spec: Any) -> Any:
    return parse(
        {
            "objective": {"metric": "loss"},
            "space": SPACE,
            "algorithm": {**PBT, **spec},
            "trainer": {"function": "training:train"},
            "budget": budget or {},
            "seed": seed,
            "retries": 50,
        }
    )


def by_number(number: int, resource: float) -> float:
    """The lower the number, the better: every exchange takes the newest."""
    return number + 1 / resource


def levels(driver: Driver) -> Counter[float]:
    """How many trials trained to each level."""
    return Counter(target for row in driver.rows.values() for target in row.segments)


@pytest.mark.parametrize("workers", [1, 3, 64])
def test_the_worst_quarter_goes_on_from_the_best_at_every_level(workers: int) -> None:
    driver = Driver(study(), Nature(losses=by_number, horizon=6), workers=workers, seed=workers).run()
    rows = driver.rows
    assert len(rows) == 8 + 5 * 2
    assert levels(driver) == {float(level): 8 for level in range(1, 7)}
    assert {rows[n].state for n in range(6)} == {TrialState.FINISHED}
    first = [rows[n] for n in (8, 9)]
    assert all(row.parent in (0, 1) and row.began == 1 for row in first)
    assert [rows[n].state for n in (6, 7, 8, 9)] == [TrialState.STOPPED] * 4
    for row in first:
        assert row.parent is not None
        assert row.params["width"] == rows[row.parent].params["width"], "an integer shapes the model"
    assert driver.algorithm.ending() == "the population was trained to resource 6"
    assert sum(row.reached - row.began for row in rows.values()) == driver.algorithm.history.progress == 8 * 6


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**16),
    workers=st.integers(1, 12),
    population=st.integers(4, 11),
    quantile=st.sampled_from([0.25, 0.34, 0.5]),
    synchronous=st.booleans(),
    crashing=st.sampled_from([0.0, 0.04]),
)
@example(seed=39307, workers=11, population=4, quantile=0.34, synchronous=False, crashing=0.0)  # losers are spared
@example(seed=5618, workers=4, population=4, quantile=0.34, synchronous=False, crashing=0.0)
def test_the_population_is_constant_and_children_fork_from_better_ones(
    seed: int, workers: int, population: int, quantile: float, synchronous: bool, crashing: float
) -> None:
    definition = study(seed=seed, population=population, quantile=quantile, synchronous=synchronous)
    driver = Watching(definition, Nature(seed=seed, horizon=6), workers=workers, seed=seed, crashing=crashing, lag=2)
    driver.run()
    if synchronous:
        assert levels(driver) == {float(level): population for level in range(1, 7)}
    else:
        assert levels(driver)[6.0] == population
    for forked in driver.forked:
        loser = driver.rows[int(re.findall(r"in the place of trial (\d+)", forked.reasons[0])[0])]
        level = loser.reached
        assert loser.state is TrialState.STOPPED
        assert forked.began == level if synchronous else forked.began >= level
        if synchronous:
            assert driver.nature.value(forked.parent or 0, level) < driver.nature.value(loser.number, level)
    assert driver.most <= population
    assert len(driver.forked) == len(driver.stopped) == len(driver.rows) - population


class Watching(Driver):
    """Notes who left and who came."""

    def commit(self, proposals: Any, observed: int) -> None:
        super().commit(proposals, observed)
        alive = [row for row in self.rows.values() if row.fence and row.state not in (TrialState.STOPPED,)]
        self.most = max(getattr(self, "most", 0), len(alive))

    @property
    def stopped(self) -> list[Any]:
        return [row for row in self.rows.values() if row.state is TrialState.STOPPED]

    @property
    def forked(self) -> list[Any]:
        return [row for row in self.rows.values() if row.parent is not None]


def test_equal_values_are_no_reason_to_copy() -> None:
    driver = Driver(study(), Nature(losses=lambda number, resource: 1.0, horizon=6), workers=4, seed=1).run()
    assert len(driver.rows) == 8


def test_failed_trials_are_replaced_first_and_a_dead_population_ends() -> None:
    nature = Nature(losses=by_number, failures=lambda n: 1.0 if n in (0, 3, 5) else 99.0, horizon=6)
    driver = Driver(study(), nature, workers=4, seed=1).run()
    assert [driver.rows[n].state for n in (0, 3, 5)] == [TrialState.FAILED] * 3
    assert {driver.rows[n].began for n in (8, 9, 10)} == {1.0}
    assert driver.rows[7].state is not TrialState.STOPPED or driver.rows[7].reached > 1, "the failed ones were worst"
    assert levels(driver)[6.0] == 8
    for synchronous in (True, False):
        dead = Driver(study(synchronous=synchronous), Nature(failing=1.0, failing_by=0.5), workers=4, seed=1).run()
        assert dead.algorithm.ending() == "no trial of the population is left to go on from"


@pytest.mark.parametrize("synchronous", [True, False])
def test_one_that_ended_by_itself_leaves_its_place(synchronous: bool) -> None:
    nature = Nature(losses=by_number, ends=lambda n: 2.5 if n == 0 else 99.0, horizon=6)
    driver = Driver(study(synchronous=synchronous), nature, workers=4, seed=1).run()
    assert driver.rows[0].state is TrialState.FINISHED
    assert "ended by itself at resource 2.5" in driver.rows[0].reasons[-1]
    assert levels(driver)[6.0] == 8


def test_a_budget_of_resource_holds_whole_rounds_and_raised_it_goes_on() -> None:
    driver = Driver(study({"resource": 30.0}), Nature(seed=2, horizon=6), workers=3, seed=1).run()
    assert driver.algorithm.ending() == (
        "budget.resource: 24 of 30 are given out, and the next interval of the population needs 8"
    )
    assert sum(row.state is TrialState.PAUSED for row in driver.rows.values()) == 6
    driver.change(budget={"resource": 100.0})
    driver.compare()
    driver.run()
    assert levels(driver) == {float(level): 8 for level in range(1, 7)}
    whole = Driver(study(), Nature(seed=2, horizon=6), workers=8, seed=4).run()
    assert driver.outcome() == whole.outcome()


def test_without_trials_left_everyone_stays() -> None:
    driver = Driver(study({"trials": 11}), Nature(losses=by_number, horizon=6), workers=3, seed=1).run()
    assert len(driver.rows) == 11
    assert levels(driver) == {float(level): 8 for level in range(1, 7)}


def test_an_enqueued_trial_takes_the_next_place_from_zero() -> None:
    driver = Driver(study(), Nature(losses=by_number, horizon=6), workers=3, seed=1)
    driver.run(until=lambda d: len(d.rows) == 8)
    (number,) = driver.enqueue([{"lr": 0.01, "width": 5}])
    driver.run()
    row = driver.rows[number]
    assert (row.began, row.segments) == (0, [2.0]), "in one go to the level of the others, where it is the worst"
    assert levels(driver)[6.0] == 8


def test_an_enqueued_trial_for_which_the_budget_has_no_room_lets_others_go_ahead() -> None:
    driver = Driver(study({"resource": 16}), Nature(losses=by_number, horizon=6), workers=3, seed=1)
    driver.run(until=lambda d: len(d.rows) == 8)
    (number,) = driver.enqueue([{"lr": 0.01, "width": 5}])
    driver.run()
    assert driver.rows[number].fence == 0
    assert levels(driver) == {1.0: 8, 2.0: 8}
    assert "waits until the budget is raised" in (driver.algorithm.ending() or "")


def test_proposals_name_parent_level_and_changes() -> None:
    driver = Driver(study(), Nature(losses=by_number, horizon=6), workers=8, seed=1)
    driver.run(until=lambda d: any(isinstance(p, Stop) for p in d.algorithm.propose(8)))
    proposals = driver.algorithm.propose(8)
    stops = [p for p in proposals if isinstance(p, Stop)]
    starts = [p for p in proposals if isinstance(p, Start)]
    going = [p for p in proposals if isinstance(p, Continue)]
    assert [p.trial for p in stops] == [6, 7]
    assert [p.trial for p in going] == [0, 1, 2, 3, 4, 5]
    assert [p.trial for p in starts] == [8, 9]
    assert all(p.parent in (0, 1) and p.parent_resource == 1 and p.target == 2 and p.horizon == 6 for p in starts)
    assert stops[0].reason == "rank 7 of 8 at resource 1: gives up its place to one that goes on from better weights"
    assert starts[0].reason.startswith(
        f"goes on from trial {starts[0].parent}'s weights at resource 1, in the place of"
    )
    assert "lr " in starts[0].reason
    first, second = starts
    assert (first.parent, first.params) != (second.parent, second.params)
