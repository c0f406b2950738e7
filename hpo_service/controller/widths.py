"""How wide launches may be where a study has few trials for many places: lanes save work, but places side by side save
time. Pure. The width goes into the log with its method, so what the cluster becomes later changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace

from hpo_service.controller import shares
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.events import MethodChoice
from hpo_service.core.launches import FUSED, PLAIN
from hpo_service.executors.base import Capacity

FEWEST = 4
"""Fewer lanes than this are not worth it where they were not measured."""


def places(definition: StudyDefinition, capacity: Capacity) -> float:
    """How many attempts of the study the cluster holds at once."""
    resources = definition.resources
    demand = shares.Demand(
        study_id="", cpu=resources.cpu, gpu=resources.gpu, priority=1.0, open=0, parallel=1, mean_seconds=None
    )
    return 1.0 / max(shares.dominant(demand, capacity), 1e-9)


def bounded(choice: MethodChoice, definition: StudyDefinition, capacity: Capacity) -> MethodChoice:
    """The choice with no more lanes than leave work for every place, where the number of trials is known and the width
    was not set. A deterministic study is the same on a cluster of any size."""
    trials, there = definition.budget.trials, places(definition, capacity)
    if choice.method != FUSED or trials is None or not isinstance(definition.resources.lanes, str) or there < 1:
        return choice
    if definition.deterministic:
        return choice
    most = math.ceil(trials / there - 1e-9)  # the number of places is a sum of fractions
    if choice.width <= most:
        return choice
    why = f"{choice.reason}; but {trials} trials for {there:.0f} places"
    if most < FEWEST:
        return replace(choice, method=PLAIN, width=1, reason=f"{why} are quicker one by one")
    return replace(choice, width=most, reason=f"{why} leave {most} lanes to each")
