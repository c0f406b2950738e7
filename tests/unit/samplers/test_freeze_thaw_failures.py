"""Whether trials fail for what is configured: axes that tell it, chance, and trials that had more time to fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpo_service.samplers.freeze_thaw.evidence import Seen
from hpo_service.samplers.freeze_thaw.failures import FEW, Failure, come_from
from hpo_service.samplers.freeze_thaw.scene import Scene
from tests.unit.samplers.test_freeze_thaw_plans import LEVELS, planner, scene

AXES = 6
ORDERED = np.zeros(AXES, dtype=np.bool_)


def alarms(draw: object, times: int = 200) -> float:
    """How often the test says that places tell who fails."""
    return float(np.mean([come_from(*draw(np.random.default_rng(seed))) for seed in range(times)]))  # type: ignore[operator]


def test_half_an_axis_that_always_fails_is_found() -> None:
    def draw(rng: np.random.Generator) -> tuple[object, ...]:
        points = rng.random((24, AXES))
        failed = points[:, 2] > 0.5
        return points, np.where(failed, 0.0, 9.0), failed, ORDERED

    assert alarms(draw) > 0.95


def test_a_value_of_a_choice_that_always_fails_is_found() -> None:
    unordered = np.arange(AXES) == 1

    def draw(rng: np.random.Generator) -> tuple[object, ...]:
        points = rng.random((30, AXES))
        points[:, 1] = (rng.integers(0, 4, 30) + 0.5) / 4
        failed = points[:, 1] == 0.375  # neither the first value nor the last
        return points, np.where(failed, 0.0, 9.0), failed, unordered

    assert alarms(draw) > 0.95


def test_failures_anywhere_are_chance() -> None:
    def draw(rng: np.random.Generator) -> tuple[object, ...]:
        failed = rng.random(60) < 0.3
        return rng.random((60, AXES)), np.where(failed, rng.integers(0, 9, 60), 9.0), failed, ORDERED

    assert alarms(draw) < 0.05


def test_who_is_trained_longer_has_more_time_to_fail() -> None:
    """The better half is trained to the end, the others for one of nine epochs; each epoch one in twenty fails. A plain
    comparison would blame what is good."""

    def draw(rng: np.random.Generator) -> tuple[object, ...]:
        points = rng.random((80, AXES))
        planned = np.where(points[:, 0] > 0.5, 9.0, 1.0)
        lives = rng.geometric(0.05, 80).astype(float)
        return points, np.minimum(planned, lives - 1), lives <= planned, ORDERED

    points, _, failed, _ = draw(np.random.default_rng(0))
    assert points[failed, 0].mean() > points[~failed, 0].mean() + 0.1  # type: ignore[index, operator]
    assert alarms(draw) < 0.05


def test_who_paused_was_not_there_to_fail_later() -> None:
    """The better third goes on from 1 to 9 and reports there alone: who fails on the way is known to have come to 1, as
    those that paused there."""

    def draw(rng: np.random.Generator) -> tuple[object, ...]:
        points = rng.random((120, AXES))
        on = points[:, 0] > 2 / 3
        failed = on & (rng.random(120) < 0.6)
        return points, np.where(on & ~failed, 9.0, 1.0), failed, ORDERED

    assert alarms(draw) < 0.05


def test_one_failure_of_a_rare_value_is_chance() -> None:
    unordered = np.arange(AXES) == 1

    def draw(rng: np.random.Generator) -> tuple[object, ...]:
        points = rng.random((80, AXES))
        points[:, 1] = (rng.integers(0, 32, 80) + 0.5) / 32
        failed = rng.random(80) < 0.1
        return points, np.where(failed, rng.integers(0, 9, 80), 9.0), failed, unordered

    assert alarms(draw) < 0.05


def test_a_few_failures_are_chance_wherever_they_are() -> None:
    points = np.linspace(0.0, 1.0, 20)[:, None]
    failed = np.arange(20) >= 20 - (FEW - 1)
    assert not come_from(points, np.where(failed, 0.0, 9.0).tolist(), failed.tolist(), np.zeros(1, dtype=np.bool_))


def test_an_axis_that_nothing_differs_on_tells_nothing() -> None:
    failed = [True] * 5 + [False] * 5
    assert not come_from(np.full((10, 1), 0.5), [1.0] * 10, failed, np.zeros(1, dtype=np.bool_))


def failing(trials: list[int]) -> Scene:
    """Thirty trials of one axis that matters, the first; these failed in their second segment."""
    points = [np.random.default_rng(trial).random(2)[0] for trial in range(30)]
    plain = scene([0.2 + float(u) for u in points])
    ends = {n: Failure(target=LEVELS[1], reach=LEVELS[0]) for n in trials}
    return replace(
        plain,
        seen=[*plain.seen, *(Seen(n, one.target, float("nan")) for n, one in ends.items())],
        paused=[one for one in plain.paused if one.trial not in ends],
        failed=ends,
        exposed={trial: LEVELS[0] if trial in ends else LEVELS[1] for trial in range(30)},
    )


def expected_at(asked: Scene, first: float) -> float:
    outlook = planner(cells=(0, 0)).outlook(asked)
    assert outlook is not None
    mean, _ = outlook.posterior.at(np.array([[first, 0.5]]), np.array([1.0]))
    return float(mean[0, 0]) * outlook.spread


def test_failures_turn_the_model_away_from_a_place_only_where_the_place_tells_them() -> None:
    """The best are at the top of the axis. Without failures the model expects most there; just so where as many failed
    all along the axis, but not where the best third did."""
    first = {trial: float(np.random.default_rng(trial).random(2)[0]) for trial in range(30)}
    best = sorted(first, key=lambda trial: -first[trial])
    sound = expected_at(failing([]), 0.95)
    anywhere = expected_at(failing(best[::3]), 0.95)
    there = expected_at(failing(best[:10]), 0.95)
    assert anywhere == pytest.approx(sound, abs=0.05)
    assert there < sound - 0.5


def test_plans_with_failures_are_pure_and_begin_alike() -> None:
    asked = failing([3, 8, 11, 20])
    longer = planner(cells=(0, 0)).plan(asked, 4)
    shorter = planner(cells=(0, 0)).plan(asked, 2)
    assert [(one.trial, one.target) for one in longer[:2]] == [(one.trial, one.target) for one in shorter]
    assert all(one.trial not in asked.failed for one in longer)
