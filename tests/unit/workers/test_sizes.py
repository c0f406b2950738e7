"""Trials trained at a size: a share of the data, a width, a resolution. Each segment begins anew, one report counts."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.workers.reproduction_tape import Tape
from workers import trainables
from workers.contract import (
    FUSED,
    AttemptKey,
    CancelMode,
    CheckpointRef,
    Ended,
    FailureKind,
    Launch,
    Logged,
    Message,
    Outcome,
    Reported,
    Reproduced,
    Saved,
    Started,
    TrainerSpec,
    WorkOrder,
)
from workers.data import Fold, TaskData, share_of
from workers.errors import InvalidOrderError
from workers.reproduction import Reproduction
from workers.session import run_order
from workers.session_fused import FusedAttempts

CODE = """
import numpy as np, torch

def sized(trial):
    assert trial.load_checkpoint() is None
    for step in range(1, 4):
        trial.report(step, loss=1 / trial.fidelity / step, note=trial.resource_target)
        assert not trial.should_save
        trial.save_checkpoint({"step": step})

def says_when(trial):
    for step in range(1, 100):
        trial.report(step, resource=trial.fidelity if step == 2 else 0.0, loss=step)

def blind(trial):
    for step in range(1, 4):
        trial.report(step, loss=1 / step)

def silent(trial):
    trial.fidelity

def breaks(trial):
    trial.report(1, loss=trial.fidelity)
    raise ValueError("half way")

def diverges(trial):
    trial.report(1, loss=float("nan") * trial.fidelity)

class Wide:
    parameters = {"wide": 4}
    fidelities = ("width",)

    def model(self, params):
        return torch.nn.Linear(3, max(2, round(params.get("width", params["wide"]))))

    def data(self, params):
        x, y = np.random.normal(size=(40, 3)), np.arange(40) % 2
        return x[:30], y[:30], x[30:], y[30:]

class Odd(Wide):
    fidelities = "width"
