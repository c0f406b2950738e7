"""Functions that several processes train together; imported by the ranks of `test_worker_distributed`."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def total(value: float) -> float:
    """The sum of every rank's value."""
    tensor = torch.tensor([value], dtype=torch.float64)
    dist.all_reduce(tensor)
    return float(tensor)


def train(trial: Any) -> None:
    """Report on every rank, save on every rank: what is reported is a sum over the ranks."""
    state = trial.load_checkpoint() or {"epoch": 0, "sum": 0.0}
    print(f"from {state['epoch']}")
    for epoch in range(state["epoch"] + 1, 100):
        state = {"epoch": epoch, "sum": state["sum"] + total(trial.rank + 1.0)}
        trial.report(epoch, val_loss=state["sum"] if trial.rank == 0 else -1.0)
        if trial.should_save:
            trial.save_checkpoint(state)


def first_alone(trial: Any) -> None:
    """As most scripts do: only rank 0 reports."""
    for epoch in range(1, 100):
        value = total(1.0)
        if trial.rank == 0:
            trial.report(epoch, val_loss=value)


def begins_itself(trial: Any) -> None:
    """A script written for torchrun."""
    dist.init_process_group("gloo")
    assert (dist.get_rank(), dist.get_world_size()) == (int(os.environ["RANK"]), trial.world_size)
    trial.report(1, val_loss=total(float(os.environ["LOCAL_RANK"])))
    dist.destroy_process_group()


def says_what_it_is(trial: Any) -> None:
    """What each rank is given."""
    print(f"I am {trial.rank} of {trial.world_size} on {trial.device}, threads {torch.get_num_threads()}")
    ctypes.CDLL(None).puts(b"from C")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    sys.stderr.write("no line end")
    trial.report(1, val_loss=1.0)


def one_raises(trial: Any) -> None:
    """The last rank fails; the others wait for it in a collective."""
    if trial.rank == trial.world_size - 1:
        raise ValueError("only I am wrong")
    total(1.0)
    trial.report(1, val_loss=1.0)


def one_dies(trial: Any) -> None:
    """The last rank is killed; the others wait for it in a collective."""
    trial.report(1, val_loss=1.0)
    if trial.rank == trial.world_size - 1:
        os.kill(os.getpid(), getattr(signal, trial.params["signal"]))
    total(1.0)


def steps_apart(trial: Any) -> None:
    """The ranks count differently."""
    trial.report(1 + trial.rank, val_loss=1.0)


def stays(trial: Any) -> None:
    """Rank 0 does not come back from its last report."""
    try:
        trial.report(1, val_loss=1.0)
        trial.report(2, val_loss=1.0)
    finally:
        if trial.rank == 0:
            time.sleep(3600)


def waits(trial: Any) -> None:
    """Every rank tells its number and waits for ever, with a child of its own."""
    child = subprocess.Popen(["sleep", "3600"])
    folder = Path(trial.params["folder"])
    (folder / f"{trial.rank}.tmp").write_text(f"{os.getpid()} {child.pid}")
    (folder / f"{trial.rank}.tmp").rename(folder / f"{trial.rank}.pids")
    time.sleep(3600)
