"""Learning-rate schedules as pure functions of how far training is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SCHEDULES = ("constant", "step", "cosine", "exponential")
STEP_FACTOR = 0.1  # at each third of the horizon
EXPONENTIAL_END = 0.01  # what is left of the learning rate at the horizon


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """lr(t) for t in epochs, as a real number; `horizon` is where the schedule ends and it stays there afterwards.

    During the first `warmup` epochs the rate grows linearly, and the named shape runs over the rest.
    """

    kind: str
    lr: float
    horizon: float
    warmup: float = 0.0

    def at(self, epoch: float) -> float:
        """The learning rate when `epoch` epochs are done; the first batch of all is at 0."""
        if epoch < self.warmup:
            return self.lr * max(epoch, 0.01 * self.warmup) / self.warmup
        span = self.horizon - self.warmup
        done = min(1.0, (epoch - self.warmup) / span) if span > 0 else 1.0
        return self.lr * _factor(self.kind, done)

    def over(self, epochs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """`at` of many epochs at once (equal but for the last digit)."""
        if self.kind == "constant" and not self.warmup:
            return np.full_like(epochs, self.lr)
        warming = self.lr * np.clip(epochs, 0.01 * self.warmup, self.warmup) / (self.warmup or 1.0)
        span = self.horizon - self.warmup
        done = np.clip(epochs - self.warmup, 0.0, span) / span if span > 0 else np.ones_like(epochs)
        found: npt.NDArray[np.float64] = np.where(epochs < self.warmup, warming, self.lr * _factors(self.kind, done))
        return found


def _factor(kind: str, done: float) -> float:
    if kind == "step":
        return math.pow(STEP_FACTOR, min(2, math.floor(3.0 * done + 1e-9)))
    if kind == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    if kind == "exponential":
        return math.pow(EXPONENTIAL_END, done)
    return 1.0


def _factors(kind: str, done: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if kind == "step":
        return np.power(STEP_FACTOR, np.minimum(2, np.floor(3.0 * done + 1e-9)))
    if kind == "cosine":
        return 0.5 * (1.0 + np.cos(math.pi * done))
    if kind == "exponential":
        return np.power(EXPONENTIAL_END, done)
    return np.ones_like(done)
