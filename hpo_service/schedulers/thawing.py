"""Trials pause at every level of a ladder, and a model says which of them goes on next (freeze-thaw: Swersky, Snoek &
Adams 2014). The others stay paused until the study ends. Not here: the model, and what it decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from hpo_service.core.algorithm import RungView
from hpo_service.core.budget import Purse
from hpo_service.core.fold import State
from hpo_service.core.history import TrialRecord
from hpo_service.core.launches import Cohort
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from hpo_service.core.roles import Place
from hpo_service.core.states import TrialState


class Step(Protocol):
    """One decision: the paused trial that goes on, or None for a new one."""

    @property
    def trial(self) -> int | None: ...

    @property
    def target(self) -> float: ...

    @property
    def reason(self) -> str: ...

    @property
    def gain(self) -> float | None: ...


class Plans(Protocol):
    """Who decides."""

    @property
    def levels(self) -> tuple[float, ...]:
        """Where trials pause, lowest first."""
        ...

    @property
    def look(self) -> float:
        """The level to which a new trial goes first; it may change with what is seen."""
        ...

    def plan(self, slots: int, *, starts: float, resource: float) -> Sequence[Step]:
        """At most `slots` decisions, within so many new trials and so much resource."""
        ...

    def over(self, trial: int) -> None:
        """A paused trial goes on no more."""
        ...


@dataclass(slots=True)
class _Level:
    """Who came to a level with which value, and who was sent on."""

    values: dict[int, float | None]
    on: list[int]


class Thawing:
    """A `Scheduler`."""

    def __init__(self, state: State, plans: Plans) -> None:
        self._state = state
        self._plans = plans
        self._due: dict[int, Finish] = {}
        self._levels = [_Level({}, []) for _ in plans.levels]

    def places(self) -> Iterator[Place]:
        """Room without end on the level of first looks."""
        levels, look = self._plans.levels, self._plans.look
        place = Place(reason="", target=look, horizon=levels[-1], bracket=0, rung=levels.index(look))
        while True:
            yield place

    def full(self) -> str | None:
        """Never."""
        return None

    def endings(self) -> Iterable[Stop | Finish]:
        """Trials at the end of their training."""
        return [self._due[number] for number in sorted(self._due)]

    def continues(self, slots: int, purse: Purse) -> Iterable[Continue]:
        """Those that the plan sends on; enqueued trials come before anything that it has in mind."""
        waiting = min(len(self._state.history.waiting), self._state.trials_left)
        room = slots - int(waiting)
        if room <= 0:
            return []
        found = []
        left = purse.left - waiting * self._plans.look
        for move in self._plans.plan(room, starts=self._state.trials_left - waiting, resource=left):
            if move.trial is None:
                continue
            trial = self._state.history[move.trial]
            begun = trial.resource if self._state.history.resumes else 0.0
            if not purse.take(max(0.0, move.target - begun)):
                break
            found.append(
                Continue(
                    trial=move.trial,
                    target=move.target,
                    reason=move.reason,
                    bracket=0,
                    rung=self._plans.levels.index(move.target),
                    gain=move.gain if self._state.definition.budget.patience == "auto" else None,
                )
            )
        return found

    def cohorts(self, size: int) -> Iterator[tuple[Cohort, Sequence[Continue]]]:
        """None: nobody waits for others here."""
        return iter(())

    def started(self, trial: TrialRecord, proposal: Start, observed_seq: int) -> None:
        """One more on the way to its first look."""

    def applied(self, trial: TrialRecord, proposal: Proposal) -> None:
        """A trial goes on, or is over."""
        self._due.pop(trial.number, None)
        if not isinstance(proposal, Continue):
            self._plans.over(trial.number)
        elif proposal.rung:
            self._levels[proposal.rung - 1].on.append(trial.number)

    def rested(self, trial: TrialRecord, seq: int) -> None:
        """A trial came to its level; at the last one, or where it ended by itself, it is over."""
        if trial.rung is None or trial.rung >= len(self._levels):
            return
        self._levels[trial.rung].values[trial.number] = trial.score
        if trial.state is not TrialState.PAUSED:
            return
        if trial.completed:
            reason = f"ended by itself at resource {trial.resource:g}"
        elif trial.rung == len(self._levels) - 1:
            reason = f"trained to the end, resource {trial.target:g}"
        else:
            return
        self._due[trial.number] = Finish(trial=trial.number, reason=reason)

    def review(self, seq: int) -> None:
        """Nothing waits for the definition."""

    def rungs(self) -> Sequence[RungView]:
        """The levels that anybody came to; nothing fixes their sizes."""
        maximize = self._state.history.objective.maximize
        found = []
        for number, level in enumerate(self._levels):
            if number and not level.values:
                break
            trials = self._state.history.trials
            entered = sorted(level.values, key=lambda n: (_key(level.values[n], maximize), n))
            found.append(
                RungView(
                    bracket=0,
                    rung=number,
                    resource=self._plans.levels[number],
                    size=None,
                    entered=tuple(n for n in entered if n in trials),
                    promoted=tuple(level.on),
                    values=tuple(level.values[n] for n in entered if n in trials),
                )
            )
        return found


def _key(value: float | None, maximize: bool) -> tuple[bool, float]:
    return value is None, 0.0 if value is None else -value if maximize else value
