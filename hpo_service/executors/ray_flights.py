"""Launches on their way: what was sent to a worker, what it said so far, how it ends when the worker does not say.

Pure bookkeeping on a monotonic clock that is passed in; knows no Ray, no threads, no placement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from hpo_service.executors.base import failure_of
from workers.contract import (
    FUSED,
    NO_RUNTIME,
    AttemptKey,
    AttemptMessage,
    CancelMode,
    Ended,
    FailureKind,
    Launch,
    Logged,
    Message,
    Narrowed,
    Outcome,
    Reported,
    Runtime,
    Started,
    WorkerSeen,
    WorkOrder,
)

GRACE_S = 0.5
"""How much longer than `trial_timeout_s` an attempt may be silent: one that still reports ends itself in time."""


class Shape(NamedTuple):
    """What a worker occupies, and what its process is made with: no worker serves launches of another shape."""

    cpu: float
    gpu: float
    runtime: Runtime = NO_RUNTIME


def shape_of(launch: Launch) -> Shape:
    """The shape of the worker that the launch needs."""
    return Shape(launch.cpu, launch.gpu, launch.runtime)


class Flight:
    """A launch on a worker. `unfinished` holds, in order, the attempts that have not ended."""

    __slots__ = (
        "_heard_at",
        "_joined",
        "_queued",
        "_resource",
        "_sharing",
        "_since",
        "begun_at",
        "generator",
        "launch",
        "progress",
        "unfinished",
    )

    def __init__(self, launch: Launch, generator: Any, *, now: float, queued: bool = False) -> None:
        self.launch = launch
        self.generator = generator
        self.progress = 0.0  # resource that its ended attempts trained
        self.unfinished: dict[AttemptKey, WorkOrder] = {order.key: order for order in launch.orders}
        self._resource: dict[AttemptKey, float] = {}
        self._queued = queued
        self._joined: dict[AttemptKey, float | None] = {}  # what came later, and when it began (None: not yet)
        self._sharing: int | None = None  # lanes that were in training when this side ended the first
        self.begun_at = self._since = self._heard_at = now  # the last two: of the attempt in training

    @property
    def study_id(self) -> str:
        """Whose launch it is."""
        return self.launch.orders[0].key.study_id

    @property
    def fused(self) -> bool:
        """Whether its attempts are the lanes of one program."""
        return self.launch.method == FUSED

    @property
    def load(self) -> int:
        """How many things its worker still has to train for it, one after another."""
        return min(1, len(self.unfinished)) if self.fused else len(self.unfinished)

    def sent(self) -> list[AttemptKey]:
        """Every attempt that was sent."""
        return [*(order.key for order in self.launch.orders), *self._joined]

    def add(self, orders: Sequence[WorkOrder]) -> None:
        """Further orders were sent, for lanes that fall free."""
        self.unfinished.update((order.key, order) for order in orders)
        self._joined.update((order.key, None) for order in orders)

    def hand_back(self, reason: str) -> list[Ended]:
        """End what came later and was not taken up: the launch is over."""
        left = [key for key in self.unfinished if self._waits(key)]
        return [not_begun(self.unfinished.pop(key), reason) for key in left]

    def _waits(self, key: AttemptKey) -> bool:
        """Whether the attempt came later, and no lane fell free for it yet."""
        return key in self._joined and self._joined[key] is None

    def to_train(self) -> float:
        """Resource that its worker has yet to go through: of all unfinished attempts, or of the longest lane."""
        ways = [order.target_resource - order.from_resource for order in self.unfinished.values()]
        return max(ways, default=0.0) if self.fused else sum(ways)

    def taken_up(self, now: float) -> None:
        """The worker is free for this launch from now on: its first attempt's clock starts, unless it runs already."""
        if self._queued:
            self._queued = False
            self.begun_at = self._since = self._heard_at = now

    def begun(self) -> frozenset[AttemptKey]:
        """The attempts in training that said so themselves."""
        return frozenset(order.key for order in self.current() if order.key in self._resource)

    def current(self) -> Sequence[WorkOrder]:
        """The attempts in training: the first unfinished one, or every lane of a fused launch."""
        orders = list(self.unfinished.values())
        return [order for order in orders if not self._waits(order.key)] if self.fused else orders[:1]

    def take(self, batch: Sequence[Message], now: float) -> list[Message]:
        """What of a batch is to be passed on: all but messages of attempts that this side has ended."""
        passed: list[Message] = []
        for message in batch:
            if not isinstance(message, WorkerSeen):
                if message.key not in self.unfinished:
                    continue
                self._note(message, now)
            passed.append(message)
        return passed

    def _note(self, message: AttemptMessage, now: float) -> None:
        if isinstance(message, Reported):
            self._resource[message.key] = message.resource
            self._heard_at = now
        elif isinstance(message, Logged):
            order = self.unfinished.get(message.key)
            if order is not None and order.size is not None:
                self._heard_at = now  # of a size the one report comes last; the steps until then are lines of the log
        elif isinstance(message, Started):
            self.taken_up(now)
            self._resource[message.key] = message.resumed_from
            self._heard_at = now
            if message.key in self._joined:
                self._joined[message.key] = now
        elif isinstance(message, Ended):
            order = self.unfinished.pop(message.key)
            way = max(0.0, message.resource - order.from_resource)
            if self.fused:
                self.progress = max(self.progress, way)
            else:
                self.progress += way
                self._since = self._heard_at = now

    def overdue(self, now: float) -> list[tuple[AttemptKey, str]]:
        """Attempts in training that broke a limit of time, and why. Ask of a worker's first flight only. Lanes are
        silent together: nobody can tell which one the program hangs in."""
        return [(order.key, late) for order in self.current() if (late := self._late(order, now))]

    def _late(self, order: WorkOrder, now: float) -> str | None:
        silent, ran = now - self._heard_at, now - self._begun(order.key)
        lanes = f" for each of {order.width} lanes" if order.width > 1 else ""
        if order.longest_silence_s is not None and silent > order.longest_silence_s:
            return (
                f"stalled: a report must come within stall_timeout_s={order.stall_timeout_s:g}{lanes}, "
                f"but none came for {silent:.1f} s; raise the limit or report more often"
            )
        if order.longest_s is not None and ran > order.longest_s + GRACE_S:
            return (
                f"timed_out: an attempt must end within trial_timeout_s={order.trial_timeout_s:g}{lanes}, "
                f"but it has run for {ran:.1f} s; raise the limit or train less"
            )
        return None

    def _begun(self, key: AttemptKey) -> float:
        """Since when the attempt in training trains."""
        joined = self._joined.get(key)
        return self._since if joined is None else joined

    def end(self, key: AttemptKey, outcome: Outcome, failure: FailureKind | None, reason: str, now: float) -> Ended:
        """End an unfinished attempt from this side."""
        current = self.current()
        seconds = max(0.0, now - self._begun(key)) if any(order.key == key for order in current) else 0.0
        if self._sharing is None:
            self._sharing = len(current)
        order = self.unfinished.pop(key)
        return Ended(
            key=key,
            outcome=outcome,
            resource=self._resource.get(key, order.from_resource),
            seconds=seconds,
            failure=failure,
            reason=reason,
            charged_seconds=seconds / self._sharing if self.fused else None,
        )

    def fail(self, key: AttemptKey, reason: str, now: float) -> Ended:
        """The attempt is to blame, in the way that the first word of the reason says."""
        return self.end(key, Outcome.FAILED, failure_of(reason), reason, now)

    def narrow(self, reason: str, now: float) -> list[Message]:
        """The program was too large for its node: its lanes are interrupted, to go on in half as many."""
        keys = list(self.unfinished)
        width = max(1, self.launch.width // 2)
        paused = f"its launch is placed again with {width} lanes: {reason}"
        ended = [self.end(key, Outcome.PAUSED, None, paused, now) for key in keys]
        return [Narrowed(key=keys[0], width=width, reason=reason), *ended]

    def lose(self, reason: str, in_training: Collection[AttemptKey], now: float) -> Iterator[Ended]:
        """End whatever is unfinished: LOST what was in training, and as interrupted what had not had its turn."""
        lost = [key for key in self.unfinished if key in in_training]
        for key in [key for key in self.unfinished if key not in in_training]:
            yield not_begun(self.unfinished.pop(key), reason)
        for key in lost:
            yield self.end(key, Outcome.LOST, None, reason, now)


def never_started(order: WorkOrder, mode: CancelMode) -> Ended:
    """How an attempt ends that was cancelled before it was sent to a worker."""
    return Ended(
        key=order.key,
        outcome=Outcome.PAUSED if mode is CancelMode.PAUSE else Outcome.CANCELLED,
        resource=order.from_resource,
        seconds=0.0,
        reason="cancelled before it started",
        checkpoint=order.checkpoints[0] if order.checkpoints else None,
    )


def not_begun(order: WorkOrder, reason: str) -> Ended:
    """How an attempt ends whose worker was lost before its turn came: no loss of its own."""
    ended = never_started(order, CancelMode.PAUSE)
    return replace(ended, reason=f"it had not begun, and is placed again: {reason}")


def impossible(order: WorkOrder, reason: str) -> Ended:
    """How an attempt ends for which no worker can be had."""
    return Ended(
        key=order.key,
        outcome=Outcome.FAILED,
        resource=order.from_resource,
        seconds=0.0,
        failure=FailureKind.INVALID,
        reason=reason,
    )
