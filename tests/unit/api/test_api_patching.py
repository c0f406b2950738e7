"""Patches merge, are checked whole, and say what they changed."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_service.api.patching import patched
from hpo_service.core.definition import parse
from hpo_service.errors import InvalidInput, Unsupported

DOCUMENT: dict[str, Any] = parse(
    {
        "objective": {"metric": "loss"},
        "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1}},
        "algorithm": {"name": "random"},
        "trainer": {"external": True},
        "budget": {"trials": 10, "hours": 1.0},
        "trial_timeout_s": 60,
    }
).to_document()


def test_a_budget_merges_and_the_rest_replaces() -> None:
    definition, changed = patched(DOCUMENT, {"budget": {"trials": 20}, "parallel": 9, "tags": ["a"]})
    assert (definition.budget.trials, definition.budget.hours, definition.parallel) == (20, 1.0, 9)
    assert changed == ("budget.trials", "parallel", "tags")


def test_null_takes_a_field_back() -> None:
    definition, changed = patched(DOCUMENT, {"budget": {"hours": None}, "trial_timeout_s": None})
    assert definition.budget.hours is None
    assert definition.trial_timeout_s is None
    assert changed == ("budget.hours", "trial_timeout_s")


def test_nothing_new_changes_nothing() -> None:
    assert patched(DOCUMENT, {"budget": {"trials": 10}, "parallel": 256})[1] == ()


def test_a_widened_space_is_a_change() -> None:
    space = {"lr": {"type": "loguniform", "low": 1e-5, "high": 1e-1}}
    definition, changed = patched(DOCUMENT, {"space": space})
    assert changed == ("space",)
    assert definition.space == space


def test_a_grid_keeps_its_space() -> None:
    grid = {**DOCUMENT, "algorithm": {"name": "grid", "points": 3}}
    with pytest.raises(Unsupported, match="space of a grid cannot change"):
        patched(grid, {"space": {"lr": {"type": "uniform", "low": 0, "high": 1}}})
    assert patched(grid, {"parallel": 2})[1] == ("parallel",)


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"parallel": 0}, "parallel"),
        ({"budget": {"trails": 3}}, "budget.trails"),
        ({"budget": {"trials": -1}}, "budget.trials"),
        ({"space": {"lr": {"type": "uniform", "low": 3, "high": 1}}}, "space.lr"),
        ({"space": None}, "space"),
    ],
)
def test_a_broken_patch_names_its_field(patch: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        patched(DOCUMENT, patch)
    assert caught.value.problems[0].path.startswith(path)
