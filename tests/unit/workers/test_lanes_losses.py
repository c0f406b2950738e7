"""Losses and scores of one's own, networks of anybody's as lanes, and the learning rates of many epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.unit.workers.lanes_support import HORIZON, alone, assert_close, assert_equal_bits, fused, made_up, task
from workers.errors import InvalidOrderError
from workers.loops.lane_losses import CrossEntropy
from workers.loops.lane_networks import steps_of
from workers.loops.lanes import LaneLearner, one_thread
from workers.loops.schedules import SCHEDULES, Schedule
from workers.loops.single import Learner, Task
from workers.models import Network
from workers.models.steps import Activated, Affine, LayerNormed, Residual, Step


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread("cpu"):
        yield


def softly(out: Tensor, y: Tensor) -> Tensor:
    """Grows like the error's size; its last few numbers on a CPU are computed otherwise than the others."""
    return nn.functional.softplus(out.squeeze(-1) - y) + nn.functional.softplus(y - out.squeeze(-1))


def size(out: Tensor, y: Tensor) -> Tensor:
    return (out.squeeze(-1) - y).abs()


def own_tasks(count: int, *, rows: int = 40, **params: Any) -> list[Task]:
    data = made_up((7,), rows=rows, classes=0)
    lanes = [{"model": "mlp", "batch_size": 9, "lr": 0.01 * (i + 1), **params} for i in range(count)]
    return [replace(task(data, lane), loss=softly, scores={"size": size}) for lane in lanes]


def test_a_loss_and_scores_of_ones_own_are_trained_and_reported_alike() -> None:
    tasks = own_tasks(3)
    for seed, ran in enumerate(fused(tasks, range(3))):
        expected = alone(tasks[seed], seed)
        assert list(expected[0][0]) == ["train_loss", "train_size", "val_loss", "val_size", "lr"]
        assert_close(ran, expected, rows=13)


def test_a_loss_of_ones_own_treats_all_lanes_alike() -> None:
    tasks = own_tasks(5)
    order = [3, 1, 4, 0, 2]
    first, second = fused(tasks, range(5)), fused([tasks[i] for i in order], order)
    for place, lane in enumerate(order):
        assert_equal_bits(first[lane], second[place])


def test_scores_stand_beside_the_metrics_of_the_data() -> None:
    data = made_up((7,))
    surest = {"surest": lambda out, y: out.softmax(-1).amax(-1)}
    tasks = [replace(task(data, {"lr": lr, "batch_size": 16}), scores=surest) for lr in (0.01, 0.02)]
    for seed, ran in enumerate(fused(tasks, range(2))):
        assert {"val_accuracy", "val_surest", "train_surest"} <= set(ran[0][0])
        assert_close(ran, alone(tasks[seed], seed), rows=16)


@pytest.mark.parametrize("loop", ["plain", "lanes"])
def test_a_loss_must_give_one_value_per_row(loop: str) -> None:
    (one,) = own_tasks(1)
    one = replace(one, loss=lambda out, y: softly(out, y).mean())
    learner: Any = Learner(one, fold=0, seed=0, horizon=HORIZON)
    if loop == "lanes":
        learner = LaneLearner([one], fold=0, seeds=[0], horizons=[HORIZON])
    with pytest.raises(InvalidOrderError, match=r"one value per row, shape \(9,\), but got shape \(\)"):
        learner.epoch(1 if loop == "plain" else [1])


class Told(Network):
    """A small network that may tell its steps."""

    def __init__(self, told: tuple[Step, ...] | None, *, bias: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(7, 8, bias=bias), nn.Linear(8, 8, bias=bias)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3, bias=bias)
        self._told = told

    def forward(self, x: Tensor, masks: tuple[Tensor, ...] = ()) -> Tensor:
        x = self.first(x)
        x = x + self.second(self.norm(x))
        out: Tensor = self.head(torch.tanh(x))
        return out

    def steps(self) -> tuple[Step, ...] | None:
        return self._told


STEPS: tuple[Step, ...] = (
    Affine(name="first"),
    Residual(inner=(LayerNormed(name="norm"), Affine(name="second"))),
    Activated(kind="tanh"),
    Affine(name="head"),
)


def told(steps: tuple[Step, ...] | None, *, bias: bool, frozen: bool = False) -> list[Task]:
    data = made_up((7,))

    def build(fold: Any, generator: torch.Generator) -> Network:
        network = Told(steps, bias=bias)
        for parameter in network.parameters():
            parameter.data.normal_(0.0, 0.4, generator=generator)
        network.second.requires_grad_(not frozen)
        return network

    return [replace(task(data, {"lr": lr, "batch_size": 16, "optimizer": "adam"}), build=build) for lr in (0.01, 0.02)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("steps", [STEPS, None], ids=["told", "untold"])
def test_networks_of_ones_own_train_alike_whether_they_tell_their_steps(steps: Any, bias: bool) -> None:
    tasks = told(steps, bias=bias)
    assert (steps_of(tasks[0].build(tasks[0].data.folds[0], torch.Generator())) is None) is (steps is None)
    for seed, ran in enumerate(fused(tasks, range(2))):
        assert_close(ran, alone(tasks[seed], seed), rows=16)


def test_frozen_parameters_stay_as_they_are() -> None:
    tasks = told(STEPS, bias=True, frozen=True)
    network = tasks[0].build(tasks[0].data.folds[0], torch.Generator())
    assert steps_of(network) is None
    for seed, (_, state) in enumerate(fused(tasks, range(2))):
        assert torch.equal(state["model"]["second.weight"], alone(tasks[seed], seed)[1]["model"]["second.weight"])


@pytest.mark.parametrize(
    "steps",
    [
        (Activated(kind="tanh"), *STEPS),
        (Affine(name="first"), Activated(kind="tanh"), Activated(kind="relu"), Affine(name="head")),
        (Affine(name="first"), Residual(inner=(Activated(kind="relu"), Affine(name="second"))), Affine(name="head")),
        (Affine(name="first"), Residual(inner=()), Affine(name="head")),
        (Affine(name="norm"), Affine(name="head")),
        (Affine(name="first"), Activated(kind="mish"), Affine(name="head")),
    ],
)
def test_steps_that_cannot_be_done_by_hand_are_left_to_the_network(steps: tuple[Step, ...]) -> None:
    assert steps_of(Told(steps, bias=True)) is None


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(SCHEDULES),
    lr=st.floats(1e-6, 10),
    horizon=st.floats(0.5, 100),
    warmup=st.floats(0, 20),
    epochs=st.lists(st.floats(0, 120), min_size=1, max_size=20),
)
def test_rates_of_many_epochs_are_those_of_each(
    kind: str, lr: float, horizon: float, warmup: float, epochs: list[float]
) -> None:
    schedule = Schedule(kind=kind, lr=lr, horizon=horizon, warmup=warmup)
    found = schedule.over(np.array(epochs))
    assert found == pytest.approx([schedule.at(epoch) for epoch in epochs], rel=1e-12, abs=1e-15)


def test_of_several_greatest_outputs_the_first_is_the_class() -> None:
    loss = CrossEntropy([0.0, 0.0], classes=4, device="cpu")
    inf = math.inf
    rows = [[1.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0], [inf, 1.0, inf, 0.0], [3.0, 1.0, 0.0, 2.0]]
    out = torch.tensor([rows, rows[::-1]]).movedim(1, -1).contiguous()
    for label in range(4):
        y = torch.full((1, 4), label)
        right = loss.totals(out, y, smoothed=False)[1].tolist()
        assert right == [float(sum(row.index(max(row)) == label for row in rows))] * 2
