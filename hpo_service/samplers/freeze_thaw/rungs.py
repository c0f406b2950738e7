"""The rungs of a ladder of levels, and what trials came to there.

A rung is a level that is `ETA` times as high as the rung below. Not here: who goes on (`promotion`).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence

from hpo_service.samplers.freeze_thaw.ladder import ROUNDING

ETA = 3
NEARLY = 0.9
"""Levels are whole epochs: a rung may be a little lower than `ETA` times the one below."""
SHORT = 0.6
"""A rung that is higher than this share of the end is the end."""


def rungs(levels: Sequence[float]) -> tuple[float, ...]:
    """The first level, every one `ETA` times as high as the one before, and the end."""
    found, end = [levels[0]], levels[-1]
    for level in levels[1:]:
        if level >= NEARLY * ETA * found[-1]:
            found.append(level)
    while len(found) > 1 and SHORT * end < found[-1] < end:
        found.pop()
    return (*found, end) if found[-1] < end else tuple(found)


def came_to(curve: Mapping[float, float], rung: float) -> float | None:
    """The best value up to the rung, -inf where there is none; None of a trial that did not come so far."""
    if max(curve) < rung * (1 - ROUNDING):
        return None
    reached = (value for level, value in curve.items() if level <= rung * (1 + ROUNDING) and math.isfinite(value))
    return max(reached, default=-math.inf)


class Forgotten:
    """What trials of which nothing else is known any more had come to at each rung: others are ranked among them."""

    def __init__(self, levels: Sequence[float]) -> None:
        self._lost: dict[float, list[float]] = {rung: [] for rung in rungs(levels)}  # -value, rising

    def take(self, curve: Mapping[float, float]) -> None:
        """One more, by its values at the levels that it came to."""
        for rung, lost in self._lost.items():
            value = came_to(curve, rung)
            if value is not None:
                insort(lost, -value)

    def outdo(self) -> None:
        """From now on all of them are worse than any other: values are judged by something else."""
        for lost in self._lost.values():
            lost[:] = [math.inf] * len(lost)

    def count(self, rung: float) -> int:
        """How many came to the rung."""
        return len(self._lost[rung])

    def better(self, rung: float, value: float) -> int:
        """How many of them had a better value there."""
        return bisect_left(self._lost[rung], -value)
