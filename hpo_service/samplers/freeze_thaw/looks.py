"""How far a new trial is trained before it is judged the first time: further where values of short trainings do not
differ, as on a plateau that most of them have not left yet.

Not here: what is begun (`planner`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from hpo_service.samplers.freeze_thaw.evidence import Seen
from hpo_service.samplers.freeze_thaw.ladder import ROUNDING

ENOUGH = 8
"""Trials that must have come to a level before it is passed over."""
ALIKE = 0.5
"""A level is passed over where at least this share of their best values up to it is one and the same number."""
REACH = 1 / 3
"""The furthest first look, as a share of a full training."""


def first_look(levels: Sequence[float], seen: Sequence[Seen]) -> float:
    """The lowest level at which values differ, or of which not enough is known. `levels` rise; `seen` by the log."""
    curves: dict[int, list[tuple[float, float]]] = {}
    for trial, resource, value in seen:
        curves.setdefault(trial, []).append((resource, value))
    allowed = [level for level in levels if level <= REACH * levels[-1]] or [levels[0]]
    for level in allowed:
        up_to, reached = level * (1 + ROUNDING), level * (1 - ROUNDING)
        came = [curve for curve in curves.values() if max(resource for resource, _ in curve) >= reached]
        bests = [max(early) for curve in came if (early := [v for r, v in curve if r <= up_to and math.isfinite(v)])]
        if len(bests) < ENOUGH or max(Counter(bests).values()) < ALIKE * len(bests):
            return level
    return allowed[-1]