"""


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "sized_code.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("sized_code", None)


def order(root: Path, size: float, *, fidelity: str = "data_fraction", metric: str = "loss", **more: Any) -> WorkOrder:
    made = WorkOrder(
        key=AttemptKey(study_id="s", trial=0, fence=3),
        trainer=TrainerSpec(function="sized_code:sized"),
        params={},
        seed=7,
        metric=metric,
        metrics=(metric,),
        from_resource=0.0,
        target_resource=size,
        horizon=1.0,
        storage_root=str(root),
        fidelity=fidelity,
    )
    return replace(made, **more)


def digits(root: Path, size: float, **more: Any) -> WorkOrder:
    params = {"data": "digits", "epochs": 2, "batch_size": 64}
    trainer = TrainerSpec(recipe="tabular", params=params)
    return order(root, size, metric="val_loss", trainer=trainer, **more)


Cancelled = Callable[[], CancelMode | None]


def train(given: WorkOrder, cancelled: Cancelled = lambda: None) -> tuple[list[Reported], list[Message], Ended]:
    messages: list[Message] = []
    ended = run_order(given, messages.append, cancelled)
    return [m for m in messages if isinstance(m, Reported)], messages, ended


def test_a_function_reports_once_what_the_size_came_to(tmp_path: Path) -> None:
    reports, messages, ended = train(order(tmp_path, 0.25))
    assert [(r.step, r.resource, r.metrics) for r in reports] == [
        (3, 0.25, {"loss": pytest.approx(4 / 3), "note": math.inf})
    ]
    assert (ended.outcome, ended.resource, ended.checkpoint) == (Outcome.REACHED, 0.25, None)
    assert not any(isinstance(m, Saved) for m in messages)
    told = "".join(m.text for m in messages if isinstance(m, Logged))
    assert "step 1 at data_fraction 0.25: loss=4" in told


def test_a_checkpoint_of_a_smaller_size_is_left_alone(tmp_path: Path) -> None:
    ref = CheckpointRef(path="nowhere", digest="0" * 64, resource=0.1, step=3, size_bytes=1)
    reports, messages, ended = train(order(tmp_path, 0.5, checkpoints=(ref,)))
    assert [m.resumed_from for m in messages if isinstance(m, Started)] == [0.0]
    assert (len(reports), ended.outcome) == (1, Outcome.REACHED)


def test_a_function_may_say_when_its_size_is_done(tmp_path: Path) -> None:
    reports, _, ended = train(order(tmp_path, 0.5, trainer=TrainerSpec(function="sized_code:says_when")))
    assert [(r.resource, r.metrics["loss"]) for r in reports] == [(0.5, 2.0)]
    assert ended.outcome is Outcome.REACHED


@pytest.mark.parametrize(
    ("name", "failure", "words"),
    [
        ("silent", FailureKind.MISSING_METRIC, "returned without a report"),
        ("breaks", FailureKind.EXCEPTION, "half way"),
        ("diverges", FailureKind.DIVERGED, "must be finite"),
    ],
)
def test_what_goes_wrong_reports_nothing(tmp_path: Path, name: str, failure: FailureKind, words: str) -> None:
    reports, _, ended = train(order(tmp_path, 0.5, trainer=TrainerSpec(function=f"sized_code:{name}")))
    assert (reports, ended.outcome, ended.failure, ended.resource) == ([], Outcome.FAILED, failure, 0.0)
    assert words in ended.reason


@pytest.mark.parametrize(
    ("mode", "outcome"), [(CancelMode.PAUSE, Outcome.PAUSED), (CancelMode.STOP, Outcome.CANCELLED)]
)
def test_what_is_cancelled_half_way_came_to_nothing(tmp_path: Path, mode: CancelMode, outcome: Outcome) -> None:
    asked = iter([None, mode])
    reports, _, ended = train(order(tmp_path, 0.5), lambda: next(asked, mode))
    assert (reports, ended.outcome, ended.resource) == ([], outcome, 0.0)


def test_a_preflight_fails_a_function_that_never_asks_for_its_size(tmp_path: Path) -> None:
    blind = TrainerSpec(function="sized_code:blind")
    _, _, ended = train(order(tmp_path, 0.1, trainer=blind, preflight=True))
    assert (ended.outcome, ended.failure) == (Outcome.FAILED, FailureKind.INVALID)
    assert "read trial.fidelity and train at that size" in ended.reason
    reports, _, ended = train(order(tmp_path, 0.1, preflight=True))
    assert (len(reports), ended.outcome) == (1, Outcome.REACHED)


def test_a_recipe_trains_its_epochs_on_a_share_of_its_rows(tmp_path: Path) -> None:
    reports, messages, ended = train(digits(tmp_path, 1 / 9))
    identity = next(m for m in messages if isinstance(m, Started)).environment["data"]
    assert (identity["train_rows"], identity["data_fraction"]) == (130, 1 / 9)
    assert [(r.step, r.resource) for r in reports] == [(3, 1 / 9)]
    assert ended.outcome is Outcome.REACHED
    whole, _, _ = train(digits(tmp_path, 1.0))
    plain, _, _ = train(digits(tmp_path, 2.0, fidelity="epochs"))
    assert whole[0].metrics["val_loss"] == plain[1].metrics["val_loss"] != reports[0].metrics["val_loss"]


def test_lanes_of_one_size_report_what_they_report_alone(tmp_path: Path) -> None:
    orders = [
        replace(digits(tmp_path, 1 / 3, params={"lr": lr}), key=AttemptKey(study_id="s", trial=trial, fence=1))
        for trial, lr in enumerate((0.01, 0.1))
    ]
    messages: list[Message] = []
    FusedAttempts(
        Launch(launch_id="l", orders=tuple(orders), method=FUSED, width=2), messages.append, lambda _: None
    ).run()
    together = {m.key.trial: m for m in messages if isinstance(m, Reported)}
    assert {m.outcome for m in messages if isinstance(m, Ended)} == {Outcome.REACHED}
    for one in orders:
        alone, _, _ = train(one)
        assert together[one.key.trial].resource == 1 / 3
        assert together[one.key.trial].metrics["val_loss"] == pytest.approx(alone[0].metrics["val_loss"], rel=1e-4)
    with pytest.raises(InvalidOrderError, match=r"data_fraction is 0\.5"):
        trainables.require_equal_structure(orders[0], digits(tmp_path, 0.5))


@pytest.mark.parametrize("width", [1, 2])
def test_every_size_of_a_trial_comes_out_the_same_again(tmp_path: Path, width: int) -> None:
    params = {"data": "digits", "epochs": 2, "batch_size": 64}
    tape = Tape(
        tmp_path,
        TrainerSpec(recipe="tabular", params=params),
        {"lr": 0.01},
        metric="val_loss",
        width=width,
        fidelity="data_fraction",
    )
    for size in (1 / 9, 1 / 3, 1.0):
        tape.train(size)
    assert [point["resource"] for point in tape.document()["curve"]] == [1 / 9, 1 / 3, 1.0]
    messages: list[Message] = []
    again = order(tmp_path, 0.0, reproduce=tape.document(), fidelity="epochs")
    Reproduction(again, messages.append, lambda: None).run()
    found = next(m.document for m in messages if isinstance(m, Reproduced))
    assert (found["equal"], found["comparison"]["compared"]) == (True, 3), found


def data(rows: int = 90, classes: int = 3) -> TaskData:
    x = torch.arange(rows, dtype=torch.float32)[:, None]
    y = torch.arange(rows) % classes if classes else x[:, 0]
    return TaskData(
        folds=(Fold(x_train=x, y_train=y, x_val=x, y_val=y),), classes=classes, target_scale=(1.0,), identity={}
    )


@pytest.mark.parametrize("classes", [0, 3])
def test_shares_are_nested_and_keep_the_classes(classes: int) -> None:
    whole = data(classes=classes)
    shares = [share_of(whole, fraction, split_seed=4) for fraction in (0.03, 0.1, 0.33, 0.7, 1.0)]
    rows = [set(one.folds[0].x_train[:, 0].tolist()) for one in shares]
    assert [len(one) for one in rows] == [3, 9, 30, 63, 90]
    assert all(small < large for small, large in itertools.pairwise(rows))
    if classes:
        assert [torch.bincount(one.folds[0].y_train).tolist() for one in shares][2] == [10, 10, 10]
    assert shares[-1] is whole
    assert share_of(whole, 0.33, split_seed=4) is shares[2]
    assert set(share_of(whole, 0.33, split_seed=5).folds[0].x_train[:, 0].tolist()) != rows[2]
    assert len(share_of(data(4, 2), 0.01, split_seed=0).folds[0].x_train) == 2


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01, math.nan])
def test_what_is_no_share_is_refused(fraction: float) -> None:
    with pytest.raises(InvalidOrderError, match="a share of the data is more than 0 and at most 1"):
        share_of(data(), fraction, split_seed=0)


def test_an_own_recipe_reads_the_size_that_it_declares(tmp_path: Path) -> None:
    wide = TrainerSpec(recipe="sized_code:Wide", params={"epochs": 1})
    reports, _, ended = train(order(tmp_path, 5.0, fidelity="width", metric="val_loss", trainer=wide))
    assert (ended.outcome, reports[0].resource) == (Outcome.REACHED, 5.0), ended
    shared, messages, _ = train(order(tmp_path, 0.5, metric="val_loss", trainer=wide))
    assert next(m for m in messages if isinstance(m, Started)).environment["data"]["train_rows"] == 15
    assert shared[0].resource == 0.5


@pytest.mark.parametrize(
    ("trainer", "fidelity", "words"),
    [
        (TrainerSpec(recipe="sized_code:Wide"), "resolution", "has no resolution to be trained at"),
        (TrainerSpec(recipe="tabular", params={"data": "digits"}), "width", "has no width to be trained at"),
        (TrainerSpec(recipe="sized_code:Odd"), "width", "fidelities must be a tuple of names"),
        (TrainerSpec(ray_tune="sized_code:sized"), "width", "fidelity must be epochs for ray_tune"),
    ],
)
def test_who_has_no_such_size_says_so(tmp_path: Path, trainer: TrainerSpec, fidelity: str, words: str) -> None:
    _, _, ended = train(order(tmp_path, 5.0, fidelity=fidelity, metric="val_loss", trainer=trainer))
    assert (ended.outcome, ended.failure) == (Outcome.FAILED, FailureKind.INVALID)
    assert words in ended.reason
