"""A Hugging Face `Trainer` callback that reports evaluation metrics to a trial, and stops when asked.

    trainer = Trainer(…, callbacks=[ReportCallback(trial, ["eval_loss"])])

Importing this module imports `transformers`; without it that raises `Unsupported`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from hpo_service.errors import InvalidInput
from hpo_service.integrations.needs import need
from hpo_service.integrations.reporting import Reporter, agreed

_transformers: Any = need("transformers", pip="transformers")
UNITS = ("epoch", "step")


class ReportCallback(_transformers.TrainerCallback):  # type: ignore[misc]  # transformers is imported lazily
    """Reports what `evaluate` found, at the global step.

    `metrics` are the names to report (`eval_loss`, …), all numbers unless given. `unit` says what the trial's resource
    counts: epochs, or optimiser steps.
    """

    def __init__(
        self, trial: Any, metrics: Iterable[str] | None = None, *, unit: Literal["epoch", "step"] = "epoch"
    ) -> None:
        if unit not in UNITS:
            raise InvalidInput(f"unit is one of {', '.join(UNITS)}, but got {unit!r}", remedy="give unit='epoch'")
        self._reporter = Reporter(trial, metrics)
        self._unit = unit

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **more: Any) -> Any:
        """Reports, on the first process alone; what comes of it holds for all, or the others would wait for it."""
        if state.is_world_process_zero and metrics:
            own = {name: value for name, value in metrics.items() if name != "epoch"}
            resource = float(state.epoch if self._unit == "epoch" else state.global_step)
            self._reporter.report(own, step=int(state.global_step), resource=resource)
        if agreed(self._reporter.stopped):
            control.should_training_stop = True
        return control
