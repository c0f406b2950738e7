"""What the training libraries' callbacks share: numbers of a library's log to a trial, and whether to stop.

A trial is a function trainable's (it ends training by itself, at a report) or one that was asked for over the SDK. Not
here: when a library validates (`lightning`, `transformers`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hpo_service.errors import Conflict, InvalidInput


class Reporter:
    """Reports chosen metrics to one trial; remembers that it was told to stop."""

    def __init__(self, trial: Any, metrics: Iterable[str] | None = None) -> None:
        """`metrics` are the names to report, all numbers unless given. Raises `InvalidInput` where `trial` is none."""
        if not callable(getattr(trial, "report", None)):
            raise InvalidInput(
                f"the callback reports to a trial, but got {type(trial).__name__}",
                remedy="give the trial of your train(trial), or what study.ask() returned",
            )
        self._trial = trial
        self._metrics = None if metrics is None else tuple(metrics)
        self._step = 0
        self.stopped = False

    def report(self, values: Mapping[str, Any], *, step: int, resource: float | None = None) -> bool:
        """Reports at a step, which is `resource` too unless given; returns whether training should stop.

        A step that was reported before, and values without any number of the chosen metrics, are passed over.
        """
        told = {name: number for name, value in values.items() if (number := number_of(value)) is not None}
        if self._metrics is not None:
            missing = [name for name in self._metrics if name not in told]
            if missing and not told.keys() & set(self._metrics):
                raise InvalidInput(
                    f"validation must log {', '.join(missing)}, but logged {', '.join(sorted(told)) or 'nothing'}",
                    remedy="log the metric, or name another one with metrics=",
                )
            told = {name: told[name] for name in self._metrics if name in told}
        if not told or step <= self._step:
            return self.stopped
        self._step = step
        try:
            self._trial.report(step, resource=resource, **told)
        except Conflict:  # the attempt was given to another, or has ended
            self.stopped = True
        self.stopped = self.stopped or self._wanted_no_more(step if resource is None else resource)
        return self.stopped

    def _wanted_no_more(self, resource: float) -> bool:
        target = getattr(self._trial, "target", None)
        reached = isinstance(target, int | float) and math.isfinite(target) and resource >= target
        return reached or bool(getattr(self._trial, "should_stop", False))


def agreed(stop: bool) -> bool:
    """What the first process of torch.distributed says, in all of them; where there is one process, the same."""
    try:
        import torch.distributed as together  # optional
    except ImportError:
        return stop
    if not (together.is_available() and together.is_initialized()) or together.get_world_size() < 2:
        return stop
    told = [stop]
    together.broadcast_object_list(told, src=0)
    return told[0]


def number_of(value: Any) -> float | None:
    """A number, also one in a tensor or array of one element; None for anything else."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return None
    item = getattr(value, "item", None)
    try:
        return float(item() if callable(item) else value)
    except (TypeError, ValueError, RuntimeError):
        return None
