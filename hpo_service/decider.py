"""The deciding half of the loop: fold the log, propose, commit. Used by the controller and, for external workers, by
the API process. Knows nothing of Ray or HTTP.

A decision is optimistic: it is computed from the log as read and committed only if neither the lease's epoch nor the
study's decision number moved meanwhile. A fold whose commit failed is thrown away and folded again.
"""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hpo_service import algorithms
from hpo_service.core.algorithm import Algorithm, RungView
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.events import Decided, DefinitionChanged, Event, StudyCreated
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from hpo_service.core.states import StudyState
from hpo_service.errors import Conflict, DecisionMoved
from hpo_service.store import decisions, studies
from hpo_service.store.database import Database
from hpo_service.store.rows import Committed, Placement, Remember, StudyRow

TRIES = 16
Place = Callable[[Sequence[Proposal]], Mapping[int, Placement]]
Grouping = Callable[["Fold", Sequence[Proposal]], Mapping[int, Placement] | None]
"""The launches that proposals form; None where it is not known yet how trials are trained: then nothing is placed. What
it leaves out is not proposed yet: nothing may come behind it."""


@dataclass
class Fold:
    """An algorithm that has observed a study's log up to `seq`."""

    definition: StudyDefinition
    algorithm: Algorithm
    seq: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldView:
    """A view of a fold's model, and the log position that it is true for."""

    seq: int
    document: Mapping[str, Any]


def _nobody(_: str) -> None:
    """Where nobody wants to know."""


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the garbage collector: a long log makes a million objects that stay, and it would look through them over
    and over, for a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Decider:
    """Keeps the folds of the studies that were looked at last. Calls for one study take turns; studies do not wait
    for each other."""

    def __init__(self, db: Database, *, keep: int = 64) -> None:
        self._db = db
        self._keep = keep
        self._folds: OrderedDict[str, Fold] = OrderedDict()
        self._locks: dict[str, threading.RLock] = {}
        self._guard = threading.Lock()
        self.chose: Callable[[str], None] = _nobody  # told of studies whose model may have chosen trials
        self.ending: Callable[[str], None] = _nobody  # told of studies with a model, before they are finished

    def lock(self, study_id: str) -> threading.RLock:
        """The lock under which the study's fold is read and moved."""
        with self._guard:
            return self._locks.setdefault(study_id, threading.RLock())

    def fold(self, study_id: str) -> Fold:
        """The study's fold, up to date with the committed log. Hold `lock(study_id)` while using it."""
        with self._guard:
            fold = self._folds.get(study_id)
        whole = fold is None
        if fold is None:
            first = decisions.load_events(self._db, study_id, limit=1)[0].payload
            if not isinstance(first, StudyCreated):
                raise Conflict(f"the log of study {study_id} does not begin with its definition")
            definition = parse(first.definition)
            fold = Fold(definition=definition, algorithm=algorithms.build(definition, first.picked), seq=0)
        events = decisions.each_event(self._db, study_id, fold.seq, curves=not whole or fold.algorithm.curves)
        try:
            with _undisturbed() if whole else nullcontext():
                for event in events:
                    self._take_in(fold, event)
        except BaseException:
            self.forget(study_id)  # it may have taken half an event in
            raise
        self._remember(study_id, fold)
        return fold

    def definition(self, study_id: str) -> StudyDefinition:
        """The study's definition, as of a moment ago: one that was changed meanwhile is seen by the next fold."""
        with self._guard:
            fold = self._folds.get(study_id)
        return (fold or self.fold(study_id)).definition

    def knows(self, study_id: str) -> bool:
        """Whether a fold of the study is kept here."""
        with self._guard:
            return study_id in self._folds

    def seq(self, study_id: str) -> int | None:
        """How far the study's fold that is kept here has read the log; None where there is none."""
        fold = self.kept(study_id)
        return None if fold is None else fold.seq

    def kept(self, study_id: str) -> Fold | None:
        """The study's fold that is kept here, as far as it has read the log."""
        with self._guard:
            return self._folds.get(study_id)

    def fold_to(self, study_id: str, events: Sequence[Event], last_seq: int) -> None:
        """Take in committed events, which end with `last_seq`, if the study's fold that is kept here goes on with the
        first of them; else it reads them when it is needed. Hold `lock(study_id)`."""
        fold = self.kept(study_id)
        if fold is not None and fold.seq + sum(event.seq > fold.seq for event in events) == last_seq:
            self.fold_under(study_id, events, last_seq)

    def fold_under(self, study_id: str, appended: Sequence[Event], last_seq: int) -> Fold:
        """The fold with the events in that a transaction under way has appended, which holds the study's row; its log
        ends with `last_seq` there. Should it not be committed, `forget` the study. Hold `lock(study_id)`."""
        with self._guard:
            fold = self._folds.get(study_id)
        if fold is None or fold.seq + sum(event.seq > fold.seq for event in appended) != last_seq:
            fold = self.fold(study_id)  # somebody else wrote meanwhile
        try:
            for event in appended:
                if event.seq > fold.seq + 1:
                    raise Conflict(f"the log of study {study_id} goes on with {fold.seq + 1}, but got {event.seq}")
                if event.seq == fold.seq + 1:
                    self._take_in(fold, event)
        except BaseException:
            self.forget(study_id)
            raise
        return fold

    def forget(self, study_id: str) -> None:
        """Throw the study's fold away."""
        with self._guard:
            self._folds.pop(study_id, None)

    def decide(
        self,
        study: StudyRow,
        slots: int,
        place: Place | None = None,
        remember: Remember | None = None,
        *,
        group: Grouping | None = None,
        as_read: bool = False,
    ) -> tuple[Committed | None, tuple[Proposal, ...]]:
        """Propose for `slots` free slots and commit; with `group`, as many more as cohorts bring, within `parallel`;
        `as_read`: the log as far as `study` knows it will do, and is not read where that is known here. `study` must
        have been read before the call: its decision number and epoch are what must not have moved. Returns nothing
        committed when there was nothing to propose. Raises DecisionMoved when another decider, a user or a new lease
        was faster."""
        with self.lock(study.id):
            kept = self.kept(study.id) if as_read else None
            fold = kept if kept is not None and kept.seq >= study.last_seq else self.fold(study.id)
            most = None if group is None else study.parallel - study.open_attempts
            proposals = tuple(fold.algorithm.propose(slots, most=most))
            placements: Mapping[int, Placement] | None = place(proposals) if place and proposals else {}
            if group is not None and any(isinstance(p, Start | Continue) for p in proposals):
                placements = group(fold, proposals)
            if placements is None:
                proposals, placements = tuple(p for p in proposals if isinstance(p, Stop | Finish)), {}
            elif group is not None:
                proposals = tuple(p for p in proposals if isinstance(p, Stop | Finish) or p.trial in placements)
            if not proposals:
                return None, ()
            try:
                committed = decisions.commit(
                    self._db,
                    study.id,
                    proposals,
                    epoch=study.epoch,
                    decision=study.decision,
                    observed_seq=fold.seq,
                    algorithm=fold.algorithm.name,
                    algorithm_version=fold.algorithm.version,
                    placements=placements,
                    remember=remember,
                )
            except DecisionMoved:
                self.forget(study.id)
                raise
        if algorithms.surrogate(fold.definition) and any(isinstance(p, Start) for p in proposals):
            self.chose(study.id)
        return committed, proposals

    def rungs(self, study_id: str) -> list[RungView]:
        """The study's rungs as they stand."""
        with self.lock(study_id):
            return list(self.fold(study_id).algorithm.rungs())

    def view(self, study_id: str, *, final: bool) -> FoldView | None:
        """What the study's model sees, with the log position that it is true for; None without a model. `final`: of all
        that is known now, which may mean a fit of seconds; else of the newest trial that a model chose here."""
        with self.lock(study_id):
            fold = self.fold(study_id)
            found = fold.algorithm.view(final=final)
            return None if found is None else FoldView(seq=fold.seq, document=found.to_json())

    def _take_in(self, fold: Fold, event: Event) -> None:
        fold.algorithm.observe(event)
        fold.seq = event.seq
        if isinstance(event.payload, DefinitionChanged):
            fold.definition = parse(event.payload.definition)

    def _remember(self, study_id: str, fold: Fold) -> None:
        with self._guard:
            self._folds[study_id] = fold
            self._folds.move_to_end(study_id)
            while len(self._folds) > self._keep:
                self._folds.popitem(last=False)


