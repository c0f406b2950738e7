"""Declarations of the recipes, as pure data: what a server needs to refuse a wrong trainer without torch.

How a recipe trains is not here.
"""

from search_spaces.catalog.checks import (
    Problem,
    check_params,
    complete,
    lane_names,
    metric_names,
    own_recipe,
    validate_trainer,
)
from search_spaces.catalog.declarations import (
    RECIPES,
    MetricDeclaration,
    ParameterDeclaration,
    RecipeDeclaration,
    own_declaration,
)
from search_spaces.catalog.describe import recipes_schema

__all__ = [
    "RECIPES",
    "MetricDeclaration",
    "ParameterDeclaration",
    "Problem",
    "RecipeDeclaration",
    "check_params",
    "complete",
    "lane_names",
    "metric_names",
    "own_declaration",
    "own_recipe",
    "recipes_schema",
    "validate_trainer",
]
