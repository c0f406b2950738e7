"""What the curve model remembers of a log."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hpo_service.core.curves import Curve
from hpo_service.core.history import TrialRecord
from hpo_service.core.states import Origin, TrialState
from hpo_service.samplers.freeze_thaw import memory as module
from hpo_service.samplers.freeze_thaw.failures import Failure
from hpo_service.samplers.freeze_thaw.memory import HUGE, Memory

LEVELS = (1.0, 3.0, 9.0)


def trial(number: int, value: float | None, resource: float = 1.0, **more: Any) -> TrialRecord:
    found = TrialRecord(number, {}, str(number), Origin.SAMPLED)
    found.started, found.state, found.horizon, found.rung = True, TrialState.PAUSED, 9.0, 0
    found.value, found.resource, found.target, found.fence = value, resource, resource, 1
    for name, given in more.items():
        setattr(found, name, given)
    return found


def reports(*told: tuple[float, float]) -> Curve:
    found = Curve()
    for step, (resource, value) in enumerate(told):
        found.add(step=step, fence=1, resource=resource, value=value)
    return found


def told(*trials: TrialRecord, sign: float = 1.0) -> Memory:
    found = Memory(LEVELS, sign)
    for one in trials:
        found.started(one)
        found.rested(one)
    return found


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_a_diverged_trial_has_no_value_and_does_not_go_on(value: float | None) -> None:
    found = told(trial(0, value), trial(1, 0.5))
    assert math.isnan(found.seen[0].value)
    assert [one.trial for one in found.paused()] == [1]


def test_a_failed_trial_counts_where_it_was_to_come_to() -> None:
    found = told(trial(0, 0.7, 1.5, target=3.0, state=TrialState.FAILED))
    assert found.seen[0].resource == 3.0
    assert math.isnan(found.seen[0].value)


def test_what_a_failed_trial_had_come_to_counts() -> None:
    """It reported at 1, paused, and went on to 4 of 9 before it raised."""
    begun = trial(0, 0.5, 1.0)
    curve = reports((1.0, 0.5), (2.0, 0.6), (4.0, 0.8))
    raised = trial(0, 0.8, 5.0, target=9.0, segment_from=1.0, state=TrialState.FAILED, curve=curve)
    found = told(begun, raised)
    assert [(one.resource, repr(one.value)) for one in found.seen] == [(1.0, "0.5"), (4.0, "0.8"), (9.0, "nan")]
    assert found.failed == {0: Failure(target=9.0, reach=4.0)}
    assert found.paused() == []


def test_one_that_failed_before_it_reported_again_had_come_to_where_it_paused() -> None:
    curve = reports((1.0, 0.5))
    raised = trial(0, 0.5, 1.0, target=3.0, segment_from=1.0, fence=2, state=TrialState.FAILED, curve=curve)
    found = told(trial(0, 0.5, 1.0), raised)
    assert [one.resource for one in found.seen] == [1.0, 3.0]
    assert found.failed == {0: Failure(target=3.0, reach=1.0)}


@pytest.mark.parametrize("how", [{"diverged": True}, {"origin": Origin.IMPORTED}])
def test_one_that_diverged_is_not_among_the_failed(how: dict[str, Any]) -> None:
    curve = reports((1.0, math.nan))
    found = told(trial(0, math.nan, 1.0, target=3.0, state=TrialState.FAILED, curve=curve, **how))
    assert found.failed == {}
    assert math.isnan(found.seen[0].value)


def test_one_that_raised_after_a_report_without_the_objective_had_come_to_the_one_before() -> None:
    curve = reports((1.0, 0.4), (2.0, 0.5), (3.0, math.nan))
    found = told(trial(0, 0.5, 3.0, target=9.0, state=TrialState.FAILED, curve=curve))
    assert found.failed == {0: Failure(target=9.0, reach=3.0)}
    assert [(one.resource, repr(one.value)) for one in found.seen] == [(1.0, "0.4"), (2.0, "0.5"), (9.0, "nan")]


def test_what_a_training_that_began_anew_had_come_to_is_its_own() -> None:
    """Without resuming: it had come to 3, and failed on its second way before it reported."""
    raised = trial(0, 0.5, 3.0, target=9.0, fence=2, state=TrialState.FAILED, curve=reports((1.0, 0.4), (3.0, 0.5)))
    found = told(trial(0, 0.5, 3.0, fence=1), raised)
    assert found.failed == {0: Failure(target=9.0, reach=0.0)}
    assert [one.resource for one in found.seen] == [3.0, 9.0]


def test_what_an_imported_failure_had_come_to_counts() -> None:
    found = told(trial(0, 0.8, 6.0, origin=Origin.IMPORTED, state=TrialState.FAILED, target=0.0))
    assert found.failed == {0: Failure(target=1.0, reach=6.0)}
    assert [(one.resource, repr(one.value)) for one in found.seen] == [(6.0, "0.8"), (1.0, "nan")]


def test_how_far_trials_came_is_known_of_those_that_are_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 40)
    monkeypatch.setattr(module, "EXPOSED", 50)
    found = told(*(trial(n, float(n)) for n in range(60)))
    assert len({one.trial for one in found.seen}) < 50
    assert list(found.exposed) == list(range(10, 60))


def test_values_that_would_overflow_are_as_large_as_may_be() -> None:
    found = told(trial(0, 1.7e308), trial(1, -1.7e308), sign=-1.0)
    assert [one.value for one in found.seen] == [-HUGE, HUGE]


def test_who_was_stopped_tells_nothing_and_does_not_go_on() -> None:
    found = told(trial(0, 0.5), trial(1, 0.5))
    found.started(trial(0, 0.5))
    found.rested(trial(0, 0.9, 2.0, state=TrialState.STOPPED))
    found.over(1)
    assert found.paused() == []
    assert len(found.seen) == 2


def test_who_came_to_the_end_does_not_go_on() -> None:
    at_last = trial(0, 0.5, 9.0 * (1 - 1e-12), rung=2)
    early = trial(1, 0.5, 2.0, completed=True)
    past = trial(2, 0.5, 4.0)
    found = told(at_last, early, past)
    assert [one.resource for one in found.seen[1:]] == [9.0, 4.0]
    assert [(one.trial, one.resource) for one in found.paused()] == [(2, 4.0)]


def test_what_was_imported_came_no_further_than_the_end() -> None:
    found = told(trial(0, 0.5, 500.0, origin=Origin.IMPORTED, state=TrialState.STOPPED, rung=None))
    assert (found.seen[0].resource, found.seen[0].value) == (9.0, 0.5)
    assert found.paused() == []


def test_once_a_trial_keeps_the_constraints_those_that_break_them_have_no_value() -> None:
    found = told(trial(0, 0.9, violation=2.0), trial(1, 0.8, violation=0.5), trial(2, 0.7, violation=math.inf))
    assert [repr(one.value) for one in found.seen] == ["-2.0", "-0.5", "-1.25"]
    before = found.upheavals
    found.rested(trial(3, 0.1))
    assert [repr(one.value) for one in found.seen] == ["nan", "nan", "0.7", "0.1"]
    assert found.upheavals == before + 1
    assert [one.trial for one in found.paused()] == [2, 3]


def test_a_metric_that_is_measured_at_the_end_alone_holds_nobody_back() -> None:
    found = told(trial(0, 0.9, violation=math.inf), trial(1, 0.8, violation=math.inf))
    assert [one.value for one in found.seen] == [0.9, 0.8]
    found.rested(trial(0, 0.95, 9.0, violation=math.inf, rung=2))
    assert math.isnan(found.seen[-1].value)
    assert [one.trial for one in found.paused()] == [1]


def test_memory_is_bounded_and_keeps_the_best_an_even_spread_and_those_on_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", 40)
    found = Memory(LEVELS, 1.0)
    for number in range(500):
        found.rested(trial(number, float(number * 7 % 500)))
        if number == 3:
            found.started(trial(3, None))
        assert len(found.seen) <= 42, "one that is on its way comes on top"
    known = {one.trial: one.value for one in found.seen}
    assert set(sorted(range(500), key=lambda n: -(n * 7 % 500))[:10]) <= set(known)
    assert 3 in known
    assert {one.trial for one in found.paused()} <= set(known)
    assert min(known.values()) < 250, "not only the best"
    assert found.forgotten.count(LEVELS[0]) == 500 - len(known)
    lost = [n * 7 % 500 for n in range(500) if n not in known]
    assert found.forgotten.better(LEVELS[0], 250.0) == sum(value > 250 for value in lost)


def test_what_is_forgotten_between_a_first_report_and_its_value_is_not_that_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", 40)
    for before in range(30, 45):
        found = Memory(LEVELS, 1.0)
        for number in range(before):
            found.rested(trial(number, float(number)))
        curve = Curve()
        for step, value in enumerate((1.0, 1000.0), start=1):
            curve.add(step=step, fence=1, resource=step / 2, value=value)
        found.rested(trial(before, 1000.0, curve=curve))
        seen = [one.value for one in found.seen if one.trial == before]
        assert seen == [1.0, 1000.0]
        assert before in [one.trial for one in found.paused()]


def test_what_was_forgotten_is_worse_than_all_that_keeps_the_constraints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 40)
    found = Memory(LEVELS, -1.0)
    for number in range(60):
        found.rested(trial(number, 5.0, violation=0.01))
    lost = found.forgotten.count(LEVELS[0])
    assert lost == found.forgotten.better(LEVELS[0], -5.0) > 0
    found.rested(trial(60, 5.0))
    assert found.forgotten.count(LEVELS[0]) == lost
    assert found.forgotten.better(LEVELS[0], -5.0) == 0


def test_what_is_asked_changes_nothing() -> None:
    found = told(*(trial(n, float(n)) for n in range(5)))
    before = list(found.seen)
    assert found.paused() == found.paused()
    assert (found.seen, found.stamp, found.changes) == (before, 10, 10)
