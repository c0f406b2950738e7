"""The recipes by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from search_spaces import catalog
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
    return recipe(catalog.complete(name, params), device=device)


def train(task: Task, trial: Trial) -> None:
    """Train the trial of an attempt on a task."""
    single.train(task, trial)
