"""Rates, budgets and how long a study may still take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core.definition import Budget
from hpo_service.core.pace import Mark, Rate, budget_rows, rate, time_left_s

NOW = Mark(at=1000.0, done=30, resource=90.0, dollars=2.0)
COUNTS = st.integers(0, 10_000)


def test_a_rate_is_what_happened_in_between() -> None:
    assert rate(Mark(at=640.0, done=10, resource=45.0, dollars=1.0), NOW) == Rate(200.0, 450.0, 10.0, 360.0)


def test_a_short_time_says_nothing() -> None:
    assert rate(Mark(at=990.0), NOW) is None


@given(COUNTS, COUNTS)
def test_a_rate_is_never_negative(before: int, after: int) -> None:
    found = rate(Mark(at=0.0, done=before, resource=before), Mark(at=100.0, done=after, resource=after))
    assert found is not None
    assert found.trials == found.resource == pytest.approx(max(after - before, 0) * 36)


def test_only_bounds_that_are_set_are_rows() -> None:
    budget = Budget(trials=50, hours=2, patience=5, target=0.9)
    rows = budget_rows(budget, NOW, started=34, hours=0.5, best=0.8)
    assert [(r.name, r.used, r.limit) for r in rows] == [
        ("trials", 34.0, 50.0), ("hours", 0.5, 2.0), ("patience", None, 5.0), ("target", 0.8, 0.9),
    ]  # fmt: skip


def left(budget: Budget, found: Rate | None, **more: float | None) -> float | None:
    return time_left_s(budget, NOW, found, **{"hours": 0.5, "trials": None, "resource": None, **more})  # type: ignore[arg-type]


def test_the_first_bound_to_come_counts() -> None:
    going = Rate(trials=60.0, resource=180.0, dollars=4.0, seconds=600.0)
    assert left(Budget(trials=50), going, trials=50) == pytest.approx(1200)
    assert left(Budget(trials=50, resource=180), going, trials=50, resource=180.0) == pytest.approx(1800)
    assert left(Budget(dollars=3), going) == pytest.approx(900)
    assert left(Budget(hours=0.6, trials=50), going, trials=50) == pytest.approx(360)
    assert left(Budget(hours=0.4), going) == 0.0


def test_what_cannot_be_foreseen_is_none() -> None:
    still = Rate(trials=0.0, resource=0.0, dollars=0.0, seconds=600.0)
    assert left(Budget(trials=50), None, trials=50) is None
    assert left(Budget(trials=50), still, trials=50) is None
    assert left(Budget(patience=5), Rate(60, 180, 4, 600)) is None
    assert left(Budget(hours=1, trials=50), still, trials=50) == pytest.approx(1800), "the hours end it at the latest"


@given(done=st.integers(0, 100), limit=st.integers(1, 100), per_hour=st.floats(0.1, 1e4))
def test_less_is_left_the_more_is_done(done: int, limit: int, per_hour: float) -> None:
    found = Rate(trials=per_hour, resource=0.0, dollars=0.0, seconds=100.0)
    now, later = (Mark(at=0.0, done=n) for n in (done, done + 1))
    first = time_left_s(Budget(trials=limit), now, found, hours=0, trials=limit, resource=None)
    second = time_left_s(Budget(trials=limit), later, found, hours=0, trials=limit, resource=None)
    assert first is not None
    assert second is not None
    assert 0 <= second <= first
    assert first == pytest.approx(max(limit - done, 0) / per_hour * 3600)
