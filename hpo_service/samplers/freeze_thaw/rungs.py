"""Whose turn it is by rank alone, as in asynchronous successive halving (Li et al. 2020, algorithm 2): no model is
asked.

A rung is a level of the ladder that is `ETA` times as high as the rung below. Not here: how often ranks decide
(`planner`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from hpo_service.samplers.freeze_thaw.evidence import Evidence
from hpo_service.samplers.freeze_thaw.scene import Paused

ETA = 3
NEARLY = 0.9
"""Levels are whole epochs: a rung may be a little lower than `ETA` times the one below."""
SHORT = 0.6
"""A rung that is higher than this share of the end is the end."""
ROUNDING = 1e-9


def rungs(levels: Sequence[float]) -> tuple[float, ...]:
    """The first level, every one `ETA` times as high as the one before, and the end."""
    found, end = [levels[0]], levels[-1]
    for level in levels[1:]:
        if level >= NEARLY * ETA * found[-1]:
            found.append(level)
    while len(found) > 1 and SHORT * end < found[-1] < end:
        found.pop()
    return (*found, end) if found[-1] < end else tuple(found)


def promoted(levels: Sequence[float], evidence: Evidence, paused: Sequence[Paused]) -> Paused | None:
    """The best paused trial on its way from the highest rung where a paused one is among the best third of all that
    came so far; None where none is. It is judged by its best value up to that rung."""
    waiting = {one.trial: one for one in paused}
    steps = rungs(levels)
    for rung, above in reversed(list(pairwise(steps))):
        reached = rung * (1 - ROUNDING)
        ranked = sorted((-_best(curve, rung), t) for t, curve in evidence.curves.items() if max(curve) >= reached)
        for worth, trial in ranked[: len(ranked) // ETA]:
            if math.isfinite(worth) and trial in waiting and waiting[trial].resource < above:
                return waiting[trial]
    return None


def _best(curve: dict[float, float], rung: float) -> float:
    reached = (value for level, value in curve.items() if level <= rung * (1 + ROUNDING) and math.isfinite(value))
    return max(reached, default=-math.inf)
