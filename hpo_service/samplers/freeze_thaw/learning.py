"""The model of a study's learning curves: its kernel, fitted now and then, and the process given what was seen.

The kernel is fitted anew whenever a fifteenth more was seen, to what had been seen by then; between fits the newest
values are taken in with the kernel that there is. Not here: what is decided by it (`choice`, `planner`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpo_service.samplers.freeze_thaw.evidence import Evidence, Seen, spread_of
from hpo_service.samplers.freeze_thaw.fit import fitted, start
from hpo_service.samplers.freeze_thaw.kernel import Floats, Kernel, squares
from hpo_service.samplers.freeze_thaw.posterior import Posterior, Rows
from hpo_service.samplers.freeze_thaw.scene import BEGIN

REFIT = 1.07
FITTED = 140
"""Rows of a fit, at most."""
SPAN = 52.0
"""Moments are 1 + log(share of a full training) / log(SPAN)."""
SHORTEST = 1e-3
"""What was seen earlier than at this share of a full training counts as seen there."""
EXPECTED = 64
"""Of those on their way, so many are taken as if they had come to what is expected: the newest. More take more time
than they are worth."""

Expected = Sequence[tuple[Floats, float]]
"""Places (d,) of trials on their way, and the levels that they go to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What the model says: the process given what was seen (`known`) and with those on their way (`posterior`), the
    best value on its scale, and the objective's units per unit of it."""

    evidence: Evidence
    known: Posterior
    posterior: Posterior
    best: float
    scale: float


class CurveLearner:
    """For one space. `end`: a full training. `unordered` (d,): which axes have no order. `point`: a trial's place."""

    def __init__(self, end: float, unordered: npt.NDArray[np.bool_], point: Callable[[int], Floats]) -> None:
        self._end = end
        self._unordered = unordered
        self._point = point
        self._kernels: dict[int, Kernel] = {}

    def moments(self, resources: Sequence[float]) -> Floats:
        """Where on the axis of time the model has them."""
        shares = np.maximum(np.asarray(resources, dtype=np.float64) / self._end, SHORTEST)
        found: Floats = 1.0 + np.log(shares) / np.log(SPAN)
        return found

    def sight(self, seen: Sequence[Seen], evidence: Evidence, expected: Expected) -> Sight | None:
        """What the model says given `seen`, of which `evidence` is, and at most `EXPECTED` on their way; None
        where that tells nothing."""
        if not evidence.tells:
            return None
        rows, spread = self._rows(evidence.rows(end=self._end), evidence)
        known = Posterior(self._kernel(seen), rows, self._unordered)
        posterior = self._with(known, expected) if expected else known
        return Sight(
            evidence=evidence, known=known, posterior=posterior, best=1.0 / spread, scale=spread * evidence.size
        )

    def one_more(self, sight: Sight, expected: Expected) -> Posterior:
        """The process with the last of `expected` on its way, too; all others are in `sight` already."""
        if len(expected) <= EXPECTED:
            return self._with(sight.posterior, expected[-1:])
        return self._with(sight.known, expected[-EXPECTED:])

    def _rows(self, seen: Sequence[Seen], evidence: Evidence) -> tuple[Rows, float]:
        values = evidence.scaled(np.array([one.value for one in seen]))
        spread = max(float(values.std()), 1e-3)
        points = np.stack([self._point(one.trial) for one in seen])
        return Rows(points=points, s=self.moments([one.resource for one in seen]), values=values / spread), spread

    def _kernel(self, seen: Sequence[Seen]) -> Kernel:
        """Fitted to what had been seen when the last fit was due; where that told nothing, where a fit begins."""
        due = BEGIN
        while due * REFIT + 1 <= len(seen):
            due = int(due * REFIT + 1)
        due = min(due, len(seen))
        if due not in self._kernels:
            self._kernels = {due: self._fit(Evidence(seen[:due]))}
        return self._kernels[due]

    def _fit(self, evidence: Evidence) -> Kernel:
        if not evidence.tells:
            return Kernel.of(start(len(self._unordered)))
        rows, _ = self._rows(spread_of(evidence.rows(end=self._end), FITTED), evidence)
        return fitted(squares(rows.points, rows.points, self._unordered), rows.s, rows.values)

    def _with(self, posterior: Posterior, expected: Expected) -> Posterior:
        points = np.stack([place for place, _ in expected])
        return posterior.and_also(points, self.moments([target for _, target in expected]))
