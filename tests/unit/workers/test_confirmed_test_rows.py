"""Test rows: no search sees them, a confirmation measures its trained models on them, alike in both loops."""

from __future__ import annotations

import gzip
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import catalog
from workers import predictions, recipes
from workers.contract import (
    FUSED,
    AttemptKey,
    CheckpointRef,
    Ended,
    Launch,
    Message,
    Outcome,
    Reported,
    TrainerSpec,
    WorkOrder,
)
from workers.data import TaskData, load_task
from workers.data.splits import rows_held_back, split
from workers.errors import InvalidOrderError
from workers.session import run_order
from workers.session_fused import FusedAttempts

MLP = {"data": "digits", "model": "mlp", "hidden_units": 16, "batch_size": 64, "hidden_layers": 1}
SIX = """
import numpy as np
from torch import nn

class Mine:
    parameters = {"hidden": 4, "lr": 0.01}
    def model(self, params):
        return nn.Sequential(nn.Linear(3, params["hidden"]), nn.ReLU(), nn.Linear(params["hidden"], 2))
    def data(self, params):
        x = np.random.default_rng(0).normal(size=(60, 3)); y = (x[:, 0] > 0).astype(int)
        return x[:40], y[:40], x[40:50], y[40:50], x[50:], y[50:]
"""


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(20, 300),
    classes=st.integers(0, 5),
    seed=st.integers(0, 1000),
    folds=st.integers(1, 5),
    fraction=st.floats(0, 0.3),
)
def test_no_split_holds_a_test_row(rows: int, classes: int, seed: int, folds: int, fraction: float) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, rows) if classes else rng.normal(size=rows)
    pairs = split(y, classes=classes, split_seed=seed, val_fraction=0.2, test_fraction=fraction, folds=folds)
    held = set(rows_held_back(y, classes=classes, split_seed=seed, test_fraction=fraction).tolist())
    assert len(held) == round(rows * fraction)
    for train, val in pairs:
        assert held.isdisjoint(train.tolist())
        assert held.isdisjoint(val.tolist())
        assert len(held) + len(train) + len(val) == rows


def _load(data: object, *, test: bool, **params: Any) -> TaskData:
    recipe = "image_classifier" if params.pop("images", True) else "tabular"
    full = catalog.complete(recipe, {"data": str(data), **params})
    return load_task(full, device="cpu", as_images=recipe == "image_classifier", test=test)


def test_asking_for_test_rows_changes_no_other() -> None:
    for params in ({}, {"folds": 3}):
        plain, tested = (_load("digits", test=test, **params) for test in (False, True))
        for one, other in zip(plain.folds, tested.folds, strict=True):
            assert one.x_test is None
            assert one.y_test is None
            for name in ("x_train", "y_train", "x_val", "y_val"):
                assert torch.equal(getattr(one, name), getattr(other, name))
            assert other.x_test is not None
            assert other.y_test is not None
            assert len(other.x_test) == len(other.y_test) == round(1797 * 0.15)
        assert {**plain.identity, "test_rows": round(1797 * 0.15)} == tested.identity


def test_without_a_test_part_there_are_no_test_rows() -> None:
    found = _load("iris", test=True, images=False, test_fraction=0.0)
    assert found.folds[0].x_test is None
    assert "test_rows" not in found.identity


def _npz(path: Path, **more: Any) -> Path:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 6, 6)).astype(np.uint8)
    y = np.arange(40) % 3 * 10
    given = {"x_train": x[:30], "y_train": y[:30], "x_test": x[30:], "y_test": y[30:], **more}
    np.savez(path, **given)
    return path


def test_an_own_test_part_is_used_whole_and_scaled_as_the_training_rows(tmp_path: Path) -> None:
    path = _npz(tmp_path / "d.npz")
    found = _load(path, test=True)
    fold = found.folds[0]
    assert found.identity["rows"] == 30
    assert found.identity["test_rows"] == 10
    assert fold.x_test is not None
    assert fold.y_test is not None
    assert fold.y_test.tolist() == [(i + 30) % 3 for i in range(10)]  # 0, 10, 20 are classes 0, 1, 2
    with np.load(path) as stored:
        raw, train = stored["x_test"].astype(np.float32), stored["x_train"].astype(np.float32)
    x_train = _load(path, test=False).folds[0].x_train
    scale = (x_train.max() - x_train.min()) / (train.max() - train.min())  # of one channel, linear
    moved = fold.x_test[:, 0].numpy() - raw * float(scale)
    assert np.ptp(moved) < 1e-3


