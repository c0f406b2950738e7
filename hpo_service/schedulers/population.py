"""Population based training in rounds: all trials come to a level, then the worst give up their places.

Who goes on from whom hangs on trial numbers and values alone: the same study comes out with any number of workers, in
any order of arrival. Each round is reserved as a whole. The trial that takes a place goes on from the checkpoint of a
better one at the level that both came to.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from hpo_service.core.algorithm import RungView
from hpo_service.core.algorithm_specs import PbtSpec
from hpo_service.core.budget import Purse, fits
from hpo_service.core.fold import State
from hpo_service.core.history import TrialRecord
from hpo_service.core.launches import Cohort, slice_of
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from hpo_service.core.roles import Fork, Place
from hpo_service.core.states import TrialState
from hpo_service.core.tables import exchanges
from hpo_service.schedulers.truncation import Explore, Rank, Selection


class Population:
    """A `Scheduler`. `members` are the trials by their place in the population; a place is free where its trial failed
    and nothing may be started any more. `used_up` says whether nothing is left to draw for the first places."""

    def __init__(self, state: State, spec: PbtSpec, explore: Explore, used_up: Callable[[int], bool]) -> None:
        self._state = state
        self._size = spec.population
        self._levels = exchanges(spec)
        self._selection = Selection(state, spec, explore)
        self._used_up = used_up
        self.members: dict[int, int] = {}
        self._places: dict[int, int] = {}  # of the members, by trial
        self._level = 0  # that the round under way trains to
        self._going: dict[int, Continue] = {}  # by place: what the round still has to give out
        self._forks: dict[int, Fork] = {}
        self._rested: set[int] = set()  # places whose trial came to the level, or is over
        self._begun = False  # whether something of the round was given out
        self._held = True  # whether the budget holds the round
        self._due: dict[int, Stop | Finish] = {}
        self._judged: list[RungView] = []
        self._over: str | None = None
        self._prepay()

    def places(self) -> Iterator[Place]:
        """The first places, then those that losers gave up."""
        if self._over is not None or not self._held:
            return
        if self._level == 0:
            for position in range(len(self.members), self._size):
                yield self._place(f"place {position + 1} of {self._size} in the population", position)
            return
        for position in sorted(self._forks):
            yield self._place("", position, fork=self._forks[position])

    def full(self) -> str | None:
        """The end of the population, or a budget that does not hold its next round."""
        if self._over is not None or self._held:
            return self._over
        ledger, limit = self._state.ledger, self._state.definition.budget.resource
        return (
            f"budget.resource: {ledger.reserved:g} of {limit:g} are given out, and the next interval of the population "
            f"needs {self._cost():g}"
        )

    def endings(self) -> Iterable[Stop | Finish]:
        """Losers, trials that ended by themselves, and all that are at the last level, by number."""
        return [self._due[number] for number in sorted(self._due)]

    def continues(self, slots: int, purse: Purse) -> Iterable[Continue]:
        """Those that keep their places; they are reserved with the round."""
        going = (self._going[position] for position in sorted(self._going)) if self._held else iter(())
        return list(itertools.islice(going, slots))

    def cohorts(self, size: int) -> Iterator[tuple[Cohort, Sequence[Continue]]]:
        """Slices of the population by place: who goes on in them; who is new there joins them."""
        if not self._held:
            return
        for first in range(0, self._size, size):
            here = range(first, first + size)
            if any(p in self._going or p in self._forks for p in here):
                yield slice_of(self._round, first, size), [self._going[p] for p in here if p in self._going]

    def started(self, trial: TrialRecord, proposal: Start, observed_seq: int) -> None:
        """The next place is taken."""
        position = len(self.members) if self._level == 0 else min(self._forks)
        self._forks.pop(position, None)
        self.members[position] = trial.number
        self._places[trial.number] = position
        self._given_out()

    def applied(self, trial: TrialRecord, proposal: Proposal) -> None:
        """It goes on, or is over."""
        self._due.pop(trial.number, None)
        if isinstance(proposal, Continue):
            self._going.pop(self._places[trial.number])
            self._given_out()

    def rested(self, trial: TrialRecord, seq: int) -> None:
        """A trial came to the level, or failed on the way, which counts as worst."""
        self._rested.add(self._places[trial.number])
        self._judge()

    def review(self, seq: int) -> None:
        """A changed budget may hold the next round, or not any more."""
        self._judge()
        self._prepay()

    def rungs(self) -> Sequence[RungView]:
        """The population at each level, best first; `promoted` went on by themselves."""
        if self._over is not None:
            return tuple(self._judged)
        entered = tuple(self.members[p] for p in sorted(self.members))
        trials = self._state.history.trials
        values = tuple(trials[n].score if self._places[n] in self._rested else None for n in entered)
        return (*self._judged, self._view(entered, (), values))

    @property
    def _round(self) -> str:
        return f"round {self._level}"

    def _place(self, reason: str, position: int, *, fork: Fork | None = None) -> Place:
        return Place(
            reason=reason,
            target=self._levels[self._level],
            horizon=self._levels[-1],
            bracket=0,
            rung=self._level,
            prepaid=True,
            position=position,
            fork=fork,
            together=None if fork is None else self._round,
        )

    def _way(self) -> float:
        return self._levels[self._level] - (self._levels[self._level - 1] if self._level else 0.0)

    def _cost(self) -> float:
        first = self._size - len(self.members) if self._level == 0 else 0
        return self._way() * (first + len(self._going) + len(self._forks))

    def _prepay(self) -> None:
        """Reserve a round that has not begun as a whole, if the budget holds it."""
        if self._begun:
            return
        ledger, cost = self._state.ledger, self._cost()
        self._held = fits(ledger.reserved, cost, self._state.definition.budget.resource)
        ledger.prepaid = cost if self._held else 0.0

    def _given_out(self) -> None:
        self._begun = True
        self._state.ledger.prepaid = self._cost()

    def _complete(self) -> bool:
        if self._going or self._forks or len(self._rested) < len(self.members):
            return False
        if self._level or len(self.members) >= self._size:
            return True
        return bool(self.members) and (self._state.trials_left <= 0 or self._used_up(self._state.history.space_version))

    def _judge(self) -> None:
        """Once the whole population rests: who goes on, and from whom."""
        if self._over is not None or not self._begun or not self._complete():
            return
        trials = self._state.history.trials
        ranks = {number: self._selection.rank(trials[number]) for number in self.members.values()}
        ranked = sorted(ranks, key=lambda number: (ranks[number], number))
        if self._level == len(self._levels) - 1:
            self._finish(ranked)
        else:
            self._exchange(ranked, ranks)
        stayed = tuple(n for n in ranked if self._places[n] in self._going)
        self._judged.append(self._view(tuple(ranked), stayed, tuple(trials[n].score for n in ranked)))
        self._level += self._over is None
        self._rested, self._begun = set(), False
        self._prepay()

    def _exchange(self, ranked: Sequence[int], ranks: Mapping[int, Rank]) -> None:
        trials = self._state.history.trials
        share, room = self._selection.share(len(ranked)), self._state.trials_left
        worst = set(ranked[len(ranked) - share :])
        best = [n for n in ranked if n not in worst and trials[n].score is not None and _goes_on(trials[n])]
        best = best[: max(1, share)]
        if not best:
            self._end("no trial of the population is left to go on from", ranked)
            return
        here = self._levels[self._level]
        for number in sorted(ranked, key=lambda n: (_goes_on(trials[n]), -ranked.index(n))):  # lost ones first
            trial, position = trials[number], self._places[number]
            standing = f"rank {ranked.index(number) + 1} of {len(ranked)} at resource {here:g}"
            living = _goes_on(trial)
            parents = [p for p in best if not living or ranks[p] < ranks[number]]
            if living and (number not in worst or not parents or room <= 0):
                self._going[position] = self._continue(number, standing)
                continue
            self._leave(trial, standing)
            if room > 0:
                room -= 1
                known = [trials[n].params for n in ranked if _goes_on(trials[n])] + [
                    f.params for f in self._forks.values()
                ]
                self._forks[position] = self._selection.fork(
                    number, parents, level=self._level, resource=lambda n: trials[n].resource, known=known
                )

    def _continue(self, number: int, standing: str) -> Continue:
        target = self._levels[self._level + 1]
        return Continue(
            trial=number,
            target=target,
            reason=f"{standing}: goes on to resource {target:g}",
            bracket=0,
            rung=self._level + 1,
        )

    def _leave(self, trial: TrialRecord, standing: str) -> None:
        """The trial gives up its place."""
        del self.members[self._places[trial.number]]
        if trial.state is not TrialState.PAUSED:
            return
        if trial.completed:
            reason = f"{standing}; it ended by itself at resource {trial.resource:g}"
            self._due[trial.number] = Finish(trial=trial.number, reason=reason)
        else:
            reason = f"{standing}: gives up its place to one that goes on from better weights"
            self._due[trial.number] = Stop(trial=trial.number, reason=reason)

    def _finish(self, ranked: Sequence[int]) -> None:
        self._end(f"the population was trained to resource {self._levels[-1]:g}", ranked)

    def _end(self, why: str, ranked: Sequence[int]) -> None:
        self._over = why
        for rank, number in enumerate(ranked, start=1):
            trial = self._state.history[number]
            if trial.state is TrialState.PAUSED:
                reason = f"rank {rank} of {len(ranked)} in the population at resource {self._levels[self._level]:g}"
                self._due[number] = Finish(trial=number, reason=reason)

    def _view(self, entered: tuple[int, ...], promoted: tuple[int, ...], values: tuple[float | None, ...]) -> RungView:
        return RungView(
            bracket=0,
            rung=self._level,
            resource=self._levels[self._level],
            size=self._size,
            entered=entered,
            promoted=promoted,
            values=values,
        )


def _goes_on(trial: TrialRecord) -> bool:
    """Whether it is at the level and can be trained on."""
    return trial.state is TrialState.PAUSED and not trial.completed
