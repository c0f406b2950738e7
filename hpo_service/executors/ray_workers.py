"""A warm worker seen from the controller: the handle of a Ray actor, its state, and the launches it has.

The only module that calls methods of the actor. Decides nothing; `ray_pool` does.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from hpo_service.executors.ray_actor import CONTROL, TRAIN, actor_class, packages_root
from hpo_service.executors.ray_flights import Flight, Shape
from hpo_service.executors.ray_session import Node
from workers.contract import AttemptKey, CancelMode, Launch, Runtime, WorkerSeen, WorkOrder


class Remote(Protocol):
    """What a worker's process can be told. Nothing here waits; `Any` results are what the reader waits for."""

    def run(self, launch: Launch) -> Any:
        """Train; a stream of lists of messages."""
        ...

    def cancel(self, key: AttemptKey, mode: CancelMode) -> None:
        """End an attempt at its next report."""
        ...

    def fill(self, launch_id: str, orders: Sequence[WorkOrder]) -> None:
        """Give a fused launch that trains further orders."""
        ...

    def warm(self) -> Any:
        """Load what every trial needs, and say who it is."""
        ...

    def ping(self) -> Any:
        """Say who it is."""
        ...

    def kill(self) -> None:
        """End the process at once."""
        ...


SETUP_S = 1500
"""How long Ray may prepare a process, seconds: packages may be large."""
Starter = Callable[[str, Shape, Node], Remote]
"""(worker id, shape, node) -> the worker's process, being started."""


class ActorRemote:
    """A `Remote` that is a Ray actor."""

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray = ray
        self._handle = handle
        self._run = handle.run.options(num_returns="streaming", concurrency_group=TRAIN)
        self._turns = itertools.count()
        self._cancel = handle.cancel.options(concurrency_group=CONTROL)

    def run(self, launch: Launch) -> Any:
        return self._run.remote(launch, next(self._turns))

    def cancel(self, key: AttemptKey, mode: CancelMode) -> None:
        self._cancel.remote(key, mode)

    def fill(self, launch_id: str, orders: Sequence[WorkOrder]) -> None:
        self._handle.fill.options(concurrency_group=CONTROL).remote(launch_id, tuple(orders))

    def warm(self) -> Any:
        return self._handle.warm.options(concurrency_group=CONTROL).remote()

    def ping(self) -> Any:
        return self._handle.ping.options(concurrency_group=CONTROL).remote()

    def kill(self) -> None:
        with contextlib.suppress(Exception):  # it may be dead already
            self._ray.kill(self._handle, no_restart=True)


def actor_starter(ray: Any, *, code_paths: Sequence[str], storage_root: Path, spread: Callable[[], bool]) -> Starter:
    """Starts workers as actors that this process owns: they die with it, about two seconds later.

    With several nodes the actor is bound to the node that the pool chose. One that serves a bundle of code sees that
    code instead of `code_paths` and of what lies where this process was started.
    """

    made = actor_class(ray)
    root = packages_root()

    def start(worker_id: str, shape: Shape, node: Node) -> Remote:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # lazy, with Ray

        cpu, gpu, runtime = shape
        options: dict[str, Any] = {
            "num_cpus": cpu,
            "num_gpus": gpu,
            "max_restarts": 0,
            "max_task_retries": 0,
            "enable_task_events": False,
        }
        if spread():
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        if environment := runtime_env(runtime, storage_root):
            options["runtime_env"] = environment
        own: dict[str, Any] = {"code_paths": tuple(code_paths)}
        if runtime.bundle:
            own = {"bundle": runtime.bundle, "away": _beside_us()}
        handle = made.options(**options).remote(root, worker_id, cpu=cpu, gpu=gpu, node=node.name, **own)
        return ActorRemote(ray, handle)

    return start


def runtime_env(runtime: Runtime, storage_root: Path) -> dict[str, Any]:
    """What Ray makes a worker's process with: the bundle's archive by its URI (Ray refuses folders here); packages."""
    found: dict[str, Any] = {}
    if runtime.bundle:
        found["working_dir"] = (storage_root.absolute() / runtime.bundle_path).as_uri()
    if runtime.pip:
        found["pip"] = {"packages": list(runtime.pip), "pip_check": False}
    if found:
        found["config"] = {"setup_timeout_seconds": SETUP_S, "eager_install": False}
    return found


def _beside_us() -> tuple[str, ...]:
    """Folders of this process that Ray puts on its workers' `sys.path`: of no use to code that comes in a bundle."""
    return os.getcwd(), os.path.dirname(os.path.abspath(sys.argv[0]))


class PooledWorker:
    """One worker. `flights` holds what was sent to it: the first is in training, a second one waits, or has begun while
    the first one's last checkpoints are being stored."""

    __slots__ = (
        "answer", "born_at", "detail", "device", "flights", "idle_since", "node", "ping_at", "remote", "shape", "state",
        "worker_id",
    )  # fmt: skip

    def __init__(self, shape: Shape, node: Node, start: Starter, *, now: float) -> None:
        self.worker_id = f"worker-{uuid.uuid4().hex[:12]}"
        self.shape = shape
        self.node = node
        self.state = "starting"
        self.device = "cpu" if shape.gpu == 0 else "cuda"
        self.detail: dict[str, Any] = {"bundle": shape.runtime.bundle} if shape.runtime.bundle else {}
        self.flights: list[Flight] = []
        self.born_at = self.idle_since = self.ping_at = now
        self.remote = start(self.worker_id, shape, node)
        self.answer: Any = self.remote.warm()  # of `warm` or `ping`; None when nothing is asked

    def ready(self, who: dict[str, Any], now: float) -> None:
        """It answered `warm`, or a `ping`."""
        self.answer = None
        self.ping_at = now
        if self.state == "starting":
            self.state = "idle"
            self.idle_since = self.born_at = now
            self.device = who["device"]
            self.detail |= {
                name: who[name] for name in ("pid", "gpu_name", "gpu_memory_bytes") if who.get(name) is not None
            }

    def send(self, launch: Launch, now: float) -> Flight:
        """Send a launch."""
        flight = Flight(launch, self.remote.run(launch), now=now, queued=bool(self.flights))
        self.flights.append(flight)
        self.state = "busy"
        return flight

    def done(self, flight: Flight, now: float) -> None:
        """A flight is over; the next one is in training."""
        self.flights.remove(flight)
        if self.flights:
            self.flights[0].taken_up(now)
        else:
            self.state = "idle"
            self.idle_since = self.ping_at = now

    def in_training(self) -> frozenset[AttemptKey]:
        """The attempts that it trains now; what else it was sent waits for its turn."""
        first = [order.key for flight in self.flights[:1] for order in flight.current()]
        return frozenset(first).union(*(flight.begun() for flight in self.flights[1:]))

    def seen(self) -> WorkerSeen:
        """What there is to tell of it."""
        return WorkerSeen(
            worker_id=self.worker_id,
            node=self.node.name,
            state=self.state,
            device=self.device,
            cpu=self.shape.cpu,
            gpu=self.shape.gpu,
            detail=self.detail,
        )