@pytest.mark.parametrize(
    ("more", "words"),
    [({"y_test": np.full(10, 7)}, "every class of a test row"), ({"x_test": np.zeros((10, 5, 6))}, "shaped like")],
)
def test_an_unfit_test_part_is_named(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    path = _npz(tmp_path / "d.npz", **more)
    _load(path, test=False)  # a search does not look at it
    with pytest.raises(InvalidOrderError, match=words):
        _load(path, test=True)


def test_idx_test_files(tmp_path: Path) -> None:
    def idx(name: str, array: np.ndarray[Any, Any]) -> None:
        head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        with gzip.open(tmp_path / f"{name}-ubyte.gz", "wb") as handle:
            handle.write(head + array.astype(np.uint8).tobytes())

    rng = np.random.default_rng(0)
    for part, rows in (("train", 30), ("t10k", 12)):
        idx(f"{part}-images-idx3", rng.integers(0, 256, (rows, 5, 5)))
        idx(f"{part}-labels-idx1", np.arange(rows) % 3)
    found = _load(tmp_path, test=True)
    assert found.identity["test_rows"] == 12
    assert found.folds[0].y_test is not None
    assert found.folds[0].y_test.tolist() == [i % 3 for i in range(12)]


def _order(root: Path, trial: int, params: dict[str, Any], *, test: bool = True, to: int = 2, **more: Any) -> WorkOrder:
    recipe = more.pop("recipe", "image_classifier")
    metric = more.pop("metric", "val_loss")
    return WorkOrder(
        key=AttemptKey(study_id="s", trial=trial, fence=more.pop("fence", 1)),
        trainer=TrainerSpec(recipe=recipe),
        params=params,
        seed=100 + trial,
        metric=metric,
        metrics=(metric,),
        from_resource=0,
        target_resource=to,
        horizon=4,
        storage_root=str(root),
        test=test,
        **more,
    )


def _alone(order: WorkOrder) -> tuple[list[Reported], Ended]:
    messages: list[Message] = []
    ended = run_order(order, messages.append, lambda: None)
    assert ended.outcome is Outcome.REACHED, ended.reason + ended.traceback
    return [m for m in messages if isinstance(m, Reported)], ended


def _together(orders: list[WorkOrder], width: int) -> dict[int, list[Reported]]:
    messages: list[Message] = []
    FusedAttempts(
        Launch(launch_id="l", orders=tuple(orders), method=FUSED, width=width), messages.append, lambda key: None
    ).run()
    for message in messages:
        assert not isinstance(message, Ended) or message.outcome is Outcome.REACHED, message
    found: dict[int, list[Reported]] = {}
    for message in messages:
        if isinstance(message, Reported):
            found.setdefault(message.key.trial, []).append(message)
    return found


def _kept(root: Path, trial: int, fence: int = 1) -> dict[str, Any]:
    path = root / "checkpoints" / "s" / str(trial) / f"{fence}{predictions.SUFFIX}"
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def test_only_the_last_report_has_test_metrics_and_a_search_has_none(tmp_path: Path) -> None:
    reports, _ = _alone(_order(tmp_path, 0, MLP))
    first, last = (set(r.metrics) for r in reports)
    assert last - first == {"test_loss", "test_accuracy"}
    searched, _ = _alone(_order(tmp_path, 1, MLP, test=False))
    assert all(not name.startswith("test_") for r in searched for name in r.metrics)
    assert not list((tmp_path / "checkpoints" / "s" / "1").glob(f"*{predictions.SUFFIX}"))


def test_what_is_measured_for_a_confirmation_does_not_change_training(tmp_path: Path) -> None:
    order = _order(tmp_path, 0, MLP | {"normalization": "batch", "dropout": 0.2})
    tested, _ = _alone(order)
    searched, _ = _alone(_order(tmp_path / "b", 0, dict(order.params), test=False))
    for one, other in zip(tested, searched, strict=True):
        kept = {k: v for k, v in one.metrics.items() if not k.startswith("test_") and k != "seconds"}
        assert kept == {k: v for k, v in other.metrics.items() if k != "seconds"}


def test_test_metrics_follow_from_the_kept_predictions(tmp_path: Path) -> None:
    (_, last), _ = _alone(_order(tmp_path, 0, MLP))
    found = _kept(tmp_path, 0)
    assert str(found["kind"]) == "classes"
    for part in ("val", "test"):
        given, right = found[part], found[f"{part}_right"]
        assert np.allclose(given.sum(1), 1, atol=1e-5)
        assert (given.argmax(1) == right).mean() == pytest.approx(last.metrics[f"{part}_accuracy"])
        loss = -np.log(given[np.arange(len(right)), right]).mean()
        assert loss == pytest.approx(last.metrics[f"{part}_loss"], rel=1e-4)


def test_regression_is_kept_in_the_targets_unit(tmp_path: Path) -> None:
    params = {"data": "diabetes", "model": "mlp", "hidden_units": 8}
    (_, last), _ = _alone(_order(tmp_path, 0, params, recipe="tabular", metric="val_rmse"))
    found = _kept(tmp_path, 0)
    assert str(found["kind"]) == "values"
    assert 20 < found["test_right"].mean() < 350  # as scikit-learn's diabetes has it
    for part in ("val", "test"):
        error = math.sqrt(float(((found[part] - found[f"{part}_right"]) ** 2).mean()))
        assert error == pytest.approx(last.metrics[f"{part}_rmse"], rel=1e-4)


@pytest.mark.parametrize(
    ("params", "lanes", "more"),
    [
        (MLP, [{"lr": 0.003}, {"lr": 0.01}, {"lr": 0.03, "dropout": 0.2}], {}),
        (MLP | {"folds": 2, "normalization": "layer"}, [{"lr": 0.003}, {"lr": 0.01}], {}),
        (
            {"data": "diabetes", "model": "mlp", "hidden_units": 8},
            [{"lr": 0.003}, {"lr": 0.01}],
            {"recipe": "tabular", "metric": "val_rmse"},
        ),
    ],
    ids=["classes", "folds", "values"],
)
def test_fused_lanes_measure_what_the_plain_loop_does(
    tmp_path: Path, params: dict[str, Any], lanes: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    orders = [_order(tmp_path / "fused", i, {**params, **lane}, **more) for i, lane in enumerate(lanes)]
    together = _together(orders, width=len(lanes) + 1)
    for i, lane in enumerate(lanes):
        reports, _ = _alone(_order(tmp_path / "plain", i, {**params, **lane}, **more))
        for mine, theirs in zip(together[i], reports, strict=True):
            assert set(mine.metrics) == set(theirs.metrics)
            for name, value in theirs.metrics.items():
                loose = 0.01 if "accuracy" in name else 1e-4 * max(abs(value), 1e-2)
                assert name.startswith("seconds") or abs(mine.metrics[name] - value) <= loose, name
        assert any(name.startswith("test_") for name in together[i][-1].metrics)
        one, other = _kept(tmp_path / "fused", i), _kept(tmp_path / "plain", i)
        for name in ("val", "test"):
            assert np.allclose(one[name], other[name], rtol=1e-3, atol=1e-4)
            assert np.array_equal(one[f"{name}_right"], other[f"{name}_right"])


def test_the_bits_do_not_hang_on_who_shares_the_launch(tmp_path: Path) -> None:
    lanes = [MLP | {"lr": lr} for lr in (0.003, 0.01, 0.02)]
    one = _together([_order(tmp_path / "a", i, lane) for i, lane in enumerate(lanes)], width=3)
    other = _together([_order(tmp_path / "b", i, lanes[i]) for i in (2, 0)], width=3)
    for i in (2, 0):
        for name in ("test_loss", "test_accuracy"):
            assert one[i][-1].metrics[name] == other[i][-1].metrics[name]
        assert np.array_equal(_kept(tmp_path / "a", i)["test"], _kept(tmp_path / "b", i)["test"])


def test_a_paused_trial_is_tested_where_it_ends_not_where_it_paused(tmp_path: Path) -> None:
    first, ended = _alone(_order(tmp_path, 0, MLP, to=1))
    assert isinstance(ended.checkpoint, CheckpointRef)
    second, _ = _alone(_order(tmp_path, 0, MLP, to=3, fence=2, checkpoints=(ended.checkpoint,)))
    whole, _ = _alone(_order(tmp_path / "whole", 0, MLP, to=3))
    assert second[-1].metrics["test_loss"] == whole[-1].metrics["test_loss"]
    assert "test_loss" not in second[0].metrics
    assert "test_loss" in first[-1].metrics  # an attempt's target is all that a worker knows


def test_early_stopping_ends_with_test_metrics(tmp_path: Path) -> None:
    params = MLP | {"early_stopping": 1, "lr": 5.0, "optimizer": "sgd"}
    messages: list[Message] = []
    ended = run_order(_order(tmp_path, 0, params, to=50), messages.append, lambda: None)
    reports = [m for m in messages if isinstance(m, Reported)]
    assert ended.outcome is Outcome.COMPLETED, ended.reason
    assert len(reports) < 50
    assert ["test_loss" in r.metrics for r in reports] == [False] * (len(reports) - 1) + [True]


def test_a_preflight_measures_test_rows_too_and_keeps_nothing(tmp_path: Path) -> None:
    reports, _ = _alone(_order(tmp_path, -1, MLP, preflight=True))
    assert "test_accuracy" in reports[-1].metrics
    assert not list(tmp_path.rglob(f"*{predictions.SUFFIX}"))


def test_an_own_recipe_may_bring_test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "six_arrays.py").write_text(SIX)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        searched = recipes.build("six_arrays:Mine", {}, device="cpu")
        assert searched.data.folds[0].x_test is None
        tested = recipes.build("six_arrays:Mine", {}, device="cpu", test=True)
        assert tested.data.identity["sha256"] == searched.data.identity["sha256"]
        assert tested.data.identity["test_rows"] == 10
        order = _order(tmp_path, 0, {"hidden": 4}, recipe="six_arrays:Mine")
        reports, _ = _alone(order)
        assert "test_accuracy" in reports[-1].metrics
    finally:
        sys.modules.pop("six_arrays", None)


def test_too_many_predictions_are_left_out_and_the_log_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "MOST_VALUES", 100)
    messages: list[Message] = []
    run_order(_order(tmp_path, 0, MLP), messages.append, lambda: None)
    text = "".join(getattr(m, "text", "") for m in messages)
    assert "left out" in text
    assert not list(tmp_path.rglob(f"*{predictions.SUFFIX}"))
