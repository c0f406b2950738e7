"""The permutation distribution of Friedman's statistic: how far apart ranks lie by chance alone.

Without any difference between methods all orders of a task's ranks are equally likely, whatever the other tasks say
(Friedman 1937). Ties stay: it is the ranks as they are that are reordered. Pure; draws are the same at any time.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
EXACT = 100_000
"""Sums of ranks that are looked at for one more task, at most."""
DRAWN = 100_000
TASKS = 10
"""Up to so many, orders are drawn where there are too many for all."""


def p_value(ranks: Sequence[Sequence[int]]) -> float | None:
    """How likely the tasks' ranks lie as far apart or further, from each task's ranks (whole numbers: doubled where
    ties share them). Exact where that is feasible, else of `DRAWN` orders, (found + 1) ÷ (drawn + 1) (Phipson and Smyth
    2010); None for more than `TASKS` tasks that are too many for all orders."""
    observed = int(np.square(np.array(ranks).sum(axis=0)).sum())
    tasks = tuple(sorted(tuple(sorted(task)) for task in ranks))
    exact = _all(tasks)
    if exact is not None:
        values, chances = exact
        return min(1.0, float(chances[values >= observed].sum()))
    if len(tasks) > TASKS:
        return None
    return (1 + int((_drawn(tasks) >= observed).sum())) / (DRAWN + 1)


@functools.lru_cache(maxsize=16)
def _all(tasks: tuple[tuple[int, ...], ...]) -> tuple[Ints, Floats] | None:
    """Every value of the sum of squares of the methods' rank sums, and how likely it is. What is likely after a task
    hangs on the sums so far as a set alone, for all orders of its ranks are equally likely."""
    methods = len(tasks[0])
    if math.factorial(methods) > EXACT:
        return None
    sums: Ints = np.array([tasks[0]], dtype=np.int64)
    chances: Floats = np.ones(1)
    for task in tasks[1:]:
        orders = np.array(list(itertools.permutations(task)), dtype=np.int64)
        if len(sums) * len(orders) > EXACT:
            return None
        found = np.sort((sums[:, None] + orders[None]).reshape(-1, methods), axis=1)
        sums, place = np.unique(found, axis=0, return_inverse=True)
        each = np.repeat(chances / len(orders), len(orders))
        chances = np.bincount(place.reshape(-1), each).astype(np.float64)
    return np.square(sums).sum(axis=1), chances


@functools.lru_cache(maxsize=16)
def _drawn(tasks: tuple[tuple[int, ...], ...]) -> Ints:
    """The same sum of squares, of random orders."""
    rng = np.random.default_rng(0)
    sums = np.tile(np.array(tasks[0], dtype=np.int64), (DRAWN, 1))
    for task in tasks[1:]:
        sums += rng.permuted(np.tile(np.array(task, dtype=np.int64), (DRAWN, 1)), axis=1)
    return np.asarray(np.square(sums).sum(axis=1), dtype=np.int64)
