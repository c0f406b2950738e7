"""docs/recipes.md against the code: its example is the one that trains, its lanes are those that there are."""

from __future__ import annotations

import re
from pathlib import Path

from search_spaces import catalog
from workers.conformance import check_lanes
from workers.recipes import OwnRecipe

ROOT = Path(__file__).parents[3]
DOC = (ROOT / "docs" / "recipes.md").read_text()


def test_the_example_is_the_one_that_the_suite_trains() -> None:
    section = DOC.partition("## Your own recipe")[2]
    assert section.partition("```python\n")[2].partition("```")[0] == (ROOT / "examples" / "spirals.py").read_text()


def test_lanes_are_those_of_every_recipe() -> None:
    sentence = DOC.partition("Lanes of both recipes")[2].partition(";")[0]
    named = re.findall(r"`(\w+)`", sentence)
    for recipe in (*catalog.RECIPES, catalog.own_declaration("m:R", parameters={}, lanes=())):
        assert sorted(catalog.lane_names(recipe)) == sorted(named)


def test_everything_that_a_recipe_offers_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)(?:\(params\))?` \|", DOC.partition("## Your own recipe")[2], re.MULTILINE)
    required = {*OwnRecipe.__annotations__, *(n for n in vars(OwnRecipe) if not n.startswith("_"))}
    assert set(rows) == required | {"loss", "scores", "target_scale", "fidelities"}


def test_the_suite_is_named_as_it_is() -> None:
    assert f"from {check_lanes.__module__} import {check_lanes.__name__}" in DOC
