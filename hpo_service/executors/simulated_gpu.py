"""GPUs of the simulated executor: what attempts take of their memory and time, and what is too much for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.contract import AttemptKey, FailureKind, Launch, Outcome, WorkOrder

Ending = tuple[Outcome, FailureKind | None, str]


@dataclass(kw_only=True)
class SimulatedGpus:
    """`count` GPUs that hold `memory_bytes` each, on which attempts lie evenly. `use` gives an attempt's peak in bytes
    and how busy it keeps a GPU, 0 … 1, from its parameters."""

    count: float
    memory_bytes: int
    use: Callable[[Mapping[str, Any]], tuple[int, float]]
    _running: dict[AttemptKey, tuple[int, float]] = field(default_factory=dict)

    def begin(self, launch: Launch, order: WorkOrder) -> Ending | None:
        """The attempt is in training; how it ends at once where its memory is not there."""
        if launch.gpu <= 0:
            return None
        peak, busy = self.use(order.params)
        taken = sum(held for held, _ in self._running.values())
        if taken + peak > self.memory_bytes * self.count:
            return Outcome.FAILED, FailureKind.OUT_OF_MEMORY, f"CUDA out of memory (simulated): {taken} + {peak} bytes"
        self._running[order.key] = peak, busy
        return None

    def end(self, key: AttemptKey) -> dict[str, Any]:
        """The attempt is over: what it says of its GPU, as fields of `Ended`."""
        busy = min(1.0, sum(part for _, part in self._running.values()) / self.count)
        peak, _ = self._running.pop(key, (None, 0.0))
        return {} if peak is None else {"gpu_peak_memory_bytes": peak, "gpu_utilisation": busy}

    def detail(self, launch: Launch) -> dict[str, Any]:
        """What a worker tells of its GPU."""
        return {"gpu_name": "simulated", "gpu_memory_bytes": self.memory_bytes} if launch.gpu > 0 else {}
