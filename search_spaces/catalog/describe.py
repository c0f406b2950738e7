"""The recipes' declarations as JSON Schema, for editors that complete a definition while it is typed."""

from __future__ import annotations

from typing import Any

from search_spaces.catalog.declarations import RECIPES, ParameterDeclaration, RecipeDeclaration

_TYPES = {"float": "number", "int": "integer", "text": "string"}


def recipes_schema() -> dict[str, dict[str, Any]]:
    """By recipe: its description, the schemas of its `parameters`, its `metrics` with their directions, and the metric
    to optimise unless another is named. `x-tunable` says which parameters may stand in a space, `x-models` on which
    models one has an effect, where not on all."""
    return {name: _recipe(recipe) for name, recipe in RECIPES.items()}


def _recipe(recipe: RecipeDeclaration) -> dict[str, Any]:
    return {
        "description": recipe.doc,
        "parameters": {name: _parameter(parameter) for name, parameter in recipe.parameters.items()},
        "metrics": {one.name: {"description": one.doc, "direction": one.direction} for one in recipe.metrics},
        "default_metric": recipe.default_metric,
    }


def _parameter(parameter: ParameterDeclaration) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": parameter.doc,
        "default": parameter.default,
        "minimum": parameter.low,
        "maximum": parameter.high,
        "type": _TYPES.get(parameter.kind),
        "enum": list(parameter.values) or None,
        "x-models": list(parameter.models) or None,
    }
    return {**{key: value for key, value in found.items() if value is not None}, "x-tunable": parameter.tunable}
