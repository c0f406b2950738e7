"""TaskSet's recorded learning curves (Metz et al. 2020): eight parameters of Adam on text classifiers, real trainings.

A file holds 1,000 configurations of one task with their validation losses at 51 points. A configuration that is asked
for gets the curve of the recorded one that is nearest in the unit cube, so that every method searches the same space.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpo_service.bench.problems.base import Floats, Problem
from hpo_service.errors import InvalidInput
from search_spaces import SearchSpace

SPACE: Mapping[str, Any] = {
    "learning_rate": {"type": "loguniform", "low": 1e-8, "high": 1e1},
    "one_minus_beta1": {"type": "loguniform", "low": 1e-4, "high": 1.0},
    "one_minus_beta2": {"type": "loguniform", "low": 1e-6, "high": 1.0},
    "epsilon": {"type": "loguniform", "low": 1e-10, "high": 1e3},
    "l1": {"type": "loguniform", "low": 1e-8, "high": 1e1},
    "l2": {"type": "loguniform", "low": 1e-8, "high": 1e1},
    "linear_decay": {"type": "loguniform", "low": 1e-7, "high": 1e-4},
    "exponential_decay": {"type": "loguniform", "low": 1e-6, "high": 1e-3},
}
"""As Metz et al. drew them, by their logarithms; Adam's betas as their distance from 1."""


PREFIX = "FixedTextRNNClassification_"
"""Of all files' names; tasks are named without."""


class Recorded:
    """One task's recorded configurations in the unit cube, `points` (n, parameters), and their `losses` (n, 51)."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.space = SearchSpace.from_definition(SPACE)
        self.points = np.array([self._point(_params(row["hp"])) for row in rows])
        self.losses = np.array(
            [[math.nan if v is None else v for v in row["valid"]["loss"]] for row in rows], dtype=float
        )
        self.losses[~np.isfinite(self.losses)] = math.nan

    def curve(self, params: Mapping[str, Any]) -> Floats:
        """The losses of the nearest recorded configuration."""
        found: Floats = self.losses[int(((self.points - self._point(params)) ** 2).sum(axis=1).argmin())]
        return found

    def _point(self, params: Mapping[str, Any]) -> Floats:
        return np.array([self.space.parameters[name].to_unit(params[name]) for name in SPACE])


def load(folder: Path, tasks: tuple[str, ...] = ()) -> list[Problem]:
    """The tasks whose files are in the folder, or those of `tasks`; raises InvalidInput for one that has no file."""
    files = {path.stem.removeprefix(PREFIX): path for path in sorted(folder.glob("*.json"))}
    tasks = tuple(task.removeprefix(PREFIX) for task in tasks)
    missing = sorted(set(tasks) - set(files))
    if missing:
        raise InvalidInput(f"TaskSet's tasks here are {', '.join(files)}, but got {', '.join(missing)}")
    return [_problem(name, Recorded(json.loads(files[name].read_text()))) for name in tasks or files]


def _problem(name: str, recorded: Recorded) -> Problem:
    values = np.fmin.reduce(recorded.losses, axis=1)
    values = np.where(np.isnan(values), np.inf, values)
    return Problem(
        collection="taskset",
        name=name,
        space=SPACE,
        max_resource=recorded.losses.shape[1],
        maximize=False,
        best=float(values.min()),
        median=float(np.median(values)),
        curves=recorded.curve,
    )


def _params(given: Mapping[str, float]) -> dict[str, float]:
    """In the words of `SPACE`, kept inside its bounds."""
    found = {name: given[name] if name in given else 1.0 - given[name.removeprefix("one_minus_")] for name in SPACE}
    return {name: min(SPACE[name]["high"], max(SPACE[name]["low"], value)) for name, value in found.items()}
