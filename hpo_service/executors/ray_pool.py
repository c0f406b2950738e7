"""Which worker a launch goes to; when workers are started and let go. Talks to processes through `Remote` only.

Workers stay up between trials and studies. A shape says what a worker occupies and whose code its process serves. One
that has launches waiting gets what room the cluster has, then the room of other shapes' idle workers, and in the end,
so that nobody starves, of busy ones as they become free.
Not safe for threads: the executor holds its lock around every call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpo_service.executors.ray_flights import Flight, Shape, shape_of
from hpo_service.executors.ray_queue import Queue
from hpo_service.executors.ray_session import Node
from hpo_service.executors.ray_workers import PooledWorker, Starter
from workers.contract import Launch

AHEAD_BELOW_S = 1.0
"""A launch is sent ahead, to wait on a busy worker, where what is before it takes less than this by all experience."""
DEPTH = 2
TENURE_S = 10.0
"""A worker is not taken from a shape that needs it before it has served so long: starting one costs seconds."""
LINGER_S = 1.0
"""One without work counts as needed for so long: what comes next for it may be on its way."""
START_LIMIT_S = 300.0
PIP_LIMIT_S = 1800.0
"""Where packages are installed first."""
_EPSILON = 1e-6


class Pool:
    """The workers, and the launches that wait for one."""

    def __init__(self, start: Starter, *, idle_s: float) -> None:
        self.workers: dict[str, PooledWorker] = {}
        self.nodes: Sequence[Node] = ()
        self.changed: set[PooledWorker] = set()
        self._start = start
        self._idle_s = idle_s
        self._waiting: dict[Shape, Queue] = {}
        self._rates: dict[tuple[str, bool], float] = {}  # seconds per resource of each study, plain and fused

    # Launches that wait

    def add(self, launch: Launch, now: float) -> None:
        """Queue a launch; `place` sends it."""
        self._waiting.setdefault(shape_of(launch), Queue()).add(launch, now)

    def replace(self, old: Launch, new: Launch | None) -> None:
        """Put another launch in the place of one that waits, or take it out."""
        self._waiting[shape_of(old)].replace(old, new)

    def waiting(self) -> Iterator[Launch]:
        """Every launch that was not sent yet."""
        for queue in self._waiting.values():
            yield from queue.launches()

    def take_waiting(self, shape: Shape) -> list[Launch]:
        """Take out all that waits for this shape."""
        queue = self._waiting.pop(shape, None)
        return list(queue.launches()) if queue else []

    def waits_since(self) -> dict[Shape, float]:
        """Shapes with launches waiting, and since when the oldest waits."""
        return {shape: queue.since() for shape, queue in self._waiting.items() if len(queue)}

    # Placing

    def place(self, now: float) -> list[tuple[PooledWorker, Flight]]:
        """Send what can be sent, and start workers for the rest: shapes without any worker first, then the oldest."""
        sent: list[tuple[PooledWorker, Flight]] = []
        claims: list[Shape] = []  # shapes that have waited long, or have no worker yet
        turns = sorted(self.waits_since().items(), key=lambda item: (self._count(item[0]) > 0, item[1]))
        for shape, since in turns:
            queue = self._waiting[shape]
            while len(queue) and (worker := self._slot(shape, claims, now)):
                sent.append((worker, worker.send(queue.take(), now)))
                self.changed.add(worker)
            if len(queue):
                self._grow(shape, len(queue), now)
                if now - since > TENURE_S or not self._count(shape):
                    claims.append(shape)
        return sent

    def _count(self, shape: Shape) -> int:
        return sum(worker.shape == shape for worker in self.workers.values())

    def _may_take(self, shape: Shape, worker: PooledWorker, now: float) -> bool:
        """Whether a worker that its own shape needs may be ended for this one: when it has served its time, and only as
        far as shapes come to have equally many. Those that swapped theirs would start processes all the time."""
        others = self._count(worker.shape)
        mine = self._count(shape)
        return now - worker.born_at > TENURE_S and (not mine or others >= mine + 2)

    def _slot(self, shape: Shape, claims: Sequence[Shape], now: float) -> PooledWorker | None:
        """An idle worker of this shape; else, for short launches, the busy one with the least before it."""
        best: tuple[int, str] | None = None
        for worker in self.workers.values():
            if worker.shape != shape or worker.state == "starting" or self._is_claimed(worker, claims, now):
                continue
            load = sum(flight.load for flight in worker.flights)
            if not load or (len(worker.flights) < DEPTH and self._ends_soon(worker.flights[0], now)):
                best = min(best, (load, worker.worker_id)) if best else (load, worker.worker_id)
        return self.workers[best[1]] if best else None

    def _ends_soon(self, flight: Flight, now: float) -> bool:
        """Whether its study's rate says so; never of a study that nothing is known of."""
        rate = self._rates.get((flight.study_id, flight.fused))
        return rate is not None and max(rate * flight.to_train(), now - flight.begun_at) < AHEAD_BELOW_S

    def _is_claimed(self, worker: PooledWorker, claims: Sequence[Shape], now: float) -> bool:
        return any(
            not _kinds(shape).isdisjoint(_kinds(worker.shape)) and self._may_take(shape, worker, now)
            for shape in claims
            if shape != worker.shape
        )

    def warm(self, shape: Shape, count: int, now: float) -> None:
        """Start workers of this shape in free room, until there are `count`; nobody has to go for them."""
        have = sum(w.shape == shape for w in self.workers.values())
        for _ in range(count - have):
            node = self._node_for(shape)
            if node is None:
                return
            self._start_on(node, shape, now)

    def _grow(self, shape: Shape, wanted: int, now: float) -> None:
        starting = sum(w.shape == shape and w.state == "starting" for w in self.workers.values())
        for _ in range(wanted - starting):
            node = self._node_for(shape) or self._make_room(shape, now)
            if node is None:
                return
            self._start_on(node, shape, now)

    def _start_on(self, node: Node, shape: Shape, now: float) -> None:
        worker = PooledWorker(shape, node, self._start, now=now)
        self.workers[worker.worker_id] = worker
        self.changed.add(worker)

    def _node_for(self, shape: Shape, *, without: Sequence[PooledWorker] = ()) -> Node | None:
        """The node with the most free CPUs on which a worker of this shape fits, were some workers gone."""
        best: tuple[float, Node] | None = None
        for node in self.nodes:
            cpu, gpu = self._free(node, without)
            if shape.cpu <= cpu + _EPSILON and shape.gpu <= gpu + _EPSILON and (best is None or cpu > best[0]):
                best = (cpu, node)
        return best[1] if best else None

    def _free(self, node: Node, without: Sequence[PooledWorker]) -> tuple[float, float]:
        here = [w for w in self.workers.values() if w.node.node_id == node.node_id and w not in without]
        return node.cpu - sum(w.shape.cpu for w in here), node.gpu - sum(w.shape.gpu for w in here)

    def _make_room(self, shape: Shape, now: float) -> Node | None:
        """Let idle workers of other shapes go, if that makes room; longest idle first, no more than needed."""
        going: list[PooledWorker] = []
        for worker in sorted(self._spare(shape, now), key=lambda w: w.idle_since):
            going.append(worker)
            node = self._node_for(shape, without=going)
            if node is not None:
                for spare in [w for w in going if w.node.node_id == node.node_id]:
                    self.drop(spare)
                    spare.remote.kill()
                return node
        return None

    def _spare(self, shape: Shape, now: float) -> list[PooledWorker]:
        """Idle workers of other shapes that may go for this one."""
        needed = {other for other, queue in self._waiting.items() if len(queue)}
        return [
            worker
            for worker in self.workers.values()
            if worker.shape != shape
            and worker.state == "idle"
            and (
                not (worker.shape in needed or now - worker.idle_since < LINGER_S) or self._may_take(shape, worker, now)
            )
        ]

    def room(self, shape: Shape) -> int:
        """How many more launches of this shape could start at once: on idle, starting or new workers."""
        idle = sum(w.shape == shape and not w.flights for w in self.workers.values())
        waiting = sum(len(queue) for queue in self._waiting.values())
        spare = [w for w in self.workers.values() if w.shape != shape and w.state == "idle"]
        new = sum(_times(shape, self._free(node, spare)) for node in self.nodes)
        return max(0, idle + new - waiting)

    def flight(self, launch_id: str) -> tuple[PooledWorker, Flight] | tuple[None, None]:
        """The fused launch that some worker trains, by its name."""
        for worker in self.workers.values():
            for flight in worker.flights:
                if flight.fused and flight.launch.launch_id == launch_id:
                    return worker, flight
        return None, None

    # Workers that end

    def finished(self, worker: PooledWorker, flight: Flight, now: float) -> None:
        """A flight is over."""
        if flight.progress > 0:
            rate, kind = (now - flight.begun_at) / flight.progress, (flight.study_id, flight.fused)
            mean = self._rates.get(kind, rate)
            self._rates[kind] = mean + 0.2 * (rate - mean)
        worker.done(flight, now)
        self.changed.add(worker)

    def drop(self, worker: PooledWorker) -> None:
        """The worker is gone."""
        worker.state = "gone"
        self.workers.pop(worker.worker_id, None)
        self.changed.add(worker)

    def let_idle_go(self, now: float) -> list[PooledWorker]:
        """End the workers that have had nothing to do for long."""
        gone = [w for w in self.workers.values() if w.state == "idle" and now - w.idle_since > self._idle_s]
        for worker in gone:
            self.drop(worker)
            worker.remote.kill()
        return gone

    def late_starters(self, now: float) -> list[PooledWorker]:
        """Workers that were asked for long ago and never came up."""
        return [w for w in self.workers.values() if w.state == "starting" and now - w.born_at > _start_limit(w.shape)]


def _start_limit(shape: Shape) -> float:
    return PIP_LIMIT_S if shape.runtime.pip else START_LIMIT_S


def _kinds(shape: Shape) -> set[int]:
    return {kind for kind, occupied in enumerate((shape.cpu, shape.gpu)) if occupied > 0}


def _times(shape: Shape, free: tuple[float, float]) -> int:
    fits = [have / want for have, want in zip(free, (shape.cpu, shape.gpu), strict=True) if want > 0]
    return max(0, int(min(fits) + _EPSILON)) if fits else 0
