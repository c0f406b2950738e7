"""Statistics of canonical curves agree with those of all their values, whatever the attempts."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_service.store import curve_stats, decisions, reading
from hpo_service.store.database import Database
from tests.storelib import World

NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(st.lists(NUMBERS, min_size=1), st.sampled_from([True, False, None]))
def test_of_a_series(series: list[float], maximize: bool | None) -> None:
    stats = curve_stats.of(series, maximize=maximize)
    finite = [value for value in series if math.isfinite(value)]
    assert repr(stats.first) == repr(series[0])
    assert repr(stats.last) == repr(series[-1])
    if not finite:
        assert (stats.best, stats.min, stats.max) == (None, None, None)
        return
    assert all(stats.min <= value <= stats.max for value in finite if stats.min is not None and stats.max is not None)
    assert {stats.min, stats.max} <= set(finite)
    assert stats.best == (None if maximize is None else stats.max if maximize else stats.min)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-5, 5, width=16), min_size=1, max_size=6))
def test_of_a_page_with_a_trial_that_began_again(db: Database, losses: list[float]) -> None:
    world = World(db)
    one, other = world.start(2)
    world.collect(*(world.report(one, step, 100.0) for step in range(len(losses))))
    world.collect(world.ended(one, "lost"), world.report(other, 0, 7.0, accuracy=0.5))
    (again,) = decisions.reopen(db, world.id, [one], epoch=world.epoch, placements={})
    world.collect(*(world.report(one, step, loss, fence=again.fence) for step, loss in enumerate(losses)))
    found = reading.curve_stats(db, world.id, [one, other], {"loss": False, "accuracy": True})
    assert found[one] == {"loss": curve_stats.of(losses, maximize=False)}
    assert found[other]["accuracy"].best == 0.5
    assert reading.curve_stats(db, world.id, [], {"loss": False}) == {}


def test_a_page_of_endless_curves_is_not_read_to_the_end(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(db)
    short, long = world.start(2)
    world.collect(*(world.report(short, step, 1.0) for step in range(3)))
    world.collect(*(world.report(long, step, 1.0) for step in range(30)))
    monkeypatch.setattr(curve_stats, "MAX_REPORTS", 20)
    assert list(reading.curve_stats(db, world.id, [short, long], {"loss": False})) == [short]
