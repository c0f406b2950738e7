"""fANOVA: how much of the objective's variance each parameter explains by itself, by a forest of regression trees.

Hutter et al. 2014, section 4, with every tree's marginals summed over its leaves as arrays: a test holds the numbers
equal to Optuna's evaluator where all parameters are ordered. Needs scikit-learn, which comes with the `worker` extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpo_service.views.columns import Bools, Floats

TREES = 64
DEPTH = 64
SEED = 0


class Missing(Exception):
    """scikit-learn is not installed."""


def importances(places: Floats, categories: Sequence[int], losses: Floats) -> Floats:
    """Shape (d,): each parameter's share of the variance, averaged over the trees.

    `places` has shape (n, d): a place in [0, 1] of an ordered parameter, the index of a category of another one, whose
    number of categories `categories` gives (0 for ordered ones). Raises Missing. Takes a few hundred milliseconds.
    """
    try:
        from sklearn.ensemble import RandomForestRegressor
    except ImportError as error:
        raise Missing from error
    features, groups = _features(places, categories)
    forest = RandomForestRegressor(n_estimators=TREES, max_depth=DEPTH, random_state=SEED, n_jobs=1)
    forest.fit(features, losses)
    found = [_of_tree(one.tree_, features.shape[1], groups, categories) for one in forest.estimators_]
    kept = [shares for shares in found if shares is not None]
    return np.mean(kept, axis=0) if kept else np.zeros(places.shape[1])


def _features(places: Floats, categories: Sequence[int]) -> tuple[Floats, list[slice]]:
    """One column per ordered parameter, one per category of the others; and which columns each parameter has."""
    columns: list[Floats] = []
    groups = []
    width = 0
    for k, count in enumerate(categories):
        made = places[:, [k]] if not count else (places[:, [k]] == np.arange(count)[None, :]).astype(np.float64)
        groups.append(slice(width, width + made.shape[1]))
        width += made.shape[1]
        columns.append(made)
    return np.concatenate(columns, axis=1), groups


def _of_tree(tree: Any, width: int, groups: Sequence[slice], categories: Sequence[int]) -> Floats | None:
    """Each parameter's share of one tree's variance; None for a tree that knows no difference."""
    value, low, high = _leaves(tree, width)
    fractions = np.column_stack(
        [
            _holds(low[:, group], high[:, group]).mean(axis=1) if count else (high - low)[:, group.start]
            for group, count in zip(groups, categories, strict=True)
        ]
    )
    weight = fractions.prod(axis=1)
    mean = float(weight @ value)
    variance = float(weight @ (value - mean) ** 2)
    if not variance > 0:
        return None
    shares = []
    for k, (group, count) in enumerate(zip(groups, categories, strict=True)):
        rest = np.delete(fractions, k, axis=1).prod(axis=1) * (value - mean)
        if count:
            marginal = rest @ _holds(low[:, group], high[:, group])
            shares.append(float(np.mean(marginal**2)))
        else:
            shares.append(_variance(low[:, group.start], high[:, group.start], rest))
    return np.array(shares) / variance


def _holds(low: Floats, high: Floats) -> Bools:
    """Shape (leaves, categories): whether a leaf takes a category, given the bounds of its indicator columns."""
    no, yes = low < 0.5, high > 0.5  # a column that is 0, or 1, lies in the leaf
    count = low.shape[1]
    found = np.ones((low.shape[0], count), dtype=np.bool_)
    for category in range(count):
        for column in range(count):
            found[:, category] &= yes[:, column] if column == category else no[:, column]
    return found


def _variance(low: Floats, high: Floats, amount: Floats) -> float:
    """The mean square over [0, 1] of a step function: the sum of the leaves' amounts between their bounds."""
    cuts = np.unique(np.concatenate([low, high]))
    steps = np.zeros(cuts.size)
    np.add.at(steps, np.searchsorted(cuts, low), amount)
    np.subtract.at(steps, np.searchsorted(cuts, high), amount)
    heights = np.cumsum(steps)[:-1]
    return float(np.diff(cuts) @ heights**2)


def _leaves(tree: Any, width: int) -> tuple[Floats, Floats, Floats]:
    """Of every leaf the value, shape (leaves,), and the box, shape (leaves, columns), within [0, 1]."""
    low, high = np.zeros((tree.node_count, width)), np.ones((tree.node_count, width))
    feature, threshold = tree.feature, tree.threshold
    for node in range(tree.node_count):  # parents come before their children
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left < 0:
            continue
        low[left], high[left], low[right], high[right] = low[node], high[node], low[node], high[node]
        cut = min(1.0, max(0.0, float(threshold[node])))
        high[left, feature[node]] = cut
        low[right, feature[node]] = cut
    leaf = np.flatnonzero(tree.children_left < 0)
    return tree.value[leaf, 0, 0].astype(np.float64), low[leaf], high[leaf]
