"""Kernel density estimates over the unit cube, as BOHB has them (Falkner, Klein & Hutter 2018, section 3.2).

Ordered parameters have Gaussian kernels, unordered ones those of Aitchison & Aitken (1976); bandwidths follow the
normal reference rule. The same arithmetic as in the authors' HpBandSter, which takes it from statsmodels. Which trials
make a density, and what its draws become: `bohb`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MIN_BANDWIDTH = 1e-3
"""So that a density keeps some width where all trials have one value."""
FLOOR = math.log(1e-32)
"""Neither density counts for less where their ratio is taken."""


class KernelDensity:
    """`points`, shape (n, d): places in [0, 1], of unordered parameters the index of the value. `counts`, d numbers:
    the values of an unordered parameter, 0 for an ordered one. Bandwidths of the latter: 1.06·σ·n^(-1/(4+d)); of the
    former the same of the indexes, at most (c - 1)/c of c values, where all of them are equally likely."""

    def __init__(self, points: Floats, counts: Sequence[int]) -> None:
        self.points = points
        self.counts = np.array(counts, dtype=np.int64)
        widths = [_normal_reference(column, len(counts)) for column in points.T.tolist()]
        most = [math.inf if count == 0 else (count - 1) / count for count in counts]
        self.bandwidths = np.minimum(np.maximum(widths, MIN_BANDWIDTH), most)

    def log_density(self, points: Floats) -> Floats:
        """Its natural logarithm at points of shape (m, d)."""
        kernels = np.zeros((len(points), len(self.points)))
        for column, (count, width) in enumerate(zip(self.counts, self.bandwidths, strict=True)):
            here, there = points[:, column, None], self.points[None, :, column]
            if count == 0:
                kernels -= 0.5 * ((here - there) / width) ** 2 + math.log(width * math.sqrt(2 * math.pi))
            elif count > 1:
                kernels += np.where(here == there, math.log(1 - width), math.log(width / (count - 1)))
        highest = kernels.max(axis=1)
        found: Floats = highest + np.log(np.exp(kernels - highest[:, None]).mean(axis=1))
        return found

    def draw(self, count: int, rng: np.random.Generator, *, widened: float) -> Floats:
        """So many points, shape (count, d), from it with bandwidths of ordered parameters times `widened`, kept within
        [0, 1]."""
        found = self.points[rng.integers(len(self.points), size=count)]
        for column, (values, width) in enumerate(zip(self.counts, self.bandwidths, strict=True)):
            if values == 0:
                found[:, column] = _truncated(found[:, column], widened * width, rng)
            else:
                other = rng.random(count) < width
                found[other, column] = rng.integers(values, size=int(other.sum()))
        return found


def log_ratio(good: KernelDensity, bad: KernelDensity, points: Floats) -> Floats:
    """What BOHB maximises: ln l(x) - ln g(x)."""
    found: Floats = np.maximum(good.log_density(points), FLOOR) - np.maximum(bad.log_density(points), FLOOR)
    return found


def _normal_reference(column: Sequence[float], dimensions: int) -> float:
    """Scott's rule; sums are exact, so that the same trials give the same bandwidth on every machine."""
    mean = math.fsum(column) / len(column)
    deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in column) / len(column))
    return float(1.06 * deviation * len(column) ** (-1 / (4 + dimensions)))


def _truncated(means: Floats, width: float, rng: np.random.Generator) -> Floats:
    """A draw of each normal distribution within [0, 1]; means lie there, so hardly more than half are drawn again
    where the width is small, and all the more of a flat one are kept the smaller [0, 1] is beside it."""
    found = rng.normal(means, width)
    outside = (found < 0) | (found > 1)
    for _ in range(64):
        if not outside.any():
            return found
        found[outside] = rng.normal(means[outside], width)
        outside = (found < 0) | (found > 1)
    found[outside] = rng.random(int(outside.sum()))
    return found
