"""Checks of a trainer's parameters, search space and metrics against the declarations.

Pure and quick: paths of data are not looked at (only a worker can see them).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.catalog.declarations import RECIPES, ParameterDeclaration, RecipeDeclaration

_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_BUNDLED_TASKS = {
    "digits": "classification",
    "iris": "classification",
    "wine": "classification",
    "breast_cancer": "classification",
    "diabetes": "regression",
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong, where: `path` within the study definition, the rule, the value, and what to do."""

    path: str
    rule: str
    value: Any
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}, but got {self.value!r}; {self.remedy}"


def validate_trainer(
    recipe: str,
    params: Mapping[str, Any],
    space: Mapping[str, Mapping[str, Any]],
    *,
    metrics: Iterable[str] = (),
    constrained: Iterable[str] = (),
    has_scheduler: bool = False,
) -> list[Problem]:
    """All problems of a trainer: fixed `params`, search space (name → its JSON form), the metrics of objectives and of
    constraints.

    `has_scheduler` says that the algorithm decides how far trials train, beside which `epochs` has no meaning. Of a
    user's own recipe, named by its import path, only a worker knows the parameters and metrics: its preflight checks.
    """
    if own_recipe(recipe):
        return list(_check_epochs(params, space)) if has_scheduler else []
    declared = RECIPES.get(recipe)
    if declared is None:
        remedy = _nearest(recipe, RECIPES) or f"use one of {', '.join(RECIPES)}, or a recipe of yours: pkg.module:name"
        return [Problem(path="trainer.recipe", rule="the recipe must be known", value=recipe, remedy=remedy)]
    problems = check_params(recipe, params)
    for name, spec in space.items():
        if not isinstance(spec, Mapping):
            continue  # not a parameter: the space says so itself
        problems += _check_dimension(declared, name, spec, params)
        problems += _check_effect(declared, name, params, space)
    problems += _check_epochs(params, space) if has_scheduler else []
    problems += _check_metrics(declared, params, metrics, path="objective.metric", what="objective")
    problems += _check_metrics(declared, params, constrained, path="constraints", what="bounded metric")
    return problems


def own_recipe(recipe: str) -> bool:
    """True for the import path of a user's own recipe, `pkg.module:name`."""
    return _IMPORT_PATH.fullmatch(recipe) is not None


def check_params(recipe: str | RecipeDeclaration, params: Mapping[str, Any]) -> list[Problem]:
    """Problems of parameter values, fixed or drawn; `recipe` must be known."""
    declared = _declared(recipe)
    problems: list[Problem] = []
    for name, value in params.items():
        path = f"trainer.params.{name}"
        parameter = declared.parameters.get(name)
        if parameter is None:
            problems.append(_unknown(path, name, declared))
        elif not (value is None and parameter.default is None):
            problems += _check_value(parameter, path, value)
    if not problems and "val_fraction" in declared.parameters and declared.name in RECIPES:
        problems += _check_fractions(complete(recipe, params))
    return problems


