"""What trains a trial: a recipe of ours, or a user's own recipe, function, Ray Tune trainable or Optuna objective.
All train through the same `Trial`.

A trainable is resolved and prepared (imports, data, checks) before the attempt is announced as started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from workers import functions, isolation
from workers.contract import WorkOrder
from workers.errors import InvalidOrderError
from workers.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A trainable ready to run: identities of its code and data, how its checkpoints are read, and the run itself."""

    code: Mapping[str, Any]
    data: Mapping[str, Any] | None
    weights_only: bool
    run: Callable[[Trial], None]
    task: Any = None  # of a recipe: what `recipes.train_lanes` takes; None where it cannot be trained as a lane


class Trainable(Protocol):
    """Guarantees: `prepare` does everything that may fail for reasons of the order; the run only trains."""

    def prepare(self, order: WorkOrder, *, device: str) -> Prepared:
        """Raises InvalidOrderError when the order cannot be carried out."""
        ...


class FunctionTrainable:
    """`def train(trial)` by import path."""

    def __init__(self, path: str) -> None:
        self._path = path

    def prepare(self, order: WorkOrder, *, device: str) -> Prepared:
        function = functions.find(self._path)

        def run(trial: Trial) -> None:
            isolation.seed_globals(trial.seed)
            function(trial)

        return Prepared(code=functions.describe(self._path), data=None, weights_only=False, run=run)


class RecipeTrainable:
    """A declarative recipe by name, or a user's own by import path."""

    def __init__(self, name: str) -> None:
        self._name = name

    def prepare(self, order: WorkOrder, *, device: str) -> Prepared:
        from workers import recipes  # lazy: recipes need torch, functions may not

        given = {**order.trainer.params, **order.params}
        size = None if order.size is None else recipes.Size(fidelity=order.fidelity, level=order.size)
        task = recipes.build(self._name, given, device=device, test=order.test, size=size)

        def run(trial: Trial) -> None:
            recipes.train(task, trial)

        code = recipes.code_of(self._name)
        return Prepared(code=code, data=task.data_identity, weights_only=True, run=run, task=task)


class RayTuneTrainable:
    """A Ray Tune function or class by import path."""

    def __init__(self, path: str) -> None:
        self._path = path

    def prepare(self, order: WorkOrder, *, device: str) -> Prepared:
        from workers import tune  # lazy: functions and recipes do without Ray Tune

        target = tune.find(self._path)

        def run(trial: Trial) -> None:
            tune.run(target, order, trial)

        return Prepared(code=functions.describe(self._path), data=None, weights_only=False, run=run)


class OptunaTrainable:
    """An Optuna objective by import path."""

    def __init__(self, path: str) -> None:
        self._path = path

    def prepare(self, order: WorkOrder, *, device: str) -> Prepared:
        from workers import optuna_objective  # lazy, as above

        objective = optuna_objective.find(self._path)

        def run(trial: Trial) -> None:
            optuna_objective.run(objective, order, trial)

        return Prepared(code=functions.describe(self._path), data=None, weights_only=False, run=run)


_KINDS: Mapping[str, Callable[[str], Trainable]] = {
    "recipe": RecipeTrainable,
    "function": FunctionTrainable,
    "ray_tune": RayTuneTrainable,
    "optuna": OptunaTrainable,
}


def resolve(order: WorkOrder) -> Trainable:
    """The trainable that the order names.

    Raises:
        InvalidOrderError: none or several are given.
    """
    given = {kind: path for kind in _KINDS if (path := getattr(order.trainer, kind)) is not None}
    if len(given) != 1:
        raise InvalidOrderError(
            f"a trainer must name exactly one of {', '.join(_KINDS)}, but got {given or 'none'}; give one"
        )
    ((kind, path),) = given.items()
    if order.size is not None and kind not in ("recipe", "function"):
        raise InvalidOrderError(
            f"fidelity must be epochs for {kind}, which cannot be told another size to train at, but got "
            f"{order.fidelity!r}; write a def train(trial) that reads trial.fidelity"
        )
    return _KINDS[kind](path)


def lane_names(order: WorkOrder) -> tuple[str, ...]:
    """The parameters in which trials of one fused launch may differ; empty where the trainable cannot be fused.

    Raises:
        InvalidOrderError: no such recipe.
    """
    if order.trainer.recipe is None:
        return ()
    from workers import recipes  # lazy, as above

    return recipes.lane_names(order.trainer.recipe)


def structure_of(order: WorkOrder) -> dict[str, Any]:
    """The order's parameters without its lanes: equal for all trials of a fused launch."""
    lanes = lane_names(order)
    size = {} if order.size is None else {order.fidelity: order.size}
    given = {**order.trainer.params, **order.params, **size}
    return {name: value for name, value in given.items() if name not in lanes}


def require_equal_structure(first: WorkOrder, other: WorkOrder) -> None:
    """Raises InvalidOrderError unless both can be lanes of one program."""
    expected, found = structure_of(first), structure_of(other)
    missing = object()
    for name in sorted({*expected, *found}):
        if expected.get(name, missing) != found.get(name, missing):
            raise InvalidOrderError(
                f"the lanes of a launch must agree in everything but {', '.join(lane_names(first))}, "
                f"but {name} is {found.get(name)!r} and not {expected.get(name)!r}; train it in another launch"
            )
    if first.trainer.recipe != other.trainer.recipe:
        raise InvalidOrderError(
            f"the lanes of a launch must have one recipe, but got {other.trainer.recipe!r} beside "
            f"{first.trainer.recipe!r}; train it in another launch"
        )
