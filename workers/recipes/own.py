"""Users' own recipes: found by import path, checked, and turned into tasks that both loops train.

What a recipe offers is `OwnRecipe`: an ordinary PyTorch module, arrays, and what to minimise.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.dropout import _DropoutNd

from search_spaces import catalog
from search_spaces.catalog import RecipeDeclaration
from workers import functions, isolation
from workers.data import Fold, TaskData
from workers.errors import InvalidOrderError, nearest
from workers.loops.single import Task
from workers.models import Network

LOSSES = ("cross_entropy", "mse")
_CACHED = 4
_data: OrderedDict[str, tuple[tuple[Fold, ...], dict[str, Any]]] = OrderedDict()


class OwnRecipe(Protocol):
    """What a user's recipe offers: a class that is made without arguments, or an instance of one.

    Guarantees: equal parameters give equal data and, from an equally seeded global generator, equal modules. Trials
    that differ in `lanes` alone share their data, and their modules differ in nothing but the numbers in their tensors.
    May also have `loss` (one of `LOSSES`, or a `RowLoss`; `cross_entropy` where there is none), `scores` (name →
    `RowLoss`, reported beside the loss as `train_<name>` and `val_<name>`) and `target_scale` (of `mse`: what turns an
    error back into the target's unit), and `fidelities`, the sizes besides training time that it can be trained at
    (`width`, `resolution`): `params` then hold the level under that name.
    """

    parameters: Mapping[str, Any]
    """Its own parameters and their defaults (or a ParameterDeclaration, which is then checked). May set defaults of
    those that every recipe has: `lr`, `batch_size`, `optimizer` …"""
    lanes: Sequence[str]
    """Those of its own in which trials may differ that train together."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        """The module, its weights drawn from torch's global generator, which the trial has seeded."""
        ...

    def data(self, params: Mapping[str, Any]) -> Sequence[Any]:
        """(x_train, y_train, x_val, y_val) of numpy or torch, or a list of such fours: one per fold. With x_test and
        y_test behind them, rows that only a confirmation measures its trained models on."""
        ...


def find(path: str) -> tuple[OwnRecipe, RecipeDeclaration]:
    """The recipe that `pkg.module:name` names, and its declaration.

    Raises:
        InvalidOrderError: it cannot be found, or is not a recipe. Errors of the user's module pass through.
    """
    found = functions.find_object(path, what="recipe")
    recipe: OwnRecipe = found() if isinstance(found, type) else found
    for method in ("model", "data"):
        if not callable(getattr(recipe, method, None)):
            raise InvalidOrderError(
                f"a recipe must have the methods model(params) and data(params), but {path!r} is a "
                f"{type(recipe).__name__} without {method}; see docs/recipes.md, or name a def train(trial) as function"
            )
    parameters, lanes = getattr(recipe, "parameters", {}), getattr(recipe, "lanes", ())
    if not isinstance(parameters, Mapping) or isinstance(lanes, str):
        raise InvalidOrderError(
            "a recipe's parameters must be a mapping from name to default, and its lanes a tuple of names, "
            f"but {path!r} has parameters={parameters!r}, lanes={lanes!r}; write lanes = ('noise',)"
        )
    declared = catalog.own_declaration(path, parameters=parameters, lanes=())
    for lane in lanes:
        if lane not in declared.parameters:
            raise InvalidOrderError(
                f"a lane must be one of the recipe's parameters, but {path!r} has no parameter {lane!r}"
                + (nearest(lane, parameters) or "; add it to parameters, with its default")
            )
    return recipe, catalog.own_declaration(path, parameters=parameters, lanes=lanes)


def fidelities(recipe: OwnRecipe) -> tuple[str, ...]:
    """The sizes besides training time that the recipe reads from its parameters. Raises InvalidOrderError for anything
    but a tuple of names."""
    declared = getattr(recipe, "fidelities", ())
    if isinstance(declared, str) or not all(isinstance(one, str) for one in declared):
        raise InvalidOrderError(f"a recipe's fidelities must be a tuple of names, but got {declared!r}; write ('w',)")
    return tuple(declared)


def build(
    recipe: OwnRecipe, declared: RecipeDeclaration, params: Mapping[str, Any], *, device: str, test: bool = False
) -> Task:
    """A task from complete parameters, with the test rows if `test`. Data are asked for once per structure, and held
    once.

    Raises:
        InvalidOrderError: arrays that do not fit together, an unknown loss.
    """
    loss = getattr(recipe, "loss", "cross_entropy")
    if not callable(loss) and loss not in LOSSES:
        raise InvalidOrderError(
            f"a recipe's loss must be one of {', '.join(LOSSES)}, or a function of (outputs, targets), but got {loss!r}"
            + (nearest(str(loss), LOSSES) or "; see docs/recipes.md")
        )
    classes = loss == "cross_entropy"
    folds, identity = _folds(recipe, declared, params, classes=classes, device=device, test=test)
    count = 1 + max(int(fold.y_train.max()) for fold in folds) if classes else 0
    scale = (float(getattr(recipe, "target_scale", 1.0)),) * len(folds)

    def network(fold: Fold, generator: torch.Generator) -> Network:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            return _as_network(recipe.model(params))

    return Task(
        params=params,
        data=TaskData(folds=folds, classes=count, target_scale=scale, identity=identity),
        device=device,
        build=network,
        loss=loss if callable(loss) else None,
        scores=dict(getattr(recipe, "scores", {})),
    )


def not_lanes(
    recipe: OwnRecipe, declared: RecipeDeclaration, params: Mapping[str, Any], x: Tensor | None = None
) -> tuple[str, ...]:
    """Those of a recipe's lanes that are none: with another value, the module differs in its shapes, or in something
    other than its parameters and buffers, which all lanes of a program would share: a number of Python's that it keeps,
    or, where there are rows `x` to try it on, whatever else its `forward` reads. `params` are complete; what is no
    number, or what the recipe does not take another value of, cannot be told.

    Raises:
        InvalidOrderError: another seed alone makes such a difference, so no two trials can be lanes.
    """
    first = _drawn(recipe, params, seed=0)
    kept = _kept(first)
    if x is not None and not _same_function(first, _drawn(recipe, params, seed=1), x):
        raise InvalidOrderError(
            "what a recipe's module draws must be in its parameters and buffers, but its forward reads other numbers "
            "that hang on the seed; use self.register_buffer('name', tensor) instead of self.name = tensor"
        )
    found = []
    for lane in catalog.lane_names(declared):
        value = params.get(lane)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        changed = {**params, lane: type(value)(value * 0.5 + 1) if isinstance(value, int) else value * 0.5 + 0.001}
        try:
            other = _drawn(recipe, changed, seed=0)
            alike = _kept(other) == kept and (x is None or _same_function(first, other, x))
        except Exception:  # the other value may not be one that it takes
            continue
        if not alike:
            found.append(lane)
    return tuple(found)


def _drawn(recipe: OwnRecipe, params: Mapping[str, Any], *, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return recipe.model(params)


def _kept(module: nn.Module) -> list[Any]:
    """What a module is beside the numbers in its tensors."""
    shapes = [(name, tuple(tensor.shape)) for name, tensor in module.state_dict().items()]
    held = [
        (name, key, value)
        for name, part in module.named_modules()
        for key, value in vars(part).items()
        if _is_plain(value)
    ]
    return [shapes, held]


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)


def _same_function(first: nn.Module, other: nn.Module, x: Tensor) -> bool:
    """Whether `first`, given the tensors of `other`, computes what `other` computes: as a program of lanes would."""
    for training in (True, False):
        own = {name: value.detach().clone() for name, value in _named_tensors(other)}
        outputs = []
        for compute in (partial(functional_call, first.train(training), own), _called(other.train(training))):
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.default_generator.manual_seed(0)
                outputs.append(compute((x,)))
        if not torch.allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-7, equal_nan=True):
            return False
    return True


