"""Schedulers by hand: who is promoted, stopped and finished, and in what order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core.definition import parse
from hpo_service.core.proposals import Continue, Start
from hpo_service.core.states import TrialState
from hpo_service.schedulers.median import _median_without
from tests.conformance.driver import Driver, Nature

WIDE = {"lr": {"type": "loguniform", "low": 1e-5, "high": 0.1}}


def driver(
    algorithm: dict[str, Any], value: Callable[[int, float], float], *, trials: int, workers: int = 1, **more: Any
) -> Driver:
    document = {
        "objective": {"metric": "loss", **more},
        "space": WIDE,
        "trainer": {"function": "t:train"},
        "budget": {"trials": trials},
        "algorithm": algorithm,
    }
    nature = Nature(horizon=9, losses=value)
    return Driver(parse(document), nature, workers=workers)


def decided(played: Driver) -> list[tuple[str, int, float]]:
    found = []
    for event in played.log:
        for proposal in getattr(event.payload, "proposals", ()):
            if isinstance(proposal, Start | Continue):
                found.append((type(proposal).__name__.lower(), proposal.trial, proposal.target))
    return found


def test_asha_promotes_from_the_highest_rung_down_as_soon_as_it_may() -> None:
    # Li et al. 2020, Algorithm 2, one worker, eta = 3, levels 1, 3, 9; trial n's loss is n, so earlier is better.
    # After 3 trials at 1, floor(3/3) = 1 may go to 3: trial 0. After 6, two: trial 1 goes. After 9, three: trial 2.
    # Then 3 are at 3, so one of them, trial 0, goes to 9, before any other trial is started.
    played = driver({"name": "asha", "max_resource": 9}, lambda n, r: float(n), trials=9).run()
    assert decided(played) == [
        *[("start", n, 1.0) for n in (0, 1, 2)],
        ("continue", 0, 3.0),
        *[("start", n, 1.0) for n in (3, 4, 5)],
        ("continue", 1, 3.0),
        *[("start", n, 1.0) for n in (6, 7, 8)],
        ("continue", 2, 3.0),
        ("continue", 0, 9.0),
    ]
    assert played.rows[0].state is TrialState.FINISHED
    assert [played.rows[n].state for n in range(1, 9)] == [TrialState.PAUSED] * 8


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_ties_are_broken_by_trial_number(direction: str) -> None:
    halving = {"name": "successive_halving", "trials": 9, "max_resource": 9}
    played = driver(halving, lambda n, r: 0.5, trials=9, workers=4, direction=direction).run()
    views = played.algorithm.rungs()
    assert [view.entered for view in views] == [tuple(range(9)), (0, 1, 2), (0,)]
    assert [view.promoted for view in views] == [(0, 1, 2), (0,), ()]


def test_maximize_promotes_the_greatest() -> None:
    halving = {"name": "successive_halving", "trials": 9, "max_resource": 9}
    played = driver(halving, lambda n, r: float(n), trials=9, workers=4, direction="maximize").run()
    assert [view.promoted for view in played.algorithm.rungs()] == [(8, 7, 6), (8,), ()]


def test_keep_takes_more_to_the_top() -> None:
    halving = {"name": "successive_halving", "trials": 9, "max_resource": 9, "keep": 4}
    played = driver(halving, lambda n, r: float(n), trials=9, workers=4).run()
    assert [len(view.entered) for view in played.algorithm.rungs()] == [9, 4, 4]
    assert [row.state for row in played.rows.values()].count(TrialState.FINISHED) == 4


def test_failures_rank_last_and_leave_their_places_empty() -> None:
    halving = {"name": "successive_halving", "trials": 9, "max_resource": 9}
    played = driver(halving, lambda n, r: float(n), trials=9, workers=3)
    played.nature.failures = lambda n: 0.0 if n > 1 else math.inf
    played.run()
    views = played.algorithm.rungs()
    assert views[0].promoted == (0, 1)
    assert views[0].values == (0.0, 1.0, *([None] * 7))
    assert views[1].size == 3
    assert views[2].entered == (0,)


def test_hyperband_opens_the_next_bracket_when_the_last_trial_of_this_one_has_started() -> None:
    played = driver({"name": "hyperband", "max_resource": 9}, lambda n, r: float(n), trials=40, workers=12)
    starts = [p for p in played.algorithm.propose(12) if isinstance(p, Start)]
    assert [start.bracket for start in starts] == [0] * 9 + [1] * 3
    assert [start.target for start in starts] == [1.0] * 9 + [3.0] * 3


def test_promotions_of_earlier_brackets_come_first() -> None:
    played = driver({"name": "hyperband", "max_resource": 9}, lambda n, r: float(n), trials=40, workers=14)
    played.commit(played.propose(14), len(played.log))
    while played.open:
        played.advance()
    again = [p for p in played.algorithm.propose(5) if isinstance(p, Start | Continue)]
    assert [(p.trial, p.bracket) for p in again] == [(0, 0), (1, 0), (2, 0), (9, 1), (14, 2)]
    assert isinstance(again[-1], Start)


def test_the_median_rule_stops_what_is_worse_than_the_median_of_running_means() -> None:
    # Golovin et al. 2017: trials 0 … 4 stay at 1 … 5; at resource 2, trial 5's best value 3.5 is worse than the
    # median 3 of the others' running means 1 … 5, and trial 6's best value 2.5 is not.
    losses = {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0, 4: 5.0, 5: 3.5, 6: 2.5}
    spec = {"name": "median", "max_resource": 4, "grace_resource": 2, "min_trials": 5}
    played = driver(spec, lambda n, r: losses[n], trials=7, workers=1).run()
    assert {n: row.state for n, row in played.rows.items() if n < 5} == dict.fromkeys(range(5), TrialState.FINISHED)
    assert played.rows[5].state is TrialState.STOPPED
    assert played.rows[5].reasons[-1] == (
        "its best value 3.5 at resource 2 is worse than 3, the median of 5 other trials' running means"
    )
    assert played.rows[6].state is TrialState.FINISHED


def test_the_median_rule_spares_the_first_and_those_before_the_grace() -> None:
    spec = {"name": "median", "max_resource": 3, "min_trials": 5}
    played = driver(spec, lambda n, r: float(n), trials=5, workers=2).run()
    assert {row.state for row in played.rows.values()} == {TrialState.FINISHED}


@given(st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=20), st.integers(0, 19))
def test_the_median_without_one(found: list[float], index: int) -> None:
    own = found[index % len(found)]
    rest = list(found)
    rest.remove(own)
    assert _median_without(sorted(found), own) == np.median(rest)
