"""Users' own recipes: how they are found, what is refused, and what they share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from workers import functions, isolation, recipes
from workers.contract import (
    AttemptKey,
    Ended,
    FailureKind,
    Message,
    Outcome,
    Reported,
    Started,
    TrainerSpec,
    WorkOrder,
)
from workers.errors import InvalidOrderError
from workers.loops import single
from workers.recipes import own
from workers.session import run_order

HEAD = """
import numpy as np
import torch
from torch import nn

class Base:
    parameters = {"width": 4, "scale": 1.0}
    lanes = ("scale",)
    asked = []
    def model(self, params):
        return nn.Linear(3, 2)
    def data(self, params):
        self.asked.append(dict(params))
        rng = np.random.default_rng(1)
        return rng.normal(size=(40, 3)), np.arange(40) % 2, rng.normal(size=(10, 3)), np.arange(10) % 2
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(functions._imported, "mine_recipes", raising=False)  # another test's file of that name

    def write(text: str) -> None:
        (tmp_path / "mine_recipes.py").write_text(HEAD + text)

    yield write
    sys.modules.pop("mine_recipes", None)


Write = Callable[[str], None]


def train(name: str, root: Path, **params: Any) -> tuple[list[Message], Ended]:
    order = WorkOrder(
        key=AttemptKey(study_id="s", trial=0, fence=1),
        trainer=TrainerSpec(recipe=f"mine_recipes:{name}"),
        params=params,
        seed=1,
        metric="val_loss",
        metrics=("val_loss",),
        from_resource=0.0,
        target_resource=2.0,
        horizon=2.0,
        storage_root=str(root),
    )
    messages: list[Message] = []
    return messages, run_order(order, messages.append, lambda: None)


def test_data_that_are_split_by_global_generators_are_the_same_on_every_worker(write: Write, tmp_path: Path) -> None:
    write(
        "import random\n"
        "class Drawn(Base):\n"
        "    def data(self, params):\n"
        "        x, y = np.random.normal(size=(50, 3)), np.arange(50) % 2\n"
        "        rows = torch.randperm(50)\n"
        "        x[0] = random.random()\n"
        "        return x[rows[:40]], y[rows[:40]], x[rows[40:]], y[rows[40:]]\n"
    )
    found = []
    for other in (1, 2):
        isolation.seed_globals(other)  # another process
        own._data.clear()
        messages, _ = train("Drawn", tmp_path)
        found.append(next(m for m in messages if isinstance(m, Started)).environment["data"]["sha256"])
    assert found[0] == found[1]


def test_a_class_trains_with_its_own_parameters_and_those_of_training(write: Write, tmp_path: Path) -> None:
    write("")
    messages, ended = train("Base", tmp_path, scale=2.0, lr=0.1, optimizer="sgd")
    assert ended.outcome is Outcome.REACHED, ended
    reports = [m for m in messages if isinstance(m, Reported)]
    assert set(reports[-1].metrics) == {"train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds"}
    started = next(m for m in messages if isinstance(m, Started)).environment
    assert started["code"]["entry_point"] == "mine_recipes:Base"
    assert {len(started["code"][name]) for name in ("sha256", "loops_sha256")} == {64}
    assert (started["data"]["train_rows"], started["data"]["val_rows"]) == (40, 10)


def test_lanes_are_its_own_and_those_of_training(write: Write) -> None:
    write("")
    lanes = recipes.lane_names("mine_recipes:Base")
    assert {"scale", "lr", "dropout", "momentum"} <= set(lanes)
    assert not {"width", "batch_size", "epochs"} & set(lanes)


def test_data_are_asked_for_once_per_structure_and_held_once(write: Write) -> None:
    write("")
    built = [
        recipes.build("mine_recipes:Base", params, device="cpu")
        for params in ({"scale": 1.0}, {"scale": 2.0, "lr": 0.5}, {"width": 8})
    ]
    asked = sys.modules["mine_recipes"].Base.asked
    assert [params["width"] for params in asked] == [4, 8]
    assert len({id(task.data.folds[0].x_train) for task in built}) == 1


def test_changed_code_is_trained_afresh(write: Write, tmp_path: Path) -> None:
    write("")
    first, _ = train("Base", tmp_path)
    write("    parameters = {'width': 4, 'scale': 1.0, 'lr': 0.5}  # another default\n")
    second, ended = train("Base", tmp_path)
    assert ended.outcome is Outcome.REACHED, ended
    rates = [next(m.metrics["lr"] for m in ms if isinstance(m, Reported)) for ms in (first, second)]
    assert rates[1] > 10 * rates[0]


