"""Plans of the curve model: pure, a shorter one the beginning of a longer one, sound where there is little to tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_service.samplers.freeze_thaw.evidence import LIMIT, PER_TRIAL, Evidence, Seen, spread_of
from hpo_service.samplers.freeze_thaw.kernel import Floats
from hpo_service.samplers.freeze_thaw.ladder import Ladder
from hpo_service.samplers.freeze_thaw.planner import ALIKE, Planner
from hpo_service.samplers.freeze_thaw.reserve import NOTHING, reserve
from hpo_service.samplers.freeze_thaw.rungs import Forgotten
from hpo_service.samplers.freeze_thaw.scene import Paused, Scene

LEVELS = (1.0, 2.0, 4.0, 9.0)


def planner(*, cells: Sequence[int] = (0, 0, 3), seed: int = 1) -> Planner:
    def point(trial: int) -> Floats:
        places = np.random.default_rng(trial).random(len(cells))
        return np.array([(math.floor(u * k) + 0.5) / k if k else u for u, k in zip(places, cells, strict=True)])

    listed = np.array([k == 3 for k in cells], dtype=np.bool_)
    return Planner(seed, LEVELS, listed, np.array(cells, dtype=np.int64), point)


def scene(
    values: Sequence[float],
    *,
    starts: float = math.inf,
    resource: float = math.inf,
    running: int = 0,
    far: int = 1,
    look: float = LEVELS[0],
) -> Scene:
    """A trial for each value, all of them paused after `far` levels but those without one."""
    seen = [Seen(n, LEVELS[k], v - 0.1 * (far - 1 - k)) for n, v in enumerate(values) for k in range(far)]
    return Scene(
        seen=seen,
        paused=[Paused(trial=n, resource=LEVELS[far - 1]) for n, v in enumerate(values) if math.isfinite(v)],
        running=[(len(values) + n, LEVELS[0]) for n in range(running)],
        begun=len(values) + running,
        first=5,
        look=look,
        starts=starts,
        resource=resource,
        stamp=len(seen),
        forgotten=Forgotten(LEVELS),
    )


VALUES = st.lists(st.sampled_from([0.0, 0.25, 0.3, 0.7, 1.0, -2.0, math.nan, 1e150, -1e150]), min_size=0, max_size=9)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    values=VALUES,
    starts=st.sampled_from([0.0, 2.0, math.inf]),
    resource=st.sampled_from([0.5, 6.0, 40.0, math.inf]),
    running=st.integers(0, 3),
    far=st.integers(1, 3),
    look=st.sampled_from(LEVELS[:3]),
)
def test_a_shorter_plan_is_the_beginning_of_a_longer_one_and_within_the_budget(
    values: list[float], starts: float, resource: float, running: int, far: int, look: float
) -> None:
    asked = scene(values, starts=starts, resource=resource, running=running, far=far, look=look)
    longest = planner().plan(asked, 5)
    kept = planner()
    for slots in (2, 5, 1):
        plan = kept.plan(asked, slots)
        assert [repr(move) for move in plan] == [repr(move) for move in longest[:slots]]
    reached = {one.trial: one.resource for one in asked.paused}
    spent = sum(move.target - (0.0 if move.trial is None else reached[move.trial]) for move in longest)
    assert spent <= resource
    assert sum(move.trial is None for move in longest) <= starts
    going_on = [move.trial for move in longest if move.trial is not None]
    assert len(set(going_on)) == len(going_on)
    for move in longest:
        assert move.target in LEVELS
        assert move.trial is not None or move.target == look
        assert move.gain is None or (math.isfinite(move.gain) and move.gain >= 0)
        if move.points is not None:
            assert ((move.points >= 0) & (move.points <= 1)).all()


def test_what_was_asked_before_changes_no_plan() -> None:
    """The kernel is of what had been seen when its fit was due, also where that told nothing."""
    values = [0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.9, 0.1, 0.8, 0.3]
    kept = planner()
    for count in range(len(values) + 1):
        asked = scene(values[:count])
        assert repr(kept.plan(asked, 2)) == repr(planner().plan(asked, 2)), count


@pytest.mark.parametrize("values", [[0.5] * 6, [1.0, 1.0, 1.0, 1.0, 0.2, 0.1], [math.nan] * 5 + [0.4]])
def test_while_nothing_tells_trials_apart_one_is_followed(values: list[float]) -> None:
    assert not Evidence(scene(values).seen).tells
    plan = planner().plan(scene(values), 1)
    assert (plan[0].target, plan[0].reason) == (LEVELS[1], ALIKE)
    assert math.isfinite(values[plan[0].trial or 0])
    assert plan[0].trial is not None


def test_without_room_for_more_trials_the_only_one_is_trained_to_the_end() -> None:
    for far in (1, 2, 3):
        (move,) = planner().plan(scene([0.5], starts=0, far=far), 4)
        assert (move.trial, move.target) == (0, LEVELS[far])


def test_where_all_failed_new_ones_begin_and_none_goes_on() -> None:
    plan = planner().plan(scene([math.nan] * 8), 3)
    assert [move.trial for move in plan] == [None] * 3
    assert planner().plan(scene([math.nan] * 8, starts=0), 3) == []


def test_a_diverged_trial_is_as_bad_as_the_worst_and_is_not_the_best_anywhere() -> None:
    evidence = Evidence([Seen(0, 1.0, 0.2), Seen(1, 1.0, 0.9), Seen(2, 1.0, math.nan), Seen(3, 1.0, -1e150)])
    scaled = evidence.scaled(np.array([0.2, 0.9, math.nan, -1e150]))
    assert scaled[1] == 1.0
    assert scaled[2] == scaled[3] == scaled.min()
    assert evidence.order[-1] == 2


@pytest.mark.parametrize("cells", [(), (0,), (3, 3), (2, 2, 2), (0,) * 20])
def test_spaces_of_any_shape_have_plans(cells: Sequence[int]) -> None:
    plan = planner(cells=cells).plan(scene([0.1, 0.4, 0.2, 0.8, 0.5, math.nan]), 3)
    assert len(plan) == 3
    for move in plan:
        assert move.points is None or move.points.shape[1] == len(cells)


def test_a_trial_that_went_past_its_level_goes_on_to_the_next_one() -> None:
    found = Ladder(LEVELS, resumes=True)
    assert [found.above(r) for r in (0.5, 1.0, 1.5, 2.0, 4.0 * (1 + 1e-12), 8.999, 9.0)] == [1, 2, 2, 4, 9, 9, 9]


@pytest.mark.parametrize(("resumes", "step", "beyond"), [(True, 2.0, 5.0), (False, 4.0, 9.0)])
def test_who_begins_anew_pays_for_all_of_each_level(resumes: bool, step: float, beyond: float) -> None:
    ladder = Ladder(LEVELS, resumes=resumes)
    assert ladder.step(2.0) == step
    assert ladder.beyond(4.0, 9.0) == beyond
    assert ladder.beyond(9.0, 9.0) == 0.0


def test_what_the_best_trial_needs_to_come_to_the_end_is_kept_for_it_also_while_it_is_on_its_way() -> None:
    evidence = Evidence([Seen(0, 1.0, 0.3), Seen(1, 1.0, 0.7), Seen(1, 2.0, 0.8)])
    ladder = Ladder(LEVELS, resumes=True)
    for places in ([(0, 1.0), (1, 2.0)], [(1, 2.0), (0, 1.0)]):
        assert reserve(places, evidence, ladder, left=100.0) == (1, 7.0)
    assert reserve([(0, 1.0), (1, 4.0)], evidence, ladder, left=100.0) == (1, 5.0), "on its way to 4"
    assert reserve([(0, 1.0), (1, 4.0)], evidence, ladder, left=4.0) == NOTHING, "nobody can"
    assert reserve([(0, 1.0), (1, 9.0)], evidence, ladder, left=100.0) == NOTHING, "one is on its way there"
    assert reserve([(0, 1.0), (1, 4.0)], evidence, ladder, left=math.inf) == NOTHING
    assert reserve([(-1, 1.0), (0, 1.0)], evidence, ladder, left=8.0) == (0, 8.0), "before one that is only planned"
    ended = Evidence([Seen(0, 1.0, 0.3), Seen(0, 9.0, 0.2)])
    assert reserve([(1, 1.0)], ended, ladder, left=100.0) == NOTHING
    assert reserve([(0, 1.0), (1, 2.0)], evidence, Ladder(LEVELS, resumes=False), left=9.0) == (1, 9.0)


def test_of_a_trial_that_came_further_the_model_is_given_no_early_value() -> None:
    seen = [Seen(0, 1.0, 0.1), Seen(0, 2.0, 0.2), Seen(1, 1.0, 0.3), Seen(1, 5.0, 0.6), Seen(1, 50.0, 0.7)]
    rows = Evidence(seen).rows(end=50.0)  # a tenth of it is 5
    assert set(rows) == {Seen(0, 1.0, 0.1), Seen(0, 2.0, 0.2), Seen(1, 5.0, 0.6), Seen(1, 50.0, 0.7)}


def test_what_the_model_is_given_is_bounded_and_holds_the_best() -> None:
    rng = np.random.default_rng(0)
    seen = [Seen(n, level, float(v)) for n, v in enumerate(rng.random(300)) for level in LEVELS]
    evidence = Evidence(seen)
    rows = evidence.rows(end=9.0)
    assert len(rows) == LIMIT
    assert {one.trial for one in rows} >= set(evidence.order[:50])
    assert max(sum(one.trial == n for one in rows) for n in evidence.order) <= PER_TRIAL
    assert len(spread_of(rows, 40)) == 40
    assert max(one.value for one in spread_of(rows, 40)) == evidence.best
