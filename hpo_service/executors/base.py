"""Where attempts run: the seam between the controller and Ray (or the simulated clock). Knows no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.contract import NO_RUNTIME, AttemptKey, CancelMode, FailureKind, Launch, Message, Runtime, WorkOrder


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What one worker of a study occupies, and how many a study may use at most."""

    study_id: str
    cpu: float
    gpu: float
    runtime: Runtime = NO_RUNTIME


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """What the cluster has in all: totals, and the most that any one node has."""

    cpu: float
    gpu: float
    node_cpu: float
    node_gpu: float

    def refusal(self, cpu: float, gpu: float) -> str | None:
        """Why no node can ever hold a worker of this shape; None when one can."""
        if gpu > 0 and self.gpu == 0:
            return (
                f"resources.gpu asks for {gpu:g}, but the cluster has no GPU; set it to 0, or join a node that has one"
            )
        for name, want, most in (("cpu", cpu, self.node_cpu), ("gpu", gpu, self.node_gpu)):
            if want > most:
                return (
                    f"resources.{name} must fit on one node, but it asks for {want:g} and the largest node has "
                    f"{most:g}; ask for {most:g} or less, or join a larger node"
                )
        return None


def failure_of(reason: str) -> FailureKind:
    """The failure that a kill's reason begins with (`"stalled: …"`, `"timed_out: …"`); `killed` otherwise."""
    first = reason.replace(":", " ").split(maxsplit=1)
    return FailureKind(first[0]) if first and first[0] in set(FailureKind) else FailureKind.KILLED


class Executor(Protocol):
    """Runs launches on warm workers. Guarantees that the conformance suite holds every executor to:

    - Every order of a launch ends with exactly one `Ended`, whatever happens to its worker: outcome LOST where it was
      in training, PAUSED where the executor knows that its turn had not come.
    - Messages of one attempt come in order: Started, Reported…, Ended; different attempts interleave freely.
    - `launch`, `fill`, `cancel` and `poll` never block on training.
    """

    def capacity(self) -> Capacity:
        """Totals of the cluster now."""
        ...

    def can_ever_fit(self, cpu: float, gpu: float) -> str | None:
        """Why the cluster, as it is, can never hold a worker of this shape; None when it can."""
        ...

    def free_workers(self, need: Need) -> int:
        """How many more launches of this shape could start at once, on idle or new workers."""
        ...

    def warm(self, cpu: float, gpu: float, count: int) -> None:
        """Start workers of this shape where there is free room, until there are `count`: launches are on their way."""
        ...

    def launch(self, launch: Launch) -> None:
        """Send the launch to a worker of its shape, queueing where all are busy."""
        ...

    def fill(self, launch_id: str, orders: Sequence[WorkOrder]) -> None:
        """Send further orders of equal structure to a fused launch that trains: they take lanes that fall free, at its
        width. Those that it does not take up, or that come when it is over, end as PAUSED: their turn had not come."""
        ...

    def cancel(self, key: AttemptKey, mode: CancelMode) -> None:
        """Ask the attempt to end at its next report; unknown keys are ignored."""
        ...

    def kill(self, key: AttemptKey, reason: str) -> None:
        """End the attempt's worker now (a timeout): what it has ends as if lost, this one FAILED with `reason`."""
        ...

    def poll(self, timeout_s: float) -> Sequence[Message]:
        """Messages that came; waits up to `timeout_s` for the first one."""
        ...

    def wake(self) -> None:
        """Make a waiting `poll` return (from another thread)."""
        ...

    def close(self) -> None:
        """End the workers that this executor owns."""
        ...
