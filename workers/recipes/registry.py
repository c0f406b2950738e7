"""The recipes by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch

from search_spaces import catalog
from workers.data import Fold, TaskData
from workers.errors import InvalidOrderError, nearest
from workers.loops import single
from workers.loops.single import Task
from workers.recipes import image_classifier, tabular
from workers.trial import Trial


class Recipe(Protocol):
    """Guarantees: equal parameters build equal tasks; nothing is drawn from global random state."""

    def __call__(self, params: Mapping[str, Any], *, device: str) -> Task:
        """A task from complete, checked parameters. Raises InvalidOrderError for unfit data."""
        ...


_RECIPES: dict[str, Recipe] = {"image_classifier": image_classifier.build, "tabular": tabular.build}


def get(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        InvalidOrderError: there is none of that name.
    """
    if name not in _RECIPES:
        raise InvalidOrderError(
            f"a recipe must be one of {', '.join(_RECIPES)}, but got {name!r}{nearest(name, _RECIPES)}"
        )
    return _RECIPES[name]


def build(name: str, params: Mapping[str, Any], *, device: str) -> Task:
    """The task of a recipe, its parameters checked against the catalog and completed by its defaults.

    Raises:
        InvalidOrderError: unknown recipe or parameter, a value out of its range, unfit data.
    """
    recipe = get(name)
    problems = catalog.check_params(name, params)
    if problems:
        raise InvalidOrderError(str(problems[0]))
    full = catalog.complete(name, params)
    # A default must not end a trial before its scheduler does: it counts where nothing else says how far to train.
    full |= {"epochs": params.get("epochs"), "default_epochs": full["epochs"]}
    return recipe(full, device=device)


def train(task: Task, trial: Trial) -> None:
    """Train the trial of an attempt on a task."""
    single.train(task, trial)


def warm_up(*, device: str) -> None:
    """Train a few made-up rows: the first steps in a process load much that later ones find ready."""
    params = catalog.complete("image_classifier", {"batch_size": 8})
    x, y = torch.zeros(16, 1, 4, 4, device=device), torch.arange(16, device=device) % 2
    fold = Fold(x_train=x, y_train=y, x_val=x, y_val=y)
    data = TaskData(folds=(fold,), classes=2, target_scale=(1.0,), identity={})
    task = image_classifier.task(params, data, device=device)
    single.Learner(task, fold=0, seed=0, horizon=1.0).epoch(1)
