"""The median stopping rule (Golovin et al. 2017, section 3.2.1).

A trial at resource r is stopped when its best value so far is worse than the median of the other trials' running
means up to r. Judged at `grace_resource` and then every `interval`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence

from hpo_service.core.algorithm import RungView
from hpo_service.core.algorithm_specs import MedianSpec
from hpo_service.core.budget import Purse
from hpo_service.core.fold import State
from hpo_service.core.history import TrialRecord
from hpo_service.core.launches import Cohort
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from hpo_service.core.roles import Place
from hpo_service.core.states import TrialState
from hpo_service.core.tables import judgements


class MedianStopping:
    """A `Scheduler`. Smaller is better inside: values are negated where the objective is maximised."""

    def __init__(self, state: State, spec: MedianSpec) -> None:
        self._state = state
        self._levels = judgements(spec)
        self._min_trials = spec.min_trials
        self._sign = -1.0 if state.history.objective.maximize else 1.0
        self._means: list[list[float]] = [[] for _ in self._levels]  # sorted running means of those who came
        self._own: dict[int, float] = {}  # a paused trial's own running mean
        self._at: dict[int, int] = {}  # paused trials → the level that they are at

    def places(self) -> Iterator[Place]:
        """Room without end."""
        place = Place(
            reason=f"first judged at resource {self._levels[0]:g}",
            target=self._levels[0],
            horizon=self._levels[-1],
            bracket=0,
            rung=0,
        )
        while True:
            yield place

    def full(self) -> str | None:
        """Never."""
        return None

    def endings(self) -> Iterable[Stop | Finish]:
        """Paused trials that are at the end or below the median, by number."""
        found: list[Stop | Finish] = []
        for number in sorted(self._at):
            trial = self._state.history.trials[number]
            if trial.completed or self._at[number] == len(self._levels) - 1:
                ended = "ended by itself at" if trial.completed else "trained to its target,"
                found.append(Finish(trial=number, reason=f"{ended} resource {trial.resource:g}"))
            elif (why := self._worse(trial)) is not None:
                found.append(Stop(trial=number, reason=why))
        return found

    def continues(self, slots: int, purse: Purse) -> Iterable[Continue]:
        """The other paused trials, lowest number first."""
        found: list[Continue] = []
        for number in sorted(self._at):
            trial, level = self._state.history.trials[number], self._at[number]
            over = trial.completed or level == len(self._levels) - 1
            if over or self._worse(trial) is not None:
                continue
            target = self._levels[level + 1]
            if len(found) >= slots or not purse.take(target - self._levels[level]):
                break
            found.append(
                Continue(
                    trial=number,
                    target=target,
                    reason=f"not worse than the median at resource {self._levels[level]:g}",
                    bracket=0,
                    rung=level + 1,
                )
            )
        return found

    def cohorts(self, size: int) -> Iterator[tuple[Cohort, Sequence[Continue]]]:
        """None: nobody waits for others here."""
        return iter(())

    def started(self, trial: TrialRecord, proposal: Start, observed_seq: int) -> None:
        """Nothing to note."""

    def applied(self, trial: TrialRecord, proposal: Proposal) -> None:
        """It goes on, or is over."""
        self._at.pop(trial.number, None)
        self._own.pop(trial.number, None)

    def rested(self, trial: TrialRecord, seq: int) -> None:
        """Its running mean joins its level; a failed one joins as the worst."""
        level = trial.rung or 0
        mean = trial.curve.mean() if trial.curve is not None else None
        own = math.inf if trial.score is None or mean is None else self._sign * mean
        last = len(self._levels) - 1 if trial.completed else level
        for later in range(level, last + 1):  # one that ended keeps its last value at later levels
            insort(self._means[later], own)
        if trial.state is TrialState.PAUSED:
            self._at[trial.number] = level
            self._own[trial.number] = own

    def review(self, seq: int) -> None:
        """Nothing waits for the definition."""

    def rungs(self) -> Sequence[RungView]:
        """None: levels of judgement are no rungs, nobody is promoted."""
        return ()

    def _worse(self, trial: TrialRecord) -> str | None:
        """Why the trial is stopped, or None."""
        level = self._at[trial.number]
        means = self._means[level]
        others = len(means) - 1
        if others < self._min_trials or trial.curve is None:
            return None
        median = _median_without(means, self._own[trial.number])
        best = trial.curve.best(maximize=self._sign < 0)
        if best is None or not self._sign * best > median:
            return None
        return (
            f"its best value {best:.6g} at resource {self._levels[level]:g} is worse than {self._sign * median:.6g}, "
            f"the median of {others} other trials' running means"
        )


def _median_without(ordered: Sequence[float], own: float) -> float:
    """The median of a sorted list of at least two numbers without one that is equal to `own`."""
    skip, rest = bisect_left(ordered, own), len(ordered) - 1

    def at(k: int) -> float:
        return ordered[k if k < skip else k + 1]

    low, high = at((rest - 1) // 2), at(rest // 2)
    return high if low == high else (low + high) / 2
