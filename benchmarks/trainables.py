"""What our workers train in the benchmarks: functions by import path. Imports nothing heavy."""

from __future__ import annotations

import time
from typing import Any


def report_once(trial: Any) -> None:
    """An empty trial: the service's own cost and nothing else."""
    trial.report(1, val_loss=trial.params["x"])


def report_many(trial: Any) -> None:
    """An empty trial that reports as often as it is told, as fast as it can."""
    for step in range(1, int(trial.params["reports"]) + 1):
        trial.report(step, val_loss=trial.params["x"])


def steady(trial: Any) -> None:
    """Reports `rate` times a second for `seconds`, at due times that a slow report does not move."""
    rate, seconds = float(trial.params["rate"]), float(trial.params["seconds"])
    began = time.monotonic()
    for step in range(1, int(rate * seconds) + 1):
        time.sleep(max(0.0, began + step / rate - time.monotonic()))
        trial.report(step, val_loss=trial.params["x"] / step)


def compute(trial: Any) -> None:
    """Keeps one CPU busy for 0.2 s of its time, however busy the machine is, and reports twice on the way."""
    began = time.process_time()
    for step in (1, 2):
        while time.process_time() - began < 0.1 * step:
            sum(range(1000))
        trial.report(step, val_loss=trial.params["x"] / step)
