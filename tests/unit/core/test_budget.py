"""Accounts of resource, patience and target."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core.budget import Ledger, Purse, Standing
from hpo_service.core.definition import Budget, Objective
from hpo_service.core.events import EndedAttempt, ReportRow
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.proposals import UNLIMITED, Start
from search_spaces import SearchSpace

SPACE = SearchSpace.from_definition({"x": {"type": "uniform", "low": 0, "high": 1}})


def facts(direction: str = "minimize") -> History:
    return History(Objective.model_validate({"metric": "m", "direction": direction}), SPACE)


def run(history: History, number: int, value: float, *, target: float = 9.0, reached: float = 9.0) -> TrialRecord:
    history.start(Start(trial=number, params={"x": number / 1e6}, target=target, horizon=9.0, reason="test"))
    return end(history, number, value, reached)


def end(history: History, number: int, value: float, reached: float = 9.0) -> TrialRecord:
    history.report(ReportRow(trial=number, fence=1, step=1, resource=reached, values=(value,)))
    state = "finished" if math.isfinite(value) else "failed"
    return history.ended(EndedAttempt(trial=number, fence=1, outcome="reached", trial_state=state, resource=reached))


def test_a_purse_gives_what_the_limit_leaves() -> None:
    purse = Purse(90.0, 100.0)
    assert [purse.take(6), purse.take(6), purse.take(4), purse.take(0.1)] == [True, False, True, False]
    assert Purse(1e12, None).take(1e12)


def test_a_purse_forgives_rounding() -> None:
    purse = Purse(0.0, 1.0)
    assert all(purse.take(0.1) for _ in range(10))
    assert not purse.take(0.01)


@pytest.mark.parametrize(("gives_back", "reserved"), [(True, 4.0), (False, 9.0)])
def test_what_a_segment_did_not_use_is_given_back_or_not(gives_back: bool, reserved: float) -> None:
    history, ledger = facts(), Ledger(gives_back=gives_back)
    trial = run(history, 0, 0.5, reached=4.0)
    trial.segment_from = 0.0
    ledger.reserve(trial)
    assert ledger.reserved == 9.0
    ledger.settle(trial)
    assert ledger.reserved == reserved


def test_unlimited_segments_are_counted_when_they_end() -> None:
    history, ledger = facts(), Ledger(gives_back=False)
    trial = run(history, 0, 0.5, target=UNLIMITED, reached=4.0)
    trial.segment_from = 0.0
    ledger.reserve(trial)
    assert ledger.reserved == 0.0
    ledger.settle(trial)
    assert ledger.reserved == 4.0


def test_patience_counts_trials_in_a_row_and_names_the_last() -> None:
    history, budget = facts(), Budget(patience=3, min_delta=0.1)
    standing = Standing(history.objective, judged_at_rest=False)
    for number, value in enumerate([0.9, 0.5, 0.45, 0.41, 0.3]):
        standing.rested(run(history, number, value), history, budget)
        assert standing.over(budget) is None
    for number in (5, 6, 7):
        assert standing.over(budget) is None
        standing.rested(run(history, number, 0.29), history, budget)
    assert standing.over(budget) == (
        "budget.patience: 3 trials in a row (up to trial 7) without an improvement by more than 0.1"
    )
    assert standing.over(Budget(patience=4, min_delta=0.1)) is None


@given(
    st.lists(st.floats(0, 1) | st.just(math.nan), min_size=1, max_size=25),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
)
def test_patience_is_judged_in_number_order_whoever_ends_first(
    found: list[float], order: random.Random, patience: int
) -> None:
    budget = Budget(patience=patience)
    results = []
    for shuffle in (False, True):
        history = facts()
        standing = Standing(history.objective, judged_at_rest=False)
        for number in range(len(found)):
            history.start(Start(trial=number, params={"x": number / 99}, target=9, horizon=9, reason="test"))
        numbers = list(range(len(found)))
        if shuffle:
            order.shuffle(numbers)
        for number in numbers:
            standing.rested(end(history, number, found[number]), history, budget)
        results.append((standing.over(budget), standing.next, standing.since, standing.best_any))
    assert results[0] == results[1]


def test_a_value_further_on_is_an_improvement() -> None:
    history, budget = facts(), Budget(patience=2)
    standing = Standing(history.objective, judged_at_rest=False)
    standing.rested(run(history, 0, 0.1, target=1.0, reached=1.0), history, budget)
    standing.rested(run(history, 1, 0.8), history, budget)
    assert (standing.since, standing.best) == (0, history[1])


def test_the_target_ends_at_any_resource() -> None:
    history, budget = facts("maximize"), Budget(target=0.9)
    standing = Standing(history.objective, judged_at_rest=False)
    standing.rested(run(history, 0, 0.89), history, budget)
    assert standing.over(budget) is None
    standing.rested(run(history, 1, 0.93, target=1.0, reached=1.0), history, budget)
    assert standing.over(budget) == "budget.target: 0.93 reaches the target 0.9"
