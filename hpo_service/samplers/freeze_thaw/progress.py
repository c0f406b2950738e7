"""Whether a search still comes forward: how much was trained since its best value became better.

Not here: what is done about it (`planner`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpo_service.samplers.freeze_thaw.evidence import Seen

NOTICED = 0.01
"""A best value is better where it is so by more than this share of the distance between the best and the middle."""
PATIENCE = 0.25
"""The share of what was trained that may bring nothing better before a search stands still."""


def standstill(seen: Sequence[Seen], *, size: float, end: float, resumes: bool) -> float:
    """The share of what was trained since the best value of `seen` (in the order of the log) became better; 0 where
    that is less than `PATIENCE`, or than one training to the `end`: the search comes forward. `size` is the distance
    between the best and the middle; without `resumes` each value took a training from the beginning."""
    reached: dict[int, float] = {}
    spent, then, best = 0.0, 0.0, -math.inf
    for trial, resource, value in seen:
        before = reached.get(trial, 0.0)
        if resource > before:
            spent += resource - before if resumes else resource
            reached[trial] = resource
        if value > best + NOTICED * size:  # NaN is no better than anything
            best, then = value, spent
    idle = spent - then
    return idle / spent if idle >= max(end, PATIENCE * spent) else 0.0
