"""Places of configurations that could begin: anywhere, around the best trials, and closer around what promises most.

Not here: what they promise (`planner`), and which places there are (`places`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hpo_service.samplers.freeze_thaw.kernel import Floats
from hpo_service.samplers.nearby import around

SPREAD_OUT, AROUND = 200, 40
"""So many anywhere, and so many around each of the best trials."""
CENTRES, CLOSER = 4, 15
"""Around so many that promise most, so many closer draws each."""
MOVED = 0.6
"""The share of parameters that a closer draw changes."""


class Draws:
    """In one space. `cells` (d,): of each parameter how many places it has, 0 without end. `settle`: which of some
    places are different configurations that may begin; None where all are."""

    def __init__(self, cells: npt.NDArray[np.int64], settle: Callable[[Floats], Floats] | None) -> None:
        self._cells = cells
        self._settle = settle

    def anywhere(self, rng: np.random.Generator, count: int) -> Floats:
        """At most `count` places (n, d)."""
        return self.settled(rng.random((count, len(self._cells))))

    def mixed(self, rng: np.random.Generator, best: Sequence[Floats]) -> Floats:
        """Places (n, d) anywhere, and around each of the `best`."""
        found = [rng.random((SPREAD_OUT, len(self._cells)))]
        found.extend(around(np.tile(place, (AROUND, 1)), rng)[0] for place in best)
        return self.settled(np.concatenate(found))

    def closer(
        self, rng: np.random.Generator, points: Floats, rates: Floats, width: float
    ) -> tuple[npt.NDArray[np.intp], Floats]:
        """Which `CENTRES` of `points` (n, d) have the highest `rates` (n,), best first, and places around them."""
        order = np.argsort(-rates, kind="stable")[:CENTRES]
        centres = np.repeat(points[order], CLOSER, axis=0)
        moved = rng.random(centres.shape) < MOVED
        steps = moved * width * rng.standard_normal(centres.shape)
        return order, self.settled(np.clip(centres + steps, 0.0, 1.0))

    def settled(self, points: Floats) -> Floats:
        """With values that a discrete parameter has."""
        cells = self._cells
        inside = np.minimum(np.floor(points * cells), np.maximum(cells - 1, 0))
        found: Floats = np.where(cells > 0, (inside + 0.5) / np.maximum(cells, 1), points)
        return found if self._settle is None else self._settle(found)
