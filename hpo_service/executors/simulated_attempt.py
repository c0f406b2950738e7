"""One attempt on the virtual clock: when its next event comes, and what that event is.

Knows neither workers nor queues; `simulated` does.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hpo_service.executors.curves import Curve
from hpo_service.executors.keyed import uniform
from workers.contract import (
    CancelMode,
    CheckpointRef,
    FailureKind,
    Message,
    Outcome,
    Reported,
    Saved,
    WorkOrder,
)

Ending = tuple[Outcome, FailureKind | None, str]
"""How an attempt ends: outcome, kind of failure, reason."""

ENDED_BY = {CancelMode.PAUSE: Outcome.PAUSED, CancelMode.STOP: Outcome.CANCELLED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How simulated training goes; see `SimulatedExecutor` for the meanings."""

    curve: Curve
    seconds_per_resource: float | Callable[[Mapping[str, Any]], float]
    seed: int
    failure_rate: float
    loss_rate: float
    step: float
    checkpoint_every: float | None


class Attempt:
    """One order that trains. `ending` is how it ends at its next event, where that is no report."""

    __slots__ = (
        "_fault", "_goal", "_rate", "_rules", "ending", "order", "over", "resource", "saved", "started", "step",
    )  # fmt: skip

    def __init__(self, order: WorkOrder, rules: Rules, *, now: float) -> None:
        self.order = order
        self.started = now
        self.saved = order.checkpoints[0] if order.checkpoints and order.size is None else None
        self.resource = self.saved.resource if self.saved else 0.0
        self.step = self.saved.step if self.saved else 0
        self.ending: Ending | None = None
        self.over = False
        seconds = rules.seconds_per_resource
        self._rate = seconds(order.params) if callable(seconds) else seconds
        self._rules = rules
        self._goal = self.resource
        self._fault = self._draw_fault()
        if order.parent is not None and self.saved is None:
            reason = f"none of the checkpoints of trial {order.parent} can be read"
            self._fault = (0.0, (Outcome.FAILED, FailureKind.STORAGE, reason))

    def next_due(self, now: float) -> float:
        """When the next event comes: a report; or a fault or limit of time that comes first, set as `ending`."""
        order, step = self.order, self._rules.step
        if self.resource >= order.target_resource:
            self.ending = (Outcome.REACHED, None, "")
            return now
        if order.size is not None:
            step = order.size  # one report, of the whole
        goal = (math.floor(self.resource / step + 1e-9) + 1) * step
        self._goal = goal if goal < order.target_resource else order.target_resource
        due = now + (self._goal - self.resource) * self._rate
        if self._fault is not None and self._fault[0] < self._goal:
            due = now + (self._fault[0] - self.resource) * self._rate
            self.ending = self._fault[1]
        silence, longest = order.longest_silence_s, order.longest_s
        if silence is not None and due > now + silence:
            due = now + silence
            reason = f"stalled: no report for stall_timeout_s={order.stall_timeout_s:g}"
            self.ending = (Outcome.FAILED, FailureKind.STALLED, reason)
        if longest is not None and due > self.started + longest:
            due = max(now, self.started + longest)
            reason = f"timed_out: it ran longer than trial_timeout_s={order.trial_timeout_s:g}"
            self.ending = (Outcome.FAILED, FailureKind.TIMED_OUT, reason)
        return due

    def meet(self, ending: Ending) -> None:
        """The attempt ends like this, at once."""
        self._fault = (self.resource, ending)

    def report(self, now: float, mode: CancelMode | None) -> list[Message]:
        """Reach the next report. Sets `ending` where the attempt ends here; `mode` is what it was asked."""
        order = self.order
        self.resource = self._goal
        self.step = self.step + 1 if order.size is None else order.key.fence
        try:
            metrics = self._rules.curve(order.params, self.resource, order.seed)
        except Exception:
            self.ending = (Outcome.FAILED, FailureKind.EXCEPTION, traceback.format_exc(limit=-1))
            return []
        self.ending = self._decide(metrics, mode)
        reported: Message = Reported(
            key=order.key, step=self.step, resource=self.resource, metrics=metrics,
            seconds=now - self.started, sent_at=now,
        )  # fmt: skip
        return [reported, *self._save()]

    def _decide(self, metrics: Mapping[str, float], mode: CancelMode | None) -> Ending | None:
        order = self.order
        value = metrics.get(order.metric)
        if value is None:
            reason = f"every report must hold the metric {order.metric!r}, but it holds {sorted(metrics)}"
            return Outcome.FAILED, FailureKind.MISSING_METRIC, reason
        if not math.isfinite(value):
            return Outcome.FAILED, FailureKind.DIVERGED, f"the objective {order.metric!r} is {value}"
        if self.resource >= order.target_resource or order.preflight:
            return Outcome.REACHED, None, ""
        return None if mode is None else (ENDED_BY[mode], None, "cancelled at a report")

    def _save(self) -> list[Message]:
        """Store a checkpoint, in name only, where the segment ends well or one is due."""
        if self.order.preflight or self.order.size is not None:
            return []
        if self.ending is not None:
            due = self.ending[0] in (Outcome.REACHED, Outcome.PAUSED)
        else:
            every, since = self._rules.checkpoint_every, self.saved.resource if self.saved else 0.0
            due = every is not None and self.resource - since >= every
        if not due:
            return []
        key = self.order.key
        self.saved = CheckpointRef(
            path=f"{key.study_id}/{key.trial}/{key.fence}/{self.step}", digest="simulated",
            resource=self.resource, step=self.step, size_bytes=0,
        )  # fmt: skip
        return [Saved(key=key, checkpoint=self.saved)]

    def _draw_fault(self) -> tuple[float, Ending] | None:
        """Where this attempt meets its fate, if it has one: keyed by (seed, trial, fence)."""
        rules, key = self._rules, self.order.key
        rate = rules.failure_rate + rules.loss_rate
        if rate <= 0:
            return None
        drawn = uniform(rules.seed, key.trial, key.fence, 0)
        if drawn >= rate:
            return None
        way = self.order.target_resource - self.resource
        at = self.resource + way * uniform(rules.seed, key.trial, key.fence, 1)
        if drawn < rules.failure_rate:
            return at, (Outcome.FAILED, FailureKind.EXCEPTION, "the trial raised (simulated)")
        return at, (Outcome.LOST, None, "the worker died (simulated)")
