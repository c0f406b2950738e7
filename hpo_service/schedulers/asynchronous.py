"""Asynchronous halving: promote as soon as a rung allows it; nobody waits (Li et al. 2020, Algorithm 2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hpo_service.core.algorithm import RungView
from hpo_service.core.budget import Purse
from hpo_service.core.fold import State
from hpo_service.core.history import TrialRecord
from hpo_service.core.launches import Cohort
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from hpo_service.core.roles import Place
from hpo_service.core.states import TrialState
from hpo_service.core.values import rank_key
from hpo_service.schedulers.ranking import Ranking

Ranked = tuple[int, float, int]  # (*rank key, trial number): sorts best first, ties by number


class _Rung:
    """One level: who came, best first, and who of them was not promoted yet."""

    def __init__(self, resource: float) -> None:
        self.resource = resource
        self.entered: list[int] = []
        self.values: dict[int, float | None] = {}
        self.ranked: Ranking[Ranked] = Ranking()
        self.open: Ranking[Ranked] = Ranking()  # not promoted, and able to be
        self.keys: dict[int, Ranked] = {}
        self.completed: set[int] = set()  # those of `open` that ended by themselves
        self.promoted: list[int] = []

    def add(self, trial: TrialRecord, *, maximize: bool) -> None:
        number, value = trial.number, trial.score
        key = (*rank_key(value, maximize=maximize, violation=trial.violation), number)
        self.values[number] = value
        self.ranked.add(key)
        if value is not None:
            self.keys[number] = key
            self.open.add(key)
            if trial.completed:
                self.completed.add(number)

    def promotable(self, eta: int) -> Iterator[int]:
        """Those of the best 1/eta that were not promoted, best first."""
        if not self.open:
            return
        first_outside = self.ranked.at(len(self.ranked) // eta)
        for key in self.open:
            if key >= first_outside:
                return
            yield key[2]

    def promote(self, number: int) -> None:
        key = self.keys.pop(number, None)
        if key is not None:
            self.open.remove(key)
            self.completed.discard(number)
        self.promoted.append(number)

    def rank(self, number: int) -> int:
        return self.ranked.place(self.keys[number]) + 1


class AsynchronousHalving:
    """A `Scheduler`: ASHA in its promotion form. Trials that are not promoted stay paused until the study's end."""

    def __init__(self, state: State, levels: Sequence[float], eta: int) -> None:
        self._state = state
        self._levels = tuple(levels)
        self._eta = eta
        self._rungs = [_Rung(level) for level in self._levels]
        self._top = len(self._levels) - 1  # the highest rung that trials are promoted to
        self._due: dict[int, Finish] = {}

    def places(self) -> Iterator[Place]:
        """Room without end in the lowest rung."""
        place = Place(
            reason=f"grows rung 0, resource {self._levels[0]:g}",
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
        """Trials in the highest rung."""
        return [self._due[number] for number in sorted(self._due)]

    def continues(self, slots: int, purse: Purse) -> Iterable[Continue]:
        """Promotions, from the highest rung down."""
        found: list[Continue] = []
        for level in range(self._top - 1, -1, -1):
            rung, target = self._rungs[level], self._levels[level + 1]
            for number in rung.promotable(self._eta):
                price = target - rung.resource if self._state.history.resumes else target
                if len(found) >= slots or not purse.take(price):
                    break
                found.append(self._promotion(number, level, target))
        return found

    def cohorts(self, size: int) -> Iterator[tuple[Cohort, Sequence[Continue]]]:
        """None: nobody waits for others here."""
        return iter(())

    def started(self, trial: TrialRecord, proposal: Start, observed_seq: int) -> None:
        """One more in the lowest rung."""
        self._rungs[0].entered.append(trial.number)

    def applied(self, trial: TrialRecord, proposal: Proposal) -> None:
        """A promotion began, or a trial is over."""
        self._due.pop(trial.number, None)
        if isinstance(proposal, Continue) and proposal.rung:
            self._rungs[proposal.rung - 1].promote(trial.number)
            self._rungs[proposal.rung].entered.append(trial.number)

    def rested(self, trial: TrialRecord, seq: int) -> None:
        """A trial came to its rung's level, or failed on the way, which counts as worst."""
        if trial.rung is None:
            return
        self._come(trial, trial.rung)
        self._carry_completed()

    def review(self, seq: int) -> None:
        """Nothing waits for the definition."""

    def rungs(self) -> Sequence[RungView]:
        """All rungs; nothing fixes their sizes."""
        views = []
        for number, rung in enumerate(self._rungs):
            ranked = [key[2] for key in rung.ranked]
            entered = (*ranked, *(n for n in rung.entered if n not in rung.values))
            views.append(
                RungView(
                    bracket=0,
                    rung=number,
                    resource=rung.resource,
                    size=None,
                    entered=entered,
                    promoted=tuple(rung.promoted),
                    values=tuple(rung.values.get(n) for n in entered),
                )
            )
        return views

    def _promotion(self, number: int, level: int, target: float) -> Continue:
        rung = self._rungs[level]
        return Continue(
            trial=number,
            target=target,
            reason=(
                f"rank {rung.rank(number)} of {len(rung.ranked)} at resource {rung.resource:g}, "
                f"among the best 1/{self._eta}: promoted to resource {target:g}"
            ),
            bracket=0,
            rung=level + 1,
        )

    def _come(self, trial: TrialRecord, level: int) -> None:
        rung = self._rungs[level]
        maximize = self._state.history.objective.maximize
        rung.add(trial, maximize=maximize)
        if level == len(self._levels) - 1 and trial.state is TrialState.PAUSED:
            ended = f"; it ended by itself at resource {trial.resource:g}" if trial.completed else ""
            self._due[trial.number] = Finish(
                trial=trial.number, reason=f"in the highest rung, resource {rung.resource:g}{ended}"
            )

    def _carry_completed(self) -> None:
        """Promote trials that ended by themselves without a segment: their last value stands at later rungs."""
        level = 0
        while level < self._top:
            rung = self._rungs[level]
            trials = self._state.history.trials
            for number in [n for n in rung.promotable(self._eta) if n in rung.completed] if rung.completed else ():
                rung.promote(number)
                self._rungs[level + 1].entered.append(number)
                self._come(trials[number], level + 1)
            level += 1
