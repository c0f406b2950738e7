"""Stores what workers say: the collecting half of the loop. Decides nothing.

A batch is one transaction across all studies. A message counts as taken only once that is committed: while the
database is out of reach the batch is kept and tried again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from hpo_service.controller.flights import Flight, Flights
from hpo_service.controller.open_lanes import OpenLanes
from hpo_service.controller.orders import PREFLIGHT_TRIAL
from hpo_service.controller.tried import Answers, Tried
from hpo_service.core import cost
from hpo_service.errors import Unavailable
from hpo_service.executors.base import Executor
from hpo_service.store import collecting, logs, narrowing, workers
from hpo_service.store.artifacts import ArtifactItem, add_artifacts
from hpo_service.store.database import Database
from hpo_service.store.rows import (
    CheckpointItem,
    CollectItem,
    EndedItem,
    ReportItem,
    SavedItem,
    StartedItem,
    WorkerRow,
)
from workers.contract import (
    ArtifactStored,
    AttemptKey,
    Calibrated,
    CancelMode,
    CheckpointRef,
    Ended,
    FailureKind,
    Logged,
    Message,
    Narrowed,
    Outcome,
    Reported,
    Reproduced,
    Saved,
    Started,
    WorkerSeen,
)

log = logging.getLogger(__name__)
REFUSED = frozenset({"fenced", "closed", "unknown"})
WHOLE = frozenset({Outcome.REACHED, Outcome.COMPLETED})
RETRY_S = 0.5
CROWDED = "out of memory on a GPU that it shared; it goes on from its last checkpoint, with fewer workers per GPU"


class Collector:
    """Drains the executor into the store; `changed` is told which studies' attempts ended.

    A message that the database refuses for itself costs its attempt, which fails with the reason, and nobody else.
    """

    def __init__(
        self,
        db: Database,
        executor: Executor,
        flights: Flights,
        prices: cost.Prices,
        *,
        holder: str,
        changed: Callable[[set[str]], None],
        discard: Callable[[Sequence[str]], None] = lambda _: None,
    ) -> None:
        """`discard` removes artifacts, by their locations, that the store refused."""
        self._db = db
        self._executor = executor
        self._flights = flights
        self._prices = prices
        self._holder = holder
        self._changed = changed
        self._discard = discard
        self.answers = Answers()
        self.lanes = OpenLanes()

    def run(self, stop: threading.Event) -> None:
        """Collect until `stop`; a batch that cannot be stored yet is kept."""
        while not stop.is_set():
            messages = self._executor.poll(0.5)
            while messages and not stop.is_set():
                try:
                    self.store_apart(messages)
                    break
                except Unavailable:
                    log.exception("the database cannot be reached; %d messages are kept", len(messages))
                    stop.wait(RETRY_S)

    def collect_once(self, timeout_s: float = 0.0) -> int:
        """Store one batch, on the caller's thread; how many messages it held."""
        messages = self._executor.poll(timeout_s)
        if messages:
            self.store_apart(messages)
        return len(messages)

    def store_apart(self, messages: Sequence[Message]) -> None:
        """`store`; where that cannot be done, each message alone, so that one bad message does not take the others
        with it. Raises Unavailable; everything may then be stored once more."""
        try:
            return self.store(messages)
        except Unavailable:
            raise
        except Exception:
            log.exception("%d messages cannot be stored together; trying one by one", len(messages))
        for message in messages:
            try:
                self.store([message])
            except Unavailable:
                raise
            except Exception as error:
                log.exception("a message cannot be stored: %r", message)
                self._give_up(message, f"what it said cannot be stored: {type(error).__name__}: {error}")

    def _give_up(self, message: Message, reason: str) -> None:
        """End the attempt whose message cannot be stored."""
        if isinstance(message, WorkerSeen | Narrowed) or message.key.trial < 0:
            return
        key = message.key
        ended = EndedItem(
            study_id=key.study_id,
            trial=key.trial,
            fence=key.fence,
            outcome=Outcome.FAILED.value,
            resource=0.0,
            seconds=0.0,
            failure=FailureKind.INVALID.value,
            reason=reason,
        )
        collecting.collect(self._db, [ended])
        if isinstance(message, Ended):
            self._close([message])
        else:
            self._executor.cancel(key, CancelMode.STOP)
            self._changed({key.study_id})

    def store(self, messages: Sequence[Message]) -> None:
        """Commit one batch and act on what the store refused."""
        items: list[CollectItem] = []
        keys: list[AttemptKey] = []
        texts: list[tuple[str, int, int, str]] = []
        seen: list[WorkerSeen] = []
        kept: list[ArtifactItem] = []
        for message in messages:
            if isinstance(message, Reported) and message.key.trial >= 0:  # most of them are
                items.append(self._item(message))
                keys.append(message.key)
            elif isinstance(message, WorkerSeen):
                seen.append(message)
            elif message.key.trial < 0 or isinstance(message, Calibrated | Narrowed | Reproduced):
                self.answers.note(message)
            elif isinstance(message, ArtifactStored):
                kept.append(_artifact(message))
            elif isinstance(message, Logged):
                texts.append((message.key.study_id, message.key.trial, message.key.fence, message.text))
            else:
                items.append(self._item(message))
                keys.append(message.key)
        if seen:
            self._see(seen)
        self._narrow(messages)
        if items:
            self._refuse(keys, items, collecting.collect(self._db, items))
        self._keep(kept)
        if texts:  # last, for of all this only logs would be there twice, were it stored once more
            logs.append_logs(self._db, texts)
        self._close(messages)

    def take_preflight(self, study_id: str) -> Tried | None:
        """The study's newest preflight, once."""
        return next(reversed(self.answers.take(study_id, PREFLIGHT_TRIAL)), None)

    def _refuse(
        self,
        keys: Sequence[AttemptKey],
        items: Sequence[CollectItem],
        results: Sequence[collecting.Collected],
    ) -> None:
        for key, item, result in zip(keys, items, results, strict=True):
            if result.status == "stored":
                continue
            if result.status in REFUSED and not isinstance(item, EndedItem):
                self._executor.cancel(key, CancelMode.STOP)
            if result.status == "contradicted":
                log.warning("%s reported twice with different values: %s", key, result.message)

    def _close(self, messages: Sequence[Message]) -> None:
        self.lanes.note(messages)
        ended = [m for m in messages if isinstance(m, Ended)]
        for message in ended:
            flight = self._flights.get(message.key)
            if flight is not None and _crowded(message, flight):
                self.answers.note_crowded(message.key.study_id, flight.gpu)
            whole = message.outcome in WHOLE and message.key.trial >= 0
            self._flights.remove(message.key, seconds=message.seconds if whole else None, charged=cost_seconds(message))
        touched = {m.key.study_id for m in ended}
        touched |= {m.key.study_id for m in messages if isinstance(m, Narrowed)}
        if touched:
            self._changed(touched)

    def _narrow(self, messages: Sequence[Message]) -> None:
        """Note at what width attempts go on whose launch was too wide."""
        for message in messages:
            if isinstance(message, Narrowed) and message.keys:
                keys = [(key.trial, key.fence) for key in message.keys]
                narrowing.narrow_attempts(self._db, message.key.study_id, keys, width=message.width)

    def _keep(self, items: Sequence[ArtifactItem]) -> None:
        """Store what trials kept; the files of an attempt that was given up go."""
        results = add_artifacts(self._db, items)
        refused = [item.location for item, one in zip(items, results, strict=True) if one.status in REFUSED]
        if refused:
            self._discard(refused)

    def _see(self, seen: Sequence[WorkerSeen]) -> None:
        now = self._db.now()
        rows = [
            WorkerRow(
                id=message.worker_id,
                node=message.node,
                state=message.state,
                device=message.device,
                cpu=message.cpu,
                gpu=message.gpu,
                detail=message.detail,
                controller=self._holder,
                seen_at=now,
            )
            for message in seen
        ]
        workers.see_workers(self._db, rows)

    def _item(self, message: Started | Reported | Saved | Ended) -> CollectItem:
        study_id, trial, fence = message.key.study_id, message.key.trial, message.key.fence
        if isinstance(message, Reported):
            return ReportItem(
                study_id=study_id,
                trial=trial,
                fence=fence,
                step=message.step,
                resource=message.resource,
                metrics=message.metrics,
            )
        if isinstance(message, Started):
            return StartedItem(
                study_id=study_id,
                trial=trial,
                fence=fence,
                worker_id=message.worker_id,
                node=message.node,
                device=message.device,
                resumed_from=message.resumed_from,
                environment=message.environment,
                resumed_path=message.resumed_path,
            )
        if isinstance(message, Saved):
            return SavedItem(study_id=study_id, trial=trial, fence=fence, checkpoint=_checkpoint(message.checkpoint))
        return self._ended(message)

    def _ended(self, message: Ended) -> EndedItem:
        flight = self._flights.get(message.key)
        charge = 0
        if flight is not None:
            charge = self._prices.charge(cost_seconds(message), cpu=flight.cpu, gpu=flight.gpu)
            if _crowded(message, flight):
                reason = f"{CROWDED}: {message.reason}"
                message = replace(message, outcome=Outcome.PAUSED, failure=None, reason=reason)
        return EndedItem(
            study_id=message.key.study_id,
            trial=message.key.trial,
            fence=message.key.fence,
            outcome=message.outcome.value,
            resource=message.resource,
            seconds=message.seconds,
            failure=message.failure.value if message.failure else None,
            reason=message.reason,
            traceback=message.traceback,
            cost_microdollars=charge,
            checkpoint=_checkpoint(message.checkpoint) if message.checkpoint else None,
            peak_memory_bytes=message.peak_memory_bytes,
            gpu_peak_memory_bytes=message.gpu_peak_memory_bytes,
            gpu_utilisation=message.gpu_utilisation,
        )


def cost_seconds(message: Ended) -> float:
    """Seconds of a worker's time that the attempt is charged: its share, where lanes shared the worker."""
    return message.seconds if message.charged_seconds is None else message.charged_seconds


def _crowded(message: Ended, flight: Flight) -> bool:
    """Whether the attempt ran out of memory because the service had put it beside others: no fault of its trial."""
    return flight.shared and message.outcome is Outcome.FAILED and message.failure is FailureKind.OUT_OF_MEMORY


def _artifact(message: ArtifactStored) -> ArtifactItem:
    return ArtifactItem(
        id=message.artifact_id,
        study_id=message.key.study_id,
        trial=message.key.trial,
        fence=message.key.fence,
        name=message.name,
        location=message.location,
        digest=message.digest,
        size_bytes=message.size_bytes,
        media_type=message.media_type,
    )


def _checkpoint(ref: CheckpointRef) -> CheckpointItem:
    return CheckpointItem(
        path=ref.path, digest=ref.digest, step=ref.step, resource=ref.resource, size_bytes=ref.size_bytes
    )
