"""Whether two rungs rank trials alike, up to noise: PASHA's soft ranking (Bohdal et al. 2023, sections 4.2 and 4.3).

`Noise` estimates from learning curves how far apart two values may lie and still change places by chance; `Standings`
compares the ranks that trials have at a level and at the one below. No trial is trained here and nobody is promoted.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort

import numpy as np
import numpy.typing as npt

from hpo_service.core.curves import Curve

Floats = npt.NDArray[np.float64]
PERCENTILE = 90.0
"""Of the distances between trials whose curves cross there and back: the paper's N."""
COMPARED = 200
"""The newest trials of a level whose curves are compared with each other."""


class Noise:
    """The noise of learning curves up to one level. A pair of trials is taken for noise alone where one was better,
    then the other, then the first again; its distance is that at the last resource which both have reported."""

    def __init__(self, compared: int = COMPARED) -> None:
        self._compared = compared
        self._resources: list[float] = []  # of any report, ascending: the columns
        self._curves = np.zeros((0, 0))  # a row per trial, NaN where it has not reported
        self._distances = np.full((compared, compared), np.nan)
        self._count = 0

    def add(self, curve: Curve | None, *, up_to: float) -> None:
        """One more trial has come to the level `up_to`."""
        points = {} if curve is None else dict(zip(curve.resources, curve.values, strict=True))
        row = self._row({r: v for r, v in points.items() if r <= up_to and math.isfinite(v)})
        place = self._count % self._compared
        self._distances[place, :] = self._distances[:, place] = np.nan
        known = min(self._count, self._compared)
        if known:
            self._distances[place, :known] = crossing_distances(row, self._curves[:known])
            self._distances[place, place] = np.nan
        if place < len(self._curves):
            self._curves[place] = row
        else:
            self._curves = np.vstack([self._curves, row])
        self._count += 1

    def estimate(self) -> float | None:
        """The distance that 90 % of the noisy pairs do not exceed; None where no curves cross there and back."""
        distances = self._distances[~np.isnan(self._distances)]
        return float(np.percentile(distances, PERCENTILE)) if distances.size else None

    def _row(self, points: dict[float, float]) -> Floats:
        for resource in sorted(set(points) - set(self._resources)):
            at = bisect_left(self._resources, resource)
            self._resources.insert(at, resource)
            self._curves = np.insert(self._curves, at, np.nan, axis=1)
        return np.array([points.get(resource, math.nan) for resource in self._resources], dtype=np.float64)


def crossing_distances(row: Floats, others: Floats) -> Floats:
    """Of each other curve, how far it is from `row` at the last resource of both, where the two cross there and back
    before; else NaN. Shapes (levels,) and (n, levels) → (n,); NaN: not reported."""
    found = np.full(len(others), np.nan)
    difference = others - row
    both = ~np.isnan(difference)
    some = both.any(axis=1)
    if not some.any():
        return found
    difference, both = difference[some], both[some]
    width, rows = difference.shape[1], np.arange(len(difference))
    final = width - 1 - np.argmax(both[:, ::-1], axis=1)
    last = difference[rows, final]
    order = np.sign(np.where(both, difference, 0.0)) * np.sign(last)[:, None]
    first_same = np.argmax(order > 0, axis=1)
    opposite = order < 0
    last_opposite = np.where(opposite.any(axis=1), width - 1 - np.argmax(opposite[:, ::-1], axis=1), -1)
    noisy = (last != 0) & (first_same < last_opposite)
    found[np.flatnonzero(some)[noisy]] = np.abs(last[noisy])
    return found


class Standings:
    """The trials of a level, ranked there and at the level below; smaller keys are better, ties go to the number."""

    def __init__(self) -> None:
        self._here: list[tuple[float, int]] = []
        self._below: list[tuple[float, int]] = []
        self._was = array("d")  # what the trials of `_here` had come to below, in that order
        self._sorted = array("d")  # the same values, best first

    def add(self, number: int, here: float, below: float) -> None:
        """One more trial, with its value at the level and below."""
        at = bisect_left(self._here, (here, number))
        self._here.insert(at, (here, number))
        self._was.insert(at, below)
        place = bisect_left(self._below, (below, number))
        insort(self._below, (below, number))
        self._sorted.insert(place, below)

    def moved(self, epsilon: float) -> tuple[int, int] | None:
        """The first trial that is not among those that are equal up to `epsilon` to the one which has its rank below,
        and that one; None while the ranks agree."""
        if len(self._here) < 2:
            return None
        apart = np.abs(np.frombuffer(self._was) - np.frombuffer(self._sorted)) > epsilon
        if not apart.any():
            return None
        rank = int(np.argmax(apart))
        return self._here[rank][1], self._below[rank][1]
