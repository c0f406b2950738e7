"""The deciding thread's passes over the studies that this controller leads."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_service.artifact_files import ArtifactFiles
from hpo_service.controller import recovery, shares, tidying
from hpo_service.controller.calibrations import Calibrations
from hpo_service.controller.collector import Collector
from hpo_service.controller.flights import Flights
from hpo_service.controller.gpu_sharing import GpuSharing
from hpo_service.controller.orders import ArtifactsPlace
from hpo_service.controller.placing import Placing
from hpo_service.controller.preflight import Preflights
from hpo_service.controller.reproducing import Reproducing
from hpo_service.controller.troubles import StudyBroken, Troubles, blamed
from hpo_service.controller.turns import Turns, thinks_long
from hpo_service.core.cost import Prices
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.events import MethodsChosen
from hpo_service.core.proposals import Stop
from hpo_service.core.states import StudyState
from hpo_service.decider import Decider, Grouping, declare_spent, finish_if_over, settle
from hpo_service.errors import Conflict, DecisionMoved, NotFound, Unavailable
from hpo_service.executors.base import Executor
from hpo_service.model_views import SurrogateViews
from hpo_service.settings import Settings
from hpo_service.store import decisions, external, studies
from hpo_service.store.database import Database
from hpo_service.store.rows import OpenAttempt, StudyRow
from workers.contract import AttemptKey, CancelMode

log = logging.getLogger(__name__)
PASS_S = 0.1
"""Longest time between two looks at the database for new studies and users' wishes."""
EXTERNAL_PASS_S = 2.0
TIDY_S = 60.0
RETRY_S = 1.0
NO_NODES_S = 60.0
"""How long a cluster may be without any node before this process ends, to be started again with a fresh connection."""
FOLDS = 4096
"""Folds of running studies are all kept: one that is thrown away costs its whole log."""


Send = Callable[[StudyDefinition, Sequence[OpenAttempt]], None]


@dataclass
class Led:
    """A study that this controller holds the lease of, and what it looked like at the last pass."""

    epoch: int
    seen_seq: int = -1
    seen_slots: int = -1
    idle_seq: int = -1  # its log as it was when free slots were of no use to it
    decision: int = -1  # the newest that this controller knows of: another one may be a user's, who stops a trial
    tried: tuple[int, Any] = (-1, ())  # the decision and the free lanes when filling them was tried last
    pausing: bool = False
    definition: tuple[int, StudyDefinition] | None = None  # with its version


