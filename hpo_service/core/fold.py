"""The fold that every algorithm is: history and budget, played together with one sampler and one scheduler.

`observe` takes events in, `propose` reads the state that they left and changes nothing that counts. Here: the order
of proposals, numbering, baselines, enqueued trials, and when to end. Not here: how configurations are chosen
(`samplers`), how far trials are trained (`schedulers`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpo_service.core import filling
from hpo_service.core.algorithm import RungView, View
from hpo_service.core.budget import Ledger, Purse, Standing
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.events import (
    AttemptsEnded,
    AttemptsReopened,
    Decided,
    DefinitionChanged,
    EndingDeclared,
    Event,
    MethodsChosen,
    Payload,
    Reported,
    TrialsEnqueued,
    TrialsImported,
    WarmStarted,
)
from hpo_service.core.filling import Candidate, Seat, Vacancy
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.launches import Cohort, Group, Method, Methods, block_size, slice_of, structures_of
from hpo_service.core.proposals import UNLIMITED, Continue, Proposal, Start
from hpo_service.core.roles import Ask, Batch, Draw, Expecting, Fork, Pending, Place, Sampler, Scheduler, Viewed
from hpo_service.core.rounds import Rounds
from hpo_service.core.states import Origin
from search_spaces import SpaceError

Target = Callable[[StudyDefinition, Mapping[str, Any]], float]


@dataclass
class State:
    """What sampler, scheduler and fold look at together; only the fold changes it."""

    definition: StudyDefinition
    history: History
    ledger: Ledger
    standing: Standing
    declared: str = ""  # why hours or dollars are used up
    methods: Methods = field(default_factory=Methods)
    synchronous: bool = False  # whether the same trials come out whoever finishes first
    rounds: Rounds | None = None  # where it is not, and the same study is to come out twice
    warm: WarmStarted | None = None  # what it began from

    @property
    def block(self) -> int | None:
        """How many trials are placed together, in whole cohorts; None where free slots alone say how many. Where money,
        time or a value may end the study at any moment, no more than one launch: what is begun is paid for."""
        if not (self.synchronous and self.methods.fuses):
            return None
        structures = structures_of(self.definition.search_space, self.methods.lanes)
        if self.methods.only_plain(structures):
            return None
        size = block_size(self.definition.parallel)
        return size if self.definition.budget.foreseeable else min(size, self.methods.widest)

    @property
    def trials_left(self) -> float:
        """How many more trials `budget.trials` allows."""
        limit = self.definition.budget.trials
        return float("inf") if limit is None else max(0, limit - self.history.started)


class StudyFold:
    """An `Algorithm`: a named sampler × scheduler pair over one study's log."""

    def __init__(
        self,
        *,
        name: str,
        version: int,
        state: State,
        sampler: Sampler,
        scheduler: Scheduler,
        segment_target: Target,
    ) -> None:
        self.name = name
        self.version = version
        self.state = state
        self._sampler = sampler
        self._scheduler = scheduler
        self._segment_target = segment_target
        self._drawn: dict[int, Draw | None] = {}  # draws since the last event: asking again costs nothing
        self._gains: dict[int, float] = {}  # what a model expects of them, where `patience: auto` asks
        self._chosen: dict[int, Draw] = {}  # draws since the last decision, whose keys need not be computed again
        self._cohorts: dict[int, Cohort] = {}  # of the newest round of proposals, where they come in cohorts
        self._underway: dict[int, str] = {}  # trials in their first segment, and why they were started; for views

    @property
    def history(self) -> History:
        """The facts as folded so far."""
        return self.state.history

    @property
    def methods(self) -> Methods:
        """How trials are trained, by structure, as far as the log says."""
        return self.state.methods

    def method_of(self, trial: int) -> Method | None:
        """How the trial's structure is trained now, where that is known."""
        return self.state.methods.of(self.history[trial].params)

    @property
    def curves(self) -> bool:
        """Whether scheduler or objective look at more than where attempts ended."""
        return self.history.keep_curves

    def observe(self, event: Event) -> None:
        """Fold one event in; kinds that are no business of an algorithm change nothing."""
        payload = event.payload
        self._drawn.clear()
        self._gains.clear()
        if isinstance(payload, Reported):
            for row in payload.reports:
                self.history.report(row)
        elif isinstance(payload, AttemptsEnded):
            for attempt in payload.attempts:
                self._ended(self.history.ended(attempt), event.seq)
        elif isinstance(payload, Decided):
            for proposal in payload.proposals:
                self._apply(proposal, payload.observed_seq)
            self._chosen = {}
        elif isinstance(payload, AttemptsReopened):
            for change in payload.attempts:
                self.history.reopened(change.trial, change.fence)
        elif isinstance(payload, TrialsEnqueued):
            for trial in payload.trials:
                self.history.enqueue(trial)
        else:
            self._told(payload, event.seq)

    def _told(self, payload: Payload, seq: int) -> None:
        """What is told of the study as a whole, seldom."""
        if isinstance(payload, TrialsImported):
            self._import(payload)
        elif isinstance(payload, EndingDeclared):
            self.state.declared = payload.reason
        elif isinstance(payload, DefinitionChanged):
            self._change(payload, seq)
        elif isinstance(payload, MethodsChosen):
            self.state.methods.take(payload)
        elif isinstance(payload, WarmStarted):
            self.state.warm = payload

    def propose(self, slots: int, *, most: int | None = None) -> Sequence[Proposal]:
        """Endings first, then trials that go on, then new ones; at most `slots` of the last two kinds.

        Where trials are placed in cohorts, a cohort is proposed whole or not at all: then it is enough that there is
        one slot for it, and that it is not larger than what is left of `most`.
        """
        if self.state.rounds is not None and self.state.rounds.under_way:
            return []
        proposals: list[Proposal] = list(self._scheduler.endings())
        if slots <= 0 or self._halted() is not None:
            return proposals
        purse = self._purse()
        self._cohorts = {}
        if self.state.rounds is not None:
            return proposals + self._round(purse)
        if self.state.block is None:
            slots = slots if most is None else min(slots, most)
            promoted = list(self._scheduler.continues(slots, purse))
            return proposals + promoted + self._starts(slots - len(promoted), purse)
        return proposals + self._in_cohorts(slots, most, self.state.block, purse)

    def _in_cohorts(self, slots: int, most: int | None, size: int, purse: Purse) -> list[Proposal]:
        """Whole cohorts of what goes on, with the new trials that belong to them; then blocks of other new ones."""
        proposals: list[Proposal] = []
        room = float("inf") if most is None else most
        joining = self._joining(size, purse)
        waits = False  # whether new trials had no room: numbers count on without gaps, so later ones wait too
        for cohort, going_on in self._scheduler.cohorts(size):
            new = joining.get(cohort, [])
            together: list[Start | Continue] = [*going_on, *new]
            if not together:
                continue
            if slots > 0 and len(together) <= room and not (new and waits):
                proposals += together
                self._cohorts.update((p.trial, cohort) for p in together)
                slots, room = slots - len(together), room - len(together)
            else:
                waits = waits or bool(new)
        return proposals if joining else [*proposals, *self._blocks(slots, room, size, purse)]

    def _joining(self, size: int, purse: Purse) -> dict[Cohort, list[Start]]:
        """The new trials that are launched with what goes on, by cohort."""
        found: dict[Cohort, list[Start]] = {}
        for place, position, start in self._new_trials(purse, together=True):
            found.setdefault(slice_of(place.together or "", position, size), []).append(start)
        return found

    def groups(self, proposals: Sequence[Proposal], *, most: int | None = None) -> list[Group]:
        """The launches that the newest proposals form. `most` bounds them where they did not come in cohorts; with
        cohorts nothing does, for who shares a launch must not hang on what is free."""
        alike: dict[tuple[Cohort, float], list[tuple[int, Mapping[str, Any]]]] = {}
        for p in proposals:
            if isinstance(p, Start | Continue):
                found = self._candidate(p)
                # As far to go: a lane that has ended stays in its place until all of them have.
                alike.setdefault((self._cohorts.get(p.trial), found.way), []).append((p.trial, found.params))
        return [
            group
            for (cohort, _), members in alike.items()
            for group in self.state.methods.group(members, most=most if cohort is None else None)
        ]

    def seats(self, proposals: Sequence[Proposal], vacancies: Sequence[Vacancy], *, alone: bool) -> dict[int, Seat]:
        """Lanes of launches under way for the first of the newest proposals, by trial."""
        if self.state.synchronous or self.state.rounds is not None or not self.state.definition.resumes:
            return {}
        candidates = [self._candidate(p) for p in proposals if isinstance(p, Start | Continue)]
        more = self.state.trials_left - sum(isinstance(p, Start) for p in proposals)
        return filling.seats(candidates, vacancies, self.state.methods, more=more, alone=alone)

    def regrouped(self, trials: Sequence[int]) -> list[Group]:
        """The launches that these trials form, which were placed and never began."""
        return self.state.methods.group([(trial, self.history[trial].params) for trial in trials])

    def _candidate(self, proposal: Start | Continue) -> Candidate:
        if isinstance(proposal, Start):
            way = proposal.target - (proposal.parent_resource or 0.0)
            return Candidate(trial=proposal.trial, params=proposal.params, way=way)
        trial = self.history[proposal.trial]
        begins = trial.resource if self.history.resumes else 0.0
        return Candidate(trial=trial.number, params=trial.params, way=proposal.target - begins)

    def ending(self) -> str | None:
        """Why no new trial will be started, or None while there may be more."""
        reason, waiting = self._halted() or self._no_more_starts(), len(self.history.waiting)
        if reason is None or not waiting:
            return reason
        return f"{reason}; {waiting} enqueued trial{'s wait' if waiting > 1 else ' waits'} until the budget is raised"

    def rungs(self) -> Sequence[RungView]:
        """The rungs as they stand."""
        return self._scheduler.rungs()

    def view(self, *, final: bool) -> View | None:
        """What the sampler's model sees, where it has one."""
        if not isinstance(self._sampler, Viewed):
            return None
        return self._sampler.view(self._next_ask() if final else None, self._underway)

    def _next_ask(self) -> Ask:
        """What would be asked for the next new trial; without room for one, as if a new bracket began now."""
        place = next(self._scheduler.places(), None)
        if place is None:
            place = Place(reason="", basis=frozenset(t.bracket for t in self.history if t.bracket is not None))
        return self._ask(self.history.next_number, place, Batch(self.history))

    def _halted(self) -> str | None:
        """Why nothing is started or continued: bounds that end all training."""
        return self.state.declared or self.state.standing.over(self.state.definition.budget)

    def _purse(self) -> Purse:
        ledger = self.state.ledger
        return Purse(ledger.reserved + ledger.prepaid, self.state.definition.budget.resource)

    def _starts(self, room: int, purse: Purse) -> list[Start]:
        """Up to `room` new trials."""
        return list(itertools.islice((start for _, _, start in self._new_trials(purse)), max(0, room)))

    def _round(self, purse: Purse) -> list[Proposal]:
        """As much as may be open at once, whatever is free."""
        size = self.state.definition.parallel
        going_on = list(self._scheduler.continues(size, purse))
        proposals: list[Continue | Start] = [*going_on, *self._starts(size - len(going_on), purse)]
        self._cohorts = dict.fromkeys((p.trial for p in proposals), "round")
        return list(proposals)

    def _blocks(self, slots: int, room: float, size: int, purse: Purse) -> list[Start]:
        """Whole blocks of new trials while there are slots: at most `size` consecutive ones of a bracket, at the end
        of bracket or budget fewer."""
        starts: list[Start] = []
        place = next(self._scheduler.places(), None)
        if slots <= 0 or place is None:
            return starts
        if place.position is None:
            to_boundary = size - self.history.started % size
            if room < min(to_boundary, self.state.trials_left):
                return starts  # before anything is drawn: most rounds of a wide study end here
        cohorts = ((_block_of(start, position, size), start) for _, position, start in self._new_trials(purse))
        for cohort, members in itertools.groupby(cohorts, key=lambda item: item[0]):
            block = [start for _, start in members]
            if len(starts) + len(block) > room:
                break
            starts += block
            self._cohorts.update((start.trial, cohort) for start in block)
            if len(starts) >= slots:
                break
        return starts

    def _new_trials(self, purse: Purse, *, together: bool = False) -> Iterator[tuple[Place, int, Start]]:
        """New trials one after another, each with its place, and where that is: within its bracket, or among all that
        were started. `together`: of places whose launches are formed with what goes on, alone."""
        waiting = list(self.history.waiting.values())[::-1]
        batch = Batch(self.history)
        number = self.history.next_number
        for count, place in enumerate(self._scheduler.places()):
            if count >= self.state.trials_left or (together and place.together is None):
                return
            enqueued = waiting.pop() if waiting and _affords(place, purse) else None
            start = self._enqueued(enqueued, place) if enqueued else self._new(number, place, batch)
            if start is None or not purse.take(_price(place, start.target)):
                return
            number += enqueued is None
            draw = self._drawn.get(start.trial)
            key = enqueued.key if enqueued else draw.key if draw else ""
            batch.add(Pending(number=start.trial, params=start.params, key=key))
            yield place, self.history.started + count if place.position is None else place.position, start

    def _no_more_starts(self) -> str | None:
        """Why there will be no new trial; draws a configuration only where its price hangs on it."""
        if self.state.trials_left <= 0:
            return self._trials_spent()
        place = next(self._scheduler.places(), None)
        if place is None:
            return self._scheduler.full()
        enqueued = next(iter(self.history.waiting.values()), None)
        batch, number = Batch(self.history), self.history.next_number
        if enqueued is None and place.fork is None:
            ask = self._ask(number, place, batch)
            spent = None if self._baseline(ask) or self._portfolio(ask) else self._sampler.spent(ask)
            if spent is not None:
                return spent
        if place.prepaid or self.state.definition.budget.resource is None:
            return None
        target = place.target
        if target is None:
            start = self._enqueued(enqueued, place) if enqueued else self._new(number, place, batch)
            target = start.target if start else 0.0
        price = _price(place, target)
        return None if self._purse().take(price) else self._resource_spent(price)

    def _new(self, number: int, place: Place, batch: Batch) -> Start | None:
        if place.fork is not None:
            return self._forked(number, place, place.fork)
        ask = self._ask(number, place, batch)
        origin, draw = Origin.BASELINE, self._baseline(ask)
        if draw is None:
            origin, draw = Origin.PORTFOLIO, self._portfolio(ask)
        if draw is None:
            origin, draw = Origin.SAMPLED, self._draw(ask)
        if draw is None:
            return None
        self._drawn[number] = self._chosen[number] = draw
        return self._start(number, draw.params, place, draw.reason, origin, ask.space_version)

    def _forked(self, number: int, place: Place, fork: Fork) -> Start:
        parent = self.history[fork.parent]
        start = self._start(number, fork.params, place, fork.reason, Origin.SAMPLED, parent.space_version)
        return replace(start, parent=fork.parent, parent_resource=fork.parent_resource)

    def _draw(self, ask: Ask) -> Draw | None:
        if ask.number not in self._drawn:
            self._drawn[ask.number] = self._sampler.draw(ask)
            self._expect(ask.number)
        return self._drawn[ask.number]

    def _expect(self, number: int) -> None:
        """What the model expects of the trial that was just drawn, before it is asked for the next one."""
        if self.state.definition.budget.patience != "auto":
            return
        for role in (self._sampler, self._scheduler):
            gain = role.expected_gain() if isinstance(role, Expecting) else None
            if gain is not None:
                self._gains[number] = gain
                return

    def _ask(self, number: int, place: Place, batch: Batch) -> Ask:
        version = place.space_version or self.history.space_version
        return Ask(
            number=number,
            space=self.history.spaces[version],
            space_version=version,
            history=self.history,
            batch=batch,
            bracket=place.bracket,
            rung=place.rung,
            position=place.position,
            basis=place.basis,
        )

    def _baseline(self, ask: Ask) -> Draw | None:
        """The defaults for the first trial that is not enqueued, where the space names some and no trial has them."""
        if not (self.state.definition.baseline and ask.space.has_default):
            return None
        if self.history.sampled or ask.number != self.history.next_number:
            return None
        try:
            params = ask.space.default_params()
        except SpaceError:
            return None
        key = ask.space.config_key(params)
        if ask.taken(key):
            return None
        return Draw(params=params, key=key, reason="the defaults come first, as a baseline")

    def _portfolio(self, ask: Ask) -> Draw | None:
        """The next configuration of the portfolio that no trial has, and that the space allows by now."""
        warm = self.state.warm
        for place, given in enumerate(warm.portfolio if warm else (), start=1):
            try:
                params = ask.space.validate_params(given)
            except SpaceError:
                continue
            key = ask.space.config_key(params)
            if not ask.taken(key):
                return Draw(
                    params=params, key=key, reason=f"{_nth(place)} of the portfolio: it did well in past studies"
                )
        return None

    def _enqueued(self, trial: TrialRecord, place: Place) -> Start:
        retry = trial.retry_of is not None
        reason = f"a retry of trial {trial.retry_of}" if retry else f"{trial.origin.value} configuration"
        return self._start(
            trial.number, trial.params, place, f"{reason}, ahead of new ones", trial.origin, trial.space_version
        )

    def _start(
        self,
        number: int,
        params: Mapping[str, Any],
        place: Place,
        reason: str,
        origin: Origin,
        space_version: int,
    ) -> Start:
        target = place.target
        if target is None:
            target = self._segment_target(self.state.definition, params)
        return Start(
            trial=number,
            params=params,
            target=target,
            horizon=target if place.horizon is None else place.horizon,
            reason=f"{reason}; {place.reason}" if place.reason else reason,
            origin=origin,
            bracket=place.bracket,
            rung=place.rung,
            space_version=space_version,
            gain=self._gains.get(number),
        )

    def _trials_spent(self) -> str:
        started, limit = self.history.started, self.state.definition.budget.trials
        return f"budget.trials: {started} of {limit} trials started"

    def _resource_spent(self, amount: float) -> str:
        limit = self.state.definition.budget.resource
        return (
            f"budget.resource: {self.state.ledger.reserved:g} of {limit:g} are given out, "
            f"and the next trial needs {amount:g}"
        )

    def _apply(self, proposal: Proposal, observed_seq: int) -> None:
        if isinstance(proposal, Start):
            chosen = self._chosen.get(proposal.trial)
            same = chosen is not None and chosen.params is proposal.params  # the proposal itself, not one read back
            trial = self.history.start(proposal, key=chosen.key if chosen is not None and same else None)
            self._underway[trial.number] = proposal.reason
            self.state.ledger.reserve(trial)
            self._began(trial)
            self._scheduler.started(trial, proposal, observed_seq)
            self._sampler.started(trial)
        elif isinstance(proposal, Continue):
            trial = self.history.go_on(proposal)
            self.state.ledger.reserve(trial)
            self._began(trial)
            self._scheduler.applied(trial, proposal)
            self._sampler.started(trial)
        else:
            trial = self.history.end(proposal)
            self._scheduler.applied(trial, proposal)
            self.state.standing.advance(self.history, self.state.definition.budget)

    def _began(self, trial: TrialRecord) -> None:
        if self.state.rounds is not None:
            self.state.rounds.began(trial.number)

    def _ended(self, trial: TrialRecord, seq: int) -> None:
        if not trial.at_rest:
            return
        if self.state.rounds is None:
            self._rested(trial, seq)
            return
        self.state.rounds.rested(trial.number)
        for number in self.state.rounds.over():
            self._rested(self.history[number], seq)

    def _rested(self, trial: TrialRecord, seq: int) -> None:
        self._underway.pop(trial.number, None)
        self.state.ledger.settle(trial)
        self._scheduler.rested(trial, seq)
        self._sampler.rested(trial)
        self.state.standing.rested(trial, self.history, self.state.definition.budget)

    def _import(self, payload: TrialsImported) -> None:
        """Trials from elsewhere: the sampler learns from them. The scheduler does not: its rungs are others."""
        for given in payload.trials:
            trial = self.history.take_in(given, self._segment_target(self.state.definition, given.params))
            self._sampler.started(trial)
            self._sampler.rested(trial)
            self.state.standing.rested(trial, self.history, self.state.definition.budget)

    def _change(self, payload: DefinitionChanged, seq: int) -> None:
        self.state.definition = parse(payload.definition)
        if payload.space_version != self.history.space_version:
            self.history.change_space(payload.space_version, self.state.definition.search_space)
        self.state.standing.advance(self.history, self.state.definition.budget)
        self._scheduler.review(seq)


def _nth(place: int) -> str:
    return {1: "the first", 2: "the second", 3: "the third"}.get(place, f"number {place}")


def _block_of(start: Start, position: int, size: int) -> Cohort:
    return ("block", start.bracket, position // size)


def _affords(place: Place, purse: Purse) -> bool:
    """Whether an enqueued trial can take the place: from the purse it takes what a fork would not have to train."""
    return place.fork is None or purse.take(place.fork.parent_resource)


def _price(place: Place, target: float) -> float:
    """What a new trial takes from the budget of resource at once."""
    if place.prepaid or target == UNLIMITED:
        return 0.0
    return target if place.fork is None else target - place.fork.parent_resource
