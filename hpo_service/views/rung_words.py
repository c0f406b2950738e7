"""Why a trial stands where it stands on a rung, in one sentence: the stored reason, or what the rung tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpo_service.core.algorithm_specs import AlgorithmSpec, AshaSpec, AutoSpec, MedianSpec, PashaSpec
from hpo_service.views.columns import Floats

MOST = 200
"""Characters of a stored reason that are sent."""


@dataclass(frozen=True, slots=True)
class Rung:
    """What is known of a rung. `ranked`: its values, best (smallest, times `sign`) first, where all are known."""

    spec: AlgorithmSpec
    levels: tuple[float, ...]
    rung: int
    ranked: Floats | None
    of: int
    sign: float

    @property
    def level(self) -> float:
        return self.levels[self.rung]


def reason(rung: Rung, fate: str, stored: str, *, value: float, pending: bool) -> str:
    """The sentence. `stored` is the trial's own reason where it is about this rung, else empty."""
    if fate == "promoted":
        return stored[:MOST] or _promoted(rung, value)
    if fate == "waiting" and pending:
        return f"promoted to resource {rung.level:g}; waits for a free slot"
    if fate == "paused":
        return _paused(rung, value)
    return stored[:MOST] or fate


def _promoted(rung: Rung, value: float) -> str:
    if isinstance(rung.spec, MedianSpec):
        return f"not worse than the median at resource {rung.level:g}"
    then = f"promoted to resource {rung.levels[rung.rung + 1]:g}"
    standing = _standing(rung, value)
    return f"{standing}: {then}" if standing else then


def _paused(rung: Rung, value: float) -> str:
    if isinstance(rung.spec, MedianSpec):
        return f"waits to be judged at resource {rung.level:g}"
    if isinstance(rung.spec, AutoSpec):
        return f"{_standing(rung, value) or f'at resource {rung.level:g}'}, goes on when it promises most"
    if not isinstance(rung.spec, AshaSpec | PashaSpec):
        return f"waits until the other trials of the rung came to resource {rung.level:g}"
    standing = _standing(rung, value) or f"at resource {rung.level:g}"
    unless = ", or the ranking here is the one below" if isinstance(rung.spec, PashaSpec) else ""
    return f"{standing}, not promoted while the best 1/{rung.spec.eta} are others{unless}"


def _standing(rung: Rung, value: float) -> str:
    if rung.ranked is None or np.isnan(value):
        return ""
    rank = int(np.searchsorted(rung.ranked, rung.sign * value)) + 1
    return f"rank {rank} of {rung.of} at resource {rung.level:g}"
