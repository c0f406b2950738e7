"""A user's own training code, as it would lie in a folder on PYTHONPATH: imports nothing of the service."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
from typing import Any

import torch


def train(trial: Any) -> None:
    """A smooth curve with its optimum at lr=0.01, a checkpoint whenever asked for; `pace` seconds per epoch."""
    print(f"trial {trial.number} trains with lr={trial.params['lr']:g}")
    state = trial.load_checkpoint()
    first = 1 if state is None else state["epoch"] + 1
    if state is not None:
        print(f"goes on after epoch {state['epoch']}")
    miss = (math.log10(trial.params["lr"]) + 2) ** 2
    for epoch in range(first, 1000):
        time.sleep(0.0 if trial.preflight else trial.params.get("pace", 0.0))
        trial.report(epoch, val_accuracy=1 / (1 + miss) - 0.1 / epoch, loss=miss + 1 / epoch)
        if trial.should_save:
            trial.save_checkpoint({"epoch": epoch, "weights": torch.full((3,), float(epoch))})
        if epoch >= trial.params.get("epochs", math.inf):
            return


def ill(trial: Any) -> None:
    """Falls ill in the way that the parameter `how` names, after one good report."""
    how = trial.params["how"]
    print(f"trial {trial.number} falls ill: {how}", flush=True)
    if how == "missing metric":
        trial.report(1, other=1.0)
    trial.report(1, loss=1.0)
    if how == "raise":
        explode(trial.params)
    elif how == "nan":
        trial.report(2, loss=math.nan)
    elif how == "hang":
        time.sleep(600)
    elif how == "exit":
        sys.stdout.flush()
        os._exit(3)
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "memory":
        raise MemoryError("no room for 10 TB")
    trial.report(2, loss=0.5)


def explode(params: Any) -> None:
    """Where the traceback must end."""
    raise RuntimeError(f"no way with {params['how']}")


def never_reports_the_objective(trial: Any) -> None:
    """A function whose metric is called something else."""
    trial.report(1, validation_loss=1.0)
