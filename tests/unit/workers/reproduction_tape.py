"""A trial trained segment by segment in this process, and its record as the store would write it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from workers import record
from workers.contract import (
    FUSED,
    PLAIN,
    AttemptKey,
    CancelMode,
    CheckpointRef,
    Ended,
    Launch,
    Message,
    Reported,
    Saved,
    Started,
    TrainerSpec,
    WorkOrder,
)
from workers.session import Attempt
from workers.session_fused import FusedAttempts


@dataclass
class Tape:
    """One trial: number 17 of the study `s`, of horizon 9."""

    storage: Path
    trainer: TrainerSpec
    params: dict[str, Any]
    metric: str = "loss"
    width: int = 1
    processes: int = 1
    fidelity: str = "epochs"
    segments: list[dict[str, Any]] = field(default_factory=list)
    curve: dict[int, dict[str, Any]] = field(default_factory=dict)
    environments: dict[str, Any] = field(default_factory=dict)
    checkpoints: list[CheckpointRef] = field(default_factory=list)
    fence: int = 0

    def train(self, target: float, *, end: CancelMode | None = None, at: int = 0, lost: bool = False) -> Ended:
        """One attempt to `target`; it is ended so at the report `at`. `lost`: nobody hears how it ended."""
        torch.set_num_threads(1)  # as a worker of one core does
        self.fence += 1
        order = WorkOrder(
            key=AttemptKey(study_id="s", trial=17, fence=self.fence), trainer=self.trainer, params=self.params,
            seed=1234, metric=self.metric, metrics=(self.metric,), directions=("minimize",), from_resource=0.0,
            target_resource=target, horizon=9.0, storage_root=str(self.storage), width=self.width,
            processes=self.processes, checkpoints=tuple(reversed(self.checkpoints)), fidelity=self.fidelity,
        )  # fmt: skip
        messages: list[Message] = []
        asked: list[CancelMode] = []

        def emit(message: Message) -> None:
            messages.append(message)
            if isinstance(message, Reported) and end is not None and message.step >= at:
                asked.append(end)

        def cancelled(_: AttemptKey | None = None) -> CancelMode | None:
            return asked[0] if asked else None

        if self.width > 1:
            others = tuple(
                replace(order, key=replace(order.key, trial=20 + i), params={**self.params, "lr": 0.02 * (i + 1)},
                        seed=i, checkpoints=()) for i in range(self.width - 2)
            )  # fmt: skip
            launch = Launch(launch_id="l", orders=(*others, order), method=FUSED, width=self.width)
            FusedAttempts(launch, emit, lambda key: cancelled() if key.trial == 17 else None).run()
        else:
            messages.append(Attempt(order, emit, cancelled).run())
        return self._keep([m for m in messages if m.key.trial == 17], order, lost=lost)  # type: ignore[union-attr]

    def _keep(self, messages: list[Message], order: WorkOrder, *, lost: bool) -> Ended:
        started = next(m for m in messages if isinstance(m, Started))
        ended = next(m for m in messages if isinstance(m, Ended))
        self.checkpoints += [m.checkpoint for m in messages if isinstance(m, Saved)]
        if ended.checkpoint and ended.checkpoint not in self.checkpoints:
            self.checkpoints.append(ended.checkpoint)
        for m in messages:
            if isinstance(m, Reported):
                metrics = {n: v if math.isfinite(v) else "NaN" for n, v in m.metrics.items()}
                self.curve[m.step] = {"step": m.step, "resource": m.resource, "fence": self.fence, "metrics": metrics}
        self.environments[started.environment["digest"]] = started.environment
        source = None
        if started.resumed_path:
            fence, step = Path(started.resumed_path).stem.split("-")[:2]
            source = {"trial": 17, "fence": int(fence), "step": int(step)}
        self.segments.append(
            {
                "fence": self.fence, "from_resource": 0.0, "target": order.target_resource, "horizon": order.horizon,
                "method": FUSED if self.width > 1 else PLAIN, "width": self.width, "lane": 0, "resumed": source,
                "outcome": "lost" if lost else ended.outcome.value,
                "failure": ended.failure.value if ended.failure else None,
                "environment": started.environment["digest"],
            }
        )  # fmt: skip
        return ended

    def document(self) -> dict[str, Any]:
        made = {
            "format": record.FORMAT, "version": record.VERSION, "study": {"id": "s"}, "trial": {"number": 17},
            "trainer": {"recipe": self.trainer.recipe, "function": self.trainer.function,
                        "ray_tune": self.trainer.ray_tune, "optuna": self.trainer.optuna,
                        "params": dict(self.trainer.params)},
            "params": self.params, "seed": 1234, "objectives": [{"metric": self.metric, "direction": "minimize"}],
            "deterministic": False, "resources": {"cpu": 1.0, "gpu": 0.0, "processes": self.processes}, "limits": {},
            "segments": self.segments,
            "curve": [self.curve[step] for step in sorted(self.curve)], "environments": self.environments,
            "fidelity": self.fidelity,
        }  # fmt: skip
        return {**made, "digest": record.digest(made)}
