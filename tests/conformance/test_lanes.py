"""The suite for recipes' lanes, over every recipe, model, optimiser and normalisation of ours, and over own recipes.
The suite itself notices what it is there for."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces import catalog
from workers.conformance import check_lanes
from workers.contract import FUSED, AttemptKey, Launch, Message, Reported, TrainerSpec, WorkOrder
from workers.loops.lanes import LaneLearner
from workers.session_fused import FusedAttempts

EXAMPLES = Path(__file__).parents[2] / "examples"
LANES: list[dict[str, Any]] = [
    {"lr": 0.01, "momentum": 0.5},
    {"lr": 0.003, "weight_decay": 0.01, "dropout": 0.3, "lr_schedule": "step", "beta1": 0.8},
    {"lr": 0.02, "label_smoothing": 0.1, "grad_clip": 0.5, "warmup_epochs": 1.5, "beta2": 0.99},
]
OPTIMIZERS = catalog.RECIPES["tabular"].parameters["optimizer"].values
NORMALIZATIONS = catalog.RECIPES["tabular"].parameters["normalization"].values
OWN = """
import numpy as np
import torch
from torch import nn

def rows(kind):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 3)).astype("float32")
    y = x.sum(1) if kind == "real" else (x.sum(1) > 0).astype(int)
    return x[20:], y[20:], x[:20], y[:20]

class Line:
    parameters = {"scale": 1.0, "epochs": 3}
    lanes = ("scale",)
    loss = "mse"
    target_scale = 2.0

    def model(self, params):
        layer = nn.Linear(3, 1)
        with torch.no_grad():
            layer.weight.mul_(params["scale"])
        return layer

    def data(self, params):
        return rows("real")

def absolute(out, y):
    return (out[:, 0] - y).abs()

class Robust(Line):
    loss = staticmethod(lambda out, y: (1 + (out[:, 0] - y) ** 2).sqrt() - 1)
    scores = {"error": absolute}

class Folded(Line):
    def data(self, params):
        x, y, xv, yv = rows("real")
        return [(x, y, xv, yv), (x[:30], y[:30], x[30:], y[30:])]

class NoLane(Line):
    '''Its parameter is a number of Python's: whoever shares the launch gets the first lane's.'''
    def model(self, params):
        class Scaled(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer, self.scale = nn.Linear(3, 1), params["scale"]
            def forward(self, x):
                return self.scale * self.layer(x)
        return Scaled()

class Random(Line):
    def model(self, params):
        return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))