def complete(recipe: str | RecipeDeclaration, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the defaults of the recipe beneath them."""
    defaults = {name: parameter.default for name, parameter in _declared(recipe).parameters.items()}
    return {**defaults, **params}


def lane_names(recipe: str | RecipeDeclaration) -> tuple[str, ...]:
    """The parameters in which trials may differ that train together as lanes of one program."""
    return tuple(name for name, parameter in _declared(recipe).parameters.items() if parameter.lane)


def metric_names(recipe: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    """What a recipe reports with these fixed parameters; both kinds of metrics where only the data can tell."""
    declared = RECIPES[recipe]
    full = complete(recipe, params)
    task = _BUNDLED_TASKS.get(str(full["data"])) or full.get("task", "classification")
    names = [m.name for m in declared.metrics if task == "auto" or task in m.tasks]
    if isinstance(full["folds"], int | float) and full["folds"] > 1:
        names += [f"{name}_std" for name in names if name not in ("lr", "seconds")]
    return tuple(names)


def _declared(recipe: str | RecipeDeclaration) -> RecipeDeclaration:
    return RECIPES[recipe] if isinstance(recipe, str) else recipe


# Values


def _check_value(parameter: ParameterDeclaration, path: str, value: Any) -> Iterator[Problem]:
    rule = _broken_rule(parameter, value)
    if rule:
        yield Problem(path=path, rule=rule, value=value, remedy=_remedy(parameter, value))


def _broken_rule(parameter: ParameterDeclaration, value: Any) -> str | None:
    name = parameter.name
    if parameter.kind == "any":
        return None
    if parameter.kind == "choice":
        known = any(value == v and type(value) is type(v) for v in parameter.values)
        return None if known else f"{name} must be one of {', '.join(map(str, parameter.values))}"
    if parameter.kind == "text":
        return None if isinstance(value, str) and value else f"{name} must be a text"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return f"{name} must be a finite number"
    if parameter.kind == "int" and value != int(value):
        return f"{name} must be a whole number"
    assert parameter.low is not None
    assert parameter.high is not None
    if not parameter.low <= value <= parameter.high:
        return f"{name} must lie in {parameter.low:.10g} … {parameter.high:.10g}"
    return None


def _remedy(parameter: ParameterDeclaration, value: Any) -> str:
    if parameter.kind == "choice":
        return _nearest(str(value), map(str, parameter.values)) or "choose one of these"
    if parameter.default is not None:
        return f"the default is {parameter.default}"
    return "leave it out, or choose a value in its range"


def _check_fractions(full: Mapping[str, Any]) -> Iterator[Problem]:
    left = 1.0 - full["test_fraction"] - (full["val_fraction"] if full["folds"] == 1 else 0.0)
    if left < 0.01:
        yield Problem(
            path="trainer.params.val_fraction",
            rule="val_fraction + test_fraction must leave rows to train on (at most 0.99)",
            value=(full["val_fraction"], full["test_fraction"]),
            remedy="make one of them smaller",
        )


# Dimensions of the space


def _check_dimension(
    declared: RecipeDeclaration, name: str, spec: Mapping[str, Any], params: Mapping[str, Any]
) -> Iterator[Problem]:
    path = f"space.{name}"
    parameter = declared.parameters.get(name)
    if parameter is None:
        yield _unknown(path, name, declared)
        return
    if not parameter.tunable:
        yield Problem(
            path=path,
            rule=f"{name} must be the same for all trials",
            value=spec.get("type"),
            remedy=f"set it in trainer.params.{name}",
        )
        return
    if name in params:
        yield Problem(
            path=path,
            rule=f"{name} must be either searched or fixed",
            value=params[name],
            remedy=f"remove it from the space, or from trainer.params.{name}",
        )
    yield from _check_bounds(parameter, path, spec)


def _check_effect(
    declared: RecipeDeclaration, name: str, params: Mapping[str, Any], space: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """A searched parameter must matter to at least one of the models in question."""
    parameter = declared.parameters.get(name)
    models = _listed(space["model"]) if "model" in space else []
    models = models or [params.get("model", declared.parameters["model"].default)]
    if parameter and parameter.models and not any(model in parameter.models for model in models):
        yield Problem(
            path=f"space.{name}",
            rule=f"{name} must have an effect on the model ({', '.join(parameter.models)})",
            value=", ".join(map(str, models)),
            remedy="remove it from the space, or choose another model",
        )


def _listed(spec: Mapping[str, Any]) -> list[Any]:
    """The values that a dimension lists: of a choice, an ordinal or a constant."""
    values = spec.get("values")
    found = list(values) if isinstance(values, (list, tuple)) else []
    return found if spec.get("value") is None else [*found, spec["value"]]


def _check_bounds(parameter: ParameterDeclaration, path: str, spec: Mapping[str, Any]) -> Iterator[Problem]:
    values = spec.get("values")
    listed = [("values", v) for v in values] if isinstance(values, (list, tuple)) else []
    single = [(field, spec[field]) for field in ("low", "high", "value", "default") if spec.get(field) is not None]
    for field, value in listed + single:
        yield from _check_value(parameter, f"{path}.{field}", value)
    numeric = spec.get("low") is not None or spec.get("high") is not None
    if numeric and parameter.kind in ("choice", "text"):
        yield Problem(
            path=f"{path}.type",
            rule=f"{parameter.name} must be drawn from values ({', '.join(map(str, parameter.values))})",
            value=spec.get("type"),
            remedy="use type: choice",
        )
    elif parameter.kind == "int" and not _whole(spec):
        yield Problem(
            path=f"{path}.type",
            rule=f"{parameter.name} must be whole",
            value=spec.get("type"),
            remedy="use integer, log_integer, power_of_two, or choice",
        )


def _whole(spec: Mapping[str, Any]) -> bool:
    """True if every value of a dimension is a whole number, as far as its type tells."""
    kind = str(spec.get("type"))
    if kind in ("quniform", "qloguniform"):
        return all(_is_whole(spec.get(field)) for field in ("low", "step"))
    return kind not in ("uniform", "loguniform", "normal", "lognormal")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _check_epochs(params: Mapping[str, Any], space: Mapping[str, Any]) -> Iterator[Problem]:
    for path, where in (("trainer.params.epochs", params), ("space.epochs", space)):
        if where.get("epochs") is not None:
            yield Problem(
                path=path,
                rule="epochs must not be set beside a scheduler, which decides how far each trial is trained",
                value=where["epochs"],
                remedy="remove it, and set the algorithm's max_resource",
            )


def _check_metrics(
    declared: RecipeDeclaration, params: Mapping[str, Any], metrics: Iterable[str], *, path: str, what: str
) -> Iterator[Problem]:
    known_params = {name: value for name, value in params.items() if name in declared.parameters}
    names = metric_names(declared.name, known_params)
    for metric in metrics:
        if metric not in names:
            yield Problem(
                path=path,
                rule=f"the {what} must be a metric that {declared.name} reports",
                value=metric,
                remedy=_nearest(metric, names) or f"use one of {', '.join(names)}",
            )


def _unknown(path: str, name: str, declared: RecipeDeclaration) -> Problem:
    remedy = _nearest(name, declared.parameters) or "see the recipe's parameters in docs/recipes.md"
    return Problem(path=path, rule=f"{declared.name} must know the parameter", value=name, remedy=remedy)


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""
