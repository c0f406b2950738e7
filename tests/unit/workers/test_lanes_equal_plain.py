"""A lane is what the plain loop trains: the same reports and the same state, whatever differs between the lanes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.unit.workers.lanes_support import HORIZON, alone, assert_close, fused, made_up, task, tensors
from workers.loops import lane_networks, products
from workers.loops.lane_networks import steps_of
from workers.loops.lanes import LaneLearner, one_thread
from workers.loops.optimisers import OPTIMIZERS
from workers.loops.schedules import SCHEDULES
from workers.loops.single import Learner

LANES: list[dict[str, Any]] = [
    {"lr": 0.01},
    {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.05, "grad_clip": 0.3},
    {"lr": 0.003, "dropout": 0.3, "label_smoothing": 0.1, "beta1": 0.8, "beta2": 0.99},
    {"lr": 0.005, "dropout": 0.1, "momentum": 0.0, "lr_schedule": "step", "warmup_epochs": 1.5},
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread("cpu"):
        yield


def check(params: dict[str, Any], *, shape: tuple[int, ...] = (13,), rows: int = 50, classes: int = 3) -> None:
    """All lanes of `LANES` against the plain loop."""
    data = made_up(shape, rows=rows, classes=classes)
    tasks = [task(data, {"batch_size": 16, **params, **lane}) for lane in LANES]
    together = fused(tasks, range(5, 5 + len(tasks)))
    for seed, (one, ran) in enumerate(zip(tasks, together, strict=True), 5):
        assert_close(ran, alone(one, seed), rows=len(data.folds[0].x_val))


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", ["linear", "mlp", "resmlp"])
def test_dense_networks(model: str, optimizer: str, norm: str) -> None:
    params = {"model": model, "optimizer": optimizer, "normalization": norm, "hidden_layers": 2}
    check(params, rows=53)  # among 50 is a gradient of mere rounding, by which adagrad steps in full


def test_dense_networks_by_torch_and_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    for numpys in (False, True):
        for module in (products, lane_networks):
            monkeypatch.setattr(module, "by_numpy", lambda answer=numpys: answer)
        for model in ("linear", "mlp", "resmlp"):
            check({"model": model, "optimizer": "momentum", "hidden_layers": 2}, shape=(65,), rows=150)


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("model", ["cnn", "resnet"])
def test_convolutional_networks(model: str, norm: str) -> None:
    params = {"model": model, "width": 2, "normalization": norm, "optimizer": "momentum", "augmentation": "flip_shift"}
    check(params, shape=(1, 6, 6), rows=36)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimisers_of_mapped_networks(optimizer: str) -> None:
    check({"model": "cnn", "width": 2, "optimizer": optimizer}, shape=(2, 5, 5), rows=35)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh"])
@pytest.mark.parametrize("model", ["mlp", "resmlp"])
def test_activations(model: str, activation: str) -> None:
    check({"model": model, "activation": activation, "optimizer": "momentum", "hidden_layers": 2})


@pytest.mark.parametrize("model", ["linear", "mlp", "resmlp"])
def test_regression(model: str) -> None:
    check({"model": model, "optimizer": "nesterov"}, classes=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules(schedule: str) -> None:
    check({"model": "mlp", "lr_schedule": schedule, "warmup_epochs": 0.7})


@pytest.mark.parametrize("augmentation", ["flip", "shift"])
def test_augmentation_of_dense_networks(augmentation: str) -> None:
    data = made_up((1, 6, 6), rows=40)
    params = {"model": "mlp", "optimizer": "momentum", "batch_size": 8, "augmentation": augmentation}
    tasks = [task(data, {**params, **lane}) for lane in LANES]
    for seed, ran in enumerate(fused(tasks, range(len(tasks)))):
        assert_close(ran, alone(tasks[seed], seed), rows=13)


@pytest.mark.parametrize("rows", [5, 16, 17, 31, 33, 48])
def test_every_size_of_the_last_batch(rows: int) -> None:
    check({"model": "mlp", "optimizer": "sgd", "normalization": "batch"}, rows=rows)


def test_one_class_many_classes_and_one_feature() -> None:
    check({"model": "mlp", "optimizer": "momentum"}, shape=(1,), classes=2)
    check({"model": "mlp", "optimizer": "momentum"}, shape=(40,), classes=33)
    check({"model": "mlp", "optimizer": "momentum", "hidden_units": 1}, shape=(3,))


def test_preflight_trains_a_batch_and_validates() -> None:
    data = made_up((7,))
    tasks = [task(data, {"batch_size": 16, "dropout": rate}) for rate in (0.0, 0.2)]
    learner = LaneLearner(tasks, fold=0, seeds=[3, 4], horizons=[HORIZON] * 2)
    both = learner.epoch([1, 1], most_batches=1)
    for lane, seed in enumerate((3, 4)):
        plain = Learner(tasks[lane], fold=0, seed=seed, horizon=HORIZON).epoch(1, most_batches=1)
        assert both[lane] == pytest.approx(plain, rel=1e-4)
        assert both[lane]["lr"] == plain["lr"]


def test_lanes_at_different_epochs_and_with_different_horizons() -> None:
    data = made_up((7,))
    tasks = [task(data, {"batch_size": 16, "lr_schedule": "cosine", "dropout": 0.2}) for _ in range(3)]
    horizons, starts = [3.0, 9.0, 5.0], [1, 4, 2]
    learner = LaneLearner(tasks, fold=0, seeds=[1, 2, 3], horizons=horizons)
    found = [learner.epoch([start + i for start in starts]) for i in range(2)]
    for lane, (start, horizon) in enumerate(zip(starts, horizons, strict=True)):
        plain = Learner(tasks[lane], fold=0, seed=lane + 1, horizon=horizon)
        for i in range(2):
            expected = plain.epoch(start + i)
            assert found[i][lane] == pytest.approx(expected, rel=1e-4)
            assert found[i][lane]["lr"] == expected["lr"]


CHECKPOINTED = [
    {"model": "mlp", "optimizer": "momentum", "normalization": "batch"},
    {"model": "mlp", "optimizer": "sgd"},
    {"model": "resmlp", "optimizer": "adam", "normalization": "layer"},
    {"model": "linear", "optimizer": "rmsprop"},
    {"model": "cnn", "optimizer": "adagrad", "normalization": "batch", "width": 2},
]


@pytest.mark.parametrize("params", CHECKPOINTED, ids=lambda p: "-".join(map(str, p.values())))
def test_checkpoints_go_on_in_either_loop(params: dict[str, Any]) -> None:
    data = made_up((1, 5, 5) if params["model"] == "cnn" else (7,), rows=36)
    tasks = [task(data, {"batch_size": 16, **params, **lane}) for lane in LANES]
    whole = [alone(one, seed, epochs=3) for seed, one in enumerate(tasks)]
    lanes = LaneLearner(tasks, fold=0, seeds=range(len(tasks)), horizons=[HORIZON] * len(tasks))
    for lane, one in enumerate(tasks):
        plain = Learner(one, fold=0, seed=lane, horizon=HORIZON)
        plain.epoch(1)
        lanes.load_state_dict(lane, plain.state_dict())
        for name, tensor in tensors(lanes.state_dict(lane)).items():
            assert torch.equal(tensor, tensors(plain.state_dict())[name])
    second = lanes.epoch([2] * len(tasks))
    for lane, one in enumerate(tasks):
        back = Learner(one, fold=0, seed=lane, horizon=HORIZON)
        back.load_state_dict(lanes.state_dict(lane))
        third = back.epoch(3)
        ran = ([whole[lane][0][0], second[lane], third], back.state_dict())
        assert_close(ran, whole[lane], rows=12)


def test_a_lane_loads_what_it_stored_bit_for_bit() -> None:
    data = made_up((7,))
    tasks = [task(data, {"optimizer": "adam", "normalization": "batch", "dropout": 0.2, **lane}) for lane in LANES]
    whole = fused(tasks, range(4), epochs=3)
    first = LaneLearner(tasks, fold=0, seeds=range(4), horizons=[HORIZON] * 4)
    first.epoch([1] * 4)
    order = [2, 0, 3, 1]
    second = LaneLearner([tasks[i] for i in order], fold=0, seeds=order, horizons=[HORIZON] * 4)
    for place, lane in enumerate(order):
        second.load_state_dict(place, first.state_dict(lane))
    rest = [second.epoch([number] * 4) for number in (2, 3)]
    for place, lane in enumerate(order):
        assert [each[place] for each in rest] == whole[lane][0][1:]


def test_our_dense_networks_train_by_hand_and_the_others_do_not() -> None:
    data, images = made_up((1, 4, 4)), made_up((1, 4, 4))
    for model, by_hand in (("linear", True), ("mlp", True), ("resmlp", True), ("cnn", False), ("resnet", False)):
        one = task(images if model in ("cnn", "resnet") else data, {"model": model, "width": 2})
        network = one.build(data.folds[0], torch.Generator())
        assert (steps_of(network) is not None) is by_hand
