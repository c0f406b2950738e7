"""Population based training without rounds: each trial is compared as it comes, nobody waits (Jaderberg et al. 2017).

A trial that comes to a level is compared with those that came there before it. If it is among the worst of them, its
place goes on from the newest level of one of the best; it keeps its place where these have come to their end before
it was told. Who came first hangs on the workers, and the study with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hpo_service.core.algorithm import RungView
from hpo_service.core.algorithm_specs import PbtSpec
from hpo_service.core.budget import Purse, fits
from hpo_service.core.fold import State
from hpo_service.core.history import TrialRecord
from hpo_service.core.launches import Cohort
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from hpo_service.core.roles import Fork, Place
from hpo_service.core.states import TrialState
from hpo_service.core.tables import exchanges
from hpo_service.schedulers.ranking import Ranking
from hpo_service.schedulers.truncation import Explore, Rank, Selection


@dataclass(frozen=True, slots=True)
class _Vacancy:
    """A place that a trial gave up, compared at a level; `before`: the rank that a parent has to beat."""

    loser: int
    level: int
    before: Rank | None


class AsynchronousPopulation:
    """A `Scheduler`."""

    def __init__(self, state: State, spec: PbtSpec, explore: Explore) -> None:
        self._state = state
        self._size = spec.population
        self._levels = exchanges(spec)
        self._selection = Selection(state, spec, explore)
        self._ranked: list[Ranking[tuple[int, float, int]]] = [Ranking() for _ in self._levels]
        self._ranks: list[dict[int, Rank]] = [{} for _ in self._levels]
        self._stayed: list[list[int]] = [[] for _ in self._levels]
        self._newest: dict[int, int] = {}  # trials that can be gone on from, and the highest level that they came to
        self._resource: dict[int, float] = {}  # that they had there
        self._first = 0  # places that were taken first
        self._vacant: list[_Vacancy] = []
        self._going: dict[int, Continue] = {}  # in the order in which they came
        self._due: dict[int, Stop | Finish] = {}
        self._open: set[int] = set()  # trials with a segment on its way

    def places(self) -> Iterator[Place]:
        """The first places, then those that losers gave up, in that order."""
        for position in range(self._first, self._size):
            yield self._place(f"place {position + 1} of {self._size} in the population", 0)
        spared = self._spared()
        for vacancy in self._vacant:
            if vacancy in spared:
                return
            fork = self._fork(vacancy)
            if fork is None:  # until a trial under way comes to a level
                return
            yield self._place("", self._newest[fork.parent] + 1, fork=fork)

    def full(self) -> str | None:
        """The end of the population, or a budget that holds no interval more."""
        if next(self.places(), None) is not None:
            return None
        if going := self._on_offer():
            way = min(self._way(c.rung or 0) for c in going)
            given, limit = self._state.ledger.reserved, self._state.definition.budget.resource
            if fits(given, way, limit):
                return None
            return f"budget.resource: {given:g} of {limit:g} are given out, and the next interval needs {way:g}"
        if self._open:
            return None
        if self._vacant:
            return "no trial of the population is left to go on from"
        return f"the population was trained to resource {self._levels[-1]:g}"

    def endings(self) -> Iterable[Stop | Finish]:
        """Losers, trials that ended by themselves, and all that are at the last level, by number."""
        spared = self._spared()
        first = self._vacant.index(spared[0]) if spared else len(self._vacant)
        held = {vacancy.loser for vacancy in self._vacant[first:]}  # places are taken in order
        return [self._due[number] for number in sorted(self._due) if number not in held]

    def continues(self, slots: int, purse: Purse) -> Iterable[Continue]:
        """Those that keep their places, first come first, beside what takes a place: without it nobody is compared."""
        found: list[Continue] = []
        free = min(sum(1 for _ in self.places()), self._state.trials_left)
        for proposal in self._on_offer():
            if len(found) >= slots - free or not purse.take(self._way(proposal.rung or 0)):
                break
            found.append(proposal)
        return found

    def cohorts(self, size: int) -> Iterator[tuple[Cohort, Sequence[Continue]]]:
        """None: nobody waits for others here."""
        return iter(())

    def started(self, trial: TrialRecord, proposal: Start, observed_seq: int) -> None:
        """The next place is taken."""
        if self._first < self._size:
            self._first += 1
        else:
            self._vacant.pop(0)
        self._open.add(trial.number)

    def applied(self, trial: TrialRecord, proposal: Proposal) -> None:
        """It goes on, or is over."""
        self._due.pop(trial.number, None)
        if isinstance(proposal, Continue):
            if self._going.pop(trial.number, None) is None:
                self._keep(trial)
            self._open.add(trial.number)

    def rested(self, trial: TrialRecord, seq: int) -> None:
        """A trial came to a level, or is over."""
        self._open.discard(trial.number)
        level = trial.rung or 0
        if trial.state is not TrialState.PAUSED or trial.completed:
            self._newest.pop(trial.number, None)
            if trial.state is TrialState.PAUSED:
                self._finish(trial, f"it ended by itself at resource {trial.resource:g}")
            if trial.completed or self._came(trial) or not trial.began:  # else its weights are of no use to anybody
                self._leave(_Vacancy(trial.number, max(0, level - 1), None))
            return
        rank = self._selection.rank(trial)
        self._ranks[level][trial.number] = rank
        self._ranked[level].add((*rank, trial.number))
        place, count = self._ranked[level].place((*rank, trial.number)) + 1, len(self._ranked[level])
        standing = f"rank {place} of {count} so far at resource {self._levels[level]:g}"
        if level == len(self._levels) - 1:
            self._newest.pop(trial.number, None)
            self._finish(trial, standing)
            return
        vacancy = _Vacancy(trial.number, level, rank)
        if place > count - self._selection.share(count) and self._parents(vacancy) and self._room():
            self._newest.pop(trial.number, None)
            reason = f"{standing}: gives up its place to one that goes on from better weights"
            self._due[trial.number] = Stop(trial=trial.number, reason=reason)
            self._vacant.append(vacancy)
            return
        self._stay(trial, level)
        self._going[trial.number] = self._on(trial.number, level, standing)

    def _spared(self) -> list[_Vacancy]:
        """Losers whose end was not given out yet, and whose betters came to their own end in the meantime."""
        return [v for v in self._vacant if v.before is not None and v.loser in self._due and not self._parents(v)]

    def _on_offer(self) -> list[Continue]:
        """Who may go on; those who are spared last."""
        spared = [self._on(v.loser, v.level, "nobody better is left to go on from") for v in self._spared()]
        return [*self._going.values(), *spared]

    def _keep(self, trial: TrialRecord) -> None:
        """It was spared: its place is not vacant any more."""
        vacancy = next(one for one in self._vacant if one.loser == trial.number)
        self._vacant.remove(vacancy)
        self._stay(trial, vacancy.level)

    def _stay(self, trial: TrialRecord, level: int) -> None:
        """It keeps its place, and others may go on from it."""
        self._newest[trial.number], self._resource[trial.number] = level, trial.resource
        self._stayed[level].append(trial.number)

    def _on(self, number: int, level: int, standing: str) -> Continue:
        target = self._levels[level + 1]
        reason = f"{standing}: goes on to resource {target:g}"
        return Continue(trial=number, target=target, reason=reason, bracket=0, rung=level + 1)

    def review(self, seq: int) -> None:
        """Nothing waits for the definition."""

    def rungs(self) -> Sequence[RungView]:
        """Who came to each level, best first; `promoted` went on by themselves."""
        trials = self._state.history.trials
        return [
            RungView(
                bracket=0,
                rung=level,
                resource=resource,
                size=None,
                entered=(entered := tuple(key[2] for key in self._ranked[level])),
                promoted=tuple(self._stayed[level]),
                values=tuple(trials[n].score if self._newest.get(n) == level else None for n in entered),
            )
            for level, resource in enumerate(self._levels)
        ]

    def _place(self, reason: str, level: int, *, fork: Fork | None = None) -> Place:
        return Place(
            reason=reason,
            target=self._levels[level],
            horizon=self._levels[-1],
            bracket=0,
            rung=level,
            fork=fork,
        )

    def _way(self, level: int) -> float:
        return self._levels[level] - (self._levels[level - 1] if level else 0.0)

    def _came(self, trial: TrialRecord) -> bool:
        """Whether it came to a level."""
        return any(trial.number in ranks for ranks in self._ranks)

    def _room(self) -> bool:
        """Whether the budget of trials holds one more than the places that are vacant already."""
        return self._state.trials_left > len(self._vacant) + self._size - self._first

    def _leave(self, vacancy: _Vacancy) -> None:
        if self._room():
            self._vacant.append(vacancy)

    def _finish(self, trial: TrialRecord, why: str) -> None:
        self._due[trial.number] = Finish(trial=trial.number, reason=why)

    def _parents(self, vacancy: _Vacancy) -> list[int]:
        """The best at the level that are better than who gave up the place, and still train."""
        ranked, ranks = self._ranked[vacancy.level], self._ranks[vacancy.level]
        found: list[int] = []
        for key in ranked:
            number = key[2]
            if len(found) >= max(1, self._selection.share(len(ranked))):
                break
            if vacancy.before is not None and not ranks[number] < vacancy.before:
                break
            if number in self._newest and self._state.history[number].score is not None:
                found.append(number)
        return found

    def _fork(self, vacancy: _Vacancy) -> Fork | None:
        parents = self._parents(vacancy)
        if not parents and self._newest:  # nobody of that level trains: the best of those that came furthest
            top = max(self._newest.values())
            parents = self._parents(_Vacancy(vacancy.loser, top, None))
        if not parents:
            return None
        return self._selection.fork(vacancy.loser, parents, level=vacancy.level, resource=self._resource.__getitem__)
