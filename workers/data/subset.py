"""A share of the training rows, for studies whose resource is `data_fraction`. A larger share holds the smaller ones.

Which rows is a random stream of its own, named by the split's seed: the same for every trial, and independent of which
rows validate. What the features were standardised by stays as it was, so that inputs mean the same at every share.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from workers.data.prepare import Fold, TaskData
from workers.data.splits import in_random_order
from workers.errors import InvalidOrderError
from workers.streams import SUBSET, stream_seed

_CACHED = 4
_made: OrderedDict[tuple[Any, ...], tuple[TaskData, TaskData]] = OrderedDict()
LEAST_ROWS = 2


def share_of(data: TaskData, fraction: float, *, split_seed: int) -> TaskData:
    """The data with `fraction` of each fold's training rows (at least two), classes in their proportions. Validation
    and test rows stay. Raises InvalidOrderError for a share outside (0, 1]."""
    if not 0 < fraction <= 1:
        raise InvalidOrderError(f"a share of the data is more than 0 and at most 1, but got {fraction!r}; lower it")
    if fraction == 1:
        return data
    key = (id(data), fraction, split_seed)
    if key not in _made:
        folds = tuple(
            _share(fold, fraction, seed=stream_seed(split_seed, SUBSET, number), classes=data.classes)
            for number, fold in enumerate(data.folds)
        )
        rows = {"data_fraction": fraction, "train_rows": len(folds[0].x_train)}
        _made[key] = (data, replace(data, folds=folds, identity={**data.identity, **rows}))
        while len(_made) > _CACHED:
            _made.popitem(last=False)
    _made.move_to_end(key)
    return _made[key][1]  # the first keeps `id` from naming other data


def _share(fold: Fold, fraction: float, *, seed: int, classes: int) -> Fold:
    y = fold.y_train.cpu().numpy()
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    count = min(len(y), max(LEAST_ROWS, round(fraction * len(y))))
    rows = torch.from_numpy(np.sort(in_random_order(y, classes=classes, rng=rng)[:count])).to(fold.x_train.device)
    return replace(fold, x_train=fold.x_train[rows], y_train=fold.y_train[rows])
