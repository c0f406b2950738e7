"""What a surrogate may learn from: values by resource level, and the trials on their way. No surrogate is here.

Kept up event by event: asking costs the same after 100 trials and after 100,000. Which values of a level a model is
fed: `levels`.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass
from itertools import chain

from hpo_service.core.history import History, TrialRecord
from hpo_service.core.states import Origin, TrialState
from hpo_service.samplers.levels import Level

KEPT = 3
"""Sets of brackets whose values are kept together: those that brackets which are being filled learn from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Basis:
    """The data of one model, as it stands now: `level` has the values, `observed` many of them, at `resource`.
    `running`: the trials that are on their way, by number. `stamp` tells it from one with other data."""

    resource: float
    level: Level
    observed: int
    running: tuple[int, ...]
    stamp: int


class Observations:
    """Values by resource level, and the trials whose segment is on its way. `by_bracket`: whether `of_brackets` will be
    asked, or `latest`."""

    def __init__(self, history: History, *, by_bracket: bool = False) -> None:
        self._maximize = history.objective.maximize
        self._by_bracket = by_bracket
        self._all = _Levels(maximize=self._maximize)
        self._brackets: dict[int | None, _Levels] = {}
        self._together: OrderedDict[frozenset[int], _Levels] = OrderedDict()
        self._members: dict[int | None, list[int]] = {}  # started trials by bracket, ascending
        self._known: set[int] = set()
        self._running: dict[int, None] = {}
        self._latest: dict[tuple[int, frozenset[int] | None], Basis | None] = {}  # as of the stamp
        self.stamp = 0  # moves with every change

    def started(self, trial: TrialRecord) -> None:
        """A segment began."""
        self._running[trial.number] = None
        if self._by_bracket and trial.number not in self._known:
            self._known.add(trial.number)
            insort(self._members.setdefault(trial.bracket, []), trial.number)
        self._changed()

    def rested(self, trial: TrialRecord) -> None:
        """A segment ended; a failed one counts as worst at the level that it was to reach, a cancelled one not. An
        imported one that was stopped counts where it was stopped: nobody else has told of it."""
        self._running.pop(trial.number, None)
        self._changed()
        value = trial.score
        if trial.state is TrialState.STOPPED:
            if trial.origin is not Origin.IMPORTED or trial.value is None or not math.isfinite(trial.value):
                return
            value = trial.value
        for levels in self._learning(trial.bracket):
            levels.at(trial.target).set(trial.number, value)

    def _learning(self, bracket: int | None) -> list[_Levels]:
        """Where a value of that bracket belongs; without a bracket, as of imported trials, everywhere."""
        if not self._by_bracket:
            return [self._all]
        own = self._brackets.setdefault(bracket, _Levels(maximize=self._maximize))
        return [own, *(levels for brackets, levels in self._together.items() if bracket in (None, *brackets))]

    def latest(self, enough: int) -> Basis | None:
        """The highest level with at least `enough` finite values, as it stands now."""
        if (enough, None) not in self._latest:
            found = self._all.highest(enough)
            running = () if found is None else tuple(sorted(n for n in self._running if n not in found[1]))
            self._latest[enough, None] = self._basis(found, running)
        return self._latest[enough, None]

    def of_brackets(self, enough: int, brackets: frozenset[int]) -> Basis | None:
        """The same from these brackets and from imported trials; all others count as on their way, whatever became of
        them."""
        if (enough, brackets) not in self._latest:
            found = self._levels_of(brackets).highest(enough)
            known = (None, *brackets)
            others = [numbers for bracket, numbers in self._members.items() if bracket not in known] if found else []
            self._latest[enough, brackets] = self._basis(found, tuple(sorted(chain.from_iterable(others))))
        return self._latest[enough, brackets]

    def _basis(self, found: tuple[float, Level] | None, running: tuple[int, ...]) -> Basis | None:
        if found is None:
            return None
        resource, level = found
        return Basis(resource=resource, level=level, observed=len(level), running=running, stamp=self.stamp)

    def _levels_of(self, brackets: frozenset[int]) -> _Levels:
        """Their values together: what a smaller set of brackets has, and the values of the others."""
        if brackets not in self._together:
            smaller = max((known for known in self._together if known < brackets), key=len, default=frozenset())
            levels = self._together[smaller].copy() if smaller else _Levels(maximize=self._maximize)
            if not smaller:
                levels.add(self._brackets.get(None))
            for bracket in sorted(brackets - smaller):
                levels.add(self._brackets.get(bracket))
            self._together[brackets] = levels
            while len(self._together) > KEPT:
                self._together.popitem(last=False)
        self._together.move_to_end(brackets)
        return self._together[brackets]

    def _changed(self) -> None:
        self.stamp += 1
        self._latest.clear()


class _Levels:
    """Values by resource."""

    def __init__(self, *, maximize: bool) -> None:
        self._maximize = maximize
        self._levels: dict[float, Level] = {}
        self._ascending: list[float] = []

    def at(self, resource: float) -> Level:
        """The level at that resource."""
        if resource not in self._levels:
            self._levels[resource] = Level(maximize=self._maximize)
            insort(self._ascending, resource)
        return self._levels[resource]

    def highest(self, enough: int) -> tuple[float, Level] | None:
        """The highest one with at least `enough` finite values, but at least one."""
        for resource in reversed(self._ascending):
            if self._levels[resource].finite >= max(1, enough):
                return resource, self._levels[resource]
        return None

    def copy(self) -> _Levels:
        """The same values, to go their own way."""
        other = _Levels(maximize=self._maximize)
        other._levels = {resource: level.copy() for resource, level in self._levels.items()}
        other._ascending = list(self._ascending)
        return other

    def add(self, more: _Levels | None) -> None:
        """Another bracket's values too."""
        for resource, level in more._levels.items() if more else ():
            mine = self.at(resource)
            for number, value in level.items():
                mine.set(number, value)
