"""Budgets that a fold can judge from its log: trials, resource, patience, target. Hours and dollars come from outside.

Here: accounts and counters. Not here: clocks, prices, proposals.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hpo_service.core.definition import Budget, Objective
from hpo_service.core.history import History, TrialRecord, progress_of
from hpo_service.core.lookout import Lookout
from hpo_service.core.proposals import UNLIMITED
from hpo_service.core.states import Origin, TrialState
from hpo_service.core.values import is_better

SLACK = 1e-9
"""Relative: resource levels such as 81/3 are sums of floats."""


def fits(reserved: float, amount: float, limit: float | None) -> bool:
    """Whether `amount` more can be reserved under `limit`."""
    return limit is None or reserved + amount <= limit * (1 + SLACK)


class Purse:
    """What one round of proposals may still reserve; thrown away with it."""

    def __init__(self, reserved: float, limit: float | None) -> None:
        self._reserved = reserved
        self._limit = limit

    @property
    def left(self) -> float:
        """What may still be reserved; infinite without a limit."""
        return math.inf if self._limit is None else self._limit * (1 + SLACK) - self._reserved

    def take(self, amount: float) -> bool:
        """Reserve `amount` of resource, if the budget allows it."""
        if not fits(self._reserved, amount, self._limit):
            return False
        self._reserved += amount
        return True


class Ledger:
    """The resource account. Whole segments are reserved when they are given out.

    Algorithms that promise the same trials with any number of workers give nothing back: a trial that fails or
    ends by itself keeps its reservation, else the number of trials would hang on who finished first. All others
    get back what a segment did not use, but for failed trials: else a study whose trials all fail would never end.
    """

    def __init__(self, *, gives_back: bool, resumes: bool = True) -> None:
        self.gives_back = gives_back
        self.resumes = resumes
        self.reserved = 0.0
        self.prepaid = 0.0  # of segments that are sure to come, and were not given out yet

    def reserve(self, trial: TrialRecord) -> None:
        """A segment of the trial was given out."""
        self.reserved += progress_of(trial)

    def settle(self, trial: TrialRecord) -> None:
        """A segment of the trial ended."""
        used = max(0.0, trial.resource - trial.segment_from)
        if trial.target == UNLIMITED:
            self.reserved += used
        elif not self.resumes:
            return  # begun at a size, it is paid for
        elif self.gives_back and trial.state is not TrialState.FAILED:
            self.reserved -= max(0.0, progress_of(trial) - used)


class Standing:
    """Best value so far and patience, judged over trials in number order.

    A trial is judged when it is over (or first at rest, where `judged_at_rest`), after all trials with lower
    numbers; the same rule and order whoever finished first. It is an improvement when it came further than the
    best one, or as far and better by more than `min_delta`. Where there are constraints, a trial that breaks them by
    less comes before all that; only feasible ones reach a target, and one of which that is not known improves nothing.
    Once patience is used up, judging rests until the budget changes. Imported trials set the mark, but try nobody's
    patience. With `patience: auto` the same trials in the same order tell whether going on is worth it
    (`core.patience`); `adapts`: later configurations are better chosen than earlier ones.
    """

    def __init__(self, objective: Objective, *, judged_at_rest: bool, adapts: bool = False) -> None:
        self._maximize = objective.maximize
        self._at_rest = judged_at_rest
        self.best: TrialRecord | None = None  # least violation, at the highest resource, best value; of all at rest
        self.best_any: float | None = None  # best feasible value at any resource: what `target` looks at
        self.next = 0  # the lowest number that is not judged
        self.since = 0  # judged trials since the last improvement
        self._mark: _Mark | None = None  # of the last improvement
        self._best_mark: _Mark | None = None
        self._lookout = Lookout(objective, adapts=adapts)

    def rested(self, trial: TrialRecord, history: History, budget: Budget) -> None:
        """A segment of `trial` ended, or a paused trial was declared over."""
        mark = _mark(trial)
        if mark is not None:
            if self._beats(mark, self._best_mark, 0.0):
                self.best, self._best_mark = trial, mark
            if mark.violation == 0 and is_better(mark.value, self.best_any, maximize=self._maximize):
                self.best_any = mark.value
        if budget.patience is None:
            return
        passed = trial.number < self.next
        if passed:
            self._lookout.take(trial, _counting(mark))
        if passed and mark is not None and self._improves(mark, budget.min_delta):
            self._mark, self.since = mark, 0
        self.advance(history, budget)

    def advance(self, history: History, budget: Budget) -> None:
        """Judge every trial whose turn has come."""
        while budget.patience is not None and self._used_up(budget) is None:
            trial = history.trials.get(self.next)
            if trial is None or not (trial.terminal or (self._at_rest and trial.at_rest)):
                return
            mark = _mark(trial)
            improved = mark is not None and self._improves(mark, budget.min_delta)
            if improved:
                self._mark = mark
            self._lookout.take(trial, _counting(mark))
            self.since = 0 if improved else self.since + (trial.origin is not Origin.IMPORTED)
            self.next += 1

    def over(self, budget: Budget) -> str | None:
        """Why nothing more is trained: the target is reached, or patience used up."""
        if budget.target is not None and self.best_any is not None:
            reached = self.best_any >= budget.target if self._maximize else self.best_any <= budget.target
            if reached:
                return f"budget.target: {self.best_any:.6g} reaches the target {budget.target:g}"
        return self._used_up(budget)

    def _used_up(self, budget: Budget) -> str | None:
        if budget.patience == "auto":
            return self._lookout.over(budget)
        if budget.patience is not None and self.since >= budget.patience:
            return (
                f"budget.patience: {self.since} trials in a row (up to trial {self.next - 1}) "
                f"without an improvement by more than {budget.min_delta:g}"
            )
        return None

    def _improves(self, mark: _Mark, min_delta: float) -> bool:
        return math.isfinite(mark.violation) and self._beats(mark, self._mark, min_delta)

    def _beats(self, mark: _Mark, than: _Mark | None, min_delta: float) -> bool:
        if than is None:
            return True
        if mark.violation != than.violation:
            return mark.violation < than.violation
        close = math.isclose(mark.reach, than.reach, rel_tol=SLACK) or mark.reach == than.reach
        if not close:
            return mark.reach > than.reach
        return is_better(mark.value, than.value, maximize=self._maximize, min_delta=min_delta)


class _Mark(NamedTuple):
    """What trials are compared by."""

    violation: float
    reach: float
    value: float


def _counting(mark: _Mark | None) -> float | None:
    """The value that `patience: auto` counts: of a trial that breaks no constraint."""
    return mark.value if mark is not None and mark.violation == 0 else None


def _mark(trial: TrialRecord) -> _Mark | None:
    value = trial.value
    if trial.state is TrialState.FAILED or value is None or not math.isfinite(value):
        return None
    return _Mark(trial.violation, trial.reach, value)
