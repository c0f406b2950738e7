"""What a trial at rest came to, as methods for several objectives and constraints take it: losses and violations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpo_service.core.constraints import total
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.states import TrialState

Floats = npt.NDArray[np.float64]


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
