"""What trials had come to when they were compared: their value at each level, from a bounded number of reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpo_service.core.definition import Objective
from hpo_service.core.tables import TOLERANCE
from hpo_service.views.columns import Floats, Ints


def at_levels(rows: Sequence[Sequence[Any]], levels: Sequence[float], objective: Objective) -> tuple[Ints, Floats]:
    """Trial numbers, ascending, and their values at the levels, shape (trials, levels), NaN where there is none.

    `rows` as `store.looking.values` gives them. A trial's value at a level is that of its canonical curve up to there:
    the last report's, or the best one's, as the objective says.
    """
    trial, step, fence, resource = (np.asarray(column, dtype=np.float64) for column in rows[:4])
    value = np.array(rows[4], dtype=np.float64)  # None becomes NaN
    del fence  # rows of one step come by fence, so the newest attempt's is the last of them
    newest = np.ones(trial.size, dtype=np.bool_)
    newest[:-1] = (trial[1:] != trial[:-1]) | (step[1:] != step[:-1])
    trial, resource, value = trial[newest], resource[newest], value[newest]
    numbers, first = np.unique(trial, return_index=True)
    found = np.full((numbers.size, len(levels)), np.nan)
    until = np.append(first[1:], trial.size)
    for column, level in enumerate(levels):
        came = resource <= level * (1 + TOLERANCE)
        found[:, column] = (
            _best(value, came, first, maximize=objective.maximize)
            if objective.at == "best"
            else _last(value, came, first, until)
        )
    return numbers.astype(np.int64), found


def _last(value: Floats, came: Any, first: Ints, until: Ints) -> Floats:
    """The value of each trial's last report among those that came by then."""
    if not value.size:
        return np.zeros(0)
    place = np.where(came, np.arange(value.size), -1)
    last = np.maximum.reduceat(place, first)
    there = (last >= first) & (last < until)
    found: Floats = np.where(there, value[np.maximum(last, 0)], np.nan)
    return found


def _best(value: Floats, came: Any, first: Ints, *, maximize: bool) -> Floats:
    """The best finite value of each trial among those that came by then."""
    if not value.size:
        return np.zeros(0)
    worst = -np.inf if maximize else np.inf
    kept = np.where(came & ~np.isnan(value), value, worst)
    best = (np.maximum if maximize else np.minimum).reduceat(kept, first)
    found: Floats = np.where(np.isinf(best), np.nan, best)
    return found
