"""Which configurations to begin with, by what past studies found: together they are to be good wherever they are tried.

A greedy cover (Wistuba et al. 2015; the portfolios of Feurer et al. 2022, section 3.2): each next configuration is the
one that raises most the mean, over past studies, of the best score among those chosen. What a study did not try is
scored by its model. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_service.core import likeness, past
from search_spaces import SearchSpace

Floats = npt.NDArray[np.float64]

MOST = 8
SHARE = 4
"""Of so many trainings that the budget holds, one may be the portfolio's."""
UNKNOWN_BUDGET = 4
CANDIDATES = 12
"""The best so many of each past study."""
LEAST_GAIN = 0.005


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A past study in the new one's terms: what is said of its configurations, values (NaN: failed), and how alike it
    is. `kernel` is that of its model, over `points` (n, d), in which what is not said is in the middle."""

    params: Sequence[Mapping[str, Any]]
    values: Sequence[float]
    maximize: bool
    weight: float
    points: Floats
    kernel: past.Kernel

    @property
    def scores(self) -> Floats:
        return past.scores(self.values, maximize=self.maximize)


def task(
    params: Sequence[Mapping[str, Any]], values: Sequence[float], *, maximize: bool, weight: float, space: SearchSpace
) -> Task:
    """A past study with its model fitted."""
    points = np.stack([likeness.point(one, space) for one in params])
    points[np.isnan(points)] = 0.5
    kernel = past.fitted(points, past.scores(values, maximize=maximize), likeness.unordered(space))
    return Task(params=params, values=values, maximize=maximize, weight=weight, points=points, kernel=kernel)


def size(trainings: float) -> int:
    """How many configurations: a quarter of the trainings that the budget holds, 8 at most, one at least."""
    if math.isinf(trainings):
        return UNKNOWN_BUDGET
    return min(MOST, max(1, int(trainings) // SHARE)) if trainings >= 2 else 0


def chosen(tasks: Sequence[Task], space: SearchSpace, *, most: int) -> list[dict[str, Any]]:
    """At most `most` configurations of the space, in the order in which to try them."""
    candidates, points = _candidates(tasks, space)
    if not candidates or most <= 0:
        return []
    gains = np.stack([_scored(one, points) for one in tasks], axis=1)  # (candidates, tasks)
    weights = np.array([one.weight for one in tasks])
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(tasks), 1 / len(tasks))
    covered = np.full(len(tasks), past.FLOOR)
    found: list[int] = []
    for _ in range(min(most, len(candidates))):
        raised = np.maximum(gains, covered) @ weights
        best = int(np.argmax(raised))
        if found and raised[best] - covered @ weights < LEAST_GAIN:
            break
        found.append(best)
        covered = np.maximum(covered, gains[best])
    return [candidates[index] for index in found]


def _candidates(tasks: Sequence[Task], space: SearchSpace) -> tuple[list[dict[str, Any]], Floats]:
    """Whole configurations, each once, with their places in the cube."""
    found: dict[str, dict[str, Any]] = {}
    for one in tasks:
        ranks = np.argsort(-one.scores, kind="stable")
        for index in ranks[:CANDIDATES].tolist():
            if not math.isfinite(one.values[index]):
                continue
            whole = likeness.completed(one.params[index], space)
            if whole is not None:
                found.setdefault(space.config_key(whole), whole)
    points = np.array([likeness.point(whole, space) for whole in found.values()]).reshape(len(found), len(space.names))
    points[np.isnan(points)] = 0.5
    return list(found.values()), points


def _scored(one: Task, points: Floats) -> Floats:
    """Shape (candidates,): as found where it was tried, else as the study's model expects."""
    told = one.scores
    found = past.PastModel(one.points, told, one.kernel).scores_at(points)
    says = np.isfinite(one.kernel.lengths)
    apart = np.abs(points[:, None, says] - one.points[None][:, :, says]).max(axis=2, initial=0.0)
    same = apart < 1e-6
    tried = same.any(axis=1)
    found[tried] = np.where(same[tried], told[None], -np.inf).max(axis=1)
    return found
