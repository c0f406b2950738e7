"""What the curve model learns from: values at the ends of segments, in the order in which they came.

Here: which of them are kept, and on which scale. Not here: the model, what is decided by it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hpo_service.samplers.freeze_thaw.kernel import Floats

LIMIT = 160
"""Rows that the model is given at most."""
PER_TRIAL = 3
"""Of one trial: the first, a middle one and the last."""
EARLY = 0.1
"""Values before that share of a full training tell a bad configuration from others, and little else: of a trial that
came further they are left out, lest the model follow many of them and not the few that tell the best apart."""
FIRM = 0.75
"""Of the limit, the share that goes to the best trials; the rest is an even spread over the others."""
BELOW = 2.0
"""How values below the median are squashed: -BELOW · log(1 + distance / BELOW), and no further down than `WORST`."""
WORST = -1.0
TINY = 1e-300
"""Differences up to that are none: nothing can be divided by them."""


class Seen(NamedTuple):
    """What a segment came to: `value` is higher where better, NaN where it failed or diverged. A tuple, for many are
    made in every decision."""

    trial: int
    resource: float
    value: float


class Evidence:
    """What was seen, by trial: `curves` (resource to value), `peaks` (the best value; -inf: none), `order` (best
    first)."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self.curves: dict[int, dict[float, float]] = {}
        for one in seen:
            self.curves.setdefault(one.trial, {})[one.resource] = one.value
        finite = {trial: [v for v in curve.values() if math.isfinite(v)] for trial, curve in self.curves.items()}
        values = np.array(list(itertools.chain.from_iterable(finite.values())))
        self.middle = float(np.median(values)) if len(values) else 0.0
        self.best = float(values.max()) if len(values) else -math.inf
        self.size = self.best - self.middle
        self.peaks = {trial: max(found, default=-math.inf) for trial, found in finite.items()}
        self.order = sorted(self.peaks, key=lambda trial: (-self.peaks[trial], trial))

    @property
    def tells(self) -> bool:
        """Whether anything is better than the middle: else there is nothing to model."""
        return len(self.curves) >= 2 and self.size > TINY

    def ended(self, last: float) -> bool:
        """Whether a trial came to the end."""
        return any(last in curve for curve in self.curves.values())

    def peak(self, trial: int) -> float:
        """The trial's best value; -inf where it has none."""
        return self.peaks.get(trial, -math.inf)

    def scaled(self, values: Floats) -> Floats:
        """On the model's scale: the median is 0, the best 1, what is far below the median not much worse, and what
        diverged the worst."""
        z = (values - self.middle) / self.size
        below = np.minimum(np.where(np.isfinite(z), z, 0.0), 0.0)
        z = np.where(z < 0, -BELOW * np.log1p(-below / BELOW), z)
        return np.maximum(np.where(np.isfinite(z), z, WORST), WORST)

    def unscaled(self, z: Floats) -> Floats:
        """The values that `scaled` takes to `z`; below `WORST` those of `WORST`."""
        below = np.minimum(np.maximum(z, WORST), 0.0)
        found: Floats = self.middle + self.size * np.where(z < 0, -BELOW * np.expm1(-below / BELOW), z)
        return found

    def rows(self, *, end: float) -> list[Seen]:
        """What the model is given: at most `PER_TRIAL` of a trial, and `LIMIT` in all. `end` is a full training."""
        found = [(trial, r) for trial, curve in self.curves.items() for r in _kept(curve, early=EARLY * end)]
        if len(found) > LIMIT:
            rank = {trial: place for place, trial in enumerate(self.order)}
            last = {trial: max(curve) for trial, curve in self.curves.items()}
            later = 0.5 * len(self.order)
            found.sort(key=lambda one: rank[one[0]] + (0.0 if one[1] == last[one[0]] else later))
            firm = int(FIRM * LIMIT)
            rest = found[firm:]
            spread = np.linspace(0, len(rest) - 1, LIMIT - firm).astype(int)
            found = found[:firm] + [rest[i] for i in spread]
        return [Seen(trial, r, self.curves[trial][r]) for trial, r in found]


def _kept(curve: Mapping[float, float], *, early: float) -> Sequence[float]:
    levels = sorted(curve)
    levels = [level for level in levels if level >= early] or levels
    return levels if len(levels) <= PER_TRIAL else (levels[0], levels[len(levels) // 2], levels[-1])


def spread_of(rows: Sequence[Seen], most: int) -> list[Seen]:
    """At most so many rows for a fit: the best half, and an even spread of the others by value."""
    if len(rows) <= most:
        return list(rows)
    order = sorted(rows, key=lambda one: -one.value if math.isfinite(one.value) else math.inf)
    firm, rest = order[: most // 2], order[most // 2 :]
    return firm + [rest[i] for i in np.linspace(0, len(rest) - 1, most - len(firm)).astype(int)]
