"""Recipes: from declared parameters to a task that a loop trains. What may be declared is in search_spaces.catalog."""

from workers.recipes.own import OwnRecipe
from workers.recipes.registry import (
    Recipe,
    Size,
    build,
    code_of,
    get,
    lane_names,
    not_lanes,
    train,
    train_lanes,
    warm_up,
)

__all__ = [
    "OwnRecipe",
    "Recipe",
    "Size",
    "build",
    "code_of",
    "get",
    "lane_names",
    "not_lanes",
    "train",
    "train_lanes",
    "warm_up",
]
