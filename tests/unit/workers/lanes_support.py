"""Small made-up tasks for the tests of lanes, and how their results are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from search_spaces import catalog
from workers.data import Fold, TaskData
from workers.loops.lanes import LaneLearner
from workers.loops.single import Learner, Task
from workers.models import Network, build_model

Ran = tuple[list[dict[str, float]], dict[str, Any]]  # an epoch's metrics each, and the last state
HORIZON = 4.0


def made_up(shape: tuple[int, ...], *, rows: int = 50, classes: int = 3) -> TaskData:
    """Random rows with something to learn; `classes` 0 for regression."""
    generator = torch.Generator().manual_seed(rows)

    def part(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(count, *shape, generator=generator)
        score = x.flatten(1)[:, : max(classes, 1)]
        return x, score.argmax(1) if classes > 1 else score.sum(1)

    (x, y), (x_val, y_val) = part(rows), part(max(5, rows // 3))
    if classes:
        y, y_val = y % classes, y_val % classes
    fold = Fold(x_train=x, y_train=y, x_val=x_val, y_val=y_val)
    return TaskData(folds=(fold,), classes=classes, target_scale=(1.5,), identity={})


def task(data: TaskData, params: Mapping[str, Any]) -> Task:
    """With the defaults of a recipe beneath `params`."""
    conv = params.get("model") in ("cnn", "resnet")
    full = {**catalog.complete("image_classifier" if conv else "tabular", {}), "hidden_units": 8, **params}
    full["default_epochs"] = full["epochs"]

    def build(fold: Fold, generator: torch.Generator) -> Network:
        shape = tuple(fold.x_train.shape[1:])
        return build_model(full, shape=shape, outputs=data.classes or 1, generator=generator)

    return Task(params=full, data=data, device="cpu", build=build)


def fused(tasks: Sequence[Task], seeds: Sequence[int], *, epochs: int = 2) -> list[Ran]:
    """Train them as lanes."""
    learner = LaneLearner(tasks, fold=0, seeds=seeds, horizons=[HORIZON] * len(tasks))
    metrics = [learner.epoch([number] * len(tasks)) for number in range(1, epochs + 1)]
    return [([each[lane] for each in metrics], learner.state_dict(lane)) for lane in range(len(tasks))]


def alone(one: Task, seed: int, *, epochs: int = 2) -> Ran:
    """Train it in the plain loop."""
    learner = Learner(one, fold=0, seed=seed, horizon=HORIZON)
    return [learner.epoch(number) for number in range(1, epochs + 1)], learner.state_dict()


def tensors(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """All tensors of a learner's state by name."""
    return {**state["model"], **{f"optimiser {name}": value for name, value in state["optimiser"]["state"].items()}}


def assert_equal_bits(one: Ran, other: Ran) -> None:
    """Metrics and state, NaN being equal to NaN."""
    for mine, theirs in zip(one[0], other[0], strict=True):
        assert list(mine) == list(theirs)
        for name, value in mine.items():
            assert value == theirs[name] or (math.isnan(value) and math.isnan(theirs[name])), name
    assert one[1]["optimiser"]["steps"] == other[1]["optimiser"]["steps"]
    mine_, theirs_ = tensors(one[1]), tensors(other[1])
    assert list(mine_) == list(theirs_)
    for name, tensor in mine_.items():
        assert torch.equal(tensor.float().nan_to_num(nan=-7.0), theirs_[name].float().nan_to_num(nan=-7.0)), name


def assert_close(one: Ran, other: Ran, *, rows: int, relative: float = 1e-4) -> None:
    """Reports within 1e-4 relative, an accuracy by at most one row of `rows`; state within 1 % of its largest."""
    for mine, theirs in zip(one[0], other[0], strict=True):
        assert list(mine) == list(theirs)
        for name in mine:
            at_most = 1.01 / rows if name.endswith("accuracy") else relative * max(abs(theirs[name]), 1e-2)
            assert abs(mine[name] - theirs[name]) <= at_most, (name, mine[name], theirs[name])
    assert one[1]["optimiser"]["steps"] == other[1]["optimiser"]["steps"]
    mine_, theirs_ = tensors(one[1]), tensors(other[1])
    assert list(mine_) == list(theirs_)
    for name, tensor in mine_.items():
        assert tensor.shape == theirs_[name].shape
        assert tensor.dtype == theirs_[name].dtype
        scale = theirs_[name].float().abs().max().clamp_min(1e-3)
        assert (tensor - theirs_[name]).float().abs().max() <= 100 * relative * scale, name