def test_weights_hang_on_the_trials_seed_alone(write: Write) -> None:
    import torch

    write("")
    task = recipes.build("mine_recipes:Base", {}, device="cpu")
    before = torch.get_rng_state()

    def weights(seed: int) -> list[float]:
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([p.flatten() for p in task.build(task.data.folds[0], generator).parameters()]).tolist()

    first = weights(1)
    torch.rand(3)
    assert weights(1) == first
    assert weights(2) != first
    torch.set_rng_state(before)
    weights(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_lanes_that_are_none_are_found_out(write: Write) -> None:
    write(
        """
class Kept(nn.Module):
    def __init__(self, params):
        super().__init__()
        self.layer, self.factor = nn.Linear(3, params["units"]), params["factor"]
        self.register_buffer("scale", params["scale"] * torch.ones(1))

class R(Base):
    parameters = {"scale": 1.0, "factor": 2.0, "units": 4, "kind": "a", "strict": 1.0}
    lanes = ("scale", "factor", "units", "kind", "strict")
    def model(self, params):
        assert params["strict"] == 1.0
        return Kept(params)
"""
    )
    assert recipes.not_lanes("mine_recipes:R", {}) == ("factor", "units")
    assert recipes.not_lanes("mine_recipes:Base", {}) == ()
    assert recipes.not_lanes("tabular", {}) == ()


READS = """
class Reads(nn.Module):
    def __init__(self, params, held):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.held, self.function = held, lambda x: x * params["factor"]
    def forward(self, x):
        held = self.held
        return self.layer({forward})

class R(Base):
    parameters = {{"factor": 2.0}}
    lanes = ("factor",)
    def model(self, params):
        return Reads(params, {held})
"""


@pytest.mark.parametrize(
    ("held", "forward", "none"),
    [
        ("torch.tensor(params['factor'])", "x * held", ("factor",)),
        ("dict(params)", "x * held['factor']", ("factor",)),
        ("[torch.ones(3) * params['factor']]", "x * held[0]", ("factor",)),
        ("None", "self.function(x)", ("factor",)),
        ("dict(params)", "x", ()),
        ("torch.ones(3)", "x * held", ()),
        ("None", "torch.nn.functional.dropout(x, 0.5, self.training)", ()),
    ],
)
def test_whatever_forward_reads_beside_its_tensors_makes_a_lane_none(
    held: str, forward: str, none: tuple[str, ...], write: Write
) -> None:
    write(READS.format(held=held, forward=forward))
    assert recipes.not_lanes("mine_recipes:R", {}, torch.ones(4, 3)) == none


def test_numbers_drawn_outside_of_a_modules_tensors_make_it_none_for_lanes(write: Write) -> None:
    write(READS.format(held="torch.randn(3)", forward="x * held"))
    with pytest.raises(InvalidOrderError, match="register_buffer"):
        recipes.not_lanes("mine_recipes:R", {}, torch.ones(4, 3))
    task = recipes.build("mine_recipes:R", {}, device="cpu")  # one by one they train all the same
    single.Learner(task, fold=0, seed=1, horizon=1.0).epoch(1)


WRONG = {
    "class R: pass": "without model",
    "R = 3": "int without model",
    "class R(Base):\n    parameters = ['a']": "must be a mapping",
    "class R(Base):\n    lanes = 'scale'": "lanes = ('noise',)",
    "class R(Base):\n    lanes = ('scal',)": "did you mean 'scale'",
    "class R(Base):\n    loss = 'cross_entrop'": "did you mean 'cross_entropy'",
    "class R(Base):\n    def data(self, params): return [1, 2]": "(x_train, y_train, x_val, y_val)",
    "class R(Base):\n    def data(self, params): return []": "got nothing",
    "class R(Base):\n    def data(self, params): return (np.ones((4, 3)), np.ones(3)) * 2": "must have as many rows",
    "class R(Base):\n    def model(self, params): return nn.Dropout(0.1)": "must not draw random numbers",
    "class R(Base):\n    def model(self, params): raise KeyError('mine')": "mine",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_with_its_remedy(text: str, write: Write, tmp_path: Path) -> None:
    write(text + "\n")
    _, ended = train("R", tmp_path)
    assert ended.outcome is Outcome.FAILED
    assert WRONG[text] in ended.reason
    if "KeyError" not in text:
        assert ended.failure is FailureKind.INVALID
        assert "; " in ended.reason


@pytest.mark.parametrize(("params", "hint"), [({"lr": -1.0}, "lr must lie in"), ({"widht": 3}, "did you mean 'width'")])
def test_parameters_are_checked_as_far_as_they_are_declared(
    params: dict[str, Any], hint: str, write: Write, tmp_path: Path
) -> None:
    write("")
    _, ended = train("Base", tmp_path, **params)
    assert (ended.failure, hint in ended.reason) == (FailureKind.INVALID, True)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("mine_recipes:Bas", "did you mean 'Base'"),
        ("no_such_module:Base", "the recipe's module must be importable"),
        ("workers.recipes:Recipe", "rename it"),
        ("mine:recipes:Base", "pkg.module:name"),
    ],
)
def test_recipes_that_cannot_be_found(path: str, hint: str, write: Write) -> None:
    write("")
    with pytest.raises(InvalidOrderError, match=hint):
        recipes.get(path)
