"""The kernel of the highest likelihood times prior, by L-BFGS-B with the gradient written out.

Length scales have the prior of Hvarfner et al. 2024 ("Vanilla Bayesian Optimization Performs Great in High
Dimensions"), which grows with the root of the number of parameters; here it is somewhat shorter and tighter. Always
begun from the same place, so that a fit is a function of its data alone.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import cho_solve, lapack
from scipy.optimize import minimize

from hpo_service.samplers.freeze_thaw.kernel import LEVEL, OWN, ROOT5, SPREAD, TREND, USUAL, Floats, Kernel, matern

STEPS = 25
"""The most evaluations of the likelihood in one fit."""
SCALES_AT, SCALES_SPREAD = 0.35 * math.sqrt(2.0) - 0.2, 1.0
"""The mean of the length scales' logarithm is the first plus log √d; its deviation the second."""
STUCK = 1e10


def start(dimension: int) -> Floats:
    """Where a search begins, (d + 7,)."""
    return np.concatenate([np.full(dimension, math.log(0.5) + 0.5 * math.log(max(1, dimension)) - 0.7), USUAL])


def fitted(squared: Floats, s: Floats, values: Floats) -> Kernel:
    """The kernel for `values` (n,) at moments `s` (n,), with squared differences (n, n, d) of their configurations."""
    dimension = squared.shape[2]
    low = np.log([0.1, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-5])
    high = np.log([5.0, 10.0, 10.0, 10.0, 10.0, 10.0, 0.3])
    bounds = [(math.log(0.05), math.log(20.0))] * dimension + list(zip(low, high, strict=True))
    likelihood = _Likelihood(squared, s, values)
    found = minimize(
        likelihood.loss, start(dimension), jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxfun": STEPS, "maxiter": STEPS},
    )  # fmt: skip
    return Kernel.of(found.x if np.isfinite(found.x).all() else start(dimension))


class _Likelihood:
    """Minus the logarithm of marginal likelihood times prior, and its gradient (Rasmussen & Williams 2006, 5.9)."""

    def __init__(self, squared: Floats, s: Floats, values: Floats) -> None:
        self._squared = squared
        self._flat = squared.reshape(len(s) ** 2, squared.shape[2])
        self._both = s[:, None] * s[None, :]
        self._apart = ROOT5 * np.abs(s[:, None] - s[None, :])
        self._values = values

    def loss(self, raw: Floats) -> tuple[float, Floats]:
        """At one point, (d + 7,)."""
        dimension, count = self._squared.shape[2], len(self._values)
        inverse = np.exp(-2.0 * raw[:dimension])
        scale, level, slope, wave, own, own_slope, noise = np.exp(raw[dimension:])
        r = np.sqrt(5.0 * (self._flat @ inverse)).reshape(count, count)
        near, nearer = matern(r), matern(OWN * r)
        t = self._apart / scale
        waves = matern(t)
        shared, single = level + slope * self._both + wave * waves, own + own_slope * self._both
        covariance = near * shared + nearer * single + LEVEL + TREND * self._both
        covariance[np.diag_indices(count)] += noise + 1e-6
        root, failed = lapack.dpotrf(covariance, lower=1)
        if failed:
            return STUCK, np.zeros_like(raw)
        weights = cho_solve((root, True), self._values)
        fit = -0.5 * float(self._values @ weights) - float(np.log(np.diag(root)).sum())
        lower, _ = lapack.dpotri(root, lower=1)
        inverted = np.tril(lower) + np.tril(lower, -1).T
        change = 0.5 * (np.outer(weights, weights) - inverted)
        slopes = (5.0 / 3.0) * ((1 + r) * np.exp(-r) * shared + OWN**2 * (1 + OWN * r) * np.exp(-OWN * r) * single)
        by_near, by_nearer = change * near, change * nearer
        gradient = np.concatenate(
            [
                ((change * slopes).reshape(-1) @ self._flat) * inverse,
                [
                    float((by_near * (wave * (1 + t) * np.exp(-t) * t * t / 3.0)).sum()),
                    level * float(by_near.sum()),
                    slope * float((by_near * self._both).sum()),
                    wave * float((by_near * waves).sum()),
                    own * float(by_nearer.sum()),
                    own_slope * float((by_nearer * self._both).sum()),
                    noise * float(np.trace(change)),
                ],
            ]
        )
        believed, by_belief = _prior(raw)
        return -(fit + believed), -(gradient + by_belief)


def _prior(raw: Floats) -> tuple[float, Floats]:
    dimension = len(raw) - len(USUAL)
    means = np.concatenate([np.full(dimension, SCALES_AT + 0.5 * math.log(max(1, dimension))), USUAL])
    spreads = np.concatenate([np.full(dimension, SCALES_SPREAD), SPREAD])
    away = (raw - means) / spreads
    return -0.5 * float(away @ away), -away / spreads
