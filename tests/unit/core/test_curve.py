"""The canonical curve: per step the newest attempt's report."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core.curves import Curve

REPORTS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4), st.floats(-10, 10)), min_size=1, max_size=40)


@given(REPORTS)
def test_per_step_the_newest_fence_counts_whatever_the_order(reports: list[tuple[int, int, float]]) -> None:
    curve, expected = Curve(), dict[int, tuple[int, float]]()
    for step, fence, value in reports:
        curve.add(step=step, fence=fence, resource=float(step), value=value)
        if step not in expected or fence >= expected[step][0]:
            expected[step] = (fence, value)
    assert list(curve.steps) == sorted(expected)
    assert list(curve.values) == [expected[step][1] for step in sorted(expected)]
    assert len(curve) == len(expected)
    assert curve.last() == expected[max(expected)][1]
    assert curve.best(maximize=False) == min(value for _, value in expected.values())
    assert curve.best(maximize=True) == max(value for _, value in expected.values())


def test_non_finite_values_are_neither_best_nor_part_of_the_mean() -> None:
    curve = Curve()
    for step, value in enumerate([3.0, math.nan, 1.0, -math.inf]):
        curve.add(step=step, fence=1, resource=step, value=value)
    assert curve.best(maximize=False) == 1.0
    assert curve.mean() == pytest.approx(2.0)
    assert curve.last() == -math.inf


def test_an_empty_curve_has_nothing() -> None:
    assert Curve().last() is None
    assert Curve().mean() is None
    assert Curve().best(maximize=True) is None


def test_where_nothing_is_finite_the_last_value_is_the_best() -> None:
    curve = Curve()
    curve.add(step=1, fence=1, resource=1.0, value=math.inf)
    assert curve.best(maximize=True) == math.inf
    assert curve.mean() is None