def _named_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _called(module: nn.Module) -> Callable[[tuple[Tensor]], Tensor]:
    return lambda given: cast(Tensor, module(*given))


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


def _folds(
    recipe: OwnRecipe,
    declared: RecipeDeclaration,
    params: Mapping[str, Any],
    *,
    classes: bool,
    device: str,
    test: bool,
) -> tuple[tuple[Fold, ...], dict[str, Any]]:
    lanes = catalog.lane_names(declared)
    structure = {name: value for name, value in params.items() if name not in lanes}
    code = functions.describe(declared.name)["sha256"]
    key = json.dumps([declared.name, code, device, classes, test, structure], sort_keys=True, default=repr)
    if key not in _data:
        isolation.seed_globals(0)  # a split that is drawn by them is the same on every worker
        given = _fours(recipe.data(params))
        folds = tuple(_fold(one if test else one[:4], device=device, classes=classes) for one in given)
        found = (folds, _identity(folds))
        _data[key] = next((held for held in _data.values() if _alike(held, found)), found)
        while len(_data) > _CACHED:
            _data.popitem(last=False)
    _data.move_to_end(key)
    return _data[key]


def _alike(held: tuple[tuple[Fold, ...], dict[str, Any]], found: tuple[tuple[Fold, ...], dict[str, Any]]) -> bool:
    return held[1] == found[1] and held[0][0].x_train.device == found[0][0].x_train.device


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, Tensor))


