"""A Lightning callback that reports validation metrics to a trial, and stops when asked.

    trainer = Trainer(max_epochs=27, callbacks=[ReportCallback(trial, ["val_loss"])])

Importing this module imports Lightning (`lightning`, else `pytorch_lightning`); without it that raises `Unsupported`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpo_service.errors import Unsupported
from hpo_service.integrations.needs import need
from hpo_service.integrations.reporting import Reporter

try:
    _callbacks: Any = need("lightning.pytorch.callbacks", pip="lightning")
except Unsupported as missing:
    try:
        _callbacks = need("pytorch_lightning.callbacks", pip="lightning")
    except Unsupported:
        raise missing from None


class ReportCallback(_callbacks.Callback):  # type: ignore[misc]  # Lightning is imported lazily
    """Reports `trainer.callback_metrics` after each validation, at the number of epochs trained.

    `metrics` are the names to report, all unless given. Where several processes train, the first reports, and all stop.
    """

    def __init__(self, trial: Any, metrics: Iterable[str] | None = None) -> None:
        super().__init__()
        self._reporter = Reporter(trial, metrics)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Reports, unless Lightning only checks that validation works."""
        if trainer.sanity_checking:
            return
        stop = self._reporter.stopped
        if trainer.is_global_zero:
            stop = self._reporter.report(dict(trainer.callback_metrics), step=trainer.current_epoch + 1)
        if trainer.world_size > 1:
            stop = trainer.strategy.broadcast(stop, src=0)
        if stop:
            trainer.should_stop = True
