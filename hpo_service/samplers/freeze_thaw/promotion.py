"""Whose turn it is by rank alone, as in asynchronous successive halving (Li et al. 2020, algorithm 2): no model is
asked.

Not here: how often ranks decide (`turns`), and how long a trial is trained then (`planner`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from hpo_service.samplers.freeze_thaw.evidence import Evidence
from hpo_service.samplers.freeze_thaw.rungs import ETA, Forgotten, came_to, rungs
from hpo_service.samplers.freeze_thaw.scene import Paused


def promoted(
    levels: Sequence[float], evidence: Evidence, paused: Sequence[Paused], forgotten: Forgotten
) -> Paused | None:
    """The best paused trial on its way from the highest rung where a paused one is among the best third of all that
    came so far, those that are `forgotten` too; None where none is. It is judged by its best value up to that rung."""
    waiting = {one.trial: one for one in paused}
    for rung, above in reversed(list(pairwise(rungs(levels)))):
        came = [
            (value, trial) for trial, curve in evidence.curves.items() if (value := came_to(curve, rung)) is not None
        ]
        room = (len(came) + forgotten.count(rung)) // ETA
        for place, (value, trial) in enumerate(sorted(came, key=lambda one: (-one[0], one[1]))[:room]):
            if place + forgotten.better(rung, value) >= room or not math.isfinite(value):
                break
            if trial in waiting and waiting[trial].resource < above:
                return waiting[trial]
    return None
