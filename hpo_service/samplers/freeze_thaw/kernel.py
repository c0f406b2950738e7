"""The covariance of learning curves: of two configurations x, x' (places in the unit cube) at two moments s, s' (the
logarithm of training, 1 at its end).

    k = M(r) · (a₀ + a₁ s s' + a₂ M(√5 |s - s'| / ℓ)) + M(4 r) · (b₀ + b₁ s s') + c₀ + c₁ s s'

M is the Matérn 5/2 correlation, r the distance with a length scale per parameter (Rasmussen & Williams 2006, 4.2 and
5.1). The first term says that like configurations have like curves; the second what one has of its own, on a quarter of
the scale, so that the same place tried again is the same; the third is what all curves have in common: a level and a
trend. Products of this form: Swersky, Snoek & Adams 2014 ("Freeze-Thaw Bayesian Optimization"). Pure arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

Floats = npt.NDArray[np.float64]

OWN = 4.0
"""How much shorter the scale is of what a configuration has of its own."""
LEVEL, TREND = 0.5, 0.5
"""c₀ and c₁."""
ROOT5 = math.sqrt(5.0)
UNLIKE = 0.25
"""The squared difference of different values without an order."""
NAMES = ("ℓ", "a₀", "a₁", "a₂", "b₀", "b₁", "noise")
USUAL = np.log([0.5, 0.5, 0.3, 0.1, 0.05, 0.02, 1e-3])
"""Where the parameters after the length scales are believed to lie, as logarithms: the mean of a normal prior …"""
SPREAD = np.array([0.7, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
"""… and its deviation."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """The parameters as logarithms: `scales` (d,), `rest` (7,) in the order of `NAMES`."""

    scales: Floats
    rest: Floats

    @classmethod
    def of(cls, raw: Floats) -> Kernel:
        """From one vector, (d + 7,)."""
        return cls(raw[:-7], raw[-7:])

    @property
    def noise(self) -> float:
        """The variance of one value's noise."""
        return math.exp(float(self.rest[6])) + 1e-6

    def nearness(self, points: Floats, others: Floats, unordered: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Both correlations of configurations (n, d) with others (m, d): (n, m) each."""
        r = ROOT5 * self.distances(points, others, unordered)
        return matern(r), matern(OWN * r)

    def distances(self, points: Floats, others: Floats, unordered: npt.NDArray[np.bool_]) -> Floats:
        """How many length scales configurations (n, d) are from others (m, d): (n, m)."""
        weights = np.exp(-self.scales)
        ordered = ~unordered
        squared: Floats = (
            cdist(points[:, ordered] * weights[ordered], others[:, ordered] * weights[ordered], "sqeuclidean")
            if ordered.any()
            else np.zeros((len(points), len(others)))
        )
        for column in np.flatnonzero(unordered):
            squared += (UNLIKE * weights[column] ** 2) * _differ(points[:, None, column], others[None, :, column])
        return np.sqrt(squared, out=squared)

    def moments(self, s: Floats, t: Floats) -> tuple[Floats, Floats, Floats]:
        """What multiplies both correlations, and what is added: for all pairs of moments, (len(s), len(t)) each."""
        scale, level, slope, wave, own, own_slope, _ = np.exp(self.rest)
        both = s[:, None] * t[None, :]
        waves = matern(ROOT5 * np.abs(s[:, None] - t[None, :]) / scale)
        return level + slope * both + wave * waves, own + own_slope * both, LEVEL + TREND * both

    def variance(self, s: Floats) -> Floats:
        """Of one configuration at each moment."""
        _, level, slope, wave, own, own_slope, _ = np.exp(self.rest)
        found: Floats = level + wave + own + LEVEL + (slope + own_slope + TREND) * s * s
        return found


def matern(r: Floats) -> Floats:
    """(1 + r + r²/3) exp(-r)."""
    found: Floats = r * r
    found /= 3.0
    found += 1.0 + r
    found *= np.exp(-r)
    return found


def squares(points: Floats, others: Floats, unordered: npt.NDArray[np.bool_]) -> Floats:
    """Squared differences by parameter, (n, m, d); values without an order are alike or different: 0 or `UNLIKE`."""
    found: Floats = (points[:, None, :] - others[None, :, :]) ** 2
    for column in np.flatnonzero(unordered):
        found[..., column] = UNLIKE * _differ(points[:, None, column], others[None, :, column])
    return found


def _differ(places: Floats, others: Floats) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = np.abs(places - others) > 1e-6
    return found
