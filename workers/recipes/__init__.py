"""Recipes: from declared parameters to a task that a loop trains. What may be declared is in search_spaces.catalog."""

from workers.recipes.registry import Recipe, build, get, train, warm_up

__all__ = ["Recipe", "build", "get", "train", "warm_up"]
