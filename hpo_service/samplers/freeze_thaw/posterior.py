"""What is expected of learning curves, given values on some of them. Rows are (configuration, moment, value)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack
from scipy.special import ndtr

from hpo_service.samplers.freeze_thaw.kernel import Floats, Kernel

TINY = 1e-10
CHUNK = 100
"""Configurations that are looked at together: what is computed of them stays in the processor's cache."""
STRIP = 40
"""Rows of the root's inverse that are multiplied at a time."""
ROOT_2PI = float(np.sqrt(2.0 * np.pi))


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Values on curves: `points` (n, d), `s` (n,), `values` (n,)."""

    points: Floats
    s: Floats
    values: Floats

    def and_also(self, points: Floats, s: Floats, values: Floats) -> Rows:
        """The same with more rows."""
        return Rows(
            points=np.concatenate([self.points, points]),
            s=np.concatenate([self.s, s]),
            values=np.concatenate([self.values, values]),
        )


class Posterior:
    """The process given `rows`."""

    def __init__(self, kernel: Kernel, rows: Rows, unordered: npt.NDArray[np.bool_]) -> None:
        self.rows = rows
        self._kernel = kernel
        self._unordered = unordered
        self._places, self._place = _distinct(rows.points)
        covariance = self._covariance(rows.points, rows.s)
        covariance[np.diag_indices(len(rows.s))] += kernel.noise
        root = np.linalg.cholesky(covariance)
        self._inverse_root = lapack.dtrtri(root, lower=1)[0]
        self._weights = self._inverse_root.T @ (self._inverse_root @ rows.values)

    def at(self, points: Floats, s: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation, (n, m) each, of configurations (n, d) at each of the moments (m,)."""
        moments, variance = self._kernel.moments(s, self.rows.s), self._kernel.variance(s)
        mean, deviation = np.empty((2, len(points), len(s)))
        for begin in range(0, len(points), CHUNK):
            part = slice(begin, begin + CHUNK)
            near, nearer = self._nearness(points[part])
            covariance = _sum_of(near[:, None, :], moments[0], nearer[:, None, :], *moments[1:])
            found = self._told(covariance.reshape(-1, len(self.rows.s)), np.tile(variance, len(near)))
            mean[part], deviation[part] = (one.reshape(-1, len(s)) for one in found)
        return mean, deviation

    def along(self, points: Floats, s: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation, (n,) each, of each configuration at a moment of its own."""
        return self._told(self._covariance(points, s), self._kernel.variance(s))

    def apart(self, points: Floats) -> Floats:
        """How many length scales each configuration (n, d) is from the nearest of the rows, (n,)."""
        found: Floats = self._kernel.distances(points, self._places, self._unordered).min(axis=1)
        return found

    def _nearness(self, points: Floats) -> tuple[Floats, Floats]:
        """Both correlations with the configuration of each row, (n, rows)."""
        near, nearer = self._kernel.nearness(points, self._places, self._unordered)
        if len(self._places) == len(self._place):
            return near, nearer
        return near.take(self._place, axis=1), nearer.take(self._place, axis=1)

    def _covariance(self, points: Floats, s: Floats) -> Floats:
        """Of each configuration, at a moment of its own, with each row: (n, rows)."""
        near, nearer = self._nearness(points)
        shared, own, common = self._kernel.moments(s, self.rows.s)
        return _sum_of(near, shared, nearer, own, common)

    def _told(self, covariance: Floats, variance: Floats) -> tuple[Floats, Floats]:
        spread = self._spread(covariance)
        left = variance - np.einsum("ij,ij->i", spread, spread)
        return covariance @ self._weights, np.sqrt(np.maximum(left, TINY))

    def _spread(self, covariance: Floats) -> Floats:
        """`covariance` (n, rows) times the transposed inverse of the root, without most of that one's zeros."""
        found = np.empty_like(covariance)
        for begin in range(0, covariance.shape[1], STRIP):
            end = min(begin + STRIP, covariance.shape[1])
            np.matmul(covariance[:, :end], self._inverse_root[begin:end, :end].T, out=found[:, begin:end])
        return found

    def and_also(self, points: Floats, s: Floats) -> Posterior:
        """As if the expected values had come in there: what is on its way is not expected twice (Ginsbourger et al.
        2010, the kriging believer).

        What was expected changes no mean, so the new rows weigh nothing; the root's inverse gets a border.
        """
        covariance = self._covariance(points, s)
        spread = self._spread(covariance)
        found = copy.copy(self)
        found.rows = self.rows.and_also(points, s, covariance @ self._weights)
        found._places, found._place = _distinct(found.rows.points)
        near, nearer = self._kernel.nearness(points, points, self._unordered)
        shared, own, common = self._kernel.moments(s, s)
        left = _sum_of(near, shared, nearer, own, common) - spread @ spread.T
        left[np.diag_indices(len(s))] += self._kernel.noise
        corner = lapack.dtrtri(np.linalg.cholesky(left), lower=1)[0]
        old, new = len(self.rows.s), len(s)
        found._inverse_root = np.zeros((old + new, old + new))
        found._inverse_root[:old, :old] = self._inverse_root
        found._inverse_root[old:, :old] = -corner @ (spread @ self._inverse_root)
        found._inverse_root[old:, old:] = corner
        found._weights = np.concatenate([self._weights, np.zeros(new)])
        return found


def _distinct(points: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """The different ones of `points` (n, d), and which of them each is, (n,)."""
    numbers: dict[bytes, int] = {}
    place = np.array([numbers.setdefault(point.tobytes(), len(numbers)) for point in points], dtype=np.intp)
    first = np.unique(place, return_index=True)[1]
    return points[first], place


def _sum_of(near: Floats, shared: Floats, nearer: Floats, own: Floats, common: Floats) -> Floats:
    found: Floats = near * shared
    found += nearer * own
    found += common
    return found


def improvement(mean: Floats, deviation: Floats, best: float) -> tuple[Floats, Floats]:
    """The expected improvement on `best` (Jones et al. 1998), and how likely there is one."""
    z = (mean - best) / deviation
    likely = ndtr(z)
    gain: Floats = deviation * (z * likely + np.exp(-0.5 * z * z) / ROOT_2PI)
    return np.maximum(gain, 0.0), likely
