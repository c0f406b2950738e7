"""What is kept of the budget so that one trial is trained to the end, while none was: the price of the rest of its way.

A pure function of what was observed. Not here: what the others get (`planner`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from hpo_service.samplers.freeze_thaw.evidence import Evidence
from hpo_service.samplers.freeze_thaw.ladder import Ladder


class Reserve(NamedTuple):
    """`resource` is kept for `trial`; None and 0 where nothing is. A trial that the same plan begins is below 0."""

    trial: int | None
    resource: float


NOTHING = Reserve(None, 0.0)


def reserve(
    places: Sequence[tuple[int, float]],
    evidence: Evidence,
    ladder: Ladder,
    *,
    left: float,
) -> Reserve:
    """For the best of the trials in `places` (trial, the level where it is or that it is on its way to) that can still
    come to the end with what is `left`: of equal ones the one with the shortest way."""
    if left == math.inf or evidence.ended(ladder.end) or any(level >= ladder.end for _, level in places):
        return NOTHING
    able = [(trial, ladder.price(level, ladder.end)) for trial, level in places]
    able = [(trial, cost) for trial, cost in able if cost <= left]
    if not able:
        return NOTHING
    return Reserve(*min(able, key=lambda one: (-evidence.peak(one[0]), one[1], one[0] if one[0] >= 0 else math.inf)))
