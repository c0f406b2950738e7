"""Readers' questions about finished work."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core import analysis

POINTS = [(0, 0.5, 1.0), (2, 0.3, 1.0), (1, 0.4, 1.0), (3, math.nan, 1.0), (4, 0.6, 3.0), (5, None, 0.0), (6, 0.1, 1.0)]


def test_best_so_far_prefers_what_came_further() -> None:
    series = analysis.best_so_far(POINTS, maximize=False)
    assert series == analysis.Series(trials=(0, 1, 2, 4), values=(0.5, 0.4, 0.3, 0.6))


@given(st.lists(st.floats(-5, 5), min_size=1), st.booleans())
def test_best_so_far_only_improves_at_equal_resource(found: list[float], maximize: bool) -> None:
    series = analysis.best_so_far([(i, v, 1.0) for i, v in enumerate(found)], maximize=maximize)
    assert list(series.values) == sorted(set(series.values), reverse=not maximize)
    assert series.values[-1] == (max(found) if maximize else min(found))


def test_differences_name_their_paths() -> None:
    found = analysis.differences(
        [{"seed": 0, "budget": {"trials": 5}}, {"seed": 0, "budget": {"trials": 6, "hours": 1}}]
    )
    assert found == [
        analysis.Difference(path="budget.hours", values=(None, 1)),
        analysis.Difference(path="budget.trials", values=(5, 6)),
    ]
    assert analysis.differences([]) == []
