"""What is expected of learning curves, given values on some of them. Rows are (configuration, moment, value)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack
from scipy.special import ndtr

from hpo_service.samplers.freeze_thaw.kernel import Floats, Kernel, squares

TINY = 1e-10
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
        near, nearer = kernel.nearness(squares(rows.points, rows.points, unordered))
        shared, own, common = kernel.moments(rows.s, rows.s)
        covariance = near * shared + nearer * own + common
        covariance[np.diag_indices(len(rows.s))] += kernel.noise
        root = np.linalg.cholesky(covariance)
        self._inverse_root = lapack.dtrtri(root, lower=1)[0]
        self._weights = self._inverse_root.T @ (self._inverse_root @ rows.values)

    def at(self, points: Floats, s: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation, (n, m) each, of configurations (n, d) at each of the moments (m,)."""
        near, nearer = self._kernel.nearness(squares(points, self.rows.points, self._unordered))
        shared, own, common = self._kernel.moments(s, self.rows.s)
        return self._told(near[:, None, :] * shared + nearer[:, None, :] * own + common, self._kernel.variance(s))

    def along(self, points: Floats, s: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation, (n,) each, of each configuration at a moment of its own."""
        near, nearer = self._kernel.nearness(squares(points, self.rows.points, self._unordered))
        shared, own, common = self._kernel.moments(s, self.rows.s)
        return self._told(near * shared + nearer * own + common, self._kernel.variance(s))

    def _told(self, covariance: Floats, variance: Floats) -> tuple[Floats, Floats]:
        spread = covariance @ self._inverse_root.T
        left = variance - np.einsum("...i,...i->...", spread, spread)
        return covariance @ self._weights, np.sqrt(np.maximum(left, TINY))

    def and_also(self, points: Floats, s: Floats) -> Posterior:
        """As if the expected values had come in there: what is on its way is not expected twice (Ginsbourger et al.
        2010, the kriging believer)."""
        mean, _ = self.along(points, s)
        return Posterior(self._kernel, self.rows.and_also(points, s, mean), self._unordered)


def improvement(mean: Floats, deviation: Floats, best: float) -> tuple[Floats, Floats]:
    """The expected improvement on `best` (Jones et al. 1998), and how likely there is one."""
    z = (mean - best) / deviation
    likely = ndtr(z)
    gain: Floats = deviation * (z * likely + np.exp(-0.5 * z * z) / ROOT_2PI)
    return np.maximum(gain, 0.0), likely
