"""What the model of learning curves expects of configurations at the end of their training, for people to look at.

Not here: the model (`posterior`), whom a view shows (`surrogate_view`), and any decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_service.core import likeness
from hpo_service.samplers.freeze_thaw.evidence import Evidence
from hpo_service.samplers.freeze_thaw.kernel import Floats
from hpo_service.samplers.freeze_thaw.places import Places
from hpo_service.samplers.freeze_thaw.posterior import Posterior, improvement
from hpo_service.samplers.surrogate_view import SIGMAS

if TYPE_CHECKING:
    from hpo_service.samplers.encoding import Encoding

END = 1.0
"""The moment of a full training, as `planner` counts them."""
LEAST = 1e-300
"""Improvements are no smaller: their logarithms are drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """The process given what was `evidence`; its values times `spread` are on the evidence's scale. `best` is the best
    value in the process' units."""

    posterior: Posterior
    evidence: Evidence
    spread: float
    best: float

    def of(self, points: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Mean, both ends of the 95 % band, and expected improvement at the end of training of places (n, d): in the
        objective's units, higher is better. What is worse than the model tells apart is at the worst that it knows."""
        mean, deviation = (one[:, 0] for one in self.posterior.at(points, np.array([END])))
        gain, _ = improvement(mean, deviation, self.best)
        band = SIGMAS * deviation
        told = [self.evidence.unscaled(value * self.spread) for value in (mean, mean - band, mean + band)]
        return told[0], told[1], told[2], gain * self.spread * self.evidence.size


class CurveModel:
    """A `surrogate_view.Model`. `sign`: 1 where higher values are better, -1 where lower ones are."""

    def __init__(self, outlook: Outlook, encoding: Encoding, places: Places, *, sign: float) -> None:
        self._outlook, self._encoding, self._places, self._sign = outlook, encoding, places, sign

    def columns(self, name: str, codes: Sequence[dict[str, Any]], places: Floats) -> dict[str, Floats]:
        """Mean, band and the logarithm of the expected improvement, at the end of training."""
        mean, bad, good, gain = self._outlook.of(np.stack([self._point(code) for code in codes]))
        low, high = (bad, good) if self._sign > 0 else (-good, -bad)
        return {"mean": self._sign * mean, "low": low, "high": high, "acquisition": np.log(np.maximum(gain, LEAST))}

    def _point(self, codes: dict[str, Any]) -> Floats:
        space = self._places.space
        constant = {name: space.parameters[name].center for name in space.parameters if name not in codes}
        whole = {**constant, **{name: self._encoding.decode(name, code) for name, code in codes.items()}}
        active = space.active(whole)
        params = {name: value for name, value in whole.items() if name in active}
        return self._places.of(likeness.point(params, space))
