"""What every loop keeps of a trial between epochs, and how its folds become one report.

The plain and the fused loop share this: a checkpoint of one goes on in the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.trial import Trial

EVALUATED_ROWS = 4096
PREFLIGHT_BATCHES = 1


@dataclass(kw_only=True)
class Progress:
    """Epochs done, the last one there is (None: no end), and what early stopping remembers (a patience of 0 never
    stops)."""

    patience: int
    last: int | None = None
    epoch: int = 0
    best: float = math.inf
    best_epoch: int = 0

    @property
    def stopped(self) -> bool:
        """True once `patience` epochs have passed without a better validation loss."""
        return self.patience > 0 and self.epoch - self.best_epoch >= self.patience

    @property
    def over(self) -> bool:
        """True when there is no epoch left to train."""
        return self.stopped or (self.last is not None and self.epoch >= self.last)

    def ends_at(self, target: float) -> bool:
        """True when the epoch just trained is the attempt's last one: there is no other, or it reaches `target`."""
        return self.over or self.epoch >= target

    def ahead(self, target: float) -> int:
        """How many epochs are planned after the next one; 0 where no end is known. Early stopping may come before."""
        end = min(target, math.inf if self.last is None else self.last)
        return 0 if math.isinf(end) else max(0, math.ceil(end) - self.epoch - 1)

    def note(self, val_loss: float) -> None:
        """Take in the validation loss of epoch `epoch`."""
        if val_loss < self.best:
            self.best, self.best_epoch = val_loss, self.epoch

    def stored(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"epoch": self.epoch, "best": self.best, "best_epoch": self.best_epoch}

    def load(self, stored: Mapping[str, Any]) -> None:
        """Inverse of `stored`."""
        self.epoch, self.best, self.best_epoch = stored["epoch"], stored["best"], stored["best_epoch"]


def last_epoch(params: Mapping[str, Any], trial: Trial) -> int | None:
    """The epoch that a trial ends at by itself: `epochs`, or its default where nothing else says how far to train."""
    last: int | None = params["epochs"]
    if last is None and math.isinf(trial.resource_target):
        last = params["default_epochs"]
    return last


def spread(each: Sequence[dict[str, float]]) -> dict[str, float]:
    """The metrics of one fold as they are; of several, their means, and their sample standard deviations as `_std`."""
    if len(each) == 1:
        return each[0]
    found = {}
    for name in each[0]:
        values = [one[name] for one in each]
        mean = sum(values) / len(values)
        found[name] = mean
        if name != "lr":
            found[f"{name}_std"] = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return found


def metric_names(*, regression: bool, own_loss: bool, scores: Iterable[str]) -> tuple[str, ...]:
    """What an epoch measures, in the order in which the loops compute it; the learning rate comes on top. A loss of
    the user's own says nothing of what else could be measured: that is what `scores` are for."""
    quality = () if own_loss else ("rmse", "r2") if regression else ("accuracy",)
    return tuple(f"{part}_{name}" for part in ("train", "val") for name in ("loss", *quality, *scores))
