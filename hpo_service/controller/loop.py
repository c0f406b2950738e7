"""The deciding thread's passes over the studies that this controller leads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpo_service import storage
from hpo_service.controller import orders, recovery, shares
from hpo_service.controller.collector import Collector
from hpo_service.controller.flights import Flights
from hpo_service.controller.preflight import Preflights
from hpo_service.core.cost import Prices
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.proposals import Proposal, Stop
from hpo_service.core.states import StudyState
from hpo_service.decider import Decider, declare_spent, finish_if_over, settle
from hpo_service.errors import Conflict, DecisionMoved, HpoError, NotFound
from hpo_service.executors.base import Executor
from hpo_service.settings import Settings
from hpo_service.store import decisions, retention, studies
from hpo_service.store.database import Database
from hpo_service.store.rows import OpenAttempt, Placement, StudyRow
from workers.contract import AttemptKey, CancelMode

log = logging.getLogger(__name__)
PASS_S = 0.1
"""Longest time between two looks at the database for new studies and users' wishes."""
EXTERNAL_PASS_S = 2.0
TIDY_S = 60.0


@dataclass
class Led:
    """A study that this controller holds the lease of, and what it looked like at the last pass."""

    epoch: int
    seen_seq: int = -1
    seen_slots: int = -1
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
        self.decider = Decider(self.db)
        self.prices = Prices(
            cpu_hour_dollars=self.settings.cpu_hour_dollars, gpu_hour_dollars=self.settings.gpu_hour_dollars
        )
        self._dirty = threading.Event()
        self._began = time.monotonic()
        self._renewed = self._external = -1e9
        self.collector = Collector(
            self.db, self.executor, self.flights, self.prices, holder=self.holder, changed=self._wake
        )
        self._preflights = Preflights(
            db=self.db,
            executor=self.executor,
            collector=self.collector,
            flights=self.flights,
            storage_root=self.storage_root,
            joining=self._joining,
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
        while not stop.is_set() and not failed:
            again = self.step()
            if not again:
                self._dirty.wait(PASS_S)
            self._dirty.clear()
        stop.set()
        self.executor.wake()
        thread.join(timeout=10)
        if failed:
            raise failed[0]
        decisions.release_leases(self.db, self.holder)

    def step(self) -> bool:
        """One pass; True when another is due at once."""
        self._renew()
        rows = self._lead(studies.active_studies(self.db))
        self._cancel_orphans({row.id: row for row in rows})
        again = self._step_external()
        demands = [self._demand(row) for row in rows if row.state is StudyState.RUNNING]
        free = shares.slots(demands, self.executor.capacity()) if demands else {}
        for row in rows:
            try:
                again |= self._step_study(row, free.get(row.id, 0))
            except DecisionMoved:
                again = True
            except (Conflict, NotFound) as error:
                log.info("study %s changed under this pass: %s", row.id, error)
        return again

    def _tidy(self, stop: threading.Event) -> None:
        """Remove checkpoints that no rule keeps, every minute."""
        while not stop.wait(TIDY_S):
            try:
                paths = retention.let_go(self.db, retention_s=self.settings.retention_days * 86_400)
                storage.remove(self.storage_root, paths)
            except HpoError:
                log.exception("checkpoints could not be let go; they are looked at again in a minute")

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
            led = self.led.get(row.id)
            if led is not None and led.epoch != row.epoch:
                self._drop(row.id)
                led = None
            if led is None:
                epoch = decisions.take_lease(self.db, row.id, self.holder, self.settings.lease_s)
                if epoch is None:
                    continue
                self.led[row.id] = Led(epoch=epoch)
                recovery.interrupt_strangers(self.db, row, self.flights, self.prices)
                row = studies.get_study(self.db, row.id)
            found.append(row)
        for study_id in set(self.led) - {row.id for row in rows}:
            self.led.pop(study_id)
            self.decider.forget(study_id)
        return found

    def _drop(self, study_id: str) -> None:
        """Another controller leads the study now: what still runs here comes under an older fence soon."""
        self.led.pop(study_id, None)
        self.decider.forget(study_id)
        self._cancel(self.flights.of_study(study_id), CancelMode.STOP)

    def _cancel_orphans(self, rows: dict[str, StudyRow]) -> None:
        """Cancel what runs for studies that were stopped, deleted or lost to another controller."""
        for study_id in self.flights.studies() - set(rows):
            self._cancel(self.flights.of_study(study_id), CancelMode.STOP)

    def _cancel(self, keys: set[AttemptKey], mode: CancelMode) -> None:
        for key in keys:
            self.executor.cancel(key, mode)

    def _step_external(self) -> bool:
        """Time and dollars end external studies too; nobody else would notice while their clients are silent."""
        now = time.monotonic()
        if now - self._external < EXTERNAL_PASS_S:
            return False
        self._external = now
        for row in studies.active_studies(self.db):
            if row.external and row.state is StudyState.RUNNING:
                with self.decider.lock(row.id):
                    declared = declare_spent(self.db, row, self.decider.fold(row.id).definition)
                if declared:
                    settle(self.db, self.decider, row.id)
        return False

    def _demand(self, row: StudyRow) -> shares.Demand:
        definition = self._definition(row)
        return shares.Demand(
            study_id=row.id,
            cpu=definition.resources.cpu,
            gpu=definition.resources.gpu,
            priority=row.priority,
            open=row.open_attempts,
            parallel=row.parallel,
            mean_seconds=self.flights.mean_seconds(row.id),
        )

    def _definition(self, row: StudyRow) -> StudyDefinition:
        led = self.led[row.id]
        if led.definition is None or led.definition[0] != row.definition_version:
            led.definition = (row.definition_version, parse(row.definition))
        return led.definition[1]

    def _step_study(self, row: StudyRow, slots: int) -> bool:
        led = self.led[row.id]
        if row.state is StudyState.PREFLIGHT:
            return self._preflights.step(row, self._definition(row))
        if row.state is StudyState.PAUSED:
            if not led.pausing:
                self._cancel(self.flights.of_study(row.id), CancelMode.PAUSE)
                led.pausing = True
            return False
        led.pausing = False
        if row.state is not StudyState.RUNNING:
            return False
        if declare_spent(self.db, row, self._definition(row)):
            return True
        if (row.last_seq, slots) == (led.seen_seq, led.seen_slots):
            return False
        placed = self._reopen(row, slots)
        if placed:
            return True
        committed = self._decide(row, slots)
        if not committed:
            led.seen_seq, led.seen_slots = row.last_seq, slots
            return finish_if_over(self.db, self.decider, row)
        return True

    def _reopen(self, row: StudyRow, slots: int) -> bool:
        """Place interrupted trials again; they come before anything new."""
        waiting = decisions.interrupted(self.db, row.id)[:slots] if slots else []
        if not waiting:
            return False
        placements = orders.place_trials(waiting, self._launch_size(row, len(waiting)))
        opened = decisions.reopen(self.db, row.id, waiting, epoch=row.epoch, placements=placements)
        self._launch(row, opened)
        return bool(opened)

    def _decide(self, row: StudyRow, slots: int) -> bool:
        def place(proposals: Sequence[Proposal]) -> dict[int, Placement]:
            return orders.placements(proposals, self._launch_size(row, len(proposals)))

        committed, proposals = self.decider.decide(row, slots, place)
        if committed is None:
            return False
        stopped = {p.trial for p in proposals if isinstance(p, Stop)}
        self._cancel({k for k in self.flights.of_study(row.id) if k.trial in stopped}, CancelMode.STOP)
        self._launch(row, committed.opened)
        return True

    def _launch_size(self, row: StudyRow, count: int) -> int:
        places = 1.0 / max(shares.dominant(self._demand(row), self.executor.capacity()), 1e-9)
        return shares.per_launch(self.flights.mean_seconds(row.id), count, places)

    def _launch(self, row: StudyRow, opened: Sequence[OpenAttempt]) -> None:
        definition = self._definition(row)
        for launch in orders.launches(definition, opened, self.storage_root):
            self.flights.add((o.key for o in launch.orders), cpu=launch.cpu, gpu=launch.gpu)
            self.executor.launch(launch)

    def _joining(self) -> bool:
        """Whether a cluster that was just joined may still grow."""
        return time.monotonic() - self._began < self.grace_s
