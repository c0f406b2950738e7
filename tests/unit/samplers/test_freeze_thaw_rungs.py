"""Ranks decide now and then: rungs of a ladder, and who of the paused goes on from the highest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.samplers.freeze_thaw.choice import APART
from hpo_service.samplers.freeze_thaw.evidence import Evidence, Seen
from hpo_service.samplers.freeze_thaw.planner import RANKED, Planner
from hpo_service.samplers.freeze_thaw.promotion import promoted
from hpo_service.samplers.freeze_thaw.rungs import ETA, Forgotten, rungs
from hpo_service.samplers.freeze_thaw.scene import Move, Paused, Scene
from hpo_service.samplers.freeze_thaw.turns import BY_RANK, HALVING, LONG_HALVING, MANY, STILL_ANYWHERE

LEVELS = (2.0, 3.0, 4.0, 6.0, 9.0, 13.0, 18.0, 26.0, 37.0, 52.0)
NOTHING = Forgotten(LEVELS)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (LEVELS, (2.0, 6.0, 18.0, 52.0)),
        ((1.0, 2.0, 4.0, 9.0), (1.0, 4.0, 9.0)),
        ((1.0, 3.0, 9.0, 10.0), (1.0, 3.0, 10.0)),
        ((5.0,), (5.0,)),
        ((5.0, 6.0), (5.0, 6.0)),
    ],
)
def test_rungs_are_three_times_as_high_as_the_one_below_and_end_at_the_end(
    levels: Sequence[float], expected: Sequence[float]
) -> None:
    assert rungs(levels) == expected


def at(levels: Sequence[float], values: Sequence[float]) -> tuple[Evidence, list[Paused]]:
    """Trial n was trained to `levels[n]`, and its value was `values[n]` from the first level on."""
    seen = [Seen(n, one, value) for n, value in enumerate(values) for one in LEVELS if one <= levels[n]]
    paused = [Paused(trial=n, resource=levels[n]) for n in range(len(values)) if levels[n] < LEVELS[-1]]
    return Evidence(seen), paused


def test_the_best_of_a_third_goes_on_and_the_highest_rung_comes_first() -> None:
    evidence, paused = at([2.0] * 6, [0.1, 0.9, 0.2, 0.8, 0.3, 0.4])
    assert promoted(LEVELS, evidence, paused, NOTHING) == Paused(trial=1, resource=2.0)
    evidence, paused = at([2.0, 52.0, 2.0, 2.0, 2.0, 2.0], [0.1, 0.9, 0.2, 0.8, 0.3, 0.4])
    assert promoted(LEVELS, evidence, paused, NOTHING) == Paused(trial=3, resource=2.0)
    evidence, paused = at([9.0, 9.0, 9.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0], [0.1, 0.5, 0.2] + [0.9] * 6)
    assert promoted(LEVELS, evidence, paused, NOTHING) == Paused(trial=1, resource=9.0), "a third of three"


def test_what_failed_goes_nowhere_and_two_are_too_few() -> None:
    assert promoted(LEVELS, *at([2.0] * 6, [math.nan] * 6), NOTHING) is None
    assert promoted(LEVELS, *at([2.0, 2.0], [0.1, 0.2]), NOTHING) is None
    assert promoted(LEVELS, Evidence([]), [], NOTHING) is None


@given(st.lists(st.tuples(st.sampled_from(LEVELS), st.integers(0, 5)), max_size=20))
def test_who_goes_on_is_paused_and_among_the_best_third_of_its_rung(trials: list[tuple[float, int]]) -> None:
    levels, values = [level for level, _ in trials], [float(value) for _, value in trials]
    evidence, paused = at(levels, values)
    found = promoted(LEVELS, evidence, paused, NOTHING)
    due = []
    for rung, above in ((2.0, 6.0), (6.0, 18.0), (18.0, 52.0)):
        there = sorted((n for n in range(len(values)) if levels[n] >= rung), key=lambda n: (-values[n], n))
        due += [[n for n in there[: len(there) // ETA] if levels[n] < above]]
    highest = next((rung for rung in reversed(due) if rung), [])
    assert found == (Paused(trial=highest[0], resource=levels[highest[0]]) if highest else None)


@given(
    st.lists(st.tuples(st.sampled_from(LEVELS), st.integers(0, 9)), min_size=1, max_size=24),
    st.sets(st.integers(0, 23)),
)
def test_those_that_are_forgotten_are_ranked_as_well(trials: list[tuple[float, int]], lost: set[int]) -> None:
    levels, values = [level for level, _ in trials], [value - 0.01 * n for n, (_, value) in enumerate(trials)]
    everything, paused = at(levels, values)
    known = Evidence(
        [Seen(n, r, v) for n, curve in everything.curves.items() if n not in lost for r, v in curve.items()]
    )
    forgotten = Forgotten(LEVELS)
    for n in lost & set(everything.curves):
        forgotten.take(everything.curves[n])
    still = [one for one in paused if one.trial not in lost]
    found = promoted(LEVELS, known, still, forgotten)
    assert found == promoted(LEVELS, everything, still, NOTHING)


def planned(stamp: int, place: float) -> tuple[Planner, Scene]:
    """Nine trials in a row, the one in the middle the best."""
    places = {n: np.array([0.1 * (n + 1), place]) for n in range(10)}
    planner = Planner(3, LEVELS, np.zeros(2, dtype=np.bool_), np.zeros(2, dtype=np.int64), places.__getitem__)
    values = [0.1, 0.2, 0.4, 0.7, 1.0, 0.7, 0.4, 0.2, 0.1]
    return planner, Scene(
        seen=[Seen(n, 2.0, value) for n, value in enumerate(values)],
        paused=[Paused(trial=n, resource=2.0) for n in range(9)],
        running=[],
        begun=9,
        first=5,
        look=2.0,
        starts=math.inf,
        resource=math.inf,
        stamp=stamp,
        forgotten=NOTHING,
    )


def test_ranks_decide_as_often_as_they_say_where_the_search_stands_still() -> None:
    ranked = 0
    for stamp in range(120):
        planner, scene = planned(stamp, 0.5)
        assert planner.plan(scene, 1)[0].reason != RANKED
        found = [*scene.seen, *(Seen(9, level, 0.1) for level in (2.0, 26.0, 52.0))]  # and nothing better came of it
        (move,) = planner.plan(replace(scene, seen=found), 1)
        if move.reason == RANKED:
            ranked += 1
            assert (move.trial, move.target) == (4, 3.0)
    share = BY_RANK * (1 - STILL_ANYWHERE)
    assert 0.6 * share < ranked / 120 < 1.4 * share


def crowd(running: int, *, idle: bool = False) -> list[Move]:
    """What is planned for 80 stamps while so many are on their way."""
    moves = []
    for stamp in range(80):
        planner, scene = planned(stamp, 0.5)
        found = [*scene.seen, *(Seen(9, level, 0.1) for level in (2.0, 26.0, 52.0))] if idle else scene.seen
        scene = replace(scene, seen=found, running=[(9, 2.0)] * running, begun=9 + running)
        moves += planner.plan(scene, 1)
    return moves


def test_with_many_on_their_way_halving_decides_most_of_the_time_and_more_often_where_nothing_better_comes() -> None:
    few, many, idle = crowd(MANY - 1), crowd(MANY), crowd(MANY, idle=True)
    assert not any(move.reason == RANKED for move in few)
    assert HALVING - 0.15 < np.mean([move.reason == RANKED for move in many]) < HALVING + 0.15
    assert LONG_HALVING - 0.12 < np.mean([move.reason == RANKED for move in idle]) < LONG_HALVING + 0.12


def test_halving_begins_one_anywhere_where_nobody_is_due() -> None:
    begun = []
    for stamp in range(80):
        planner, scene = planned(stamp, 0.5)
        seen = [Seen(n, level, one.value) for n, one in enumerate(scene.seen) for level in (2.0, 3.0, 4.0, 6.0)]
        paused = [Paused(trial=n, resource=6.0) for n in (0, 1, 7, 8)]
        (move,) = planner.plan(replace(scene, seen=seen, paused=paused, running=[(9, 2.0)] * MANY), 1)
        assert move.reason != RANKED
        begun.append(move.trial is None and move.gain is None)
    assert HALVING - 0.15 < np.mean(begun) < HALVING + 0.15


def test_those_that_the_same_plan_begins_count_as_on_their_way() -> None:
    reasons = []
    for stamp in range(20):
        planner, scene = planned(stamp, 0.5)
        moves = planner.plan(scene, 2 * MANY)
        assert [repr(move) for move in moves[: MANY + 2]] == [repr(move) for move in planner.plan(scene, MANY + 2)]
        reasons.append([move.reason == RANKED for move in moves])
    assert not np.any([one[:MANY] for one in reasons])
    assert np.any([one[MANY:] for one in reasons])


def test_new_configurations_keep_away_from_old_ones() -> None:
    asked = 0
    for stamp in range(30):
        planner, scene = planned(stamp, 0.5)
        scene = replace(scene, paused=[])
        (move,) = planner.plan(scene, 1)
        assert move.points is not None
        sight = planner._learner.sight(scene.seen, Evidence(scene.seen), ())
        assert sight is not None
        if move.gain is not None:  # not anywhere
            asked += 1
            assert sight.known.apart(move.points[:1])[0] >= APART
    assert asked > 10
