"""What a confirmation learns of its trained models beside their reports: metrics of the test rows, and predictions.

Pure functions over data and outputs; both loops use them. Nothing here trains, and nothing here is called in a search.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from workers.data import Fold, TaskData
from workers.predictions import Array, Predictions

Outputs = tuple[Tensor, Tensor | None]
"""Of one fold's network, [rows, outputs]: for the validation rows, and for the test rows where there are any."""


def names_in_test(metrics: Sequence[str]) -> tuple[str, ...]:
    """What is measured of test rows: every metric of validation rows."""
    return tuple("test_" + name.removeprefix("val_") for name in metrics if name.startswith("val_"))


def predictions(data: TaskData, outputs: Sequence[Outputs]) -> Predictions:
    """What a trial predicts. Of several folds: each validation row by the network that did not train on it, each test
    row by the mean of all networks."""
    folds = range(len(data.folds))
    val = [_predicted(data, i, outputs[i][0]) for i in folds]
    test = [_predicted(data, i, out) for i in folds if (out := outputs[i][1]) is not None]
    first = data.folds[0]
    return Predictions(
        kind="values" if data.regression else "classes",
        val=np.concatenate(val),
        val_right=np.concatenate([_right(data, i, data.folds[i].y_val) for i in folds]),
        test=np.mean(test, axis=0, dtype=np.float32) if test else np.zeros_like(val[0][:0]),
        test_right=_right(data, 0, _or_none(first)),
    )


def _or_none(fold: Fold) -> Tensor:
    return fold.y_val[:0] if fold.y_test is None else fold.y_test


def _predicted(data: TaskData, fold: int, out: Tensor) -> Array:
    out = out.detach()
    if not data.regression:
        probabilities: Array = torch.softmax(out, 1).float().cpu().numpy()
        return probabilities
    mean, scale = _unit(data, fold)
    values: Array = (out.squeeze(-1) * scale + mean).float().cpu().numpy()
    return values


def _right(data: TaskData, fold: int, y: Tensor) -> Array:
    mean, scale = _unit(data, fold)
    right: Array = (y * scale + mean if data.regression else y).cpu().numpy()
    return right


def _unit(data: TaskData, fold: int) -> tuple[float, float]:
    return data.target_mean[fold] if data.target_mean else 0.0, data.target_scale[fold]
