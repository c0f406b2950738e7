"""Users' own recipes: found by import path, checked, and turned into tasks that both loops train.

What a recipe is asked for is `OwnRecipe`; `own_task` makes a task from an ordinary PyTorch module and arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from search_spaces import catalog
from search_spaces.catalog import RecipeDeclaration
from workers import functions
from workers.data import Fold, TaskData
from workers.errors import InvalidOrderError
from workers.loops.single import RowLoss, Task
from workers.models import Network

LOSSES = ("cross_entropy", "mse")


class OwnRecipe(Protocol):
    """What a user's recipe offers: a class without arguments, or an instance of one.

    `parameters` maps its own parameters to their defaults (or to a ParameterDeclaration, which is then checked), and
    may set defaults of those that every recipe has (`lr`, `batch_size`, `optimizer` …). `lanes` names those of its own
    that change no shape and no data, only numbers that `build` reads: trials that differ in them alone train together.
    Guarantees: equal parameters build equal tasks.
    """

    parameters: Mapping[str, Any]
    lanes: Sequence[str]

    def build(self, params: Mapping[str, Any], *, device: str) -> Task:
        """A task from complete parameters; see `own_task`."""
        ...


def find(path: str) -> tuple[OwnRecipe, RecipeDeclaration]:
    """The recipe that `pkg.module:name` names, and its declaration.

    Raises:
        InvalidOrderError: it cannot be found, or is not a recipe. Errors of the user's module pass through.
    """
    found = functions.find_object(path, what="recipe")
    recipe: OwnRecipe = found() if isinstance(found, type) else found
    if not callable(getattr(recipe, "build", None)):
        raise InvalidOrderError(
            f"a recipe must have a method build(params, *, device), but {path!r} is a {type(recipe).__name__} without; "
            "see docs/recipes.md, or name a def train(trial) as function"
        )
    parameters = getattr(recipe, "parameters", {})
    lanes = getattr(recipe, "lanes", ())
    if not isinstance(parameters, Mapping) or isinstance(lanes, str):
        raise InvalidOrderError(
            "a recipe's parameters must be a mapping from name to default, and its lanes a tuple of names, "
            f"but {path!r} has parameters={parameters!r}, lanes={lanes!r}; write lanes = ('noise',)"
        )
    return recipe, _declaration(path, parameters, lanes)


def _declaration(path: str, parameters: Mapping[str, Any], lanes: Sequence[str]) -> RecipeDeclaration:
    known = catalog.own_declaration(path, parameters=parameters, lanes=())
    for lane in lanes:
        if lane not in known.parameters:
            raise InvalidOrderError(
                f"a lane must be one of the recipe's parameters, but {path!r} has no parameter {lane!r}; "
                "add it to parameters, with its default"
            )
    return catalog.own_declaration(path, parameters=parameters, lanes=lanes)


def own_task(
    params: Mapping[str, Any],
    *,
    device: str,
    model: Callable[[Mapping[str, Any]], nn.Module],
    data: Sequence[Any] | Sequence[Sequence[Any]],
    loss: str | RowLoss = "cross_entropy",
    scores: Mapping[str, RowLoss] | None = None,
    target_scale: float = 1.0,
) -> Task:
    """A task from an ordinary module and arrays (numpy or torch).

    `model(params)` makes the module; the global generator that torch's own initialisation draws from is seeded by the
    trial meanwhile. `data` is (x_train, y_train, x_val, y_val), or a list of such fours: one per fold. With
    `cross_entropy` y holds classes 0 … n-1, with `mse` real numbers and the module gives one output a row;
    `target_scale` turns its error back into the target's unit. A loss of your own is called with (outputs, targets)
    and returns one value per row, of torch operations alone; `scores` are more of these, reported as `train_<name>`
    and `val_<name>` and not trained on.

    Raises:
        InvalidOrderError: arrays that do not fit together, an unknown loss.
    """
    if isinstance(loss, str) and loss not in LOSSES:
        raise InvalidOrderError(f"a loss must be one of {', '.join(LOSSES)} or a function, but got {loss!r}")
    fours: list[Sequence[Any]] = [data] if _is_array(data[0]) else list(data)
    classes = loss == "cross_entropy"
    folds = tuple(_fold(four, device=device, classes=classes) for four in fours)
    outputs = 1 + int(max(int(f.y_train.max()) for f in folds)) if classes else 0

    def network(fold: Fold, generator: torch.Generator) -> Network:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            return _as_network(model(params))

    return Task(
        params=params,
        data=TaskData(
            folds=folds, classes=outputs, target_scale=(target_scale,) * len(folds), identity=_identity(folds)
        ),
        device=device,
        build=network,
        loss=None if isinstance(loss, str) else loss,
        scores=scores or {},
    )


class _Plain(Network):
    """An ordinary module as a network that takes no masks."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """As the module's own."""
        out: Tensor = self.module(x)
        return out


def _as_network(module: nn.Module) -> Network:
    for name, part in module.named_modules():
        if isinstance(part, _DropoutNd) and part.p > 0:
            raise InvalidOrderError(
                f"a recipe's module must not draw random numbers while it trains, but {name!r} is a "
                f"{type(part).__name__}; take the masks that the parameter dropout gives to a workers.models.Network "
                "(see docs/recipes.md)"
            )
    return module if isinstance(module, Network) else _Plain(module)


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, Tensor))


def _fold(four: Sequence[Any], *, device: str, classes: bool) -> Fold:
    if len(four) != 4 or not all(map(_is_array, four)):
        raise InvalidOrderError(
            "a recipe's data must be (x_train, y_train, x_val, y_val), arrays of numpy or torch, "
            f"but got {len(four)} values of {', '.join(type(v).__name__ for v in four)}; return these four"
        )
    x_train, y_train, x_val, y_val = (torch.as_tensor(value) for value in four)
    for name, x, y in (("train", x_train, y_train), ("val", x_val, y_val)):
        if len(x) != len(y) or len(x) < 2:
            raise InvalidOrderError(
                f"x_{name} and y_{name} must have as many rows as each other and at least 2, "
                f"but they have {len(x)} and {len(y)}; check the split"
            )
    kind = torch.int64 if classes else torch.float32
    return Fold(
        x_train=x_train.float().to(device),
        y_train=_targets(y_train, kind).to(device),
        x_val=x_val.float().to(device),
        y_val=_targets(y_val, kind).to(device),
    )


def _targets(y: Tensor, kind: torch.dtype) -> Tensor:
    return y.long() if kind == torch.int64 or not y.is_floating_point() else y.float()


def _identity(folds: Sequence[Fold]) -> dict[str, Any]:
    sha = hashlib.sha256()
    for fold in folds:
        for tensor in (fold.x_train, fold.y_train, fold.x_val, fold.y_val):
            held = tensor.cpu().contiguous()
            sha.update(f"{held.dtype}{tuple(held.shape)}".encode())
            sha.update(held.numpy().tobytes())
    return {
        "name": "own",
        "sha256": sha.hexdigest(),
        "rows": len(folds[0].x_train) + len(folds[0].x_val),
        "train_rows": len(folds[0].x_train),
        "val_rows": len(folds[0].x_val),
        "folds": len(folds),
    }
