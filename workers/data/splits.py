"""Seeded splits. Every trial with the same `split_seed` gets the same rows, and none gets the test rows: those are a
confirmation's to measure its trained models on."""

from __future__ import annotations

import numpy as np

from workers.data.raw import Array
from workers.errors import InvalidOrderError
from workers.streams import split_rng


def sequence(y: Array, *, classes: int, split_seed: int) -> Array:
    """The rows in the random order that the split is cut from."""
    return in_random_order(y, classes=classes, rng=split_rng(split_seed))


def in_random_order(y: Array, *, classes: int, rng: np.random.Generator) -> Array:
    """The rows in a random order, any stretch of which holds the classes in nearly their overall proportions.

    Each row is placed at its random rank within its class divided by the size of the class.
    """
    count = len(y)
    order = rng.permutation(count)
    if classes == 0:
        return order
    place = np.empty(count)
    for number in range(classes):
        members = order[y[order] == number]
        place[members] = (np.arange(len(members)) + 0.5) / max(1, len(members))
    return order[np.argsort(place[order], kind="stable")]


def split(
    y: Array, *, classes: int, split_seed: int, val_fraction: float, test_fraction: float, folds: int
) -> list[tuple[Array, Array]]:
    """Pairs of training and validation rows: one pair, or `folds` of them (each row validated once).

    Raises:
        InvalidOrderError: too few rows.
    """
    rows = sequence(y, classes=classes, split_seed=split_seed)
    kept = rows[_held_back(len(rows), test_fraction) :]
    if folds > 1:
        pairs = [(np.delete(kept, np.s_[i::folds]), kept[i::folds]) for i in range(folds)]
    else:
        held_out = max(1, round(len(rows) * val_fraction))
        pairs = [(kept[held_out:], kept[:held_out])]
    if any(len(train) < 2 or len(val) < 1 for train, val in pairs):
        raise InvalidOrderError(
            f"a split must leave two training rows and one validation row, but {len(y)} rows with "
            f"val_fraction={val_fraction}, test_fraction={test_fraction}, folds={folds} do not; use more data"
        )
    return [(np.sort(train), np.sort(val)) for train, val in pairs]


def rows_held_back(y: Array, *, classes: int, split_seed: int, test_fraction: float) -> Array:
    """The rows that `split` with the same arguments gives to nobody."""
    rows = sequence(y, classes=classes, split_seed=split_seed)
    return np.sort(rows[: _held_back(len(rows), test_fraction)])


def _held_back(count: int, test_fraction: float) -> int:
    return round(count * test_fraction)
