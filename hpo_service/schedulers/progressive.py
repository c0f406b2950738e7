"""PASHA (Bohdal et al. 2023, Algorithm 1): asynchronous halving that grows upwards only while it has to.

At first the two lowest rungs are open. Whenever the trials of the highest open rung rank otherwise there than in the
rung below, by more than noise, the next rung is opened. How ranks are compared: `stability`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpo_service.core.fold import State
from hpo_service.core.history import TrialRecord
from hpo_service.core.proposals import Continue
from hpo_service.schedulers.asynchronous import AsynchronousHalving
from hpo_service.schedulers.stability import Noise, Standings


class ProgressiveHalving(AsynchronousHalving):
    """A `Scheduler`. `epsilon`: how far apart values may lie and still be equal, in the objective's units; None: it is
    estimated from the curves of the trials in the highest open rung, and kept where they say nothing."""

    def __init__(self, state: State, levels: Sequence[float], eta: int, *, epsilon: float | None) -> None:
        super().__init__(state, levels, eta)
        self._top = min(1, len(levels) - 1)
        self._estimated = epsilon is None
        self.epsilon = 0.0 if epsilon is None else epsilon
        self._noise, self._standings = Noise(), Standings()
        self._why: dict[int, str] = {}  # by rung: why it was opened

    def _promotion(self, number: int, level: int, target: float) -> Continue:
        found = super()._promotion(number, level, target)
        why = self._why.get(level + 1)
        return found if why is None else replace(found, reason=f"{found.reason} ({why})")

    def _come(self, trial: TrialRecord, level: int) -> None:
        super()._come(trial, level)
        if 0 < level == self._top < len(self._levels) - 1:
            self._compare(trial)

    def _compare(self, trial: TrialRecord) -> None:
        """A trial has come to the highest open rung: do the ranks still agree with those below?"""
        here, below = self._rungs[self._top], self._rungs[self._top - 1]
        value, was = here.values[trial.number], below.values.get(trial.number)
        if value is None or was is None or not trial.feasible:
            return
        if self._estimated:
            self._noise.add(trial.curve, up_to=here.resource)
            estimate = self._noise.estimate()
            self.epsilon = self.epsilon if estimate is None else estimate
        sign = -1.0 if self._state.history.objective.maximize else 1.0
        self._standings.add(trial.number, sign * value, sign * was)
        moved = self._standings.moved(self.epsilon)
        if moved is not None:
            self._grow(*moved)

    def _grow(self, risen: int, fallen: int) -> None:
        here, below = self._levels[self._top], self._levels[self._top - 1]
        self._top += 1
        self._noise, self._standings = Noise(), Standings()
        self._why[self._top] = (
            f"open since trial {risen} came to resource {here:g} with the rank that trial {fallen} had at {below:g}, "
            f"more than epsilon={self.epsilon:.4g} apart"
        )
