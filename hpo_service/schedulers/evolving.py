"""DEHB's brackets (Awad, Mallik & Hutter 2021): Hyperband's rungs, most of whose places new configurations take.

The first bracket is successive halving: its trials are promoted, and go on from their checkpoints. In every later one a
rung's places are new trials, trained from zero to the rung's level, once the rung below is complete; whoever comes to
its level competes with the trial that lives in its slot (`core.evolution`). While all brackets wait, the next one
begins, so nobody waits for a rung's slowest trial; what a trial evolves from hangs on who came first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hpo_service.core.algorithm import RungView
from hpo_service.core.budget import Purse
from hpo_service.core.evolution import Key, Subpopulations
from hpo_service.core.fold import State
from hpo_service.core.history import TrialRecord
from hpo_service.core.launches import Cohort
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from hpo_service.core.roles import Place
from hpo_service.core.states import TrialState
from hpo_service.core.tables import BracketPlan


@dataclass
class _Rung:
    """One level of a bracket. `keys` holds what those who came are ranked by, None for the failed."""

    resource: float
    size: int
    members: list[int] = field(default_factory=list)
    keys: dict[int, Key | None] = field(default_factory=dict)
    values: dict[int, float | None] = field(default_factory=dict)
    promoted: tuple[int, ...] = ()

    @property
    def complete(self) -> bool:
        return len(self.members) == self.size == len(self.keys)

    def ranked(self) -> list[int]:
        """Those who came, best first, the failed last."""
        worst = (9, 0.0)
        return sorted(self.keys, key=lambda number: (self.keys[number] or worst, number))


@dataclass
class _Bracket:
    index: int
    plan: BracketPlan
    rungs: list[_Rung]

    def filling(self) -> int | None:
        """The rung that new trials enter now, or None while they wait for others, or for ever."""
        for number, rung in enumerate(self.rungs):
            if len(rung.members) < rung.size:
                return number if number == 0 or (self.index > 0 and self.rungs[number - 1].complete) else None
        return None

    @property
    def full(self) -> bool:
        return self.index > 0 and all(len(rung.members) == rung.size for rung in self.rungs)


class EvolvingBrackets:
    """A `Scheduler`; `populations` are shared with the sampler."""

    def __init__(self, state: State, populations: Subpopulations) -> None:
        self._state = state
        self._populations = populations
        self._brackets: list[_Bracket] = []
        self._filling: dict[int, _Bracket] = {}  # those that trials may still enter
        self._going_on: dict[int, Continue] = {}  # promoted in the first bracket, best first
        self._due: dict[int, Stop | Finish] = {}

    def places(self) -> Iterator[Place]:
        """What is open in the brackets that began, earlier ones first; then new brackets, without end."""
        for bracket in self._filling.values():
            rung = bracket.filling()
            if rung is not None:
                yield from self._places(bracket.index, rung, len(bracket.rungs[rung].members))
        for index in itertools.count(len(self._brackets)):
            yield from self._places(index, 0, 0)

    def full(self) -> str | None:
        """Never."""
        return None

    def endings(self) -> Iterable[Stop | Finish]:
        """Whoever has come to its level and is not promoted, by number."""
        return [self._due[number] for number in sorted(self._due)]

    def continues(self, slots: int, purse: Purse) -> Iterable[Continue]:
        """Promotions in the first bracket, best first."""
        found: list[Continue] = []
        for number, promotion in self._going_on.items():
            begins = self._state.history[number].resource if self._state.history.resumes else 0.0
            if len(found) >= slots or not purse.take(promotion.target - begins):
                break
            found.append(promotion)
        return found

    def cohorts(self, size: int) -> Iterator[tuple[Cohort, Sequence[Continue]]]:
        """None: what is proposed hangs on who came."""
        return iter(())

    def started(self, trial: TrialRecord, proposal: Start, observed_seq: int) -> None:
        """A place is taken; the first one opens the bracket."""
        index, rung = proposal.bracket or 0, proposal.rung or 0
        while len(self._brackets) <= index:
            self._open()
        bracket = self._brackets[index]
        bracket.rungs[rung].members.append(trial.number)
        if bracket.full:
            self._filling.pop(index, None)

    def applied(self, trial: TrialRecord, proposal: Proposal) -> None:
        """A promotion began, or a trial is over."""
        self._due.pop(trial.number, None)
        promotion = self._going_on.pop(trial.number, None)
        if promotion is not None and not isinstance(proposal, Continue):  # stopped by hand while it waited
            self._came(trial, 0, promotion.rung or 0, None, None)

    def rested(self, trial: TrialRecord, seq: int) -> None:
        """A trial came to its rung's level, or failed on the way, which counts as worst."""
        if trial.bracket is None or trial.rung is None:
            return
        key = None if trial.score is None else trial.rank(maximize=self._state.history.objective.maximize)
        self._came(trial, trial.bracket, trial.rung, key, trial.score)

    def review(self, seq: int) -> None:
        """Nothing waits for the definition."""

    def rungs(self) -> Sequence[RungView]:
        """Every rung that a trial has come to or will come to."""
        return [
            RungView(
                bracket=bracket.index,
                rung=number,
                resource=rung.resource,
                size=rung.size,
                entered=(entered := tuple(rung.ranked() if rung.complete else rung.members)),
                promoted=rung.promoted,
                values=tuple(rung.values.get(trial) for trial in entered),
            )
            for bracket in self._brackets
            for number, rung in enumerate(bracket.rungs)
            if rung.members
        ]

    def _open(self) -> None:
        index = len(self._brackets)
        plan = self._populations.plan(index)
        rungs = [_Rung(resource=r, size=n) for r, n in zip(plan.levels, plan.sizes(), strict=True)]
        self._brackets.append(_Bracket(index=index, plan=plan, rungs=rungs))
        self._filling[index] = self._brackets[index]

    def _places(self, index: int, rung: int, first: int) -> Iterator[Place]:
        plan = self._populations.plan(index)
        size, target = plan.sizes()[rung], plan.levels[rung]
        for position in range(first, size):
            yield Place(
                reason=f"place {position + 1} of {size} in bracket {index} ({plan.label}), rung {rung}",
                target=target,
                horizon=plan.levels[-1],
                bracket=index,
                rung=rung,
                position=position,
            )

    def _came(self, trial: TrialRecord, index: int, rung: int, key: Key | None, value: float | None) -> None:
        """The trial stands at the rung's level: it competes for its slot, and is promoted or over."""
        bracket = self._brackets[index]
        here = bracket.rungs[rung]
        here.keys[trial.number], here.values[trial.number] = key, value
        told = self._compete(bracket, rung, trial.number, key)
        top = rung == len(bracket.rungs) - 1
        if trial.state is TrialState.PAUSED and (index > 0 or top):
            ending = Finish if top or trial.completed else Stop
            ended = f", ended by itself at resource {trial.resource:g}" if trial.completed else ""
            self._due[trial.number] = ending(
                trial=trial.number, reason=f"trained to resource {here.resource:g} of bracket {index}{ended}: {told}"
            )
        if index == 0 and not top and here.complete:
            self._promote(bracket, rung)

    def _compete(self, bracket: _Bracket, rung: int, number: int, key: Key | None) -> str:
        """Selection in the slot of the trial's place; what came of it."""
        if key is None:
            return "it failed"
        seat = self._populations.seat(bracket.index, rung, bracket.rungs[rung].members.index(number))
        other = self._populations.offer(seat, number, key)
        if other is None:
            return f"it takes slot {seat.slot}, which was empty"
        if self._populations.living(seat) == number:
            return f"it takes slot {seat.slot} from trial {other}"
        return f"trial {other} keeps slot {seat.slot}"

    def _promote(self, bracket: _Bracket, rung: int) -> None:
        """Successive halving, in the first bracket: the best go on."""
        here, above = bracket.rungs[rung], bracket.rungs[rung + 1]
        trials, ranked = self._state.history.trials, here.ranked()
        able = [n for n in ranked if here.keys[n] is not None and trials[n].state is TrialState.PAUSED]
        here.promoted = tuple(able[: above.size])
        above.members, above.size = list(here.promoted), len(here.promoted)
        for rank, number in enumerate(ranked, start=1):
            trial, standing = trials[number], f"rank {rank} of {len(ranked)} at resource {here.resource:g}"
            if number in here.promoted and not trial.completed:
                self._going_on[number] = Continue(
                    trial=number,
                    target=above.resource,
                    reason=f"{standing}: promoted to resource {above.resource:g}",
                    bracket=bracket.index,
                    rung=rung + 1,
                )
            elif number not in here.promoted and trial.state is TrialState.PAUSED:
                reason = f"{standing}: the best {len(here.promoted)} are promoted"
                self._due[number] = Stop(trial=number, reason=reason)
        for number in here.promoted:
            if trials[number].completed:  # it ended by itself: its last value stands at every later rung
                self._came(trials[number], bracket.index, rung + 1, here.keys[number], here.values[number])