def decided(study: StudyRow, fold: Fold, proposals: Sequence[Proposal]) -> Decided:
    """The event of these proposals, which the fold has just made for the study as it was read."""
    return Decided(
        decision=study.decision + 1,
        observed_seq=fold.seq,
        algorithm=fold.algorithm.name,
        algorithm_version=fold.algorithm.version,
        proposals=tuple(proposals),
    )


def spent(study: StudyRow, definition: StudyDefinition, now: datetime) -> str | None:
    """Why the study's hours or dollars are used up, or None. The other bounds are the fold's to judge."""
    budget = definition.budget
    if budget.hours is not None and study.started_at is not None:
        hours = (now - study.started_at).total_seconds() / 3600
        if hours >= budget.hours:
            return f"budget.hours: {hours:.3g} of {budget.hours:g} hours are over"
    if budget.dollars is not None and study.cost_microdollars >= budget.dollars * 1e6:
        return f"budget.dollars: ${study.cost_microdollars / 1e6:.4g} of ${budget.dollars:g} are spent"
    return None


def declare_spent(db: Database, study: StudyRow, definition: StudyDefinition) -> bool:
    """Write into the log that hours or dollars are used up, or no longer (a raised budget); True when it wrote."""
    reason = spent(study, definition, db.now()) or ""
    if bool(reason) == bool(study.ending_reason):
        return False
    studies.set_ending(db, study.id, reason, study.epoch)
    return True


def finish_if_over(db: Database, decider: Decider, study: StudyRow) -> bool:
    """End the study when nothing is open and the algorithm will start nothing more; True when it ended now."""
    if study.state is not StudyState.RUNNING or study.open_attempts > 0:
        return False
    with decider.lock(study.id):
        fold = decider.fold(study.id)
        reason = fold.algorithm.ending()
        if reason is None or fold.algorithm.propose(1):
            return False
        if decisions.interrupted(db, study.id):
            return False
        modelled = algorithms.surrogate(fold.definition) is not None
    if modelled:
        decider.ending(study.id)
    studies.set_state(db, study.id, StudyState.FINISHED, reason, epoch=study.epoch, decision=study.decision)
    return True


def settle(db: Database, decider: Decider, study_id: str) -> StudyRow:
    """Commit what needs no free slot (finishing, stopping) and end the study when it is over."""
    for _ in range(TRIES):
        study = studies.get_study(db, study_id)
        if study.state is not StudyState.RUNNING:
            return study
        try:
            committed, _ = decider.decide(study, 0)
            if committed is not None:
                continue
            if not finish_if_over(db, decider, study):
                return study
        except DecisionMoved:
            continue
    return studies.get_study(db, study_id)
