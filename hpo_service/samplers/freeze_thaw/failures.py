"""Whether trials fail for what is configured. If so, such configurations are bad; if not, a failure says nothing of its
configuration: a full disk or a bug that strikes anywhere must not turn a search away from where it is good.

Trials that are trained longer have more time to fail, and the best are trained longest, so that each failure is
compared with the trials that had come as far: the score test of Cox's proportional hazards (Cox 1972, Regression models
and life-tables, section 6), for each axis alone. A range in the middle of an axis does not show. Not here: what is
made of it (`planner`), and which failures count (`memory`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hpo_service.samplers.freeze_thaw.kernel import Floats

FEW = 4
"""Fewer failures than that are chance."""
SURE = 3.0
"""Standard deviations from which on an axis tells who fails: by chance a few in a thousand do, on each axis."""


class Failure(NamedTuple):
    """A trial that raised, or was lost: where it was to go, and how far it came."""

    target: float
    reach: float


def come_from(points: Floats, reach: Sequence[float], failed: Sequence[bool], unordered: npt.NDArray[np.bool_]) -> bool:
    """Whether the places (n, d) of trials tell which of them failed. `reach` (n,) is how far each is known to have
    come: those that failed did so after it. `unordered` (d,) says which axes have no order."""
    if sum(failed) < FEW:
        return False
    when = np.asarray(reach, dtype=np.float64)
    when = np.where(failed, np.nextafter(when, np.inf), when)  # who stopped there was not there to fail any more
    order = np.argsort(-when, kind="stable")
    far, lost = when[order], np.asarray(failed)[order]
    columns = _columns(points[order], lost, unordered)
    at, event = np.unique(far[lost], return_inverse=True)
    together = np.bincount(event).astype(np.float64)[:, None]
    at_risk = np.searchsorted(-far, -at, side="right")[:, None]  # the first so many had come as far
    mean = np.cumsum(columns, axis=0)[at_risk[:, 0] - 1] / at_risk
    square = np.cumsum(np.square(columns), axis=0)[at_risk[:, 0] - 1] / at_risk
    share = (at_risk - together) / np.maximum(at_risk - 1, 1)  # those that failed together are drawn without return
    variance = (together * share * np.maximum(square - np.square(mean), 0.0)).sum(axis=0)
    score = np.abs(columns[lost].sum(axis=0) - (together * mean).sum(axis=0))
    return bool(np.any(score > SURE * np.sqrt(variance) + 1e-9))


def _columns(points: Floats, lost: npt.NDArray[np.bool_], unordered: npt.NDArray[np.bool_]) -> Floats:
    """A column for each ordered axis, and of the others one for each value that failed a few times: one failure of a
    rare value looks like much, and is chance."""
    found = [points[:, ~unordered]]
    for axis in np.flatnonzero(unordered):
        values, times = np.unique(points[lost, axis], return_counts=True)
        found.append((points[:, axis, None] == values[times >= FEW]).astype(np.float64))
    return np.concatenate(found, axis=1)
