"""Synchronous halving: brackets of rungs that are judged when all of their trials are in.

Which trial goes where hangs on trial numbers and values alone, never on who finished first: a bracket's places are
filled in number order, a rung is judged as a whole, and resource is reserved bracket by bracket. Brackets may
overlap in time, to keep workers busy: the next one's trials start once all of the one before have started.
"""

from __future__ import annotations

import itertools
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hpo_service.core.algorithm import RungView
from hpo_service.core.budget import Purse
from hpo_service.core.fold import State
from hpo_service.core.history import TrialRecord
from hpo_service.core.launches import Cohort
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from hpo_service.core.roles import Place
from hpo_service.core.states import TrialState
from hpo_service.core.tables import BracketPlan


class Table(Protocol):
    """Where the brackets come from."""

    def plan(self, index: int, *, entered: int) -> BracketPlan | None:
        """Bracket number `index`, or None when there is none; `entered` trials are in earlier ones."""
        ...


@dataclass
class Rung:
    """One level of a bracket. `results` holds the values of those who came, None for the failed; `ranks` what they are
    sorted by."""

    resource: float
    members: list[int]
    results: dict[int, float | None] = field(default_factory=dict)
    ranks: dict[int, tuple[int, float]] = field(default_factory=dict)
    ranked: list[int] | None = None  # best first, once judged
    promoted: tuple[int, ...] = ()

    @property
    def complete(self) -> bool:
        return len(self.results) == len(self.members)

    def come(self, trial: TrialRecord, *, maximize: bool) -> None:
        """The trial is in."""
        self.results[trial.number] = trial.score
        self.ranks[trial.number] = trial.rank(maximize=maximize)


@dataclass
class Bracket:
    """A bracket in progress. `size` is fixed when its lowest rung is judged; until then budgets may change it."""

    index: int
    plan: BracketPlan
    entered_before: int
    reserved_before: float
    space_version: int
    basis: frozenset[int] | None
    rungs: list[Rung]
    size: int | None = None
    completed_seq: int | None = None
    going_on: dict[int, Continue] = field(default_factory=dict)

    @property
    def entered(self) -> int:
        return len(self.rungs[0].members)


@dataclass(frozen=True)
class _Opening:
    """A bracket that is to begin, or goes on being filled: what `places` needs of it."""

    index: int
    plan: BracketPlan
    entered_before: int
    reserved_before: float
    space_version: int
    basis: frozenset[int] | None
    entered: int


