"""What a model learns from where there is more to a trial than one value: several objectives, or constraints.

Here: losses and excesses as arrays, who of the trials counts as good, and which of many a model is fed. No model is
here; hypervolumes are Optuna's: import it lazily.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from optuna._hypervolume.hssp import _solve_hssp

from hpo_service.samplers.fronts import fronts

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
TINY = 1e-12


class Judged:
    """Trials in the order of their numbers, row by row: `losses` (trials, objectives), to be minimised and NaN where a
    trial failed, `excess` (trials, constraints) and `violations` (trials,) as in `Outcome`. `rested`: who is not on its
    way any more. From then on `losses` of a failed trial are the worst of each objective."""

    def __init__(self, *, losses: Floats, excess: Floats, violations: Floats, rested: npt.NDArray[np.bool_]) -> None:
        self.excess, self.violations, self.rested = excess, violations, rested
        self.failed = rested & np.isnan(losses).any(axis=1)
        known = rested & ~self.failed
        self.losses = losses.copy()
        if known.any():
            self.losses[self.failed] = losses[known].max(axis=0)
        self._good: dict[int, npt.NDArray[np.bool_]] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing is known that is not a failure."""
        return not (self.rested & ~self.failed).any()

    @property
    def feasible(self) -> npt.NDArray[np.bool_]:
        """Who came to something, and is known to keep every constraint."""
        found: npt.NDArray[np.bool_] = self.rested & ~self.failed & (self.violations == 0)
        return found

    @property
    def front(self) -> npt.NDArray[np.bool_]:
        """The feasible trials that no other feasible one dominates."""
        found = np.zeros(len(self.rested), dtype=np.bool_)
        rows = np.flatnonzero(self.feasible)
        found[rows[fronts(self.losses[rows], self.violations[rows]) == 0]] = True
        return found

    def good(self, count: int) -> npt.NDArray[np.bool_]:
        """The best so many: front by front, and of the front that is cut those that together cover the most volume, one
        after another (Ozaki et al. 2022, section 3); then by how little they break."""
        if count not in self._good:
            self._good[count] = self._chosen(count)
        return self._good[count]

    def _chosen(self, count: int) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(self.rested), dtype=np.bool_)
        rows = np.flatnonzero(self.rested)
        told = np.where(self.failed[rows, None], np.nan, self.losses[rows])
        ranks = fronts(told, self.violations[rows])
        for rank in range(int(ranks.max(initial=-1)) + 1):
            members, room = rows[ranks == rank], count - int(found.sum())
            if len(members) <= room:
                found[members] = True
            elif room > 0:
                found[self._covering(members, room)] = True
        return found

    def _covering(self, members: Integers, count: int) -> Integers:
        if self.losses.shape[1] == 1 or self.failed[members[0]] or self.violations[members[0]] > 0:
            return members[:count]
        losses = self.losses[members]
        worst = losses.max(axis=0)
        reference = np.maximum(1.1 * worst, 0.9 * worst)
        reference[reference == 0] = TINY
        found: Integers = _solve_hssp(losses, members, count, reference)
        return found