class Normed(Line):
    loss = "cross_entropy"
    def model(self, params):
        return nn.Sequential(nn.Linear(3, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    def data(self, params):
        return rows("classes")

line = Line()
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Few small images of three classes: quick, and easy to tell apart."""
    rng = np.random.default_rng(3)
    y = np.arange(90) % 3
    x = rng.normal(size=(90, 8, 8)).astype("float32") + y[:, None, None]
    path = tmp_path_factory.mktemp("images") / "few.npz"
    np.savez(path, x=x, y=y)
    return str(path)


@pytest.fixture(scope="module", autouse=True)
def _own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_recipes.py").write_text(OWN)
    sys.path[:0] = [str(folder), str(EXAMPLES)]
    yield
    for path in (str(folder), str(EXAMPLES)):
        sys.path.remove(path)
    for name in ("own_recipes", "spirals"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("model", "optimizer", "normalization"),
    [
        (model, optimizer, normalization)
        for model, optimizer, normalization in itertools.product(
            catalog.RECIPES["image_classifier"].parameters["model"].values, OPTIMIZERS, NORMALIZATIONS
        )
        if model != "softmax" or normalization == "none"
    ],
)
def test_lanes_of_image_classifier(model: str, optimizer: str, normalization: str, images: str) -> None:
    fixed = {
        "data": images,
        "model": model,
        "optimizer": optimizer,
        "normalization": normalization,
        "hidden_units": 8,
        "hidden_layers": 2,
        "width": 2,
    }
    check_lanes("image_classifier", LANES, fixed=fixed)


@pytest.mark.parametrize(
    ("data", "model", "optimizer", "normalization"),
    [
        (data, model, optimizer, normalization)
        for (data, model), (optimizer, normalization) in itertools.product(
            (("iris", "linear"), ("diabetes", "mlp"), ("iris", "resmlp")), itertools.product(OPTIMIZERS, NORMALIZATIONS)
        )
        if model != "linear" or normalization == "none"
    ],
)
def test_lanes_of_tabular(data: str, model: str, optimizer: str, normalization: str) -> None:
    fixed = {"data": data, "model": model, "optimizer": optimizer, "normalization": normalization, "hidden_units": 8}
    lanes = [{k: v for k, v in lane.items() if data == "iris" or k != "label_smoothing"} for lane in LANES]
    check_lanes("tabular", lanes, fixed=fixed)


@pytest.mark.parametrize("augmentation", ["flip", "shift", "flip_shift"])
def test_lanes_are_augmented_each_for_itself(augmentation: str, images: str) -> None:
    check_lanes("image_classifier", LANES, fixed={"data": images, "augmentation": augmentation, "hidden_units": 8})


@pytest.mark.parametrize("activation", catalog.RECIPES["tabular"].parameters["activation"].values)
def test_lanes_of_every_activation(activation: str) -> None:
    check_lanes("tabular", LANES, fixed={"activation": activation, "hidden_units": 8})


def test_lanes_of_folds() -> None:
    check_lanes("tabular", LANES, fixed={"folds": 3, "hidden_units": 8})


def test_lanes_of_batches_that_do_not_divide_the_rows() -> None:
    check_lanes("tabular", LANES, fixed={"batch_size": 97, "hidden_units": 8})


def test_the_example_keeps_the_promises() -> None:
    check_lanes("spirals:Spirals", [{"frequency": 2.0}, {"frequency": 4.0, "lr": 0.02}, {"weight_decay": 0.01}])


@pytest.mark.parametrize("name", ["Line", "line", "Robust", "Folded", "Normed"])
def test_own_recipes_keep_the_promises(name: str) -> None:
    check_lanes(f"own_recipes:{name}", [{"scale": 1.0}, {"scale": 2.0, "lr": 0.02}])


def test_out_of_memory_goes_on_as_a_launch_of_half_the_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real loop, with memory for two lanes: to the bit what two launches of two lanes report."""

    def orders(*trials: int) -> Launch:
        made = tuple(
            WorkOrder(
                key=AttemptKey(study_id="s", trial=trial, fence=1),
                trainer=TrainerSpec(recipe="tabular", params={"hidden_units": 8, "dropout": 0.2}),
                params={"lr": 0.01 * (1 + trial)},
                seed=trial,
                metric="val_loss",
                metrics=("val_loss",),
                from_resource=0.0,
                target_resource=2.0,
                horizon=2.0,
                storage_root=str(tmp_path),
            )
            for trial in trials
        )
        return Launch(launch_id="l", orders=made, method=FUSED, width=len(made))

    def reports(launch: Launch) -> dict[tuple[int, int], float]:
        messages: list[Message] = []
        FusedAttempts(launch, messages.append, lambda key: None).run()
        found = {(m.key.trial, m.step): m.metrics["val_loss"] for m in messages if isinstance(m, Reported)}
        assert len(found) == 2 * len(launch.orders)
        return found

    whole = {**reports(orders(0, 1)), **reports(orders(2, 3))}
    epoch = LaneLearner.epoch

    def checked(self: LaneLearner, numbers: Sequence[int], **more: Any) -> list[dict[str, float]]:
        if len(numbers) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return epoch(self, numbers, **more)

    monkeypatch.setattr(LaneLearner, "epoch", checked)
    assert reports(orders(0, 1, 2, 3)) == whole


# What the suite notices


def test_a_parameter_that_is_no_lane_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"lane 1 .*against training it alone"):
        check_lanes("own_recipes:NoLane", [{"scale": 1.0}, {"scale": 2.0}])


def test_a_module_that_draws_for_itself_is_refused() -> None:
    with pytest.raises(AssertionError, match="must not draw random numbers"):
        check_lanes("own_recipes:Random", [{"scale": 1.0}, {"scale": 2.0}])


@pytest.mark.parametrize(("lanes", "hint"), [([{}], "two trials"), ([{}, {"batch_size": 8}], "batch_size; move these")])
def test_what_cannot_be_checked_is_said(lanes: list[dict[str, Any]], hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        check_lanes("tabular", lanes)
