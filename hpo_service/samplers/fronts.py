"""Who is better under several objectives: fronts of trials that none of the others beats, and how crowded each is.

Losses are to be minimised; NaN in one says that the trial failed. `violations` are zero where every constraint holds.
Pure arithmetic on arrays: no trials, no randomness.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def fronts(losses: Floats, violations: Floats) -> Integers:
    """The front of each trial, 0 for the best; losses (trials, objectives), violations (trials,).

    Constrained domination (Deb et al. 2002, section VI): what keeps every constraint beats what breaks one, and of two
    that break some the one that breaks them less is better. Failed trials come last, together.
    """
    found = np.zeros(len(losses), dtype=np.int64)
    failed = np.isnan(losses).any(axis=1)
    feasible = ~failed & (violations <= 0)
    found[feasible] = _peeled(losses[feasible])
    count = int(found[feasible].max()) + 1 if feasible.any() else 0
    broken = ~failed & ~feasible
    if broken.any():
        amounts, place = np.unique(violations[broken], return_inverse=True)
        found[broken] = count + place
        count += len(amounts)
    found[failed] = count
    return found


def dominating(losses: Floats) -> npt.NDArray[np.bool_]:
    """Whether row i dominates column j: nowhere worse, somewhere better. Shape (trials, trials)."""
    nowhere_worse = np.ones((len(losses), len(losses)), dtype=np.bool_)
    somewhere_better = np.zeros_like(nowhere_worse)
    for column in losses.T:
        nowhere_worse &= column[:, None] <= column
        somewhere_better |= column[:, None] < column
    return nowhere_worse & somewhere_better


def crowding(losses: Floats) -> Floats:
    """How far each trial of one front is from its neighbours, shape (trials,); infinite at the ends (Deb et al. 2002,
    section III.B)."""
    found = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        found[order[[0, -1]]] = np.inf
        width = ordered[-1] - ordered[0]
        if np.isfinite(width) and width > 0:
            found[order[1:-1]] += (ordered[2:] - ordered[:-2]) / width
    return found


def ranking(losses: Floats, violations: Floats) -> tuple[Integers, Integers, Floats]:
    """All trials from the best to the worst (front, then the less crowded, then the earlier one), with the front and
    the crowding distance of each."""
    front = fronts(losses, violations)
    distance = np.zeros(len(losses))
    for which in np.unique(front):
        members = front == which
        if not np.isnan(losses[members]).any():
            distance[members] = crowding(losses[members])
    order = np.lexsort((np.arange(len(losses)), -distance, front))
    return order, front, distance


def _peeled(losses: Floats) -> Integers:
    """The front of each of these, which all count."""
    found = np.zeros(len(losses), dtype=np.int64)
    beats = dominating(losses)
    left, beaten = np.ones(len(losses), dtype=np.bool_), beats.sum(axis=0)
    which = 0
    while left.any():
        front = left & (beaten == 0)
        found[front] = which
        left &= ~front
        beaten = beaten - beats[front].sum(axis=0)
        which += 1
    return found
