"""What the executors' conformance suite needs beside the executor: orders, and a reader that checks each message."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hpo_service.executors.base import Executor
from workers.contract import (
    AttemptKey,
    CheckpointRef,
    Ended,
    Launch,
    Logged,
    Message,
    Reported,
    Saved,
    Started,
    TrainerSpec,
    WorkerSeen,
    WorkOrder,
)

FUNCTION = "executor_trainables:train"
STUDY = "conformance"


@dataclass
class Reader:
    """Polls an executor, keeps what came, and holds every message to the guarantees."""

    executor: Executor
    started: dict[AttemptKey, Started] = field(default_factory=dict)
    reports: dict[AttemptKey, list[Reported]] = field(default_factory=dict)
    saved: dict[AttemptKey, list[CheckpointRef]] = field(default_factory=dict)
    ended: dict[AttemptKey, Ended] = field(default_factory=dict)
    logs: dict[AttemptKey, list[str]] = field(default_factory=dict)
    workers: dict[str, WorkerSeen] = field(default_factory=dict)

    def read(self, timeout_s: float = 1.0) -> None:
        """One poll."""
        for message in self.executor.poll(timeout_s):
            self._take(message)

    def until(self, done: Callable[[], object], *, limit_s: float = 120.0) -> None:
        """Poll until `done()` is true."""
        deadline = time.monotonic() + limit_s
        while not done():
            assert time.monotonic() < deadline, f"waited {limit_s} s in vain; ended so far: {self.ended}"
            self.read()

    def all_ended(self, *orders: WorkOrder) -> None:
        """Poll until these orders ended, then look whether anything follows."""
        self.until(lambda: all(order.key in self.ended for order in orders))
        self.read(0.0)

    def worker_of(self, order: WorkOrder) -> WorkerSeen:
        """The worker that trains this started order."""
        return self.workers[self.started[order.key].worker_id]

    def _take(self, message: Message) -> None:
        if isinstance(message, WorkerSeen):
            assert message.state in {"starting", "idle", "busy", "gone"}
            self.workers[message.worker_id] = message
            return
        key = message.key
        assert key not in self.ended, f"{message} after {self.ended.get(key)}"
        match message:
            case Started():
                assert key not in self.started
                self.started[key] = message
            case Reported():
                assert key in self.started
                earlier = self.reports.setdefault(key, [])
                assert not earlier or earlier[-1].step < message.step
                earlier.append(message)
            case Saved():
                assert key in self.started
                self.saved.setdefault(key, []).append(message.checkpoint)
            case Logged():
                self.logs.setdefault(key, []).append(message.text)
            case Ended():
                self.ended[key] = message


@dataclass
class Harness:
    """One executor under test. `kill_worker` ends a worker as the machine would: without telling the executor."""

    executor: Executor
    reader: Reader
    storage_root: str
    kill_worker: Callable[[WorkerSeen], None]
    next_trial: Iterator[int]

    def order(
        self,
        kind: str = "quick",
        *,
        target: float = 3,
        checkpoints: tuple[CheckpointRef, ...] = (),
        trial_timeout_s: float | None = None,
        stall_timeout_s: float | None = None,
    ) -> WorkOrder:
        """An order of a new trial; kinds: quick, slow, hang (after one report), raise, nan."""
        trial = next(self.next_trial)
        return WorkOrder(
            key=AttemptKey(study_id=STUDY, trial=trial, fence=1),
            trainer=TrainerSpec(function=FUNCTION),
            params={"kind": kind},
            seed=trial,
            metric="loss",
            metrics=("loss",),
            from_resource=checkpoints[0].resource if checkpoints else 0.0,
            target_resource=target,
            horizon=target,
            storage_root=self.storage_root,
            checkpoints=checkpoints,
            trial_timeout_s=trial_timeout_s,
            stall_timeout_s=stall_timeout_s,
        )

    def launch(self, *orders: WorkOrder, cpu: float = 1.0) -> None:
        """Send the orders as one launch."""
        self.executor.launch(Launch(launch_id=f"launch-{orders[0].key.trial}", orders=orders, cpu=cpu))

    def running(self, *orders: WorkOrder) -> None:
        """Poll until each of these orders has reported."""
        self.reader.until(lambda: all(self.reader.reports.get(order.key) for order in orders))


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """The block must not take longer."""
    begin = time.monotonic()
    yield
    took = time.monotonic() - begin
    assert took < seconds, f"took {took:.2f} s, but at most {seconds} s are allowed"