class SynchronousHalving:
    """A `Scheduler`: successive halving and Hyperband.

    `used_up` says, of a version of the space, whether nothing is left to draw or enqueued; `fits_at_starts` notes
    for each bracket which ones were complete when it began, for models that learn from those alone.
    """

    def __init__(
        self, state: State, table: Table, used_up: Callable[[int], bool], *, fits_at_starts: bool = False
    ) -> None:
        self._state = state
        self._table = table
        self._used_up = used_up
        self._fits_at_starts = fits_at_starts
        self.brackets: list[Bracket] = []
        self._active: list[int] = []  # brackets with trials that are to go on, ascending
        self._due: dict[int, Stop | Finish] = {}
        self._completed: dict[int, int] = {}  # bracket → the event that completed it

    def places(self) -> Iterator[Place]:
        """The rest of the newest bracket, then the brackets after it."""
        opening = self._current()
        while opening is not None:
            size = self._size(opening.plan, opening.entered_before, opening.reserved_before)
            for entered in range(opening.entered, size):
                yield _place(opening, entered, size)
            if size < opening.plan.trials:
                return
            opening = self._after(opening, size)

    def full(self) -> str | None:
        """The table's end, or a budget that holds no bracket more."""
        if next(self.places(), None) is not None:
            return None
        opening = self._current()
        budget = self._state.definition.budget
        if opening is None:
            return "the algorithm is through: every trial of its brackets was started"
        if opening.entered == 0 and budget.resource is not None:
            need = opening.plan.cost(1)
            return (
                f"budget.resource: {opening.reserved_before:g} of {budget.resource:g} are reserved, "
                f"and a further bracket needs at least {need:g}"
            )
        return (
            f"budget.resource: the {budget.resource:g} are reserved by brackets; "
            f"bracket {opening.index} was cut to {opening.entered} of {opening.plan.trials} trials"
        )

    def endings(self) -> Iterable[Stop | Finish]:
        """Losers of judged rungs, and those at the top, by number."""
        return [self._due[number] for number in sorted(self._due)]

    def continues(self, slots: int, purse: Purse) -> Iterable[Continue]:
        """Promotions, earlier brackets first, best first; they are reserved with their bracket."""
        promotions = (p for index in self._active for p in self.brackets[index].going_on.values())
        return list(itertools.islice(promotions, slots))

    def cohorts(self, size: int) -> Iterator[tuple[Cohort, Sequence[Continue]]]:
        """Slices of each rung's promoted trials, in number order; earlier brackets first."""
        for index in self._active:
            bracket = self.brackets[index]
            rung, members = len(bracket.rungs) - 1, bracket.rungs[-1].members
            for first in range(0, len(members), size):
                due = [bracket.going_on[n] for n in members[first : first + size] if n in bracket.going_on]
                if due:
                    yield ("rung", index, rung, first // size), due

    def started(self, trial: TrialRecord, proposal: Start, observed_seq: int) -> None:
        """A place is taken; the first one opens the bracket."""
        index = proposal.bracket or 0
        if index == len(self.brackets):
            self._open(index, self._state.history.space_version, observed_seq)
        rung = self.brackets[index].rungs[0]
        rung.members.append(trial.number)

    def applied(self, trial: TrialRecord, proposal: Proposal) -> None:
        """A promotion began, or a trial is over."""
        self._due.pop(trial.number, None)
        if isinstance(proposal, Continue) and trial.bracket is not None:
            bracket = self.brackets[trial.bracket]
            bracket.going_on.pop(trial.number, None)
            if not bracket.going_on and bracket.index in self._active:
                self._active.remove(bracket.index)

    def rested(self, trial: TrialRecord, seq: int) -> None:
        """A trial came to its rung's level, or failed on the way, which counts as worst."""
        if trial.bracket is None or trial.rung is None:
            return
        bracket = self.brackets[trial.bracket]
        bracket.rungs[trial.rung].come(trial, maximize=self._state.history.objective.maximize)
        self._judge(bracket, seq)

    def review(self, seq: int) -> None:
        """A changed budget may have closed the newest bracket."""
        if self.brackets:
            self._judge(self.brackets[-1], seq)

    def rungs(self) -> Sequence[RungView]:
        """Every rung that a trial has come to or will come to."""
        return [view for bracket in self.brackets for view in self._views(bracket)]

    def _current(self) -> _Opening | None:
        """The bracket that the next new trial enters."""
        if not self.brackets:
            return self._opening(0, entered_before=0, reserved_before=0.0)
        last = self.brackets[-1]
        if last.size is None and last.entered < last.plan.trials:
            return _Opening(
                index=last.index,
                plan=last.plan,
                entered_before=last.entered_before,
                reserved_before=last.reserved_before,
                space_version=last.space_version,
                basis=last.basis,
                entered=last.entered,
            )
        size = last.entered if last.size is None else last.size
        return self._opening(
            last.index + 1,
            entered_before=last.entered_before + size,
            reserved_before=last.reserved_before + last.plan.cost(size),
        )

    def _after(self, opening: _Opening, size: int) -> _Opening | None:
        return self._opening(
            opening.index + 1,
            entered_before=opening.entered_before + size,
            reserved_before=opening.reserved_before + opening.plan.cost(size),
        )

    def _opening(self, index: int, *, entered_before: int, reserved_before: float) -> _Opening | None:
        plan = self._table.plan(index, entered=entered_before)
        if plan is None:
            return None
        return _Opening(
            index=index,
            plan=plan,
            entered_before=entered_before,
            reserved_before=reserved_before,
            space_version=self._state.history.space_version,
            basis=frozenset(self._completed) if self._fits_at_starts else None,
            entered=0,
        )

    def _open(self, index: int, space_version: int, observed_seq: int) -> None:
        opening = self._current()
        if opening is None or opening.index != index:
            raise ValueError(f"bracket {index} does not come next")
        self.brackets.append(
            Bracket(
                index=index,
                plan=opening.plan,
                entered_before=opening.entered_before,
                reserved_before=opening.reserved_before,
                space_version=space_version,
                basis=self._completed_by(observed_seq) if self._fits_at_starts else None,
                rungs=[Rung(resource=opening.plan.levels[0], members=[])],
            )
        )

    def _completed_by(self, seq: int) -> frozenset[int]:
        return frozenset(index for index, completed in self._completed.items() if completed <= seq)

    def _size(self, plan: BracketPlan, entered_before: int, reserved_before: float) -> int:
        """How many trials may enter: a bracket that does not fit is cut to the most with which all of it fits."""
        budget = self._state.definition.budget
        size = plan.trials
        if budget.trials is not None:
            size = min(size, max(0, budget.trials - entered_before))
        if budget.resource is not None:
            size = min(size, plan.entrants_for(max(0.0, budget.resource - reserved_before)))
        return size

    def _closed(self, bracket: Bracket) -> bool:
        """Whether nobody will enter it any more."""
        if bracket.size is not None or bracket.index < len(self.brackets) - 1:
            return True
        size = self._size(bracket.plan, bracket.entered_before, bracket.reserved_before)
        return bracket.entered >= size or self._used_up(bracket.space_version)

    def _judge(self, bracket: Bracket, seq: int) -> None:
        """Judge every rung that is complete, from the newest one up."""
        while bracket.completed_seq is None and bracket.rungs[-1].complete and self._closed(bracket):
            if bracket.size is None:
                bracket.size = bracket.entered
            if len(bracket.rungs) == len(bracket.plan.levels):
                self._finish(bracket, seq)
            else:
                self._promote(bracket, seq)

    def _rank(self, rung: Rung) -> list[int]:
        rung.ranked = sorted(rung.members, key=lambda number: (rung.ranks[number], number))
        return rung.ranked

    def _promote(self, bracket: Bracket, seq: int) -> None:
        rung, level = bracket.rungs[-1], len(bracket.rungs)
        ranked = self._rank(rung)
        room = bracket.plan.sizes(bracket.size)[level]
        rung.promoted = tuple(n for n in ranked[:room] if rung.results[n] is not None)
        target = bracket.plan.levels[level]
        above = Rung(resource=target, members=sorted(rung.promoted))
        trials = self._state.history.trials
        for rank, number in enumerate(ranked, start=1):
            standing = f"rank {rank} of {len(ranked)} at resource {rung.resource:g}"
            trial = trials[number]
            if rank <= len(rung.promoted):
                if trial.completed:  # it ended by itself: its last value stands at every later rung
                    above.results[number], above.ranks[number] = rung.results[number], rung.ranks[number]
                    continue
                bracket.going_on[number] = Continue(
                    trial=number,
                    target=target,
                    reason=f"{standing}: promoted to resource {target:g}",
                    bracket=bracket.index,
                    rung=level,
                )
            elif trial.state is TrialState.PAUSED:
                self._due[number] = Stop(trial=number, reason=f"{standing}: {_promoted(len(rung.promoted))}")
        bracket.rungs.append(above)
        if bracket.going_on and bracket.index not in self._active:
            insort(self._active, bracket.index)
        if not rung.promoted:
            self._complete(bracket, seq)

    def _finish(self, bracket: Bracket, seq: int) -> None:
        rung = bracket.rungs[-1]
        ranked = self._rank(rung)
        for rank, number in enumerate(ranked, start=1):
            trial = self._state.history.trials[number]
            if trial.state is TrialState.PAUSED:
                where = f"rank {rank} of {len(ranked)} in the highest rung of bracket {bracket.index}"
                ended = f", ended by itself at resource {trial.resource:g}" if trial.completed else ""
                self._due[number] = Finish(trial=number, reason=f"{where}, resource {rung.resource:g}{ended}")
        self._complete(bracket, seq)

    def _complete(self, bracket: Bracket, seq: int) -> None:
        bracket.completed_seq = seq
        self._completed[bracket.index] = seq

    def _views(self, bracket: Bracket) -> Iterator[RungView]:
        sizes = bracket.plan.sizes(bracket.size)
        for number, rung in enumerate(bracket.rungs):
            entered = tuple(rung.ranked if rung.ranked is not None else rung.members)
            yield RungView(
                bracket=bracket.index,
                rung=number,
                resource=rung.resource,
                size=sizes[number],
                entered=entered,
                promoted=rung.promoted,
                values=tuple(rung.results.get(trial) for trial in entered),
            )


def _promoted(count: int) -> str:
    return "1 is promoted" if count == 1 else f"{count or 'none'} are promoted"


def _place(opening: _Opening, entered: int, size: int) -> Place:
    cut = "" if size == opening.plan.trials else f" (cut from {opening.plan.trials} by the budget)"
    return Place(
        reason=f"place {entered + 1} of {size}{cut} in bracket {opening.index} ({opening.plan.label}), rung 0",
        target=opening.plan.levels[0],
        horizon=opening.plan.levels[-1],
        bracket=opening.index,
        rung=0,
        space_version=opening.space_version,
        basis=opening.basis,
        prepaid=True,
        position=entered,
    )
