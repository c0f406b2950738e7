"""A small Gaussian process over another study's results: what it would say of this study's configurations. Pure numpy.

Scores instead of values, so that studies can be compared: 1 for the best, 0 for the median, and what is worse than that
squeezed between 0 and -1/2, for how bad a bad one is tells little.
The kernel is Matérn 5/2 with a length per parameter (Rasmussen & Williams 2006, 4.2.1); a parameter in which all
results agree says nothing, and has an infinite length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FLOOR = -0.5
LENGTHS = (0.25, 0.5, 1.0, 2.0)
"""Where the search for lengths begins, in units of the cube's diagonal."""
FACTORS = (0.5, 2.0, 8.0)
NOISES = (0.01, 0.1, 0.5)
"""Of the variance of the scores."""


def scores(values: Sequence[float], *, maximize: bool) -> Floats:
    """Shape (n,): 1 for the best value, 0 for the median one, below that (exp(2s) - 1) / 2; NaN and infinite values are
    the worst, -1/2."""
    told = np.asarray(values, dtype=np.float64) * (1.0 if maximize else -1.0)
    finite = np.isfinite(told)
    if not finite.any():
        return np.zeros(len(told))
    middle, best = float(np.median(told[finite])), float(told[finite].max())
    if best <= middle:
        found = np.zeros(len(told))
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            found = np.minimum((told - middle) / (best - middle), 1.0)
            found = np.where(found < 0.0, 0.5 * np.expm1(2.0 * np.minimum(found, 0.0)), found)
    found[~finite] = FLOOR
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """`lengths`: shape (d,), infinite where a parameter says nothing; `noise` of the scores' variance."""

    lengths: Floats
    noise: float
    unordered: Flags

    def correlation(self, one: Floats, other: Floats) -> Floats:
        """Shapes (n, d) and (m, d) to (n, m). Listed values are as far apart as the ends of a range, or the same."""
        inverse = 1.0 / self.lengths
        scaled, against = one * inverse, other * inverse
        ordered = ~self.unordered
        a, b = scaled[:, ordered], against[:, ordered]
        squares: Floats = np.asarray((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2.0 * a @ b.T, dtype=np.float64)
        for column in np.flatnonzero(self.unordered & np.isfinite(self.lengths)):
            apart = np.abs(one[:, None, column] - other[None, :, column]) > 1e-9
            squares = np.asarray(squares + apart * inverse[column] ** 2, dtype=np.float64)
        root = np.sqrt(np.maximum(5.0 * squares, 0.0))
        return np.asarray((1.0 + root + root * root / 3.0) * np.exp(-root), dtype=np.float64)


class PastModel:
    """The process with a given kernel: points (n, d) without NaN, scores (n,)."""

    def __init__(self, points: Floats, told: Floats, kernel: Kernel) -> None:
        self.kernel = kernel
        self.points = points
        self.shift = float(told.mean())
        self.scale = float(told.std()) or 1.0
        covariance = kernel.correlation(points, points)
        covariance[np.diag_indices(len(points))] += kernel.noise
        standard = (told - self.shift) / self.scale
        self._weights: Floats = np.asarray(np.linalg.solve(covariance, standard), dtype=np.float64)

    def at(self, points: Floats) -> Floats:
        """Scores expected at points (m, d), shape (m,); in units of the deviation among the study's results, from
        their mean."""
        found: Floats = self.kernel.correlation(points, self.points) @ self._weights
        return found

    def scores_at(self, points: Floats) -> Floats:
        """The same as scores: at most 1, at least the floor."""
        found: Floats = np.clip(self.at(points) * self.scale + self.shift, FLOOR, 1.0)
        return found


def left_out(points: Floats, told: Floats, kernel: Kernel) -> Floats:
    """What each result would be expected to be by all others (Rasmussen & Williams 2006, 5.12), standardised."""
    scale = float(told.std()) or 1.0
    standard = (told - told.mean()) / scale
    covariance = kernel.correlation(points, points)
    covariance[np.diag_indices(len(points))] += kernel.noise
    inverse = np.linalg.inv(covariance)
    found: Floats = standard - inverse @ standard / np.diag(inverse)
    return found


def fitted(points: Floats, told: Floats, unordered: Flags) -> Kernel:
    """The kernel of the highest likelihood among few: one length for all, then parameter by parameter, twice."""
    d = points.shape[1]
    says = np.ptp(points, axis=0) > 1e-9 if len(points) else np.zeros(d, dtype=np.bool_)
    scale = float(told.std()) or 1.0
    standard = (told - told.mean()) / scale
    diagonal = max(1.0, float(says.sum())) ** 0.5

    def kernel(lengths: Floats, noise: float) -> Kernel:
        return Kernel(lengths=np.where(says, lengths, np.inf), noise=noise, unordered=unordered)

    def loss(found: Kernel) -> float:
        return _loss(points, standard, found)

    best = min((kernel(np.full(d, size * diagonal), noise) for size in LENGTHS for noise in NOISES), key=loss)
    least = loss(best)
    for _ in range(2):
        for column in np.flatnonzero(says):
            for factor in FACTORS:
                lengths = best.lengths.copy()
                lengths[column] = float(np.clip(lengths[column] * factor, 0.05, 50.0))
                tried = kernel(lengths, best.noise)
                if (value := loss(tried)) < least - 1e-9:
                    best, least = tried, value
    return best


def _loss(points: Floats, standard: Floats, kernel: Kernel) -> float:
    """Minus the logarithm of likelihood times a prior that keeps lengths near the diagonal of what is told."""
    covariance = kernel.correlation(points, points)
    covariance[np.diag_indices(len(points))] += kernel.noise
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return np.inf
    solved = np.linalg.solve(root, standard)
    logs = np.log(kernel.lengths[np.isfinite(kernel.lengths)])
    return float(0.5 * solved @ solved + np.log(np.diag(root)).sum() + 0.1 * (logs**2).sum())
