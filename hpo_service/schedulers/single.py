"""No scheduler: every trial is trained in one segment, as far as its definition says, and is then finished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hpo_service.core.algorithm import RungView
from hpo_service.core.budget import Purse
from hpo_service.core.history import TrialRecord
from hpo_service.core.launches import Cohort
from hpo_service.core.proposals import UNLIMITED, Continue, Finish, Proposal, Start, Stop
from hpo_service.core.roles import Place
from hpo_service.core.states import TrialState


class SingleSegment:
    """A `Scheduler` that only finishes. `target`: how far each trial is trained, None where parameters say it;
    `horizon`: where learning-rate schedules end, None for the target."""

    def __init__(self, target: float | None, *, horizon: float | None = None) -> None:
        self._target = target
        self._horizon = horizon
        self._due: dict[int, Finish] = {}

    def places(self) -> Iterator[Place]:
        """Room without end."""
        place = Place(reason="", target=self._target, horizon=self._horizon)
        while True:
            yield place

    def full(self) -> str | None:
        """Never."""
        return None

    def endings(self) -> Iterable[Stop | Finish]:
        """Every trial at its target."""
        return [self._due[number] for number in sorted(self._due)]

    def continues(self, slots: int, purse: Purse) -> Iterable[Continue]:
        """None: there is one segment."""
        return ()

    def cohorts(self, size: int) -> Iterator[tuple[Cohort, Sequence[Continue]]]:
        """None: there is one segment."""
        return iter(())

    def started(self, trial: TrialRecord, proposal: Start, observed_seq: int) -> None:
        """Nothing to note."""

    def applied(self, trial: TrialRecord, proposal: Proposal) -> None:
        """The trial is over."""
        self._due.pop(trial.number, None)

    def rested(self, trial: TrialRecord, seq: int) -> None:
        """At its target it is to be finished."""
        if trial.state is TrialState.PAUSED:
            self._due[trial.number] = Finish(trial=trial.number, reason=_reached(trial))

    def review(self, seq: int) -> None:
        """Nothing waits for the definition."""

    def rungs(self) -> Sequence[RungView]:
        """None."""
        return ()


def _reached(trial: TrialRecord) -> str:
    if trial.completed or trial.target == UNLIMITED:
        return f"ended by itself at resource {trial.resource:g}"
    return f"trained to its target, resource {trial.target:g}"
