"""Changing a study that lives: the patch merged into its definition, checked whole, and what it changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_service import algorithms
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.errors import FieldProblem, InvalidInput

_MISSING = object()


def patched(document: Mapping[str, Any], patch: Mapping[str, Any]) -> tuple[StudyDefinition, tuple[str, ...]]:
    """The new definition and the paths that changed ("budget.trials", "space"), none where nothing did.

    `patch` holds the fields that were sent: budget merges, others replace, null takes a field back to its default.
    Raises InvalidInput naming each broken field; Unsupported for a changed space under grid.
    """
    merged = dict(document)
    for name, value in patch.items():
        if name == "budget" and isinstance(value, Mapping):
            value = _merged(dict(document.get("budget") or {}), value)
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    if "space" in patch and patch["space"] is None:
        raise InvalidInput.of(
            FieldProblem(path="space", rule="a study needs a space", remedy="leave space out to keep it")
        )
    definition = parse(merged)
    old = parse(document)
    before, after = old.to_document(), definition.to_document()
    algorithms.check_change(old, definition)
    algorithms.check(definition)
    return definition, tuple(_changed(before, after))


def _merged(old: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in new.items():
        if value is None:
            old.pop(name, None)
        else:
            old[name] = value
    return old


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    paths = []
    for name in sorted(set(before) | set(after)):
        old, new = before.get(name, _MISSING), after.get(name, _MISSING)
        if old == new:
            continue
        if name == "budget" and isinstance(old, Mapping) and isinstance(new, Mapping):
            paths += [
                f"budget.{key}"
                for key in sorted(set(old) | set(new))
                if old.get(key, _MISSING) != new.get(key, _MISSING)
            ]
        else:
            paths.append(name)
    return paths
