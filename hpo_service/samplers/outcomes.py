"""What trials at rest came to, as methods for several objectives and constraints take it: losses and violations, and
which of very many are the best. No model is here, and no Optuna."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpo_service.core.constraints import total
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.states import TrialState

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """`losses`, shape (objectives,), are to be minimised, and NaN where the trial failed or one of them is not finite;
    `excess`, shape (constraints,), by how much it breaks each constraint in units of the bound's size, negative where
    it keeps it and NaN where that is not known; `violation` is the one number to rank by (`core.constraints.total`)."""

    losses: Floats
    excess: Floats
    violation: float


def outcome_of(trial: TrialRecord, history: History) -> Outcome:
    """As things are when it comes to rest; nothing that it reports later counts."""
    signs = np.array([-1.0 if objective.maximize else 1.0 for objective in history.objectives])
    losses = np.full(len(signs), np.nan)
    values = np.array([np.nan if value is None else value for value in trial.values], dtype=np.float64)
    over = trial.state in (TrialState.FAILED, TrialState.STOPPED)
    if not over and len(values) == len(signs) and np.isfinite(values).all():
        losses = signs * values
    constraints = history.constraints
    excess = [
        np.nan if amount is None else amount / constraint.scale
        for constraint, amount in zip(constraints, trial.violations, strict=True)
    ]
    return Outcome(losses=losses, excess=np.array(excess), violation=total(constraints, trial.violations))


class Outcomes:
    """Of all trials at rest, each as of its newest rest; the best are kept up, never searched for."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.several = len(history.objectives) > 1
        self.wanted = self.several or bool(history.constraints)
        self._found: dict[int, Outcome] = {}
        self._ranked: list[tuple[float, float, int]] = []  # of one objective: violation, loss, number
        self._front: list[int] = []  # of several: who is not beaten, by number
        self._least = np.inf  # what the front breaks

    def rested(self, trial: TrialRecord) -> None:
        """A segment of the trial ended."""
        if not self.wanted:
            return
        old = self._found.get(trial.number)
        new = self._found[trial.number] = outcome_of(trial, self._history)
        if self.several:
            self._to_front(trial.number, new)
            return
        if old is not None and not np.isnan(old.losses[0]):
            key = (old.violation, float(old.losses[0]), trial.number)
            del self._ranked[bisect_left(self._ranked, key)]
        if not np.isnan(new.losses[0]):
            insort(self._ranked, (new.violation, float(new.losses[0]), trial.number))

    def best(self, most: int) -> list[int]:
        """The best so many trials: of several objectives an even spread over the front, along the first of them."""
        if not self.several:
            return [number for _, _, number in self._ranked[:most]]
        if len(self._front) <= most:
            return list(self._front)
        along = sorted(self._front, key=lambda number: (float(self._found[number].losses[0]), number))
        return sorted(along[(2 * i + 1) * len(along) // (2 * most)] for i in range(most))

    def of(self, numbers: Sequence[int], rested: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
        """Losses (trials, objectives), excess (trials, constraints) and violations (trials,); NaN for those that are
        not `rested`."""
        losses = np.full((len(numbers), len(self._history.objectives)), np.nan)
        excess = np.full((len(numbers), len(self._history.constraints)), np.nan)
        violations = np.full(len(numbers), np.nan)
        for row in np.flatnonzero(rested).tolist():
            outcome = self._found[numbers[row]]
            losses[row], excess[row], violations[row] = outcome.losses, outcome.excess, outcome.violation
        return losses, excess, violations

    def _to_front(self, number: int, new: Outcome) -> None:
        if number in self._front:
            self._front.remove(number)
        if np.isnan(new.losses).any() or new.violation > self._least:
            return
        if new.violation < self._least:
            self._least, self._front = new.violation, []
        others = np.array([self._found[other].losses for other in self._front]).reshape(-1, len(new.losses))
        if ((others <= new.losses).all(axis=1) & (others < new.losses).any(axis=1)).any():
            return
        beaten: npt.NDArray[np.bool_] = np.all(new.losses <= others, axis=1) & np.any(new.losses < others, axis=1)
        self._front = [other for row, other in enumerate(self._front) if not beaten[row]]
        insort(self._front, number)
