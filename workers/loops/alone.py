"""How a trial is trained by itself: by autograd, or, where that is faster, as the only lane of a program.

Lanes by hand need no graph: with one computing thread, as workers on a CPU mostly have, a small network steps 1.2 to
1.5 times as fast so. Several threads share out the products of one network better than they would a lane's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from workers.loops import single
from workers.loops.lane_networks import steps_of
from workers.loops.lanes import LaneLearner
from workers.loops.single import Learner, Task
from workers.loops.testing import Outputs
from workers.trial import Trial


def train(task: Task, trial: Trial) -> None:
    """Train `trial` epoch by epoch until it ends, from its checkpoint if it has one."""
    single.train(task, trial, learner=learner_of)


def learner_of(task: Task, *, fold: int, seed: int, horizon: float) -> Learner | LaneAlone:
    """Of one fold; which it is hangs on the task, the device and the number of computing threads."""
    if task.device == "cpu" and torch.get_num_threads() == 1:
        network = task.build(task.data.folds[fold], torch.Generator())
        if steps_of(network) is not None:
            return LaneAlone(task, fold=fold, seed=seed, horizon=horizon)
    return Learner(task, fold=fold, seed=seed, horizon=horizon)


class LaneAlone:
    """A program of one lane, with the verbs of `single.Learner`."""

    def __init__(self, task: Task, *, fold: int, seed: int, horizon: float) -> None:
        self._lanes = LaneLearner([task], fold=fold, seeds=[seed], horizons=[horizon])

    def epoch(self, number: int, *, most_batches: int | None = None) -> dict[str, float]:
        """As `Learner.epoch`."""
        return self._lanes.epoch([number], most_batches=most_batches)[0]

    def test(self, *, most_rows: int | None = None) -> dict[str, float]:
        """As `Learner.test`."""
        return self._lanes.test(most_rows=most_rows)[0]

    def outputs(self) -> Outputs:
        """As `Learner.outputs`."""
        return self._lanes.outputs([0])[0]

    def state_dict(self) -> dict[str, Any]:
        """As `Learner.state_dict`."""
        return self._lanes.state_dict(0)

    def load_state_dict(self, stored: Mapping[str, Any]) -> None:
        """As `Learner.load_state_dict`."""
        self._lanes.load_state_dict(0, stored)
