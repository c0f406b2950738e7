"""Best so far, and all trials as points against trials, resource, time and money. Pure; improvements as they happened
come from the store, which notes each when it happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpo_service.core.states import Origin
from hpo_service.views.columns import KINDS, ORIGINS, STATES, Bools, Floats, Ints, StudyColumns
from hpo_service.views.sampling import choose

POINTS = 2_000
STEPS = 1_000
"""Of more improvements by number an even spread is sent, the first and the last among them."""


def by_trial(columns: StudyColumns) -> tuple[Ints, Floats]:
    """Best so far in the order of trial numbers, one entry per improvement, at most `STEPS`: numbers, values. A value
    at a higher resource beats every one at a lower; what is missing or not finite never counts, nor what breaks a
    constraint."""
    maximize = columns.definition.objective.maximize
    numbers = np.flatnonzero(columns.counts)
    resource, value = columns.resource[numbers], columns.sort_value[numbers]
    furthest = np.maximum.accumulate(resource) if numbers.size else resource
    candidates = resource == furthest
    numbers, value, furthest = numbers[candidates], value[candidates], furthest[candidates]
    better = np.maximum if maximize else np.minimum
    kept: list[Ints] = []
    for level in np.unique(furthest):
        here = np.flatnonzero(furthest == level)
        best = better.accumulate(value[here])
        improved = np.ones(here.size, dtype=np.bool_)
        improved[1:] = best[1:] != best[:-1]
        kept.append(here[improved])
    found = np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)
    if found.size > STEPS:
        found = found[np.linspace(0, found.size - 1, STEPS).round().astype(np.int64)]
    return numbers[found], value[found]


def clock(columns: StudyColumns) -> Floats:
    """When each trial came to its value, seconds since 1970: its end, else its start and the time that it trained."""
    so_far = columns.started_at + np.nan_to_num(columns.seconds)
    found: Floats = np.where(np.isnan(columns.ended_at), so_far, columns.ended_at)
    return found


def spent(columns: StudyColumns) -> tuple[Floats, Ints]:
    """Resource and micro-dollars of each trial and all that came before it by the clock. Imported ones took none."""
    order = np.argsort(clock(columns), kind="stable")
    resource, cost = np.empty(columns.n), np.empty(columns.n, dtype=np.int64)
    trained = np.where(columns.origin == ORIGINS.index(Origin.IMPORTED), 0.0, columns.resource - columns.began)
    resource[order] = np.cumsum(trained[order])
    cost[order] = np.cumsum(columns.cost[order])
    return resource, cost


def points(columns: StudyColumns, mask: Bools, *, started_at: float | None) -> Mapping[str, Any]:
    """At most `POINTS` trials that have a finite value, as columns; `hours` counts from the study's first dispatch, and
    is 0 for what was imported."""
    numbers, chosen = choose(columns, mask, POINTS)
    numbers = numbers[~np.isnan(columns.value[numbers])]
    resource, cost = columns.remember("spent", lambda: spent(columns))
    begin = np.nan if started_at is None else started_at
    bracket = columns.bracket[numbers]
    return {
        "points": {
            "number": numbers,
            "value": columns.value[numbers],
            "resource": columns.resource[numbers],
            "state": [STATES[code] for code in columns.state[numbers]],
            "bracket": [None if b < 0 else int(b) for b in bracket],
            "hours": np.maximum(0.0, (clock(columns)[numbers] - begin) / 3600),
            "spent_resource": resource[numbers],
            "cost_microdollars": cost[numbers],
            "matches": mask[numbers].astype(np.int8),
            "feasible": columns.feasible[numbers].astype(np.int8),
        },
        "shown": int(numbers.size),
        "of": columns.n,
        "chosen": chosen,
        "matching": int(np.count_nonzero(mask)),
        "not_finite": int(np.count_nonzero(columns.kind > KINDS.index("finite"))),
    }