def _fours(given: Any) -> list[Sequence[Any]]:
    """One four of arrays per fold."""
    fours = [given] if isinstance(given, Sequence) and any(map(_is_array, given)) else given
    for four in fours if isinstance(fours, Sequence) and fours else [given]:
        if not isinstance(four, Sequence) or len(four) not in (4, 6) or not all(map(_is_array, four)):
            kinds = ", ".join(type(v).__name__ for v in four) if isinstance(four, Sequence) else type(four).__name__
            raise InvalidOrderError(
                "a recipe's data must be (x_train, y_train, x_val, y_val), arrays of numpy or torch, x_test and y_test "
                f"behind them if there are any, but got {kinds or 'nothing'}; return these, or a list of such tuples"
            )
    return list(fours)


def _fold(four: Sequence[Any], *, device: str, classes: bool) -> Fold:
    arrays = [torch.as_tensor(value) for value in four]
    tensors = {}
    for name, x, y in zip(("train", "val", "test"), arrays[::2], arrays[1::2], strict=False):
        if len(x) != len(y) or len(x) < 2:
            raise InvalidOrderError(
                f"x_{name} and y_{name} must have as many rows as each other and at least 2, "
                f"but they have {len(x)} and {len(y)}; check the split"
            )
        tensors[f"x_{name}"] = x.float().to(device)
        tensors[f"y_{name}"] = _targets(y, classes=classes).to(device)
    return Fold(**tensors)


def _targets(y: Tensor, *, classes: bool) -> Tensor:
    return y.long() if classes or not y.is_floating_point() else y.float()


def _identity(folds: Sequence[Fold]) -> dict[str, Any]:
    """Names the data by their contents."""
    first = folds[0]
    found: dict[str, Any] = {
        "name": "own",
        "sha256": _digest(part for fold in folds for part in (fold.x_train, fold.y_train, fold.x_val, fold.y_val)),
        "rows": len(first.x_train) + len(first.x_val),
        "train_rows": len(first.x_train),
        "val_rows": len(first.x_val),
        "folds": len(folds),
    }
    if first.y_test is not None:
        test = [part for fold in folds for part in (fold.x_test, fold.y_test) if part is not None]
        found |= {"test_rows": len(first.y_test), "test_sha256": _digest(test)}
    return found


def _digest(parts: Iterable[Tensor]) -> str:
    sha = hashlib.sha256()
    for tensor in parts:
        held = tensor.cpu().contiguous()
        sha.update(f"{held.dtype}{tuple(held.shape)}".encode())
        sha.update(held.numpy().tobytes())
    return sha.hexdigest()