@dataclass
class Controller:
    """Leads studies: takes their leases, places their attempts, ends them. One `step` is one pass; `run` loops."""

    db: Database
    executor: Executor
    settings: Settings
    holder: str
    storage_root: Path
    grace_s: float = 0.0  # how long a cluster that is still joining may lack a study's resources
    led: dict[str, Led] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.flights = Flights()
        self.decider = Decider(self.db, keep=FOLDS)
        self.prices = Prices(
            cpu_hour_dollars=self.settings.cpu_hour_dollars, gpu_hour_dollars=self.settings.gpu_hour_dollars
        )
        self._dirty = threading.Event()
        self._began = self._nodes_seen = time.monotonic()
        self._renewed = self._external = -1e9
        self._orphans: set[str] = set()
        self._alone = True  # whether at most one study wants workers
        self._troubles = Troubles(self.db)
        self._turns = Turns(self._dirty.set)
        self._views = SurrogateViews(self.db, self.decider)
        self.collector = Collector(
            self.db,
            self.executor,
            self.flights,
            self.prices,
            holder=self.holder,
            changed=self._wake,
            discard=ArtifactFiles(self.settings.resolved_artifacts).remove,
        )
        answers = self.collector.answers
        calibrations = Calibrations(self.db, self.executor, self.flights, answers, self.storage_root)
        artifacts = ArtifactsPlace(root=self.settings.resolved_artifacts, most_bytes=self.settings.artifact_max_bytes)
        self._placing = Placing(
            self.db,
            self.executor,
            self.flights,
            self.decider,
            calibrations,
            self.collector.lanes,
            self.storage_root,
            artifacts,
        )
        self._sharing = GpuSharing(self.db, self.executor, self.decider, answers)
        self._reproducing = Reproducing(
            db=self.db,
            executor=self.executor,
            answers=answers,
            prices=self.prices,
            storage_root=self.storage_root,
            holder=self.holder,
            lease_s=self.settings.lease_s,
            joining=self._joining,
        )
        self._preflights = Preflights(
            db=self.db,
            executor=self.executor,
            collector=self.collector,
            flights=self.flights,
            storage_root=self.storage_root,
            joining=self._joining,
            knows_methods=self._knows_methods,
        )

    def run(self, stop: threading.Event) -> None:
        """Pass after pass until `stop`, with the collector on a thread of its own. Raises what stopped that thread."""
        failed: list[BaseException] = []

        def collect() -> None:
            try:
                self.collector.run(stop)
            except BaseException as error:
                failed.append(error)
            finally:
                self._dirty.set()

        thread = threading.Thread(target=collect, name="collector", daemon=True)
        thread.start()
        threading.Thread(target=self._tidy, args=(stop,), name="retention", daemon=True).start()
        self._turns.open()
        self._views.open()
        try:
            while not stop.is_set() and not failed:
                again = self._pass(stop)
                if not again:
                    self._dirty.wait(PASS_S)
                self._dirty.clear()
        finally:
            stop.set()
            self._turns.close()
            self._views.close()
            self.executor.wake()
            thread.join(timeout=10)
        if failed:
            raise failed[0]
        with contextlib.suppress(Unavailable):
            self._reproducing.close()
            decisions.release_leases(self.db, self.holder)

    def _pass(self, stop: threading.Event) -> bool:
        """A `step`; a pause instead where the database is out of reach: what trains goes on training meanwhile."""
        try:
            return self.step()
        except Unavailable:
            log.exception("the database cannot be reached; deciding goes on when it can")
            self.led.clear()  # a commit that was not answered may have opened attempts that nobody launched
            stop.wait(RETRY_S)
            return True

    def step(self) -> bool:
        """One pass; True when another is due at once. Raises Unavailable when the database is out of reach,
        RuntimeError when the cluster is gone."""
        self._check_cluster()
        self._reproducing.step()
        self._renew()
        active = studies.active_studies(self.db)
        rows = self._lead(active)
        self._cancel_orphans(active, rows)
        self._step_external(active)
        again = False
        demands = [self._demand(row) for row in rows if row.state is StudyState.RUNNING]
        self._alone = sum(d.open < d.parallel for d in demands) <= 1
        free = shares.slots(demands, self.executor.capacity()) if demands else {}
        for row in rows:
            try:
                due = self._turn(row, free.get(row.id, 0))
                if due is not None:  # else it is not known yet how the turn ends
                    again |= due
                    self._troubles.over(row.id)
            except DecisionMoved:
                again = True
            except (Conflict, NotFound) as error:
                log.info("study %s changed under this pass: %s", row.id, error)
            except StudyBroken as error:
                self._trouble(row, error)
        return again

    def _turn(self, row: StudyRow, slots: int) -> bool | None:
        long = thinks_long(self._definition(row))
        return self._turns.take(row.id, lambda: self._step_study(row, slots), long=long)

    def _tidy(self, stop: threading.Event) -> None:
        """Remove checkpoints and code that no rule keeps, every minute."""
        while not stop.wait(TIDY_S):
            try:
                tidying.tidy(self.db, self.storage_root, retention_days=self.settings.retention_days)
            except Exception:
                log.exception("checkpoints and code could not be let go; they are looked at again in a minute")

    def _wake(self, _: set[str]) -> None:
        self._dirty.set()

    def _renew(self) -> None:
        now = time.monotonic()
        if now - self._renewed < self.settings.lease_s / 4:
            return
        self._renewed = now
        kept = decisions.renew_leases(self.db, self.holder, self.settings.lease_s)
        for study_id in set(self.led) - kept:
            self._drop(study_id)

    def _lead(self, rows: Sequence[StudyRow]) -> list[StudyRow]:
        """Those of the studies that this controller leads, taking free leases on the way."""
        found = []
        for row in rows:
            if row.external:
                continue
            try:
                with blamed():
                    mine = self._take(row)
            except NotFound:  # deleted meanwhile
                continue
            except StudyBroken as error:
                self._trouble(row, error)
                continue
            if mine is not None:
                found.append(mine)
        for study_id in set(self.led) - {row.id for row in rows}:
            self.led.pop(study_id)
            self._forget(study_id)
        self._turns.forget_all_but({row.id for row in rows})
        return found

    def _take(self, row: StudyRow) -> StudyRow | None:
        """The study as it stands, where this controller leads it; it takes the lease where that is free."""
        led = self.led.get(row.id)
        if led is not None and led.epoch != row.epoch:
            self._drop(row.id)
            led = None
        if led is None:
            if self._turns.taking(row.id):
                return None  # it may be about to launch: not yet a stranger's
            epoch = decisions.take_lease(self.db, row.id, self.holder, self.settings.lease_s)
            if epoch is None:
                return None
            recovery.interrupt_strangers(self.db, row, self.flights, self.prices)
            self.led[row.id] = Led(epoch=epoch)  # not before: what a failure leaves open is looked at again
            row = studies.get_study(self.db, row.id)
        self._definition(row)
        return row

    def _trouble(self, row: StudyRow, error: StudyBroken) -> None:
        """The study is looked at afresh, from its log."""
        self.led.pop(row.id, None)
        self._forget(row.id)
        self._troubles.add(row.id, error)

    def _drop(self, study_id: str) -> None:
        """Another controller leads the study now: what still runs here comes under an older fence soon. It pauses, for
        as long as its attempt is open, stopping it would end the trial."""
        self.led.pop(study_id, None)
        self._forget(study_id)
        self._cancel(self.flights.of_study(study_id), CancelMode.PAUSE)

    def _forget(self, study_id: str) -> None:
        self._views.forget(study_id)
        self._placing.forget(study_id)
        self._sharing.forget(study_id)
        self.decider.forget(study_id)

    def _cancel_orphans(self, active: Sequence[StudyRow], led: Sequence[StudyRow]) -> None:
        """Cancel, once, what runs for studies that were stopped or deleted; what another controller leads pauses."""
        orphans = self.flights.studies() - {row.id for row in led}
        alive = {row.id for row in active}
        for study_id in orphans - self._orphans:
            mode = CancelMode.PAUSE if study_id in alive else CancelMode.STOP
            self._cancel(self.flights.of_study(study_id), mode)
        self._orphans = orphans

    def _cancel(self, keys: set[AttemptKey], mode: CancelMode) -> None:
        for key in keys:
            self.executor.cancel(key, mode)

    def _step_external(self, active: Sequence[StudyRow]) -> None:
        """Time and dollars end external studies too; nobody else would notice while their clients are silent."""
        now = time.monotonic()
        if now - self._external < EXTERNAL_PASS_S:
            return
        self._external = now
        for row in active:
            if not row.external or row.state is not StudyState.RUNNING:
                continue
            try:
                with blamed():
                    if declare_spent(self.db, row, parse(row.definition)):
                        settle(self.db, self.decider, row.id)
            except (Conflict, NotFound, StudyBroken) as error:
                log.info("external study %s is looked at again: %s", row.id, error)

    def _demand(self, row: StudyRow) -> shares.Demand:
        led = self.led.get(row.id)
        idle = led is not None and led.idle_seq == row.last_seq
        return self._placing.demand(row, self._definition(row), idle=idle)

    def _definition(self, row: StudyRow) -> StudyDefinition:
        led = self.led.get(row.id)
        if led is None:  # dropped while its turn lasts
            return parse(row.definition)
        if led.definition is None or led.definition[0] != row.definition_version:
            led.definition = (row.definition_version, parse(row.definition))
        return led.definition[1]

    def _step_study(self, row: StudyRow, slots: int) -> bool:
        led = self.led.get(row.id)
        if led is None:
            return False
        if row.state is StudyState.PREFLIGHT:
            return self._preflights.step(row, self._definition(row))
        if row.decision != led.decision:
            self._cancel_marked(row.id)
            led.decision = row.decision
        if row.state is StudyState.PAUSED:
            if not led.pausing:
                self._cancel(self.flights.of_study(row.id), CancelMode.PAUSE)
                led.pausing = True
            return False
        led.pausing = False
        if row.state is not StudyState.RUNNING:
            return False
        if declare_spent(self.db, row, self._definition(row)) or self._narrow(row) or self._share(row):
            return True
        if row.last_seq == led.idle_seq or (row.last_seq, slots) == (led.seen_seq, led.seen_slots):
            return False
        with blamed():
            waiting = self._placing.waiting(row, self._definition(row)) if slots > 0 else []
        opened = self._placing.again(row, self._definition(row), waiting, slots)
        if opened:
            self._placing.launch(self._definition(row), opened)
            return True
        if not waiting and self._fill(row, led):
            return True
        decided = self._decide(row, 0 if waiting else slots)  # nothing new before what waits has room
        if decided is not None:
            return decided
        led.seen_seq, led.seen_slots = row.last_seq, slots
        if slots > 0 and not waiting:
            led.idle_seq = row.last_seq
        with blamed():
            return finish_if_over(self.db, self.decider, row)

    def _cancel_marked(self, study_id: str) -> None:
        """Cancel what runs here of trials that are to end as stopped."""
        keys = self.flights.of_study(study_id)
        marks = external.stop_marks(self.db, study_id, [key.trial for key in keys]) if keys else {}
        self._cancel({key for key in keys if key.trial in marks}, CancelMode.STOP)

    def _narrow(self, row: StudyRow) -> bool:
        """Take note of launches that ran out of memory."""
        if not self.collector.answers.has_narrowed(row.id):
            return False
        with blamed(), self.decider.lock(row.id):
            known = self.decider.fold(row.id).algorithm.methods
            return self._placing.calibrations.narrow(row, known)

    def _share(self, row: StudyRow) -> bool:
        """Have workers share a GPU, or no longer."""
        _, ended = self.flights.charged(row.id)
        with blamed():
            return self._sharing.step(row, self._definition(row), ended=ended)

    def _fill(self, row: StudyRow, led: Led) -> bool:
        """Put new trials into lanes that fell free, where that was not tried yet; True when something was placed."""
        vacancies = self._placing.vacancies(row, self._definition(row))
        free = min(sum(len(v.lanes) for v in vacancies), row.parallel - row.open_attempts)
        tried = row.decision, tuple((v.launch, v.lanes) for v in vacancies)
        if free <= 0 or led.tried == tried:
            return False
        led.tried = tried
        alone = self._alone and not self._placing.queues(row, self._definition(row))
        group = self._placing.filling(vacancies, alone=alone)
        return bool(self._place(row, free, group, self._placing.fill))

    def _decide(self, row: StudyRow, slots: int) -> bool | None:
        """Propose and place: whether the study is to be looked at again at once; None when there is nothing to do."""
        waits: list[bool] = []
        group = self._placing.grouping(row, self._definition(row), waits.append)
        placed = self._place(row, slots, group, self._placing.launch)
        return placed if placed or not waits else waits[0]

    def _place(self, row: StudyRow, slots: int, group: Grouping, send: Send) -> bool | None:
        """Propose, commit, send; None when there is nothing to do."""
        definition = self._definition(row)
        with blamed():
            committed, proposals = self.decider.decide(row, slots, group=group)
        if committed is None:
            return None
        led = self.led.get(row.id)
        if led is not None:
            led.decision = committed.decision
        stopped = {p.trial for p in proposals if isinstance(p, Stop)}
        self._cancel({k for k in self.flights.of_study(row.id) if k.trial in stopped}, CancelMode.STOP)
        send(definition, committed.opened)
        return True

    def _knows_methods(self, study_id: str) -> bool:
        """Whether the study's log says how its trials are trained."""
        return bool(decisions.latest_entries(self.db, study_id, kinds=(MethodsChosen.kind,), limit=1))

    def _check_cluster(self) -> None:
        capacity, now = self.executor.capacity(), time.monotonic()
        if capacity.cpu > 0 or capacity.gpu > 0:
            self._nodes_seen = now
        elif now - self._nodes_seen > NO_NODES_S:
            raise RuntimeError(f"the cluster has had no node for {NO_NODES_S:g} s: Ray died, or must be joined anew")

    def _joining(self) -> bool:
        """Whether the cluster may still grow: it was just joined, or has lost all of its nodes for the moment."""
        capacity = self.executor.capacity()
        return capacity.cpu == capacity.gpu == 0 or time.monotonic() - self._began < self.grace_s
