"""The recipe `tabular`: classification or regression of table rows by a linear model, an MLP or a residual MLP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from workers.data import Fold, TaskData, load_task
from workers.loops.single import Task
from workers.models import Network, build_model


def build(params: Mapping[str, Any], *, device: str, test: bool = False) -> Task:
    """A task from complete, checked parameters, with the test rows if `test`."""
    return task(params, load_task(params, device=device, as_images=False, test=test), device=device)


def task(params: Mapping[str, Any], data: TaskData, *, device: str) -> Task:
    """A task on data that are there already; regression has one output."""

    def network(fold: Fold, generator: torch.Generator) -> Network:
        shape = tuple(fold.x_train.shape[1:])
        return build_model(params, shape=shape, outputs=data.classes or 1, generator=generator)

    return Task(params=params, data=data, device=device, build=network)
