"""The executor on Ray: warm workers, launches sent to them, their streams read by one thread.

Wires the parts together: `ray_session` (the connection), `ray_pool` (placing), `ray_flights` (bookkeeping),
`ray_reader` (the thread). Knows no database. Make it on the main thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo_service.executors import ray_losses
from hpo_service.executors.base import Capacity, Need
from hpo_service.executors.ray_flights import Flight, Shape, impossible, never_started, not_begun
from hpo_service.executors.ray_pool import Pool
from hpo_service.executors.ray_reader import Reader
from hpo_service.executors.ray_session import Node, Session, capacity_of, require_main_thread
from hpo_service.executors.ray_workers import PooledWorker, actor_starter
from hpo_service.settings import Settings
from workers.contract import AttemptKey, CancelMode, Launch, Message, WorkOrder

NODES_EVERY_S = 2.0
PING_EVERY_S = 2.0
FULL = 20_000
"""Messages that wait for `poll` before reading pauses; the rest waits on the workers."""
SETTLE_S = 0.5
_START_TRIES = 2


class RayExecutor:
    """Runs launches on Ray; see `Executor` for the guarantees.

    A lost worker takes what it had not sent with it: its unread messages are gone, and what comes under its name later
    is dropped, so that exactly one `Ended` (LOST) stands for each of its unfinished attempts. Limits of time are
    watched here, on the monotonic clock: a worker that hangs is killed.

    Raises:
        Unavailable: Ray is missing, cannot be reached, or its nodes lack our packages or do not see `storage_root`.
        RuntimeError: not made on the main thread.
    """

    def __init__(self, settings: Settings, storage_root: Path, *, code_paths: Sequence[str] | None = None) -> None:
        require_main_thread()
        self._session = Session.open(settings, storage_root)
        paths = _code_paths(local=self._session.local) if code_paths is None else code_paths
        self._lock = threading.RLock()
        self._came = threading.Condition(self._lock)
        self._drained = threading.Condition(self._lock)
        self._outbox: list[Message] = []
        self._woken = False
        self._closed = False
        self._told: dict[str, str] = {}
        self._settling: set[PooledWorker] = set()
        self._where: dict[AttemptKey, Launch | tuple[PooledWorker, Flight]] = {}  # a launch waits; a flight is sent
        self._failed_starts: dict[Shape, int] = {}
        start = actor_starter(
            self._session.ray,
            code_paths=paths,
            storage_root=storage_root,
            spread=lambda: len(self._pool.nodes) > 1,
        )
        self._pool = Pool(start, idle_s=settings.idle_workers_s)
        self._pool.nodes = self._session.nodes()
        self._nodes_at = time.monotonic()
        self._reader = Reader(self._session.ray, self._read, self._broke, self._tick)
        self._reader.start()

    # What the controller calls

    def capacity(self) -> Capacity:
        """Totals of the living nodes, at most two seconds old."""
        with self._lock:
            return capacity_of(self._pool.nodes)

    def can_ever_fit(self, cpu: float, gpu: float) -> str | None:
        """Why no node can ever hold a worker of this shape; None when one can."""
        with self._lock:
            nodes = self._pool.nodes
        if any(cpu <= node.cpu and gpu <= node.gpu for node in nodes):
            return None
        return capacity_of(nodes).refusal(cpu, gpu) or (
            f"resources must fit on one node, but no node has {cpu:g} CPUs and {gpu:g} GPUs together; ask for less"
        )

    def free_workers(self, need: Need) -> int:
        """Idle, starting and possible workers of this shape, less the launches that wait."""
        with self._lock:
            return self._pool.room(Shape(need.cpu, need.gpu, need.runtime))

    def warm(self, cpu: float, gpu: float, count: int) -> None:
        """Start workers of this shape in the free room, until there are `count`."""
        with self._lock:
            self._pool.warm(Shape(cpu, gpu), count, time.monotonic())
            self._place()

    def launch(self, launch: Launch) -> None:
        """Send the launch to a worker of its shape, or queue it."""
        with self._lock:
            if self._closed:
                return
            self._where.update((order.key, launch) for order in launch.orders)
            self._pool.add(launch, time.monotonic())
            self._place()

    def fill(self, launch_id: str, orders: Sequence[WorkOrder]) -> None:
        """Send further orders to a fused launch that trains; back at once where there is none."""
        with self._lock:
            if self._closed:
                return
            worker, flight = self._pool.flight(launch_id)
            if worker is None or flight is None:
                self._send_out([not_begun(order, "its launch was over") for order in orders])
                return
            flight.add(orders)
            self._where.update((order.key, (worker, flight)) for order in orders)
            worker.remote.fill(launch_id, orders)

    def cancel(self, key: AttemptKey, mode: CancelMode) -> None:
        """End the attempt: now if it was not sent yet, else at its next report, or at its turn."""
        with self._lock:
            place = self._where.get(key)
            if isinstance(place, Launch):
                self._withdraw(place, key, mode)
            elif place is not None:
                place[0].remote.cancel(key, mode)

    def kill(self, key: AttemptKey, reason: str) -> None:
        """End the attempt's worker: the attempt FAILED, the others that the worker had LOST."""
        with self._lock:
            place = self._where.get(key)
            if place is None or isinstance(place, Launch):
                return
            self._kill(*place, [(key, reason)])

    def poll(self, timeout_s: float) -> Sequence[Message]:
        """What came; waits up to `timeout_s` for the first message."""
        with self._came:
            if not (self._outbox or self._pool.changed or self._woken):
                self._came.wait(timeout_s)
            self._woken = False
            messages = self._worker_messages(time.monotonic())
            messages += self._outbox
            self._outbox = []
            self._drained.notify_all()
            return messages

    def wake(self) -> None:
        """Make a waiting `poll` return."""
        with self._came:
            self._woken = True
            self._came.notify_all()

    def close(self) -> None:
        """Kill the workers, stop reading, and leave Ray if this executor came to it. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._drained.notify_all()
        self._reader.stop()
        with self._lock:
            for worker in list(self._pool.workers.values()):
                worker.remote.kill()
            self._pool.workers.clear()
            self._where.clear()
        self.wake()
        self._session.close()

    # Called by the reader's thread

    def _read(self, owner: PooledWorker, flight: Flight | None, value: Any) -> None:
        """A worker answered (no flight), or a flight's stream gave a batch."""
        with self._lock:
            while len(self._outbox) > FULL and not self._closed:
                self._drained.wait(1.0)
            now = time.monotonic()
            if owner.state == "gone":
                return
            if flight is None:
                self._answered(owner, value, now)
            else:
                self._took(owner, flight, value, now)

    def _broke(self, owner: PooledWorker, flight: Flight | None, error: Exception | None) -> None:
        """A worker died, or could not be started; or a stream ended with attempts unfinished (no error)."""
        with self._lock:
            if owner.state != "gone" and error is None and flight is not None:
                self._hand_back(owner, flight)
            if owner.state == "gone" or (error is None and not (flight and flight.unfinished)):
                return
            if owner.state == "starting":
                self._start_failed(owner, ray_losses.start_reason(error, owner.shape.runtime))
                return
            in_training, blamed = owner.in_training(), ray_losses.out_of_memory(error)
            if blamed and owner.flights:
                first, now = owner.flights[0], time.monotonic()
                if first.fused and first.launch.width > 1:
                    self._send_out(first.narrow(blamed, now))
                else:
                    self._send_out([first.fail(order.key, blamed, now) for order in first.current()])
            owner.remote.kill()
            self._lose(owner, in_training, ray_losses.reason(owner, error))

    def _tick(self, silent: set[Flight]) -> None:
        """Now and then: limits of time, idle workers, pings, nodes. `silent`: flights with nothing left to read."""
        now = time.monotonic()
        nodes = self._fresh_nodes(now)
        with self._lock:
            if nodes is not None:
                self._pool.nodes = nodes
            for worker in list(self._pool.workers.values()):
                self._watch(worker, silent, now)
            for worker in self._pool.late_starters(now):
                self._start_failed(worker, "it did not come up in time; is the cluster busy with other work?")
            self._pool.let_idle_go(now)
            self._settle(now)
            self._refuse_impossible(now)
            self._place()

    # Parts

    def _settle(self, now: float) -> None:
        settled = {w for w in self._settling if w.state != "idle" or now - w.idle_since >= SETTLE_S}
        self._settling -= settled
        self._pool.changed |= settled

    def _fresh_nodes(self, now: float) -> list[Node] | None:
        if now - self._nodes_at < NODES_EVERY_S:
            return None
        self._nodes_at = now
        return self._session.nodes()

    def _watch(self, worker: PooledWorker, silent: set[Flight], now: float) -> None:
        """Kill a worker whose attempt hangs; ask an idle one whether it still lives."""
        if worker.flights and worker.flights[0] in silent:
            late = worker.flights[0].overdue(now)
            if late:
                self._kill(worker, worker.flights[0], late)
        elif worker.state == "idle" and worker.answer is None and now - worker.ping_at > PING_EVERY_S:
            worker.answer = worker.remote.ping()
            self._reader.add(worker.answer, worker, None)

    def _kill(self, worker: PooledWorker, flight: Flight, late: Sequence[tuple[AttemptKey, str]]) -> None:
        """End a worker because of some of its attempts."""
        in_training = worker.in_training()
        now = time.monotonic()
        self._send_out([flight.fail(key, reason, now) for key, reason in late])
        worker.remote.kill()
        self._lose(worker, in_training, f"its worker was killed because another attempt on it {late[0][1]}")

    def _answered(self, worker: PooledWorker, who: dict[str, Any], now: float) -> None:
        if worker.state == "starting":
            self._pool.changed.add(worker)
            self._failed_starts.pop(worker.shape, None)
        worker.ready(who, now)
        self._place()
        self._came.notify_all()

    def _took(self, worker: PooledWorker, flight: Flight, batch: Sequence[Message], now: float) -> None:
        before = set(flight.unfinished)
        self._send_out(flight.take(batch, now))
        for key in before - set(flight.unfinished):
            self._where.pop(key, None)
        if not flight.unfinished:
            self._reader.remove(flight.generator)
            self._pool.finished(worker, flight, now)
            self._place()

    def _hand_back(self, worker: PooledWorker, flight: Flight) -> None:
        """The stream is over: what came too late for the launch is placed again."""
        before = set(flight.unfinished)
        ended = flight.hand_back("its launch was over")
        self._send_out(ended)
        for key in before - set(flight.unfinished):
            self._where.pop(key, None)
        if ended and not flight.unfinished:
            self._pool.finished(worker, flight, time.monotonic())
            self._place()

    def _place(self) -> None:
        for worker, flight in self._pool.place(time.monotonic()):
            self._where.update((key, (worker, flight)) for key in flight.unfinished)
            self._reader.add(flight.generator, worker, flight)
        for worker in self._pool.changed:
            if worker.state == "starting" and not self._reader.knows(worker.answer):
                self._reader.add(worker.answer, worker, None)
        if self._pool.changed:
            self._came.notify_all()

    def _withdraw(self, launch: Launch, key: AttemptKey, mode: CancelMode) -> None:
        order = next(order for order in launch.orders if order.key == key)
        kept = tuple(other for other in launch.orders if other is not order)
        shorter = replace(launch, orders=kept) if kept else None
        self._pool.replace(launch, shorter)
        self._where.update((other.key, shorter) for other in kept if shorter)
        self._send_out([never_started(order, mode)])

    def _send_out(self, messages: Sequence[Message]) -> None:
        self._outbox += messages
        self._came.notify_all()

    def _lose(self, worker: PooledWorker, in_training: Collection[AttemptKey], reason: str) -> None:
        now = time.monotonic()
        self._reader.remove(worker.answer)
        for flight in worker.flights:
            self._reader.remove(flight.generator)
            self._send_out(list(flight.lose(reason, in_training, now)))
            for key in flight.sent():
                self._where.pop(key, None)
        worker.flights.clear()
        self._pool.drop(worker)
        self._place()

    def _start_failed(self, worker: PooledWorker, reason: str) -> None:
        """Try again; where workers of this shape keep failing, what waits for them must not wait for ever."""
        worker.remote.kill()
        self._reader.remove(worker.answer)
        self._pool.drop(worker)
        tries = self._failed_starts[worker.shape] = self._failed_starts.get(worker.shape, 0) + 1
        alive = any(w.shape == worker.shape and w.state != "starting" for w in self._pool.workers.values())
        most = 1 if worker.shape.runtime.pip else _START_TRIES  # pip itself tries long enough
        if tries >= most and not alive:
            self._give_up(worker.shape, f"a worker with {_words(worker.shape)} could not be started: {reason}")
        self._place()

    def _give_up(self, shape: Shape, reason: str) -> None:
        for launch in self._pool.take_waiting(shape):
            self._end_waiting(launch.orders, reason)

    def _refuse_impossible(self, now: float) -> None:
        """Launches that came to fit no node any more: the nodes have left."""
        for shape, since in self._pool.waits_since().items():
            refusal = self.can_ever_fit(shape.cpu, shape.gpu)
            if refusal and now - since > 30.0:
                self._give_up(shape, refusal)

    def _end_waiting(self, orders: Sequence[WorkOrder], reason: str) -> None:
        for order in orders:
            self._where.pop(order.key, None)
            self._send_out([impossible(order, reason)])

    def _worker_messages(self, now: float) -> list[Message]:
        """Each worker that changed, once, as it is now; idle only when it stays so, for trials may be short."""
        messages: list[Message] = []
        for worker in self._pool.changed:
            told = self._told.get(worker.worker_id)
            if worker.state == "idle" and told == "busy" and now - worker.idle_since < SETTLE_S:
                self._settling.add(worker)
            elif told != worker.state:
                self._told[worker.worker_id] = worker.state
                messages.append(worker.seen())
            if worker.state == "gone":
                self._told.pop(worker.worker_id, None)
        self._pool.changed.clear()
        return messages


def _words(shape: Shape) -> str:
    code = f" and the code {shape.runtime.bundle[:12]}" if shape.runtime.bundle else ""
    return f"{shape.cpu:g} CPUs and {shape.gpu:g} GPUs{code}"


def _code_paths(*, local: bool) -> tuple[str, ...]:
    """Where users' functions are found by workers on this machine; on a joined cluster they are installed."""
    return (os.getcwd(),) if local else ()
