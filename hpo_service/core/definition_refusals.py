"""What Pydantic refuses, told as this program tells it: the field as its user wrote it, rule, value and remedy.

Not here: rules between parts of a definition (`core.definition_rules`).
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from hpo_service.core import algorithm_specs
from hpo_service.core.constraints import Constraint
from hpo_service.core.definition_model import StudyDefinition
from hpo_service.core.definition_parts import IMPORT_PATH, Budget, Objective, Resources, Trainer
from hpo_service.errors import FieldProblem

_BOUNDS = {
    "string_too_long": "shorten it to {max_length} characters or fewer",
    "string_too_short": "write at least {min_length}",
    "too_long": "keep at most {max_length}",
    "too_short": "give at least {min_length}",
    "greater_than": "use more than {gt}",
    "greater_than_equal": "use {ge} or more",
    "less_than": "use less than {lt}",
    "less_than_equal": "use {le} or less",
}
_BRANCH = re.compile(r"(literal|tuple|list|set|dict)\[|constrained-")
"""How Pydantic names the branches of a union: no name of ours."""


def refused(error: ValidationError, document: Mapping[str, Any]) -> list[FieldProblem]:
    """The first twenty fields of `document` that break `StudyDefinition`."""
    found = []
    for item in error.errors(include_url=False)[:20]:
        if isinstance(item["input"], list | tuple) and item["loc"] and str(item["loc"][-1]).startswith("literal["):
            continue  # a word or a list: what is wrong with the list has a line of its own
        if item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
            continue  # Pydantic counts what is valid of it; what is not has a line of its own
        path = ".".join(str(part) for part in _user_path(item["loc"], document))
        message, value = item["msg"].removeprefix("Value error, "), item.get("input")
        remedy = _within(item["type"], item.get("ctx", {}))
        if item["type"] == "extra_forbidden":
            message, value = "unknown field", item["loc"][-1]
            remedy = _nearest(str(value), _known_fields(item["loc"][:-1]))
        elif item["type"] == "union_tag_invalid":
            message, value = "unknown algorithm", item["ctx"]["tag"]
            remedy = _nearest(str(value), sorted(_specs()))
        elif item["type"] == "string_pattern_mismatch" and item["ctx"]["pattern"] == IMPORT_PATH:
            message, remedy = "an import path is MODULE:NAME", "write it as train:main, or package.module:name"
        elif item["type"] in ("missing", "value_error"):
            value = None
            remedy = "add it" if item["type"] == "missing" else ""
        found.append(FieldProblem(path=path, rule=message, value=value, remedy=remedy))
    return found


def _within(kind: str, bounds: Mapping[str, Any]) -> str:
    """The remedy for what lies outside its bounds, as Pydantic names them; empty for anything else."""
    return _BOUNDS.get(kind, "").format_map(bounds)


def _user_path(loc: Sequence[int | str], document: Mapping[str, Any]) -> list[int | str]:
    """Pydantic's location as the user wrote it: without union tags, `objective` where that was given."""
    path = list(loc)
    if path[:1] == ["algorithm"] and len(path) > 1 and path[1] in _specs():
        path.pop(1)
    if path[:1] == ["objectives"] and "objectives" not in document:
        path[0] = "objective"
        if not isinstance(document.get("objective"), list | tuple) and len(path) > 1:
            path.pop(1)
    return [part for part in path if not (isinstance(part, str) and _BRANCH.match(part))]


@functools.cache
def _specs() -> Mapping[str, type[BaseModel]]:
    schema = TypeAdapter(algorithm_specs.AlgorithmSpec).json_schema()
    names = schema["discriminator"]["mapping"]
    return {name: getattr(algorithm_specs, ref.rsplit("/", 1)[-1]) for name, ref in names.items()}


def _known_fields(loc: Sequence[int | str]) -> list[str]:
    sections: Mapping[str, type[BaseModel]] = {
        "objectives": Objective,
        "constraints": Constraint,
        "trainer": Trainer,
        "budget": Budget,
        "resources": Resources,
    }
    if not loc:
        return ["objective", *StudyDefinition.model_fields]
    if loc[0] == "algorithm" and len(loc) > 1:
        return list(_specs()[str(loc[1])].model_fields)
    model = sections.get(str(loc[0]))
    return list(model.model_fields) if model else []


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
