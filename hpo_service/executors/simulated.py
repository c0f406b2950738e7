"""An executor on a virtual clock: launches train on simulated workers, along curves, in no time.

Events happen in order of virtual time, then of scheduling; nothing sleeps and nothing depends on the machine.
It exists for fail-point tests of the controller, for benchmarks of scale, and for benchmarks of search. It knows
no database.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpo_service.executors.base import Capacity, Need, failure_of
from hpo_service.executors.curves import Curve
from hpo_service.executors.simulated_attempt import ENDED_BY, Attempt, Ending, Rules
from hpo_service.executors.simulated_gpu import SimulatedGpus
from workers.contract import (
    FUSED,
    AttemptKey,
    Calibrated,
    CancelMode,
    Ended,
    Launch,
    Message,
    Narrowed,
    Outcome,
    Started,
    WorkerSeen,
    WorkOrder,
)

_ENVIRONMENT: Mapping[str, Any] = {"executor": "simulated"}
_NODE = "simulated"


class _Busy:
    """A launch on its worker."""

    __slots__ = ("_at", "_share", "_shares", "began", "launch", "running", "waiting", "worker")

    def __init__(self, launch: Launch, worker: str) -> None:
        self.launch = launch
        self.worker = worker
        self.waiting = deque(launch.orders)
        self.began = False
        self.running: dict[AttemptKey, Attempt] = {}
        self._share = self._at = 0.0  # what each lane so far was charged that was there from the beginning
        self._shares: dict[AttemptKey, float] = {}

    def begin(self, key: AttemptKey, attempt: Attempt, now: float) -> None:
        """One more is in training."""
        self._pass(now)
        self._shares[key] = self._share
        self.running[key] = attempt

    def end(self, key: AttemptKey, now: float) -> tuple[Attempt, float] | None:
        """The attempt in training ends, and its part of the time: lanes alive at a moment share it."""
        attempt = self.running.get(key)
        if attempt is None:
            return None
        self._pass(now)
        del self.running[key]
        return attempt, self._share - self._shares.pop(key)

    def _pass(self, now: float) -> None:
        self._share += (now - self._at) / max(1, len(self.running))
        self._at = now


class SimulatedExecutor:
    """Trains along `curve(params, resource, seed)`; see `Executor` for the guarantees.

    A unit of resource takes `seconds_per_resource` virtual seconds (a number, or a function of the parameters); a
    report comes every `step` of resource. `failure_rate` and `loss_rate` are the probabilities that an attempt
    fails, or loses its worker, at a random point of its way: keyed by (seed, trial, fence). Checkpoints are kept in
    name only: one at the end of a segment, and one every `checkpoint_every` of resource where given. `poll` handles
    events until it has `batch` messages; 1 gives the most faithful timing. An idle `poll` returns at once, unless
    `idle_waits`. `calibrated` answers orders that ask how they are best trained; a fused launch for which `narrows`
    gives a width says that it goes on in parts of that width. `device` says what attempts take of the GPUs.
    """

    def __init__(
        self,
        curve: Curve,
        *,
        seconds_per_resource: float | Callable[[Mapping[str, Any]], float] = 1.0,
        cpus: float = 8.0,
        gpus: float = 0.0,
        device: SimulatedGpus | None = None,
        seed: int = 0,
        failure_rate: float = 0.0,
        loss_rate: float = 0.0,
        step: float = 1.0,
        batch: int = 1,
        checkpoint_every: float | None = None,
        idle_waits: bool = False,
        calibrated: Callable[[WorkOrder], Calibrated | None] = lambda _: None,
        narrows: Callable[[Launch], int | None] = lambda _: None,
    ) -> None:
        if step <= 0 or batch < 1:
            raise ValueError(f"step must be > 0 and batch >= 1, but got step={step}, batch={batch}; raise them")
        self.now = 0.0  # virtual seconds
        self._rules = Rules(
            curve=curve, seconds_per_resource=seconds_per_resource, seed=seed, failure_rate=failure_rate,
            loss_rate=loss_rate, step=step, checkpoint_every=checkpoint_every,
        )  # fmt: skip
        self._device = device
        gpus = gpus if device is None else device.count
        self._total = (cpus, gpus)
        self._free = [cpus, gpus]
        self._batch = batch
        self._idle_waits = idle_waits
        self._calibrated = calibrated
        self._narrows = narrows
        self._heap: list[tuple[float, int, Attempt]] = []
        self._scheduled = 0
        self._queue: deque[Launch] = deque()
        self._busy: dict[AttemptKey, _Busy | None] = {}  # of every unfinished order; None: its launch waits
        self._fused: dict[str, _Busy] = {}  # of every fused launch in training, by its name
        self._modes: dict[AttemptKey, CancelMode] = {}
        self._outbox: list[Message] = []
        self._idle: list[str] = []
        self._workers = 0
        self._changed: dict[str, tuple[str, Launch]] = {}
        self._told: dict[str, str] = {}
        self._lock = threading.RLock()
        self._awake = threading.Event()

    # What the controller calls

    def capacity(self) -> Capacity:
        """The simulated cluster is one node."""
        cpu, gpu = self._total
        return Capacity(cpu=cpu, gpu=gpu, node_cpu=cpu, node_gpu=gpu)

    def can_ever_fit(self, cpu: float, gpu: float) -> str | None:
        """Why a worker of this shape can never be had; None when it can."""
        return self.capacity().refusal(cpu, gpu)

    def free_workers(self, need: Need) -> int:
        """Workers of this shape that the free CPUs and GPUs make, less the launches that wait."""
        with self._lock:
            wanted = zip(self._free, (need.cpu, need.gpu), strict=True)
            room = math.floor(min((free / want for free, want in wanted if want > 0), default=1.0) + 1e-9)
            return max(0, room - len(self._queue))

    def warm(self, cpu: float, gpu: float, count: int) -> None:
        """Simulated workers need no time to start."""

    def launch(self, launch: Launch) -> None:
        """Start the launch if it has room, else queue it: first come, first served."""
        with self._lock:
            self._busy.update((order.key, None) for order in launch.orders)
            self._queue.append(launch)
            self._start_queued()

    def fill(self, launch_id: str, orders: Sequence[WorkOrder]) -> None:
        """Queue the orders at the fused launch that trains; they begin where a lane is free after its next report."""
        with self._lock:
            busy = self._fused.get(launch_id)
            self._busy.update((order.key, busy) for order in orders)
            if busy is not None:
                busy.waiting.extend(orders)
                return
            for order in orders:
                self._turn_away(order)

    def cancel(self, key: AttemptKey, mode: CancelMode) -> None:
        """End the attempt at its next report, or at its turn."""
        with self._lock:
            if key in self._busy:
                self._modes[key] = mode

    def kill(self, key: AttemptKey, reason: str) -> None:
        """End the running attempt's worker: this attempt FAILED, the others of its launch as if it were lost."""
        with self._lock:
            busy = self._busy.get(key)
            if busy is None or key not in busy.running:
                return
            self._end(busy, busy.running[key].order, (Outcome.FAILED, failure_of(reason), reason))
            self._lose(busy, f"its worker was killed because of another attempt: {reason}")
            self._start_queued()

    def kill_worker(self, worker_id: str, reason: str = "the worker died (simulated)") -> None:
        """Lose a worker on purpose, as `kill -9` would."""
        with self._lock:
            busy = next((b for b in self._busy.values() if b and b.worker == worker_id), None)
            if busy is not None:
                self._lose(busy, reason)
                self._start_queued()

    def poll(self, timeout_s: float) -> Sequence[Message]:
        """Advance the virtual clock to the next events and say what happened."""
        if self._idle_waits and not self._outbox and not self._heap:
            self._awake.wait(timeout_s)
        self._awake.clear()
        with self._lock:
            while self._heap and len(self._outbox) < self._batch:
                due, _, attempt = heapq.heappop(self._heap)
                if not attempt.over:
                    self.now = due
                    self._happen(attempt)
            self._tell_workers()
            messages, self._outbox = self._outbox, []
            return messages

    def wake(self) -> None:
        """Make a waiting `poll` return."""
        self._awake.set()

    def close(self) -> None:
        """Forget everything; no message follows."""
        with self._lock:
            self._heap.clear()
            self._queue.clear()
            self._busy.clear()
            self._fused.clear()
            self._changed.clear()
            self._outbox.clear()
        self.wake()

    # Workers and launches

    def _start_queued(self) -> None:
        while self._queue:
            launch = self._queue[0]
            if launch.cpu > self._free[0] + 1e-9 or launch.gpu > self._free[1] + 1e-9:
                return
            self._queue.popleft()
            self._free[0] -= launch.cpu
            self._free[1] -= launch.gpu
            busy = _Busy(launch, self._take_worker())
            if launch.method == FUSED:
                self._fused[launch.launch_id] = busy
            self._busy.update((order.key, busy) for order in launch.orders)
            self._changed[busy.worker] = ("busy", launch)
            width = self._narrows(launch) if launch.method == FUSED else None
            if width is not None:
                narrowed = Narrowed(key=launch.orders[0].key, width=width, reason="out of memory (simulated)")
                self._outbox.append(narrowed)
            self._go_on(busy)

    def _take_worker(self) -> str:
        if self._idle:
            return heapq.heappop(self._idle)
        self._workers += 1
        return f"simulated-{self._workers:04d}"

    def _go_on(self, busy: _Busy) -> None:
        """Start what the launch trains now: one order after another, or all lanes together; and in lanes that fell
        free what came later, as long as one of them trains."""
        fused = busy.launch.method == FUSED
        if fused and busy.began and not busy.running:
            while busy.waiting:
                self._turn_away(busy.waiting.popleft())
        busy.began = True
        while busy.waiting and (len(busy.running) < busy.launch.width if fused else not busy.running):
            order = busy.waiting.popleft()
            mode = self._modes.get(order.key)
            if mode is not None:
                self._end(busy, order, (ENDED_BY[mode], None, "cancelled before it started"))
            else:
                self._begin(busy, order)
        if not busy.running and not busy.waiting:
            self._release(busy, "idle")

    def _turn_away(self, order: WorkOrder) -> None:
        """End an order for which no lane fell free."""
        busy = self._busy[order.key]
        ending = (Outcome.PAUSED, None, "its launch was over before a lane fell free; it is placed again")
        self._end(busy, order, ending)

    def _release(self, busy: _Busy, state: str) -> None:
        self._fused.pop(busy.launch.launch_id, None)
        self._free[0] += busy.launch.cpu
        self._free[1] += busy.launch.gpu
        self._changed[busy.worker] = (state, busy.launch)
        if state == "idle":
            heapq.heappush(self._idle, busy.worker)

    def _tell_workers(self) -> None:
        """What became of the workers since the last poll, each one's newest state once."""
        for worker, (state, launch) in self._changed.items():
            if self._told.get(worker) != state:
                self._told[worker] = state
                self._outbox.append(
                    WorkerSeen(
                        worker_id=worker, node=_NODE, state=state, device="cpu", cpu=launch.cpu, gpu=launch.gpu,
                        detail=self._device.detail(launch) if self._device else {},
                    )
                )  # fmt: skip
        self._changed.clear()

    # Attempts

    def _begin(self, busy: _Busy, order: WorkOrder) -> None:
        attempt = Attempt(order, self._rules, now=self.now)
        crowded = self._device.begin(busy.launch, order) if self._device else None
        if crowded is not None:
            attempt.meet(crowded)
        busy.begin(order.key, attempt, self.now)
        self._outbox.append(
            Started(
                key=order.key, worker_id=busy.worker, node=_NODE, device="cpu", resumed_from=attempt.resource,
                environment=_ENVIRONMENT,
            )
        )  # fmt: skip
        self._schedule(attempt)

    def _schedule(self, attempt: Attempt) -> None:
        self._scheduled += 1
        heapq.heappush(self._heap, (attempt.next_due(self.now), self._scheduled, attempt))

    def _happen(self, attempt: Attempt) -> None:
        key = attempt.order.key
        busy = self._busy[key]
        assert busy is not None
        if attempt.ending is None:
            self._outbox += attempt.report(self.now, self._modes.get(key))
        if attempt.ending is None:
            self._schedule(attempt)
            if busy.waiting and busy.launch.method == FUSED:
                self._go_on(busy)
            return
        if attempt.ending[0] is Outcome.LOST:
            self._lose(busy, attempt.ending[2])
        else:
            self._end(busy, attempt.order, attempt.ending)
            self._go_on(busy)
        self._start_queued()

    def _end(self, busy: _Busy | None, order: WorkOrder, ending: Ending) -> None:
        found = busy.end(order.key, self.now) if busy is not None else None
        charged = None
        if busy is not None and found is not None:
            attempt, share = found
            attempt.over = True
            charged = share if busy.launch.method == FUSED else None
            resource, seconds, saved = attempt.resource, self.now - attempt.started, attempt.saved
        else:
            resource, seconds = order.from_resource, 0.0
            saved = order.checkpoints[0] if order.checkpoints else None
        del self._busy[order.key]
        self._modes.pop(order.key, None)
        outcome, failure, reason = ending
        answer = self._calibrated(order) if order.calibrate and outcome is Outcome.REACHED else None
        if answer is not None:
            self._outbox.append(answer)
        self._outbox.append(
            Ended(
                key=order.key, outcome=outcome, resource=resource, seconds=seconds, failure=failure,
                reason=reason, checkpoint=saved, charged_seconds=charged,
                **(self._device.end(order.key) if self._device else {}),
            )
        )  # fmt: skip

    def _lose(self, busy: _Busy, reason: str) -> None:
        """The worker is gone: what was in training ends LOST, what had not had its turn as interrupted."""
        for attempt in list(busy.running.values()):
            self._end(busy, attempt.order, (Outcome.LOST, None, reason))
        for order in busy.waiting:
            self._end(busy, order, (Outcome.PAUSED, None, f"it had not begun, and is placed again: {reason}"))
        busy.waiting.clear()
        self._release(busy, "gone")
