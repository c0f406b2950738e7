"""The recipes by name, and users' own by import path."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from search_spaces import catalog
from search_spaces.catalog import RecipeDeclaration
from workers import environment, functions
from workers.data import Fold, TaskData, share_of
from workers.errors import InvalidOrderError, nearest
from workers.loops import alone, fused, single
from workers.loops.single import Task
from workers.recipes import image_classifier, own, tabular
from workers.trial import Trial


class Recipe(Protocol):
    """Guarantees: equal parameters build equal tasks; nothing is drawn from global random state."""

    def __call__(self, params: Mapping[str, Any], *, device: str, test: bool) -> Task:
        """A task from complete, checked parameters, with the test rows if `test`. Raises InvalidOrderError for unfit
        data."""
        ...


DATA_FRACTION = "data_fraction"


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """What a segment is trained at, where resource is no training time: `fidelity` names it."""

    fidelity: str
    level: float


_RECIPES: dict[str, Recipe] = {"image_classifier": image_classifier.build, "tabular": tabular.build}


def get(name: str) -> tuple[Recipe, RecipeDeclaration]:
    """A recipe by name or import path, and what it declares.

    Raises:
        InvalidOrderError: there is none of that name.
    """
    if ":" in name:
        recipe, declared = own.find(name)
        return functools.partial(own.build, recipe, declared), declared
    if name not in _RECIPES:
        raise InvalidOrderError(
            f"a recipe must be one of {', '.join(_RECIPES)}, or one of your own by its import path pkg.module:name, "
            f"but got {name!r}{nearest(name, _RECIPES)}"
        )
    return _RECIPES[name], catalog.RECIPES[name]


def lane_names(name: str) -> tuple[str, ...]:
    """The parameters in which trials may differ that train together. Raises InvalidOrderError as `get` does."""
    return catalog.lane_names(get(name)[1])


def not_lanes(name: str, params: Mapping[str, Any], x: Tensor | None = None) -> tuple[str, ...]:
    """Those of `lane_names` that turn out to be none when the network is built with other values: of own recipes, which
    are tried on a few rows `x`. Raises InvalidOrderError where no two trials can be lanes."""
    if ":" not in name:
        return ()
    recipe, declared = own.find(name)
    return own.not_lanes(recipe, declared, catalog.complete(declared, params), x)


def code_of(name: str) -> dict[str, Any]:
    """Names the code of a recipe that `build` has found: ours, and the user's own."""
    ours = environment.own_sources_digest()
    if ":" not in name:
        return {"recipe": name, "sha256": ours}
    return {"recipe": name, **functions.describe(name), "loops_sha256": ours}


def build(name: str, params: Mapping[str, Any], *, device: str, test: bool = False, size: Size | None = None) -> Task:
    """The task of a recipe, its parameters checked against its declaration and completed by its defaults. `test`: with
    the rows that no search may see, for a confirmation. `size`: what it is trained at, where that is no matter of time:
    a share of the training rows, or what the recipe itself declares (`fidelities`), given to it beside its parameters.

    Raises:
        InvalidOrderError: unknown recipe or parameter, a value out of its range, unfit data, a size that it lacks.
    """
    recipe, declared = get(name)
    problems = catalog.check_params(declared, params)
    if problems:
        raise InvalidOrderError(str(problems[0]))
    full = catalog.complete(declared, params)
    # A default must not end a trial before its scheduler does: it counts where nothing else says how far to train.
    full |= {"epochs": params.get("epochs"), "default_epochs": full["epochs"]}
    if size is None:
        return recipe(full, device=device, test=test)
    own_size = size.fidelity in fidelities(name)
    if own_size:
        full[size.fidelity] = size.level
    elif size.fidelity != DATA_FRACTION:
        raise InvalidOrderError(
            f"the recipe {name!r} has no {size.fidelity} to be trained at; declare it "
            f"(fidelities = ({size.fidelity!r},)) and read params[{size.fidelity!r}], or use data_fraction"
        )
    task = recipe(full, device=device, test=test)
    if own_size:
        return task
    return replace(task, data=share_of(task.data, size.level, split_seed=int(full.get("split_seed") or 0)))


def fidelities(name: str) -> tuple[str, ...]:
    """The sizes that a recipe of the user's own declares to be trained at; ours are trained on shares of their data."""
    return own.fidelities(own.find(name)[0]) if ":" in name else ()


def train(task: Task, trial: Trial) -> None:
    """Train the trial of an attempt on a task."""
    alone.train(task, trial)


def train_lanes(
    tasks: Sequence[Task],
    trials: Sequence[Trial],
    *,
    width: int,
    ended: Callable[[int, BaseException | None], None],
    more: fused.More = fused.nobody,
) -> None:
    """Train trials as the lanes of one program of `width` lanes: see `workers.loops.fused`."""
    fused.train(tasks, trials, width=width, ended=ended, more=more)


def warm_up(*, device: str) -> None:
    """Train a few made-up rows: the first steps in a process load much that later ones find ready."""
    params = catalog.complete("image_classifier", {"batch_size": 8})
    x, y = torch.zeros(16, 1, 4, 4, device=device), torch.arange(16, device=device) % 2
    fold = Fold(x_train=x, y_train=y, x_val=x, y_val=y)
    data = TaskData(folds=(fold,), classes=2, target_scale=(1.0,), identity={})
    task = image_classifier.task(params, data, device=device)
    makes: tuple[single.Makes, ...] = (single.Learner, alone.learner_of)
    for make in makes:
        make(task, fold=0, seed=0, horizon=1.0).epoch(1)
