"""Facts folded from events."""

from __future__ import annotations

import math

import pytest

from hpo_service.core.definition import Objective
from hpo_service.core.events import EndedAttempt, EnqueuedTrial, ReportRow
from hpo_service.core.history import History
from hpo_service.core.proposals import UNLIMITED, Continue, Finish, Start, Stop
from hpo_service.core.states import Origin, TrialState
from search_spaces import SearchSpace

SPACE = SearchSpace.from_definition(
    {"a": {"type": "integer", "low": 1, "high": 3}, "b": {"type": "choice", "values": ["x", "y"]}}
)


def history(at: str = "last", direction: str = "minimize") -> History:
    return History(Objective.model_validate({"metric": "loss", "at": at, "direction": direction}), SPACE)


def start(number: int, *, a: int = 1, target: float = 3.0) -> Start:
    return Start(trial=number, params={"a": a, "b": "x"}, target=target, horizon=9.0, reason="test")


def report(number: int, step: int, value: float, *, fence: int = 1) -> ReportRow:
    return ReportRow(trial=number, fence=fence, step=step, resource=float(step), values=(value,))


def ended(number: int, outcome: str, state: str, resource: float, cost: int = 0) -> EndedAttempt:
    return EndedAttempt(
        trial=number, fence=1, outcome=outcome, trial_state=state, resource=resource, cost_microdollars=cost
    )


def test_a_trial_runs_rests_goes_on_and_finishes() -> None:
    facts = history()
    trial = facts.start(start(0))
    assert (trial.state, trial.target, trial.at_rest) == (TrialState.RUNNING, 3.0, False)
    facts.report(report(0, 1, 0.5))
    facts.report(report(0, 3, 0.4))
    facts.ended(ended(0, "reached", "paused", 3.0, cost=7))
    assert (trial.at_rest, trial.value, trial.resource, trial.score) == (True, 0.4, 3.0, 0.4)
    facts.go_on(Continue(trial=0, target=9.0, reason="test", bracket=1, rung=2))
    assert (trial.state, trial.segment_from, trial.target, trial.bracket, trial.rung) == (
        TrialState.RUNNING,
        3.0,
        9.0,
        1,
        2,
    )
    facts.ended(ended(0, "reached", "paused", 9.0, cost=5))
    facts.end(Finish(trial=0, reason="test"))
    assert (trial.state, trial.cost_microdollars, facts.progress) == (TrialState.FINISHED, 12, 9.0)


def test_numbers_count_on_from_the_greatest_seen() -> None:
    facts = history()
    facts.enqueue(EnqueuedTrial(trial=4, params={"a": 2, "b": "y"}))
    assert facts.next_number == 5
    assert list(facts.waiting) == [4]
    facts.start(start(4))
    assert not facts.waiting
    assert (facts.started, facts.sampled, facts[4].origin) == (1, 0, Origin.ENQUEUED)
    assert facts[4].params == {"a": 2, "b": "y"}


def test_training_again_after_a_loss_is_no_progress() -> None:
    facts = history()
    trial = facts.start(start(0))
    facts.report(report(0, 1, 0.9))
    facts.report(report(0, 2, 0.8))
    facts.ended(ended(0, "lost", "waiting", 2.0))
    assert (trial.losses, trial.at_rest, trial.state) == (1, False, TrialState.WAITING)
    facts.reopened(0, 2)
    facts.report(report(0, 1, 0.7, fence=2))
    assert facts.progress == 2.0
    facts.report(report(0, 2, 0.6, fence=2))
    assert trial.value == 0.6


def test_the_best_value_is_over_the_canonical_curve() -> None:
    facts = history(at="best")
    trial = facts.start(start(0))
    for step, value in ((1, 0.2), (2, 0.5), (3, math.nan)):
        facts.report(report(0, step, value))
    assert trial.value == 0.2
    facts.report(report(0, 1, 0.4, fence=2))  # the newer attempt's report of step 1 takes the older one's place
    assert trial.value == 0.4


def test_a_failed_trial_has_no_score_but_keeps_its_value() -> None:
    facts = history()
    trial = facts.start(start(0))
    facts.report(report(0, 1, 0.2))
    facts.ended(ended(0, "failed", "failed", 1.0))
    assert (trial.value, trial.score, trial.terminal) == (0.2, None, True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_no_score(value: float) -> None:
    facts = history()
    trial = facts.start(start(0))
    facts.report(report(0, 1, value))
    facts.ended(ended(0, "reached", "paused", 3.0))
    assert trial.score is None


def test_a_trial_that_ended_by_itself_counts_as_having_come_to_its_end() -> None:
    facts = history()
    trial = facts.start(start(0, target=UNLIMITED))
    facts.report(report(0, 2, 0.5))
    facts.ended(ended(0, "completed", "paused", 2.0))
    assert (trial.completed, trial.resource, trial.reach) == (True, 2.0, 9.0)


def test_stopping_a_running_trial_waits_for_its_attempt() -> None:
    facts = history()
    facts.start(start(0))
    facts.end(Stop(trial=0, reason="test"))
    assert not facts[0].terminal
    facts.ended(ended(0, "cancelled", "stopped", 1.0))
    assert facts[0].state is TrialState.STOPPED


def test_configurations_of_a_finite_space_are_counted_once_each() -> None:
    facts = history()
    assert facts.inside(1) == 0
    for number, a in enumerate([1, 2, 1]):
        facts.start(start(number, a=a))
    assert facts.inside(1) == 2
    facts.change_space(
        2, SearchSpace.from_definition({**SPACE.to_dict()["parameters"], "a": {"type": "integer", "low": 2, "high": 9}})
    )
    assert facts.inside(2) == 1
    facts.start(Start(trial=3, params={"a": 9, "b": "y"}, target=1, horizon=1, reason="test", space_version=2))
    assert (facts.inside(1), facts.inside(2)) == (2, 2)


def test_a_continuous_space_cannot_be_used_up() -> None:
    facts = History(
        Objective(metric="loss"), SearchSpace.from_definition({"x": {"type": "uniform", "low": 0, "high": 1}})
    )
    assert facts.inside(1) is None


def test_configurations_outside_the_space_have_a_key_too() -> None:
    facts = history()
    assert facts.key_of({"a": 99, "b": "x"}, 1) != facts.key_of({"a": 98, "b": "x"}, 1)
